"""Latency percentiles and their paired ratio from order statistics; a failed request is an infinite latency."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.domain.estimate import Estimate
from harness.stats import clusters as cl
from harness.stats import critical
from harness.stats.evidence import Floats, Ints
from harness.stats.looks import ONE_LOOK, Looks, one_look_level

ORDER_STATISTICS = "order-statistics"
MOVER = "order-statistics-mover"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Arm:
    """One arm's quantile with its limits, in the unit of the data, and the rows above it."""

    value: float
    low: float
    """0 when nothing bounds it below."""
    high: float
    above: Floats
    n_effective: float


def min_n(probability: float, *, level: float) -> int:
    """Independent rows below which the upper limit of a quantile is infinite: 72 for P95, 368 for P99 at 0.95."""
    return math.ceil(math.log((1 - level) / 2) / math.log(probability))


def quantile(
    values: Floats,
    clusters: Ints,
    probability: float,
    *,
    metric: str = "quantile",
    level: float = 0.95,
    looks: Looks = ONE_LOOK,
) -> Estimate:
    """Quantile by nearest rank with an order-statistic interval; +inf is a failure, NaN is missing.

    The interval's ranks are exact binomial limits on the effective sample size (Woodruff); for more than one look
    they are those of the one-look level that is as wide as ``looks`` asks for, which is nearly the beta-binomial
    quantile sequence of Howard and Ramdas. ``high`` is ``None`` when the rank lies beyond the sample.
    """
    known = ~np.isnan(values)
    x, codes = values[known], cl.encode(clusters[known])
    missing = int(len(values) - len(x))
    if not len(x):
        return Estimate(metric=metric, value=None, level=level, n_missing=missing, method=ORDER_STATISTICS)
    stricter = one_look_level(looks, level, cl.count(codes))
    arm = _arm(x, codes, probability, stricter)
    return Estimate(
        metric=metric,
        value=arm.value,
        low=arm.low,
        high=None if math.isinf(arm.high) else arm.high,
        level=level,
        looks=looks.name,
        n=len(x),
        n_clusters=cl.count(codes),
        n_effective=arm.n_effective,
        n_missing=missing,
        method=ORDER_STATISTICS,
        extra=_extra(x, arm, probability, stricter),
    )


def quantile_ratio(
    candidate: Floats,
    production: Floats,
    clusters: Ints,
    probability: float,
    *,
    metric: str = "quantile_ratio",
    level: float = 0.95,
    looks: Looks = ONE_LOOK,
) -> Estimate:
    """Candidate's quantile over production's: order-statistic limits joined by MOVER with the paired correlation.

    Rows where either side is NaN are missing; +inf is a failed request and is never dropped. The combination is made on
    the log scale with the correlation of being above one's own quantile, so that pairing narrows it. A bound is
    ``None`` when an order statistic it needs lies beyond the sample or is a failure. Where production fails so often
    that its own quantile is infinite the ratio is 0, and unknown when the candidate's is infinite too.
    """
    known = ~(np.isnan(candidate) | np.isnan(production) | (candidate <= 0) | (production <= 0))
    c, p, codes = candidate[known], production[known], cl.encode(clusters[known])
    missing = int(len(candidate) - len(c))
    if not len(c):
        return Estimate(metric=metric, value=None, level=level, n_missing=missing, method=MOVER)
    stricter = one_look_level(looks, level, cl.count(codes))
    top, base = _arm(c, codes, probability, stricter), _arm(p, codes, probability, stricter)
    correlation = _correlation(top.above, base.above, codes)
    value: float | None = top.value / base.value
    if math.isinf(base.value):
        value = None if math.isinf(top.value) else 0.0
    if math.isinf(top.value) or math.isinf(base.value):
        low, high = _union(c, p, codes, probability, stricter)
    else:
        low, high = _mover(top, base, correlation)
    notes: tuple[str, ...] = tuple(
        f"{np.isinf(x).mean():.1%} of {whose} requests failed, so this percentile is infinite"
        for whose, arm, x in (("the candidate's", top, c), ("production's", base, p))
        if math.isinf(arm.value)
    )
    return Estimate(
        metric=metric,
        value=value,
        low=low if value is not None else None,
        high=high if value is not None else None,
        level=level,
        looks=looks.name,
        n=len(c),
        n_clusters=cl.count(codes),
        n_effective=min(top.n_effective, base.n_effective),
        n_missing=missing,
        method=MOVER,
        production=base.value,
        candidate=top.value,
        notes=notes,
        extra=_extra(c, top, probability, stricter) | {"correlation": correlation},
    )


