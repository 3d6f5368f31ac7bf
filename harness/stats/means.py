"""Means and paired differences of means, clustered by conversation."""

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from harness.domain.estimate import Estimate
from harness.stats import clusters as cl
from harness.stats import critical
from harness.stats.evidence import Bools, Floats, Ints

Bounds: TypeAlias = tuple[float, float]

MEAN = "clustered-mean-t"
MEAN_EXACT = "clustered-mean-t+exact"
MEAN_FAILURES = "clustered-mean-t with failures"
_FEW_DEVIATING = 5


def mean(
    values: Floats, clusters: Ints, *, metric: str = "mean", level: float = 0.95, bounds: Bounds | None = None
) -> Estimate:
    """Mean with a t interval on clusters - 1 degrees of freedom; NaN is missing and counted.

    One row per cluster gives mean +- t sd(ddof 1)/sqrt(n). ``bounds`` are the lowest and highest possible value of one
    row: the interval is cut to them, and an exact bound is added when too few clusters differ for a variance
    (see docs/statistics.md). Without bounds, equal values have no interval at all.
    """
    known = np.isfinite(values)
    x, codes = values[known], cl.encode(clusters[known])
    missing = int(len(values) - len(x))
    if not len(x):
        return Estimate(metric=metric, value=None, level=level, n_missing=missing, method=MEAN)
    variance = cl.covariance_of_means(x, x, codes)
    estimate = Estimate(
        metric=metric,
        value=float(x.mean()),
        level=level,
        n=len(x),
        n_clusters=cl.count(codes),
        n_missing=missing,
        method=MEAN,
    )
    return _with_interval(estimate, variance, x, codes, bounds)


def paired_difference(
    candidate: Floats,
    production: Floats,
    clusters: Ints,
    *,
    metric: str = "difference",
    level: float = 0.95,
    bounds: Bounds | None = None,
) -> Estimate:
    """Mean candidate-minus-production difference over the rows where both are known.

    ``bounds`` are those of the difference, not of one side.
    """
    estimate = mean(candidate - production, clusters, metric=metric, level=level, bounds=bounds)
    known = np.isfinite(candidate - production)
    if not known.any():
        return estimate
    return replace(estimate, production=float(production[known].mean()), candidate=float(candidate[known].mean()))


def mean_with_failures(
    scores: Floats,
    failed: Bools,
    clusters: Ints,
    *,
    metric: str = "mean",
    level: float = 0.95,
    bounds: Bounds = (0.0, 1.0),
) -> Estimate:
    """Mean score when a failed row counts as the lowest score, also where only a part of the answers was scored.

    (1 - f) s + f lo, with f the failed share of all rows and s the mean over scored rows: unscored answers (NaN) are
    taken to be like the scored ones, and failures keep their share however few answers were scored. With every
    answer scored it is exactly the mean with lo put in for failures.
    """
    low = bounds[0]
    scored = np.isfinite(scores) & ~failed
    n_missing = int(np.sum(~scored & ~failed))
    if not scored.any() and (n_missing or not failed.any()):
        return Estimate(metric=metric, value=None, level=level, n_missing=n_missing, method=MEAN_FAILURES)
    share = float(failed.mean())
    score = float(scores[scored].mean()) if scored.any() else low
    influence = -(score - low) * (failed - share) / len(failed)
    influence[scored] += (1 - share) * (scores[scored] - score) / max(int(scored.sum()), 1)
    used = scored | failed
    codes = cl.encode(clusters[used])
    n_clusters = cl.count(codes)
    totals = cl.sums(influence, cl.encode(clusters))
    variance = n_clusters / (n_clusters - 1) * float(np.sum(totals**2)) if n_clusters > 1 else float("nan")
    values = np.where(failed, low, scores)[used]
    estimate = Estimate(
        metric=metric,
        value=(1 - share) * score + share * low,
        level=level,
        n=int(used.sum()),
        n_clusters=n_clusters,
        n_missing=n_missing,
        method=MEAN_FAILURES if failed.any() else MEAN,
        extra={"failed": float(failed.sum())},
    )
    return _with_interval(estimate, variance, values, codes, bounds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """Two ends."""

    low: float
    high: float


def _with_interval(estimate: Estimate, variance: float, values: Floats, codes: Ints, bounds: Bounds | None) -> Estimate:
    """Fill in the interval: t, widened by the exact bound where the variance rests on too few clusters."""
    value, level = estimate.value, estimate.level
    if value is None or estimate.n_clusters < 2:
        return replace(estimate, notes=(*estimate.notes, "one cluster has no interval"))
    constant = bool(np.all(values == values[0]))
    error = 0.0 if constant else float(np.sqrt(variance))
    rest = unseen(values, codes, level=level, bounds=bounds)
    if constant and rest is None:
        return replace(estimate, std_error=error, notes=(*estimate.notes, "all values are equal: no interval"))
    half = 0.0 if constant else critical.student(level, estimate.n_clusters - 1) * error
    low, high = value - half, value + half
    method = estimate.method
    if rest is not None and (rest.low < low or rest.high > high):
        low, high, method = min(low, rest.low), max(high, rest.high), method.replace(MEAN, MEAN_EXACT)
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return replace(estimate, low=low, high=high, std_error=error, method=method)


def unseen(values: Floats, codes: Ints, *, level: float, bounds: Bounds | None) -> Interval | None:
    """Where the mean may lie when nearly every cluster has the same mean, by an exact bound on the others' share.

    A share p of clusters that differ from the common mean v moves the mean of a score in [lo, hi] by p(v - lo)
    downwards or p(hi - v) upwards at most. It is the clusters that count, not their rows: a win and a loss in every
    conversation have no variance between conversations either. ``None`` when enough clusters differ for their variance
    to be trusted. ``codes`` as :func:`clusters.encode` gives them.
    """
    clusters = cl.count(codes)
    centres = np.round(cl.sums(values, codes) / np.bincount(codes), 9)
    distinct, counts = np.unique(centres, return_counts=True)
    differing = clusters - int(counts.max())
    if bounds is None or differing >= _FEW_DEVIATING or 4 * differing > clusters:
        return None
    common = float(distinct[counts.argmax()])
    share = critical.exact_upper(differing, clusters, level=level)
    return Interval(low=common - share * (common - bounds[0]), high=common + share * (bounds[1] - common))
