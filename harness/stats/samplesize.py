"""How many pairs would probably settle an undecided criterion."""

import math

from harness.domain.estimate import Estimate

_TOO_MANY = 1e9
_SEQUENCE = 2.8
"""Standard errors at which an asymptotic confidence sequence stands near its best, one-sided at 0.05."""
_LEAST = 100


def n_needed(estimate: Estimate, threshold: float, *, log_scale: bool = False) -> int | None:
    """Pairs in all at which the interval would just stop straddling ``threshold``, if the value stays where it is.

    n* = n (h / d)^2 with h the half width towards the threshold and d the distance of the value from it, both on the
    log scale for ratios: widths shrink with the square root of n. ``None`` when the value is on the threshold, or
    nothing can be projected. An infinite bound of a percentile needs ``extra["n_min"]`` pairs to become finite at all.
    """
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or not math.isfinite(value) or not estimate.n or value == threshold:
        return None
    if estimate.looks == "any" and estimate.std_error and not log_scale and estimate.n_clusters < _LEAST:
        # The bounds of a betting sequence on few pairs are far wider than those that will be used by then.
        projected = estimate.n * (_SEQUENCE * estimate.std_error / (value - threshold)) ** 2
        least = _LEAST * estimate.n / estimate.n_clusters
        return max(math.ceil(projected), math.ceil(least)) if projected < _TOO_MANY else None
    side = high if value < threshold else low
    if side is None or not math.isfinite(side):
        least = math.ceil(estimate.extra.get("n_min", 0.0))
        return least if least > estimate.n else None
    if log_scale:
        if min(value, threshold, side) <= 0:
            return None
        value, threshold, side = math.log(value), math.log(threshold), math.log(side)
    projected = estimate.n * ((side - value) / (value - threshold)) ** 2
    return max(math.ceil(projected * (1 - 1e-9)), estimate.n + 1) if projected < _TOO_MANY else None
