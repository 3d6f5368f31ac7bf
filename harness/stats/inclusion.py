"""Chances of being drawn, for samples in which some rows teach more than others."""

from collections.abc import Mapping

import numpy as np

from harness.stats.evidence import Floats, Strings

UNIFORM_SHARE = 0.3
"""Part of the weight that does not depend on the score: no row's chance gets near zero, nor its inverse out of hand."""
RARE_SHARE = 0.05
"""A slice that holds less than this part of the rows is drawn as if it held this part ..."""
RARE_LIMIT = 3.0
"""... but its rows count at most this many times an average one."""


def inclusion_probabilities(weights: Floats, size: float) -> Floats:
    """Chances proportional to the weights, cut at 1, that add up to ``size``; all 1 when ``size`` takes in every row.

    A larger ``size`` lowers no chance. Weights have to be positive.
    """
    n = len(weights)
    if size >= n:
        return np.ones(n)
    ordered = np.sort(weights)[::-1]
    rest = np.cumsum(ordered[::-1])[::-1]
    # With the k largest cut at 1, the others share what is left; the first k for which none of them exceeds 1 is right.
    scales = (size - np.arange(n)) / rest
    k = int(np.argmax(ordered * scales <= 1.0))
    return np.asarray(np.minimum(1.0, weights * scales[k]), dtype=np.float64)


def uncertainty(score: Floats) -> Floats:
    """How unsure a judge is of each row: sqrt(p(1-p)) of its share; the mean of the others where unscored."""
    share = np.clip(score, 0.0, 1.0)
    unsure = np.sqrt(share * (1.0 - share))
    known = np.isfinite(unsure)
    return np.where(known, unsure, unsure[known].mean() if known.any() else 0.0)


def labelling_weights(score: Floats, slices: Mapping[str, Strings]) -> Floats:
    """What a label of each row is worth relative to an average one, which has 1.

    Proportional to the judge's uncertainty, which minimises the variance of a mean corrected by labels when the judge
    is calibrated (Zrnic and Candes 2024, active statistical inference), mixed with a uniform part; rows of rare slices
    count more.
    """
    unsure = uncertainty(score)
    mean = unsure.mean() if len(unsure) else 0.0
    weights = (1.0 - UNIFORM_SHARE) * unsure / mean + UNIFORM_SHARE if mean > 0 else np.ones(len(unsure))
    for values in slices.values():
        found, codes, counts = np.unique(values.astype(str), return_inverse=True, return_counts=True)
        share = counts[codes] / len(values)
        rare = (share < RARE_SHARE) & (found[codes] != "")
        weights = np.where(rare, np.maximum(weights, np.minimum(RARE_LIMIT, RARE_SHARE / share)), weights)
    return np.asarray(weights, dtype=np.float64)