def _mover(top: _Arm, base: _Arm, correlation: float) -> tuple[float | None, float | None]:
    """Limits of the ratio; ``None`` where nothing bounds it."""

    def spread(a: float, b: float) -> float:
        return math.sqrt(max(a * a + b * b - 2 * correlation * a * b, 0.0))

    centre = math.log(top.value) - math.log(base.value)
    low = high = None
    if top.low > 0 and math.isfinite(base.high):
        down = spread(math.log(top.value) - math.log(top.low), math.log(base.high) - math.log(base.value))
        low = math.exp(centre - down)
    if math.isfinite(top.high) and base.low > 0:
        up = spread(math.log(top.high) - math.log(top.value), math.log(base.value) - math.log(base.low))
        high = math.exp(centre + up)
    return low, high


def _union(
    candidate: Floats, production: Floats, codes: Ints, probability: float, level: float
) -> tuple[float | None, float | None]:
    """Limits that hold under any dependence, for a quantile that is itself infinite: half of alpha to each arm."""
    stricter = 1 - (1 - level) / 2
    top, base = _arm(candidate, codes, probability, stricter), _arm(production, codes, probability, stricter)
    low = top.low / base.high if math.isfinite(top.low) and math.isfinite(base.high) else None
    high = top.high / base.low if math.isfinite(top.high) and 0 < base.low < math.inf else None
    if math.isinf(top.low) and math.isfinite(base.high):
        low = math.inf
    if math.isfinite(top.high) and math.isinf(base.low):
        high = 0.0
    return low, high


def _arm(values: Floats, codes: Ints, probability: float, level: float) -> _Arm:
    ordered = np.sort(values)
    n = len(ordered)
    value = float(ordered[max(math.ceil(probability * n - 1e-9), 1) - 1])
    above = (values > value).astype(np.float64)
    exact = cl.effective_n(above, codes, level=level)
    effective = max(math.floor(exact + 1e-9), 1)
    lower, upper = _limits(effective, probability, level)
    low = 0.0 if lower < 1 else float(ordered[_rank(lower, n, effective) - 1])
    high = math.inf if upper > effective else float(ordered[_rank(upper, n, effective) - 1])
    return _Arm(value=value, low=low, high=high, above=above, n_effective=exact)


@lru_cache(maxsize=256)
def _limits(n: int, probability: float, level: float) -> tuple[int, int]:
    """Ranks among ``n`` rows: the largest k with P(Bin < k) <= alpha/2, the smallest with P(Bin >= k) <= alpha/2."""
    return (
        critical.binomial_quantile((1 - level) / 2, n, probability),
        critical.binomial_quantile((1 + level) / 2, n, probability) + 1,
    )


def _rank(rank: int, n: int, effective: int) -> int:
    """Rank among ``n`` rows that stands where ``rank`` stands among ``effective``."""
    return min(max(math.ceil(rank * n / effective - 1e-9), 1), n)


def _correlation(left: Floats, right: Floats, codes: Ints) -> float:
    """Correlation of two indicators by cluster sums; 0 when one of them never varies."""
    a, b = cl.sums(left - left.mean(), codes), cl.sums(right - right.mean(), codes)
    scale = math.sqrt(float(np.sum(a * a)) * float(np.sum(b * b)))
    return min(max(float(np.sum(a * b)) / scale, -1.0), 1.0) if scale > 0 else 0.0


def _extra(values: Floats, arm: _Arm, probability: float, level: float) -> dict[str, float]:
    return {
        "n_infinite": float(np.isinf(values).sum()),
        "n_min": min_n(probability, level=level) * len(values) / max(arm.n_effective, 1.0),
    }
