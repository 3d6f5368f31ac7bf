"""Many questions at once: slices, candidates, attempts. NaN is a question without data and does not count as asked."""

import math
from dataclasses import dataclass

import numpy as np

from harness.stats.evidence import Bools, Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Adjusted:
    """p-values corrected for their number, in the order given."""

    p: Floats
    """Reject at any level by comparing with it directly; NaN without data."""
    rejected: Bools


def benjamini_hochberg(p: Floats, *, q: float = 0.10) -> Adjusted:
    """At most a share ``q`` of the rejected are false on average (Benjamini and Hochberg 1995); for exploring slices.

    Holds for independent p-values and the usual positive dependence, looked at once.
    """
    from scipy.stats import false_discovery_control

    asked = np.isfinite(p)
    adjusted = np.full(len(p), np.nan)
    if asked.any():
        adjusted[asked] = false_discovery_control(p[asked], method="bh")
    return Adjusted(p=adjusted, rejected=np.asarray(adjusted <= q, dtype=np.bool_))


def holm(p: Floats, *, alpha: float = 0.05) -> Adjusted:
    """Any false rejection has at most probability ``alpha``, under any dependence (Holm 1979); for gating slices."""
    asked = np.flatnonzero(np.isfinite(p))
    order = asked[np.argsort(p[asked], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1.0) if len(order) else 0.0
    return Adjusted(p=adjusted, rejected=np.asarray(adjusted <= alpha, dtype=np.bool_))


def e_benjamini_hochberg(e: Floats, *, q: float = 0.10) -> Bools:
    """Which e-values to reject so that at most a share ``q`` of them is false on average (Wang and Ramdas 2022).

    The k largest, for the largest k with k e_(k) / m >= 1/q. Valid under any dependence and at any time, if the
    e-values are.
    """
    asked = np.flatnonzero(~np.isnan(e))
    order = asked[np.argsort(-e[asked], kind="stable")]
    ranks = np.arange(1, len(order) + 1)
    enough = np.flatnonzero(ranks * e[order] >= len(order) / q)
    rejected = np.zeros(len(e), dtype=np.bool_)
    if enough.size:
        rejected[order[: enough[-1] + 1]] = True
    return rejected


def spent(attempt: int, *, alpha: float = 0.05) -> float:
    """The alpha of the ``attempt``-th try of one family of candidates, from 1: alpha 6 / (pi^2 j^2).

    All of them together stay below ``alpha``; without it, trying again until it passes always succeeds in the end.

    Raises:
        ValueError: attempts are counted from 1.
    """
    if attempt < 1:
        raise ValueError(f"attempts are counted from 1, not {attempt}")
    return alpha * 6 / (math.pi**2 * attempt**2)
