"""Two candidates against each other on the same rows, where failures count and some answers have no score."""

from dataclasses import dataclass

import numpy as np

from harness.domain.estimate import Estimate
from harness.stats import clusters as cl
from harness.stats import means
from harness.stats.evidence import Bools, Floats, Ints
from harness.stats.looks import ONE_LOOK, Looks

MEAN_DIFFERENCE = "clustered-mean-t difference with failures"


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """One candidate on the rows of a comparison."""

    scores: Floats
    """NaN where there is none; not read where ``failed``."""
    failed: Bools
    """Rows that a failure on either side has settled."""
    worth: Floats
    """What a settled row is worth."""

    @property
    def values(self) -> Floats:
        """Score or worth; NaN where neither is known."""
        return np.where(self.failed, self.worth, self.scores)


def difference_with_failures(
    first: Scored,
    second: Scored,
    clusters: Ints,
    *,
    metric: str = "difference",
    level: float = 0.95,
    bounds: means.Bounds = (-1.0, 1.0),
    looks: Looks = ONE_LOOK,
) -> Estimate:
    """How much better the first one's mean with failures is than the second one's, with a paired interval.

    The difference of two :func:`harness.stats.means.mean_with_failures`; its variance is that of the differences of
    both influences by cluster, so that rows on which both do well or badly together do not widen it. ``bounds`` are
    those of the difference of one row. Rows without a score on one side are counted as missing.
    """
    one, two = first.values, second.values
    known = np.isfinite(one) & np.isfinite(two)
    missing = int(np.sum(~known))
    if not known.any() or any(not np.isfinite(side.scores[~side.failed]).any() for side in (first, second)):
        return Estimate(metric=metric, value=None, level=level, n_missing=missing, method=MEAN_DIFFERENCE)
    value, influence = _of(first)
    other, against = _of(second)
    codes = cl.encode(clusters[known])
    n_clusters = cl.count(codes)
    totals = cl.sums(influence - against, cl.encode(clusters))
    variance = n_clusters / (n_clusters - 1) * float(np.sum(totals**2)) if n_clusters > 1 else float("nan")
    estimate = Estimate(
        metric=metric,
        value=value - other,
        level=level,
        n=int(known.sum()),
        n_clusters=n_clusters,
        n_missing=missing,
        method=MEAN_DIFFERENCE,
    )
    gaps = np.asarray((one - two)[known], dtype=np.float64)
    # Where scores are missing the value is not the mean of the differences, which a betting interval would be about.
    return means.with_interval(estimate, variance, gaps, codes, bounds=bounds, looks=looks, betting=not missing)


def _of(side: Scored) -> tuple[float, Floats]:
    return means.influence_with_failures(side.scores, side.failed, np.where(side.failed, side.worth, 0.0))
