"""Exact tests and bounds that hold at every look at once: normal and beta-binomial mixtures (Howard et al. 2021).

An e-value is the wealth of a bet against a null hypothesis: under it the chance of ever reaching 1/alpha is at most
alpha, however often one looks. It is given as its natural logarithm, ``log_e``.
"""

import math
import sys
from typing import Any, Literal, TypeAlias, TypeVar, cast

import numpy as np

from harness.stats.evidence import Floats

Sides: TypeAlias = Literal[1, 2]
FloatLike = TypeVar("FloatLike", float, Floats)

_LEAST_CONCENTRATION = 1e-3
_SMALLEST_SHARE = 1e-9
"""Bounds below this part of the observed share are reported as 0."""
_LEAST_BETAINC = 1e-280
_FRACTION_TERMS = 4


def p_value(log_e: FloatLike) -> FloatLike:
    """Anytime-valid p-value of an e-value: min(1, 1/E)."""
    return like(np.exp(-np.maximum(log_e, 0.0)), log_e)


def best_rho(v_opt: float, *, alpha: float, sides: Sides = 1) -> float:
    """Mixing precision that makes the boundary tightest near the variance ``v_opt``; it affects width only.

    v / (2 ln(1/a) + ln(1 + 2 ln(1/a))) with a = alpha, or 2 alpha when one-sided (Howard et al. 2021, eq. 3.9).

    Raises:
        ValueError: alpha is not in (0, 1), one-sided (0, 0.5), or ``v_opt`` is not positive.
    """
    tail = alpha if sides == 2 else 2 * alpha
    if not (0 < tail < 1 and v_opt > 0):
        raise ValueError(f"alpha={alpha} with {sides} sides and v_opt={v_opt}: no such boundary")
    log_inverse = -math.log(tail)
    return v_opt / (2 * log_inverse + math.log1p(2 * log_inverse))


def normal_log_e(total: FloatLike, variance: float | Floats, *, rho: float, sides: Sides = 1) -> FloatLike:
    """Log e-value of a centred sum with accumulated variance against mean zero, or at most zero when one-sided.

    Normal, or half-normal, mixture over effects with precision ``rho``. Exact for sub-Gaussian sums whose variance is
    known.
    """
    from scipy.special import log_ndtr

    s, scale = np.asarray(total, dtype=np.float64), np.asarray(variance, dtype=np.float64) + rho
    log_e = 0.5 * np.log(rho / scale) + s * s / (2 * scale)
    if sides == 1:
        log_e = log_e + math.log(2) + log_ndtr(s / np.sqrt(scale))
    return like(log_e, total)


def normal_bound(variance: float, *, alpha: float, rho: float, sides: Sides = 1) -> float:
    """Smallest centred sum whose e-value reaches 1/alpha."""
    from scipy.optimize import brentq

    threshold = -math.log(alpha)
    two_sided = math.sqrt((variance + rho) * (math.log1p(variance / rho) + 2 * threshold))
    if sides == 2:
        return two_sided
    # The half-normal mixture puts twice the weight above zero, so its boundary lies below the two-sided one.
    return float(brentq(lambda s: normal_log_e(s, variance, rho=rho) - threshold, 0.0, two_sided, xtol=1e-12))


def concentration(t_opt: float, *, alpha: float, sides: Sides = 1) -> float:
    """Prior observations of the beta mixture that make its boundary tightest near ``t_opt`` observations."""
    return max(best_rho(t_opt, alpha=alpha, sides=sides) - 1, _LEAST_CONCENTRATION)


def bernoulli_log_e(
    successes: FloatLike, n: float | Floats, *, share: float, concentration: float, sides: Sides = 1
) -> FloatLike:
    """Log e-value against a share of ``share`` (two-sided) or at most ``share`` (one-sided).

    The likelihood ratio against a Beta mixture of mean ``share``, cut at ``share`` when one-sided: the beta-binomial
    mixture of Howard et al. 2021, Prop. 7, for g = share and h = 1 - share. Exact for any scores in [0, 1], so
    ``successes`` may be fractional. For a share that varies in time ``share`` is the highest it may have been.
    """
    from scipy.special import betaln

    k, size = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    prior_failures, prior_successes = (1 - share) * concentration, share * concentration
    failures = size - k
    log_e = (
        betaln(failures + prior_failures, k + prior_successes)
        - betaln(prior_failures, prior_successes)
        - k * math.log(share)
        - failures * math.log1p(-share)
    )
    if sides == 1:
        prior = _log_betainc(np.asarray(prior_failures), np.asarray(prior_successes), 1 - share)
        log_e = log_e + _log_betainc(failures + prior_failures, k + prior_successes, 1 - share) - prior
    return like(log_e, successes)


