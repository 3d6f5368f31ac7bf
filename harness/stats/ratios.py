"""Ratios of means (cost, tokens), paired and clustered."""

import math

import numpy as np

from harness.domain.estimate import Estimate
from harness.stats import clusters as cl
from harness.stats import looks as lk
from harness.stats.evidence import Floats, Ints
from harness.stats.looks import ONE_LOOK, Looks

FIELLER = "clustered-fieller"
PROPORTIONAL = "proportional+exact"


def ratio_of_means(
    candidate: Floats,
    production: Floats,
    clusters: Ints,
    *,
    metric: str = "ratio",
    level: float = 0.95,
    looks: Looks = ONE_LOOK,
) -> Estimate:
    """Sum of candidate over sum of production where both are known, with Fieller's interval on clustered variances.

    ``None`` without data or when production's mean is zero. A bound is ``None`` when production's mean is not told
    from zero. When every pair has exactly the same ratio there is no variance: the interval then allows for the share
    of pairs that n pairs cannot exclude to differ by up to the ratio itself. More than one look needs as many
    conversations as ``looks`` trusts the normal approximation with, and has no interval before.
    """
    known = np.isfinite(candidate) & np.isfinite(production)
    c, p, codes = candidate[known], production[known], cl.encode(clusters[known])
    missing = int(len(candidate) - len(c))
    if not len(c) or p.mean() <= 0:
        zero = ("production's mean is zero",) if len(c) else ()
        return Estimate(metric=metric, value=None, level=level, n=len(c), n_missing=missing, method=FIELLER, notes=zero)
    top, base, n_clusters = float(c.mean()), float(p.mean()), cl.count(codes)
    ratio = top / base
    low: float | None = None
    high: float | None = None
    error: float | None = None
    notes: tuple[str, ...] = ()
    method = FIELLER
    if n_clusters < 2:
        notes = ("one cluster has no interval",)
    elif n_clusters < looks.least_units:
        notes = (f"an interval for more than one look needs {looks.least_units} conversations",)
    elif float(np.max(np.abs(c - ratio * p))) <= 1e-9 * max(top, base):
        unseen = lk.exact_upper(looks, 0, n_clusters, level)
        low, high, error, method = ratio / (1 + unseen), ratio * (1 + unseen), 0.0, PROPORTIONAL
    else:
        residual = c - ratio * p
        error = math.sqrt(cl.covariance_of_means(residual, residual, codes)) / base
        low, high = _fieller(c, p, codes, looks.multiplier(level, n_clusters))
        if high is None:
            notes = ("production's mean is not told from zero",)
    return Estimate(
        metric=metric,
        value=ratio,
        low=low,
        high=high,
        level=level,
        looks=looks.name,
        n=len(c),
        n_clusters=n_clusters,
        n_effective=cl.effective_n(c - ratio * p, codes, level=level),
        n_missing=missing,
        method=method,
        std_error=error,
        production=base,
        candidate=top,
        notes=notes,
    )


def _fieller(c: Floats, p: Floats, codes: Ints, multiplier: float) -> tuple[float | None, float | None]:
    """Ratios R for which mean(c) - R mean(p) lies within ``multiplier`` standard errors of zero."""
    t2 = multiplier**2
    top, base = float(c.mean()), float(p.mean())
    first = base * base - t2 * cl.covariance_of_means(p, p, codes)
    half = top * base - t2 * cl.covariance_of_means(c, p, codes)
    last = top * top - t2 * cl.covariance_of_means(c, c, codes)
    root = math.sqrt(max(half * half - first * last, 0.0))
    if first <= 0:
        # Any large ratio is possible; from below it is bounded only when candidate's mean is told from zero.
        lower = last / (half + root) if last > 0 and half + root > 0 else 0.0
        return max(lower, 0.0), None
    return max((half - root) / first, 0.0), (half + root) / first
