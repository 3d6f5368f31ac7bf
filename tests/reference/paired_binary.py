"""Textbook intervals and tests for paired shares that the product does not use (Fagerland, Lydersen, Laake 2014)."""

import math

from scipy.stats import chi2, norm

from harness.stats import proportions


def wald(b: int, c: int, n: int) -> tuple[float, float]:
    d, half = (b - c) / n, norm.ppf(0.975) * math.sqrt(b + c - (b - c) ** 2 / n) / n
    return d - half, d + half


def newcombe(a: int, b: int, c: int, d: int) -> tuple[float, float]:
    """Square-and-add of two Wilson intervals for the table [[a, b], [c, d]].

    The paired correlation is moved towards zero by half an observation (Newcombe 1998, method 10).
    """
    n = a + b + c + d
    first, second = (a + b) / n, (a + c) / n
    (l1, u1), (l2, u2) = proportions.wilson(a + b, n), proportions.wilson(a + c, n)
    product = a * d - b * c
    corrected = max(product - n / 2, 0.0) if product > 0 else product
    correlation = corrected / math.sqrt((a + b) * (c + d) * (a + c) * (b + d))

    def spread(x: float, y: float) -> float:
        return math.sqrt(x * x + y * y - 2 * correlation * x * y)

    return first - second - spread(first - l1, u2 - second), first - second + spread(u1 - first, second - l2)


def mcnemar_asymptotic(b: int, c: int, *, correction: float = 0.0) -> float:
    return float(chi2.sf((abs(b - c) - correction) ** 2 / (b + c), 1))
