"""Two arms that served different conversations: difference of shares and ratio of quantiles, at every look at once.

Either arm gets limits that hold at every look by themselves, and independent limits are joined by MOVER (Donner and
Zou 2012; for shares it is Newcombe's interval), as the paired ratio of quantiles is. That the joined limits hold at
every look too was simulated, not proved.
"""

import math

from harness.domain.estimate import Estimate
from harness.stats import mixtures, quantiles
from harness.stats.evidence import Floats, Ints
from harness.stats.looks import AnyLook

SHARES = "bernoulli-cs-mover"
QUANTILES = "order-statistics-mover-unpaired"


def share_difference(
    candidate: tuple[int, int],
    control: tuple[int, int],
    *,
    metric: str = "error_rate_difference",
    level: float = 0.95,
    t_opt: float = 3_000.0,
) -> Estimate:
    """Candidate's less control's share, of ``(count, units)`` each; exact limits per arm, so few units do no harm.

    The value is ``None`` where an arm has no unit.

    Raises:
        ValueError: a count is negative or larger than its units.
    """
    (k, n), (j, m) = candidate, control
    if not (0 <= k <= n and 0 <= j <= m):
        raise ValueError(f"{k} of {n} and {j} of {m} are no shares")
    if not (n and m):
        return Estimate(metric=metric, value=None, level=level, looks="any", method=SHARES)
    alpha = (1 - level) / 2
    low_c, high_c = _share_limits(k, n, alpha, t_opt)
    low_p, high_p = _share_limits(j, m, alpha, t_opt)
    p, q = k / n, j / m
    return Estimate(
        metric=metric,
        value=p - q,
        low=max(p - q - math.hypot(p - low_c, high_p - q), -1.0),
        high=min(p - q + math.hypot(high_c - p, q - low_p), 1.0),
        level=level,
        looks="any",
        n=n + m,
        n_clusters=n + m,
        method=SHARES,
        production=q,
        candidate=p,
        extra={"count": float(k), "count_control": float(j)},
    )


def quantile_ratio(
    candidate: tuple[Floats, Ints],
    control: tuple[Floats, Ints],
    probability: float,
    *,
    metric: str = "latency_p95_ratio",
    level: float = 0.95,
    t_opt: float = 3_000.0,
) -> Estimate:
    """Candidate's quantile over the control's, of ``(values, clusters)`` each; +inf is a failure, NaN is missing.

    A bound is ``None`` when an order statistic it needs lies beyond the sample or is a failure, and the value is when
    a quantile is itself a failure.
    """
    looks = AnyLook(t_opt=t_opt)
    top, base = (
        quantiles.quantile(values, clusters, probability, level=level, looks=looks)
        for values, clusters in (candidate, control)
    )
    n = top.n + base.n
    missing = top.n_missing + base.n_missing
    if not (_usable(top.value) and _usable(base.value)):
        return Estimate(metric=metric, value=None, level=level, looks="any", n=n, n_missing=missing, method=QUANTILES)
    centre = _log(top.value) - _log(base.value)
    below = math.hypot(_log(top.value) - _log(top.low), _log(base.high) - _log(base.value))
    above = math.hypot(_log(top.high) - _log(top.value), _log(base.value) - _log(base.low))
    return Estimate(
        metric=metric,
        value=math.exp(centre),
        low=math.exp(centre - below) if math.isfinite(below) else None,
        high=math.exp(centre + above) if math.isfinite(above) else None,
        level=level,
        looks="any",
        n=n,
        n_clusters=top.n_clusters + base.n_clusters,
        n_missing=missing,
        method=QUANTILES,
        production=base.value,
        candidate=top.value,
    )


def _share_limits(k: int, n: int, alpha: float, t_opt: float) -> tuple[float, float]:
    return (
        mixtures.bernoulli_lower(k, n, alpha=alpha, t_opt=t_opt),
        mixtures.bernoulli_upper(k, n, alpha=alpha, t_opt=t_opt),
    )


def _usable(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value > 0


def _log(value: float | None) -> float:
    """Infinite where nothing bounds it."""
    return math.log(value) if value is not None and value > 0 else math.inf
