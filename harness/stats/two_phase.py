"""A difference of means where one side is known on all rows and the other on a random part of them."""

from typing import TypeAlias

import numpy as np

from harness.domain.estimate import Estimate
from harness.stats import clusters as cl
from harness.stats import means
from harness.stats.evidence import Floats, Ints
from harness.stats.looks import ONE_LOOK, Looks

Bounds: TypeAlias = tuple[float, float]
METHOD = "clustered-mean-t two-phase"


def difference(
    full: Floats,
    part: Floats,
    clusters: Ints,
    *,
    metric: str = "difference",
    level: float = 0.95,
    bounds: Bounds | None = None,
    looks: Looks = ONE_LOOK,
) -> Estimate:
    """Mean of ``full`` minus mean of ``part``, paired where both are known and sharpened by the other rows of ``full``.

    d + b (mean of full over all rows - its mean over the part), with d the mean paired difference on the part and
    b = Cov(full - part, full) / Var(full) there, cut to [0, 1]: the regression estimator of two-phase sampling, which
    is what PPI++ (arXiv 2311.01453) does with a tuned lambda of 1 - b. The part has to be a random part of the rows.
    NaN is not known. Variance by cluster sums of the influence function. ``bounds`` are those of one difference.
    """
    known = np.isfinite(full)
    both = known & np.isfinite(part)
    missing = int(np.sum(np.isfinite(part) & ~known))
    if not both.any():
        return Estimate(metric=metric, value=None, level=level, n_missing=missing, method=METHOD)
    gap, own = (full - part)[both], full[both]
    codes = cl.encode(clusters[both])
    slope = 0.0
    if cl.count(codes) >= looks.least_units and own.var() > 0:
        slope = float(np.clip(np.mean((gap - gap.mean()) * (own - own.mean())) / own.var(), 0.0, 1.0))
    influence = np.zeros(len(full))
    influence[both] += (gap - gap.mean() - slope * (own - own.mean())) / both.sum()
    influence[known] += slope * (full[known] - full[known].mean()) / known.sum()
    totals = cl.sums(influence, cl.encode(clusters))
    n_clusters = cl.count(codes)
    variance = n_clusters / (n_clusters - 1) * float(np.sum(totals**2)) if n_clusters > 1 else float("nan")
    estimate = Estimate(
        metric=metric,
        value=float(gap.mean() + slope * (full[known].mean() - own.mean())),
        level=level,
        n=int(known.sum()),
        n_clusters=n_clusters,
        n_missing=missing,
        method=METHOD,
        production=float(part[both].mean()),
        candidate=float(full[known].mean()),
        extra={"n_part": float(both.sum()), "slope": slope},
    )
    return means.with_interval(estimate, variance, gap, codes, bounds=bounds, looks=looks, betting=slope == 0.0)
