"""Rows of one conversation are not independent: cluster sums, design effect and effective sample size."""

from typing import Any

import numpy as np

from harness.stats import critical
from harness.stats.evidence import Floats, Ints

FEW = 10
"""Below this many informative clusters a design effect cannot be estimated and the worst case is assumed."""
_DENSE = 8
"""Codes up to this many times the number of rows are told apart by a table instead of by sorting."""


def encode(clusters: Any) -> Ints:
    """Cluster names or codes as 0..J-1, in the order of the names; any array of hashable values."""
    names = np.asarray(clusters)
    if names.size and names.dtype.kind == "i" and names.min() >= 0 and names.max() < _DENSE * names.size:
        # What the store gives are codes already: closing their gaps needs no sorting.
        there = np.zeros(int(names.max()) + 1, dtype=np.bool_)
        there[names] = True
        if there.all():
            return names.astype(np.int64)
        return np.asarray(np.cumsum(there)[names] - 1, dtype=np.int64)
    codes: Ints = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return codes


def sums(values: Floats, codes: Ints) -> Floats:
    """Sum of ``values`` per cluster; ``codes`` as :func:`encode` gives them."""
    return np.asarray(np.bincount(codes, weights=values), dtype=np.float64)


def count(codes: Ints) -> int:
    """Number of clusters."""
    return int(codes.max()) + 1 if codes.size else 0


def covariance_of_means(left: Floats, right: Floats, codes: Ints) -> float:
    """Covariance of two sample means over the same rows by cluster-sum linearisation.

    With one row per cluster it is the ordinary covariance (ddof 1) over n; NaN below two clusters.
    """
    clusters = count(codes)
    if clusters < 2:
        return float("nan")
    psi_left, psi_right = sums(left - left.mean(), codes), sums(right - right.mean(), codes)
    return float(clusters / (clusters - 1) * np.sum(psi_left * psi_right) / len(left) ** 2)


def deviating(values: Floats, codes: Ints) -> int:
    """Number of clusters in which any row differs from the most common value."""
    differs = values != _most_common(values) if values.size else np.zeros(0, dtype=np.bool_)
    return int(np.count_nonzero(np.bincount(codes[differs]))) if differs.any() else 0


def _most_common(values: Floats) -> float:
    """The smallest of the most frequent values; of no more than two distinct ones without sorting them."""
    low, high = values.min(), values.max()
    lows, highs = np.count_nonzero(values == low), np.count_nonzero(values == high)
    if low == high or lows + highs == values.size:
        return float(low if lows >= highs else high)
    distinct, counts = np.unique(values, return_counts=True)
    return float(distinct[counts.argmax()])


def design_effect(values: Floats, codes: Ints) -> float:
    """How many times larger the variance of the mean is than with independent rows; NaN without variance.

    Exactly 1 with one row per cluster, exactly m when every row is repeated m times inside its cluster.
    """
    centred = values - values.mean() if values.size else values
    independent = float(np.sum(centred**2))
    if independent == 0.0:
        return float("nan")
    return float(np.sum(sums(centred, codes) ** 2) / independent)


def worst_case_n(codes: Ints) -> float:
    """Effective rows when all rows of a cluster say the same: n^2 / sum of squared cluster sizes (Kish)."""
    sizes = np.bincount(codes)
    return float(codes.size**2 / np.sum(sizes.astype(np.float64) ** 2)) if codes.size else 0.0


def effective_n(values: Floats, codes: Ints, *, level: float) -> float:
    """Independent rows that would carry the same information about the mean of ``values``.

    ``n / DEFF``, at most n. Fewer than FEW informative clusters say nothing about the design effect, so the
    worst case is taken. Where the estimate promises more than the worst case it is discounted by (z/t)^2 with
    J-1 degrees of freedom (Korn and Graubard 1998), since it rests on J clusters only.
    """
    n, clusters, worst = len(values), count(codes), worst_case_n(codes)
    if clusters == n or clusters < 2:
        return worst
    if deviating(values, codes) < FEW:
        return worst
    effective = n / max(design_effect(values, codes), 1.0)
    if effective > worst:
        discount = (critical.normal(level) / critical.student(level, clusters - 1)) ** 2
        effective = max(worst, effective * discount)
    return effective
