"""Critical values and exact binomial bounds; scipy is loaded on first use."""

import math


def normal(level: float) -> float:
    """Two-sided normal quantile: 1.96 at 0.95."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + level / 2))


def level_of(multiplier: float) -> float:
    """The level whose two-sided normal quantile is ``multiplier``: 0.95 for 1.96."""
    from scipy.special import ndtr

    return float(2 * ndtr(multiplier) - 1)


def student(level: float, degrees: int) -> float:
    """Two-sided t quantile; infinite without degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.5 + level / 2)) if degrees > 0 else math.inf


def exact_upper(successes: float, n: float, *, level: float) -> float:
    """Clopper-Pearson upper limit of a share at one-sided level ``(1 + level) / 2``; fractional counts allowed.

    With no success it is 1 - (alpha/2)^(1/n), the exact form of the rule of three.
    """
    from scipy.special import betaincinv

    if n <= 0 or successes >= n:
        return 1.0
    return float(betaincinv(successes + 1, n - successes, 0.5 + level / 2))
