"""Uniform boundaries of Howard et al. (2021) and Howard and Ramdas (2022) that the product does not use.

Written from the papers with the parametrisation of the confseq package, so that its published constants can be
compared. They check the shared parts (mixing precision, beta-binomial mixture) from another side.
"""

import math

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import expit, gammainc, gammaincc, gammaln, logit, zeta

from harness.stats import mixtures


def _bound(log_e, v: float, alpha: float, highest: float = math.inf) -> float:
    """Smallest sum at which a mixture reaches 1/alpha; the largest possible sum when none does."""
    threshold, high = -math.log(alpha), min(v, highest)
    while log_e(high) < threshold:
        if high >= highest:
            return highest
        high = min(2 * high, highest)
    return brentq(lambda s: log_e(s) - threshold, 0.0, high, xtol=1e-10)


# Beta-binomial in the paper's terms: increments in [-g, h], variance process v


def beta_binomial_log(s: float, v: float, *, v_opt: float, g: float, h: float, alpha: float, sides: int) -> float:
    r = max(mixtures.best_rho(v_opt, alpha=alpha, sides=sides) - g * h, 1e-3 * g * h)
    n, share = v / (g * h), g / (g + h)
    return mixtures.bernoulli_log_e(n * share + s / (g + h), n, share=share, concentration=r / (g * h), sides=sides)


def beta_binomial_bound(v: float, *, v_opt: float, g: float, h: float, alpha: float, sides: int) -> float:
    def log_e(s: float) -> float:
        return beta_binomial_log(s, v, v_opt=v_opt, g=g, h=h, alpha=alpha, sides=sides)

    return _bound(log_e, v, alpha, highest=v / g)


# Sub-exponential and sub-Poisson mixtures


def gamma_exponential_log(s: float, v: float, *, v_opt: float, c: float, alpha: float) -> float:
    prior = mixtures.best_rho(v_opt, alpha=alpha) / c**2
    shape, rate = v / c**2 + prior, (c * s + v) / c**2 + prior
    leading = prior * math.log(prior) - gammaln(prior) - math.log(gammainc(prior, prior))
    return leading + gammaln(shape) + math.log(gammainc(shape, rate)) - shape * math.log(rate) + rate - prior


def gamma_exponential_bound(v: float, *, v_opt: float, c: float, alpha: float) -> float:
    return _bound(lambda s: gamma_exponential_log(s, v, v_opt=v_opt, c=c, alpha=alpha), v, alpha)


def gamma_poisson_log(s: float, v: float, *, v_opt: float, c: float, alpha: float) -> float:
    prior = mixtures.best_rho(v_opt, alpha=alpha) / c**2
    rate = v / c**2 + prior
    shape = s / c + rate
    leading = prior * math.log(prior) - gammaln(prior) - math.log(gammaincc(prior, prior))
    return leading + gammaln(shape) + math.log(gammaincc(shape, rate)) - shape * math.log(rate) + v / c**2


def gamma_poisson_bound(v: float, *, v_opt: float, c: float, alpha: float) -> float:
    return _bound(lambda s: gamma_poisson_log(s, v, v_opt=v_opt, c=c, alpha=alpha), v, alpha)


# Stitched boundaries


def _stitching_constants(eta: float) -> tuple[float, float]:
    return (eta**0.25 + eta**-0.25) / math.sqrt(2), (math.sqrt(eta) + 1) / 2


def poly_stitching_bound(
    v: float, *, alpha: float, v_min: float, c: float = 0.0, s: float = 1.4, eta: float = 2.0
) -> float:
    k1, k2 = _stitching_constants(eta)
    v = max(v, v_min)
    ell = s * math.log(math.log(eta * v / v_min)) + math.log(zeta(s) / (alpha * math.log(eta) ** s))
    return math.sqrt(k1**2 * v * ell + (k2 * c * ell) ** 2) + k2 * c * ell


def double_stitching_bound(
    p: float, t: float, *, alpha: float, t_opt: float, delta: float = 0.5, s: float = 1.4, eta: float = 2.0
) -> float:
    k1, k2 = _stitching_constants(eta)
    t = max(t, t_opt)
    r = p if p >= 0.5 else min(0.5, float(expit(logit(p) + 2 * delta * math.sqrt(t_opt * eta / t))))
    variance = r * (1 - r)
    j = math.sqrt(t / t_opt) * abs(logit(p)) / (2 * delta) + 1
    z = zeta(s)
    ell = s * math.log(math.log(eta * t / t_opt)) + s * math.log(j)
    ell += math.log(2 * z * (2 * z + 1) / (alpha * math.log(eta) ** s))
    skew = k2 * (1 - 2 * p) / 3 * ell
    return delta * math.sqrt(eta * t * variance / t_opt) + math.sqrt(k1**2 * variance * t * ell + skew**2) + skew


def empirical_process_lil_bound(t: float, *, alpha: float, t_min: float, a: float = 0.85) -> float:
    """Deviation of the whole empirical distribution function, at all times from ``t_min``."""

    def error(eta: float, c: float) -> float:
        gamma = 2 / eta * (a - math.sqrt(2 * (eta - 1) / c)) ** 2
        return math.inf if gamma <= 1 else 4 * math.exp(-gamma * c) * (1 + 1 / ((gamma - 1) * math.log(eta)))

    def least_error(c: float) -> float:
        highest = brentq(lambda eta: math.sqrt(eta / 2) + math.sqrt(2 * (eta - 1) / c) - a, 1.0, 2 * a * a)
        return minimize_scalar(error, args=(c,), bounds=(1 + 1e-9, highest - 1e-9), method="bounded",
                               options={"xatol": 1e-10}).fun  # fmt: skip

    c = brentq(lambda c: least_error(c) - alpha, 5.0, 50.0, xtol=1e-10)
    return a * math.sqrt((math.log1p(math.log(t / t_min)) + c) / t)


# Equality of a quantile in two arms


def quantile_ab_p_value(a: np.ndarray, b: np.ndarray, *, p: float, t_opt: float, alpha: float = 0.05) -> float:
    """Anytime-valid p-value that two arms have the same quantile.

    It multiplies the evidence of the two arms (Howard and Ramdas 2022, Theorem 5), which is right for INDEPENDENT
    arms only. Paired shadow data are not, so the product must not use it.
    """
    prior = mixtures.concentration(t_opt, alpha=alpha, sides=2)

    def log_e(share: float, n: int) -> float:
        return mixtures.bernoulli_log_e(share * n, float(n), share=p, concentration=prior, sides=2)

    def evidence(values: np.ndarray):
        n = len(values)
        best = minimize_scalar(log_e, args=(n,), bounds=(0, 1), method="bounded", options={"xatol": 1e-9}).x
        low, high = values[math.ceil(best * n) - 1], values[math.floor(best * n)]

        def at(x: float) -> float:
            if low <= x <= high:
                return log_e(best, n)
            return log_e(np.searchsorted(values, x, side="right" if x < low else "left") / n, n)

        return at

    a, b = np.sort(a), np.sort(b)
    first, second = evidence(a), evidence(b)
    # Evidence against a common quantile x only changes at observations.
    return min(1.0, math.exp(-min(first(x) + second(x) for x in np.union1d(a, b))))
