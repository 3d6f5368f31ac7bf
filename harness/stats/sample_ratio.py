"""Sample ratio mismatch: whether counts came out in the shares they were meant to have."""

import numpy as np
from numpy.typing import ArrayLike

from harness.stats.evidence import Floats


def chi_square(counts: ArrayLike, shares: ArrayLike) -> float:
    """P-value of the counts under the shares, for one look; alarms are usual below 0.001.

    ``shares`` are relative weights and need not sum to one.

    Raises:
        ValueError: the two differ in length, a count is negative or a share is not positive.
    """
    from scipy.special import chdtrc

    observed, theta = _checked(counts, shares)
    expected = observed.sum() * theta
    if not observed.sum():
        return 1.0
    return float(chdtrc(len(theta) - 1, np.sum((observed - expected) ** 2 / expected)))


def log_e(counts: ArrayLike, shares: ArrayLike, *, concentration: float = 100.0) -> Floats:
    """Log e-value against the shares that holds at every look: multinomial over its Dirichlet mixture.

    ``concentration`` is that of the mixture around ``shares``; hundreds find small mismatches sooner, 1 gross ones.
    Arms are the last axis of ``counts``, so that cumulative counts of many looks can be given at once. Exact for
    independent assignments (Lindon and Malek 2022).

    Raises:
        ValueError: as :func:`chi_square`, or ``concentration`` is not positive.
    """
    from scipy.special import gammaln

    observed, theta = _checked(counts, shares)
    if concentration <= 0:
        raise ValueError(f"concentration={concentration} is not positive")
    prior = concentration * theta
    arms = gammaln(prior + observed) - gammaln(prior) - observed * np.log(theta)
    total = gammaln(concentration + observed.sum(axis=-1)) - gammaln(concentration)
    return np.asarray(arms.sum(axis=-1) - total, dtype=np.float64)


def _checked(counts: ArrayLike, shares: ArrayLike) -> tuple[Floats, Floats]:
    observed, theta = np.asarray(counts, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    if theta.ndim != 1 or observed.shape[-1:] != theta.shape:
        raise ValueError(f"counts {observed.shape} do not match {theta.size} shares")
    if np.any(observed < 0) or not np.all(theta > 0):
        raise ValueError("counts must not be negative and shares must be positive")
    return observed, theta / theta.sum()
