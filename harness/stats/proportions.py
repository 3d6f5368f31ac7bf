"""Shares and paired differences of shares: Wilson, Tango and McNemar, clustered by effective sample size."""

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np

from harness.domain.estimate import Estimate
from harness.stats import clusters as cl
from harness.stats import critical, means
from harness.stats.evidence import Bools, Floats, Ints
from harness.stats.looks import EXACT_AT, ONE_LOOK, Looks

WILSON = "wilson"
WILSON_CLUSTERED = "wilson-effective-n"
TANGO = "tango"
TANGO_CLUSTERED = "tango-effective-n"
BERNOULLI = "bernoulli-cs"
BERNOULLI_CLUSTERED = "bernoulli-cs-effective-n"
_FEW_DISCORDANT = 10
"""Conversations with a discordant pair below which their number is too small for a normal approximation."""
_LEAST_UNITS = 500
"""The same for conversations in all, at more than one look."""


def wilson(successes: float, n: float, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a share; counts may be fractional, as effective sample sizes are."""
    if n <= 0:
        return 0.0, 1.0
    z, p = critical.normal(level), successes / n
    centre, scale = p + z * z / (2 * n), 1 + z * z / n
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if successes <= 0 else max(0.0, (centre - half) / scale)
    high = 1.0 if successes >= n else min(1.0, (centre + half) / scale)
    return low, high


def proportion(
    values: Floats, clusters: Ints, *, metric: str = "share", level: float = 0.95, looks: Looks = ONE_LOOK
) -> Estimate:
    """Share of ones among 0/1 ``values``; NaN is missing and counted.

    Wilson's interval for one look; for more a betting interval while conversations are few, and then the exact
    confidence sequence of a Bernoulli mean, on effective counts when rows are clustered.
    """
    known = np.isfinite(values)
    x, codes = values[known], cl.encode(clusters[known])
    missing = int(len(values) - len(x))
    if not len(x):
        return Estimate(metric=metric, value=None, level=level, n_missing=missing, method=WILSON)
    effective = cl.effective_n(x, codes, level=level)
    independent = cl.count(codes) == len(x)
    if looks.name == "one":
        low, high = wilson(float(x.mean()) * effective, effective, level=level)
        method = WILSON if independent else WILSON_CLUSTERED
    elif cl.count(codes) < looks.least_units:
        low, high = means.bet(x, codes, level=level, bounds=(0.0, 1.0))
        method = means.BETTING
    else:
        from harness.stats import mixtures

        successes, tuned = float(x.mean()) * effective, {"alpha": (1 - level) / 2, "t_opt": EXACT_AT}
        low = mixtures.bernoulli_lower(successes, effective, **tuned)
        high = mixtures.bernoulli_upper(successes, effective, **tuned)
        method = BERNOULLI if independent else BERNOULLI_CLUSTERED
    variance = cl.covariance_of_means(x, x, codes)
    return Estimate(
        metric=metric,
        value=float(x.mean()),
        low=low,
        high=high,
        level=level,
        looks=looks.name,
        n=len(x),
        n_clusters=cl.count(codes),
        n_effective=effective,
        n_missing=missing,
        method=method,
        std_error=None if math.isnan(variance) else math.sqrt(variance),
        extra={"count": float(x.sum())},
    )


def tango(only_candidate: float, only_production: float, n: float, *, level: float = 0.95) -> tuple[float, float]:
    """Tango's score interval of (b - c)/n, the difference of two paired shares (Tango 1998).

    Not of zero width without discordant pairs: then it is +- z^2/(n + z^2).
    """
    from scipy.optimize import brentq

    b, c = only_candidate, only_production
    if n <= 0:
        return -1.0, 1.0
    z = critical.normal(level)

    def score(d: float) -> float:
        first, second, third = 2 * n, -b - c + (2 * n - b + c) * d, -c * d * (1 - d)
        q = (math.sqrt(max(second * second - 4 * first * third, 0.0)) - second) / (2 * first)
        variance = n * (2 * q + d * (1 - d))
        gap = b - c - n * d
        if variance <= 1e-15 * n:
            return 0.0 if abs(gap) <= 1e-12 * n else math.copysign(math.inf, gap)
        return gap / math.sqrt(variance)

    def root(target: float, start: float, end: float, beyond: float) -> float:
        def clamped(d: float) -> float:
            return min(max(score(d) - target, -1e6), 1e6)

        if clamped(start) * clamped(end) > 0:
            return beyond
        return float(brentq(clamped, start, end, xtol=1e-14))

    point = (b - c) / n
    low = -1.0 if point <= -1 else root(z, -1 + 1e-12, point, -1.0)
    high = 1.0 if point >= 1 else root(-z, point, 1 - 1e-12, 1.0)
    return low, high


@lru_cache(maxsize=256)
def mcnemar(only_candidate: int, only_production: int) -> tuple[float, float]:
    """Exact and mid-p two-sided p-values of McNemar's test that both shares are equal; independent pairs only."""
    discordant, smaller = only_candidate + only_production, min(only_candidate, only_production)
    if discordant == 0:
        return 1.0, 1.0
    tail, point = critical.fair_tail(smaller, discordant)
    return min(1.0, 2 * tail), min(1.0, 2 * tail - point)


def paired_difference(
    candidate: Bools,
    production: Bools,
    clusters: Ints,
    *,
    metric: str = "difference",
    level: float = 0.95,
    looks: Looks = ONE_LOOK,
) -> Estimate:
    """Candidate's share minus production's over the same rows.

    For one look Tango's interval, on effective counts when clustered: counts are scaled by n_eff / n before the
    interval is taken (see ``clusters.effective_n``), which keeps its width when no pair is discordant. For more looks
    a confidence sequence on the differences -1, 0, 1: by betting while conversations, or those with a discordant pair,
    are few, asymptotic after that, with one more of these in the variance than was seen.
    """
    n = len(candidate)
    if not n:
        return Estimate(metric=metric, value=None, level=level, method=TANGO)
    codes = cl.encode(clusters)
    b, c = int(np.sum(candidate & ~production)), int(np.sum(production & ~candidate))
    difference = candidate.astype(np.float64) - production
    effective = cl.effective_n(difference, codes, level=level)
    independent = cl.count(codes) == n
    extra = {"only_candidate": float(b), "only_production": float(c)}
    if independent:
        extra["mcnemar_exact_p"], extra["mcnemar_mid_p"] = mcnemar(b, c)
    variance = cl.covariance_of_means(difference, difference, codes)
    estimate = Estimate(
        metric=metric,
        value=(b - c) / n,
        level=level,
        looks=looks.name,
        n=n,
        n_clusters=cl.count(codes),
        n_effective=effective,
        method=TANGO if independent else TANGO_CLUSTERED,
        std_error=None if math.isnan(variance) else math.sqrt(variance),
        production=float(production.mean()),
        candidate=float(candidate.mean()),
        extra=extra,
    )
    if looks.name == "one":
        scale = effective / n
        low, high = tango(b * scale, c * scale, effective, level=level)
        return replace(estimate, low=low, high=high)
    return _sequence(estimate, difference, codes, variance, looks)


def _sequence(estimate: Estimate, difference: Floats, codes: Ints, variance: float, looks: Looks) -> Estimate:
    """The interval of a difference of shares at more than one look."""
    discordant = np.unique(codes[difference != 0]).size
    if estimate.n_clusters < 2:
        return replace(estimate, notes=("one cluster has no interval",))
    if discordant < _FEW_DISCORDANT or estimate.n_clusters < _LEAST_UNITS:
        low, high = means.bet(difference, codes, level=estimate.level, bounds=(-1.0, 1.0))
        return replace(estimate, low=low, high=high, method=means.BETTING)
    value = estimate.value or 0.0
    totals = cl.sums(difference, codes)
    # As large as those that were seen are on average, and one pair where they all cancel.
    one_more = float(np.mean(totals[totals != 0] ** 2)) if totals.any() else 1.0
    error = math.sqrt(variance + one_more / estimate.n**2)
    half = looks.multiplier(estimate.level, estimate.n_clusters) * error
    low, high = max(value - half, -1.0), min(value + half, 1.0)
    return replace(estimate, low=low, high=high, method=means.FAMILY[looks.name])
