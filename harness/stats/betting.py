"""Betting confidence sequences: exact bounds of the mean of bounded scores that hold at every look.

Waudby-Smith and Ramdas (JRSSB 2024). Whoever bets repeatedly that scores lie above a mean multiplies their money only
if they do. We hold a fixed portfolio of constant bets ("grid Kelly"). Its wealth falls steadily in the mean it is held
against, so the means it does not refute are an interval and bisection finds its end exactly; and it does not depend on
the order of the data. Bets that learn from past scores have neither property and were no faster on the whole in
simulation.
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from harness.stats.evidence import Floats, Ints

Bounds: TypeAlias = tuple[float, float]

_STAKES = 2.0 ** -np.arange(10)
"""Bets as parts of the largest that cannot lose more than everything; the smallest serve a million rows."""
_LOG_WEIGHTS = -np.log(np.arange(1, 11)) - math.log(np.sum(1 / np.arange(1, 11)))
_NEAREST = 1e-12
"""Part of the range below which a bound is not told from the end of the range."""


def lower(
    values: Floats,
    *,
    alpha: float,
    bounds: Bounds = (0.0, 1.0),
    clusters: Ints | None = None,
    max_size: int | None = None,
) -> float:
    """Lower bound of the mean of scores in ``bounds``; the chance that it ever exceeds the mean is at most ``alpha``.

    Clusters are bet on whole, in the order of their first rows, and their rows may depend on each other in any way.
    See :func:`log_wealth` for ``clusters`` and ``max_size``.

    Raises:
        ValueError: a value lies outside ``bounds``, or is unknown.
    """
    from scipy.optimize import brentq

    portfolio = _Portfolio.of(values, bounds=bounds, clusters=clusters, max_size=max_size).merged()
    span, threshold = bounds[1] - bounds[0], -math.log(alpha)

    def excess(mean: float) -> float:
        return portfolio.log_wealth(mean) - threshold

    if excess(_NEAREST * span) < 0:
        return bounds[0]
    return bounds[0] + float(brentq(excess, _NEAREST * span, span, xtol=_NEAREST * span))


def upper(
    values: Floats,
    *,
    alpha: float,
    bounds: Bounds = (0.0, 1.0),
    clusters: Ints | None = None,
    max_size: int | None = None,
) -> float:
    """Upper bound of the mean: :func:`lower` of the negated values, negated."""
    mirrored = (-bounds[1], -bounds[0])
    return -lower(-values, alpha=alpha, bounds=mirrored, clusters=clusters, max_size=max_size)


def log_wealth(
    values: Floats,
    mean: float,
    *,
    bounds: Bounds = (0.0, 1.0),
    clusters: Ints | None = None,
    max_size: int | None = None,
) -> Floats:
    """Log e-value after each cluster against a mean of at most ``mean``.

    A supermartingale when, given the clusters before it and its number of rows, every cluster's rows have a mean of
    at most ``mean`` on average. The largest bet is limited by the largest cluster: ``max_size`` when that is known
    beforehand, else the largest up to and including the one being bet on. Looks must take clusters whole: rows that
    are added to an old cluster change the bet that was made on it.

    Raises:
        ValueError: as :func:`lower`, ``mean`` is not above the lowest value, or a cluster is larger than ``max_size``.
    """
    if not bounds[0] < mean:
        raise ValueError(f"mean={mean} is not above the lowest value {bounds[0]}")
    portfolio = _Portfolio.of(values, bounds=bounds, clusters=clusters, max_size=max_size)
    return portfolio.path(mean - bounds[0])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Portfolio:
    """What is bet on, per cluster; values count from the lowest possible one."""

    sums: Floats
    sizes: Floats
    limits: Floats
    """Largest stake that cannot lose more than everything."""
    times: Floats
    """How often each of them is there."""

    @classmethod
    def of(cls, values: Floats, *, bounds: Bounds, clusters: Ints | None, max_size: int | None) -> "_Portfolio":
        """Check and sum the values."""
        low, high = bounds
        slack = 1e-9 * (high - low)
        if not np.all((values >= low - slack) & (values <= high + slack)):
            raise ValueError(f"scores must be known and lie in [{low}, {high}]: a bet on others is not safe")
        codes = np.arange(len(values)) if clusters is None else _by_first_row(clusters)
        sizes = np.bincount(codes).astype(np.float64)
        if max_size is not None and np.any(sizes > max_size):
            raise ValueError(f"a cluster has {int(sizes.max())} rows, more than max_size={max_size}")
        largest = np.maximum.accumulate(sizes) if max_size is None else np.full(len(sizes), max_size)
        sums = np.bincount(codes, weights=np.clip(values, low, high) - low).astype(np.float64)
        return cls(sums=sums, sizes=sizes, limits=1 / largest, times=np.ones(len(sums)))

    def merged(self) -> "_Portfolio":
        """The same after the last cluster: bets on single rows with the same score are one, as often as it is there."""
        if np.any(self.sizes != 1) or np.any(self.limits != self.limits[:1]):
            return self
        sums, times = np.unique(self.sums, return_counts=True)
        return _Portfolio(
            sums=sums, sizes=np.ones(len(sums)), limits=self.limits[: len(sums)], times=times.astype(np.float64)
        )

    def log_wealth(self, mean: float) -> float:
        """After the last cluster."""
        return float(np.logaddexp.reduce(_LOG_WEIGHTS + self._growth(mean) @ self.times))

    def path(self, mean: float) -> Floats:
        """After each cluster."""
        held = _LOG_WEIGHTS[:, None] + np.cumsum(self._growth(mean), axis=1)
        return np.asarray(np.logaddexp.reduce(held, axis=0), dtype=np.float64)

    def _growth(self, mean: float) -> Floats:
        """Log return of each stake (rows) on each cluster."""
        gains = self.sums / mean - self.sizes
        with np.errstate(divide="ignore"):
            # The largest stake may lose everything; the clip keeps rounding from losing more.
            returns = np.log1p(np.maximum(np.minimum.outer(_STAKES, self.limits) * gains, -1.0))
        return np.asarray(returns, dtype=np.float64)


def _by_first_row(clusters: Ints) -> Ints:
    """Codes 0..J-1 in the order in which clusters first appear."""
    _, first, index = np.unique(clusters, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[index], dtype=np.int64)
