"""Critical values, binomial probabilities and exact binomial bounds; scipy is loaded on first use.

From ``scipy.special`` alone: loading ``scipy.stats`` takes as long as deciding on 100,000 pairs.
"""

import math
from bisect import bisect_left


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


def binomial_quantile(level: float, n: int, probability: float) -> int:
    """The smallest k with P(Bin(n, probability) <= k) >= level."""
    from scipy.special import bdtr

    return bisect_left(range(n), level, key=lambda k: float(bdtr(k, n, probability)))


def fair_tail(successes: int, n: int) -> tuple[float, float]:
    """P(Bin(n, 1/2) <= successes) and P(Bin(n, 1/2) = successes)."""
    from scipy.special import bdtr, betaln

    # The binomial coefficient is 1 / ((n + 1) B(successes + 1, n - successes + 1)); beyond n = 1,029 it has no float.
    log_point = -math.log1p(n) - float(betaln(successes + 1, n - successes + 1)) - n * math.log(2)
    return float(bdtr(successes, n, 0.5)), math.exp(log_point)
