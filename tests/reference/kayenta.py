"""The canary judge of Kayenta: Mann-Whitney interval of the Hodges-Lehmann shift, and its three classes."""

import math

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, rankdata


def mann_whitney(experiment: list[float], control: list[float], *, level: float = 0.95) -> tuple[float, float, float]:
    """Limits and estimate of the shift, as R's asymptotic wilcox.test with continuity correction gives them."""
    x, y = np.asarray(experiment, dtype=float), np.asarray(control, dtype=float)
    least, most = x.min() - y.max(), x.max() - y.min()

    def standardised(shift: float) -> float:
        ranks = rankdata(np.concatenate([x - shift, y]))
        ties = np.unique(ranks, return_counts=True)[1]
        n = len(x) + len(y)
        gap = ranks[: len(x)].sum() - len(x) * (len(x) + 1) / 2 - len(x) * len(y) / 2
        variance = len(x) * len(y) / 12 * (n + 1 - np.sum(ties**3 - ties) / (n * (n - 1)))
        return (gap - 0.5 * np.sign(gap)) / math.sqrt(variance)

    def root(z: float) -> float:
        if standardised(least) - z <= 0:
            return least
        if standardised(most) - z >= 0:
            return most
        return brentq(lambda shift: standardised(shift) - z, least, most, xtol=1e-4)

    z = norm.ppf(0.5 + level / 2)
    return root(z), root(-z), root(0.0)


def classify(experiment: list[float], control: list[float], *, tolerance: float = 0.25, level: float = 0.98) -> str:
    """High or Low when the whole interval is beyond a part of the estimate itself, else Pass."""
    low, high, estimate = mann_whitney(experiment, control, level=level)
    if low > tolerance * abs(estimate):
        return "High"
    return "Low" if high < -tolerance * abs(estimate) else "Pass"