def bernoulli_interval(successes: float, n: float, *, alpha: float, t_opt: float) -> tuple[float, float]:
    """Interval of a share that holds at every look, with the chance ``alpha`` of ever missing on either side."""
    prior = concentration(t_opt, alpha=alpha, sides=2)
    low = _least_share(successes, n, alpha=alpha, prior=prior, sides=2)
    return low, 1 - _least_share(n - successes, n, alpha=alpha, prior=prior, sides=2)


def bernoulli_lower(successes: float, n: float, *, alpha: float, t_opt: float) -> float:
    """Lower bound of a share that holds at every look; ``alpha`` is one-sided, ``successes`` may be fractional.

    Exact for independent observations in [0, 1]. With effective counts of clusters it is an approximation.
    """
    return _least_share(successes, n, alpha=alpha, prior=concentration(t_opt, alpha=alpha), sides=1)


def bernoulli_upper(successes: float, n: float, *, alpha: float, t_opt: float) -> float:
    """Upper bound of a share that holds at every look: :func:`bernoulli_lower` of the failures, turned round."""
    return 1 - bernoulli_lower(n - successes, n, alpha=alpha, t_opt=t_opt)


def sign_test_log_e(wins: FloatLike, losses: float | Floats, *, alpha: float, t_opt: float) -> FloatLike:
    """Log e-value of the sequential sign test against "no more wins than losses"; ties are left out.

    Exact at every look for independent pairs. ``t_opt`` counts decided pairs; it and ``alpha`` choose where the test
    is strongest, not whether it holds.
    """
    prior = concentration(t_opt, alpha=alpha)
    won = np.asarray(wins, dtype=np.float64)
    return like(bernoulli_log_e(won, won + losses, share=0.5, concentration=prior), wins)


def like(result: Any, given: FloatLike) -> FloatLike:
    """``result`` as a float when a float was given."""
    return cast("FloatLike", np.asarray(result, dtype=np.float64) if np.ndim(given) else float(result))


def _least_share(successes: float, n: float, *, alpha: float, prior: float, sides: Sides) -> float:
    """Lowest share that is not rejected; the e-value falls steadily up to the observed share, so there is one root."""
    from scipy.optimize import brentq

    if n <= 0 or successes <= 0:
        return 0.0
    k = min(successes, n)

    def excess(share: float) -> float:
        return bernoulli_log_e(k, n, share=share, concentration=prior, sides=sides) + math.log(alpha)

    observed = min(k / n, 1 - 1e-12)
    smallest = observed * _SMALLEST_SHARE
    # Below the smallest float the logarithms are gone; nothing can be told from a share of zero there.
    if smallest < sys.float_info.min or excess(smallest) < 0:
        return 0.0
    return float(brentq(excess, smallest, observed, xtol=1e-15, rtol=1e-12))


def _log_betainc(a: Floats, b: Floats, x: float) -> Floats:
    """Log of the regularised incomplete beta function, also far out where the function itself is zero in floats."""
    from scipy.special import betainc

    inside = np.asarray(betainc(a, b, x), dtype=np.float64)
    lost = inside < _LEAST_BETAINC
    log_inside = np.array(np.log(np.where(lost, 1.0, inside)), dtype=np.float64)
    if lost.any():
        log_inside[lost] = _log_betainc_tail(
            np.broadcast_to(a, lost.shape)[lost], np.broadcast_to(b, lost.shape)[lost], x
        )
    return log_inside


def _log_betainc_tail(a: Floats, b: Floats, x: float) -> Floats:
    """The same 35 standard deviations and more below the mean, where its continued fraction converges at once."""
    from scipy.special import betaln

    fraction = np.ones_like(a)
    for m in range(_FRACTION_TERMS, 0, -1):  # DLMF 8.17.22, from its end
        fraction = 1 - (a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)) / fraction
        fraction = 1 + m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)) / fraction
    fraction = 1 - (a + b) * x / (a + 1) / fraction
    leading = a * math.log(x) + b * math.log1p(-x) - np.log(a) - betaln(a, b)
    return np.asarray(leading - np.log(fraction), dtype=np.float64)
