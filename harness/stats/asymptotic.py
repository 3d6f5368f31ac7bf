"""Asymptotic confidence sequences: intervals of a mean that hold at every look at once.

Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, arXiv 2103.06476. They stand on the central limit theorem, as
normal intervals do, and estimate the running average of the mean, also while it drifts.
"""

import math

import numpy as np

from harness.stats import mixtures
from harness.stats.evidence import Floats
from harness.stats.mixtures import FloatLike, Sides


def rho(*, alpha: float, t_opt: float, sides: Sides = 1) -> float:
    """The paper's tuning parameter, which makes the sequence narrowest near ``t_opt`` observations."""
    return 1 / math.sqrt(mixtures.best_rho(t_opt, alpha=alpha, sides=sides))


def multiplier(n: FloatLike, *, alpha: float, t_opt: float, sides: Sides = 1) -> FloatLike:
    """What stands in for the normal quantile when one looks all the time: half width = sd * multiplier / sqrt(n).

    Nearly flat in n around ``t_opt``: 2.8 to 3.3 where the one-sided normal quantile is 1.645. ``n`` may be an
    effective sample size; without observations it is infinite. For one ``t_opt`` a smaller alpha gives a larger
    multiplier at every n as long as alpha is 0.05 or less.
    """
    r2 = rho(alpha=alpha, t_opt=t_opt, sides=sides) ** 2
    x = np.maximum(np.asarray(n, dtype=np.float64), 0.0) * r2
    grown = np.sqrt(x + 1)
    log_term = np.log(grown / alpha) if sides == 2 else np.log1p(grown / (2 * alpha))
    with np.errstate(divide="ignore"):
        return mixtures.like(np.sqrt(2 * (x + 1) / x * log_term), n)


def half_width(n: FloatLike, sd: float | Floats, *, alpha: float, t_opt: float, sides: Sides = 1) -> FloatLike:
    """Distance from the mean of ``n`` observations with standard deviation ``sd`` to the end of the sequence.

    Infinite while no variance has been seen: equal values say nothing about their spread.
    """
    size, spread = np.maximum(np.asarray(n, dtype=np.float64), 0.0), np.asarray(sd, dtype=np.float64)
    z = multiplier(size, alpha=alpha, t_opt=t_opt, sides=sides)
    with np.errstate(divide="ignore"):
        width = spread * z / np.sqrt(size)
    return mixtures.like(np.where(spread > 0, width, np.inf), n)


def log_e_value(
    total: FloatLike, n: float | Floats, sd: float | Floats, *, mean: float, alpha: float, t_opt: float
) -> FloatLike:
    """Log e-value of ``n`` observations that sum to ``total`` against a mean of at most ``mean``.

    It reaches ln(1/alpha) slightly before the one-sided :func:`half_width` excludes ``mean``, whose closed form is
    rounded up. Zero, which is no evidence, while no variance has been seen.
    """
    size, spread = np.asarray(n, dtype=np.float64), np.asarray(sd, dtype=np.float64)
    seen = spread > 0
    centred = np.asarray(total, dtype=np.float64) - size * mean
    standard = np.where(seen, centred / np.where(seen, spread, 1.0), 0.0)
    precision = mixtures.best_rho(t_opt, alpha=alpha)
    log_e = mixtures.normal_log_e(standard, size, rho=precision)
    return mixtures.like(np.where(seen, log_e, 0.0), total)
