"""Whoever looks after every observation is wrong no more often than promised; seeded and quick.

The sign test and the bounds of a share need no simulation: tests/unit/stats/test_mixtures.py follows them exactly.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest

from harness.stats import asymptotic, betting

ALPHA = 0.05
REPETITIONS = 1000
MARGIN = 3.3 * (ALPHA * (1 - ALPHA) / REPETITIONS) ** 0.5
"""About 0.023: what 1,000 repetitions can tell from 0.05."""


def ever_rejected(draw: Callable[[np.random.Generator], np.ndarray], seed: int) -> float:
    """Share of runs in which the e-value reached 1/alpha at any look; ``draw`` gives the log of its path."""
    rng = np.random.default_rng(seed)
    return float(np.mean([draw(rng).max() >= -math.log(ALPHA) for _ in range(REPETITIONS)]))


def ties(rng: np.random.Generator, n: int, win_rate: float = 0.5) -> np.ndarray:
    """Wins, ties (30 %) and losses."""
    return rng.choice([0.0, 0.5, 1.0], n, p=[0.85 - win_rate, 0.3, win_rate - 0.15])


def test_betting_on_wins():
    wrong = ever_rejected(lambda rng: betting.log_wealth(ties(rng, 1500), 0.5), 1)
    assert 0.01 < wrong < ALPHA + MARGIN
    assert ever_rejected(lambda rng: betting.log_wealth(ties(rng, 1500, 0.57), 0.5), 2) > 0.95


@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_betting_on_rates_in_both_directions(rate):
    for sign, bounds in ((1, (0.0, 1.0)), (-1, (-1.0, 0.0))):

        def draw(rng, sign=sign, bounds=bounds):
            return betting.log_wealth(sign * (rng.random(1000) < rate), sign * rate, bounds=bounds)

        assert ever_rejected(draw, 3) < ALPHA + MARGIN


def conversations(rng: np.random.Generator, n: int) -> np.ndarray:
    """Clusters of one to twelve rows, four on average."""
    sizes = np.minimum(rng.geometric(0.25, n), 12)
    return np.repeat(np.arange(n), sizes)


def test_betting_on_conversations_whose_rows_say_the_same():
    def draw(rng, ignore=False):
        clusters = conversations(rng, 400)
        values = ties(rng, 400)[clusters]
        return betting.log_wealth(values, 0.5, clusters=None if ignore else clusters)

    assert ever_rejected(draw, 4) < ALPHA + MARGIN
    assert ever_rejected(lambda rng: draw(rng, ignore=True), 4) > 3 * ALPHA


def test_betting_on_conversations_that_go_worse_the_longer_they_are():
    """Every row counts the same. With the largest size known, the bets do not depend on the sizes still to come."""
    sizes = np.arange(1, 6)
    quality = 0.8 - 0.1 * sizes
    average = float(np.sum(sizes * quality) / np.sum(sizes))

    def draw(rng):
        chosen = rng.integers(0, 5, 400)
        clusters = np.repeat(np.arange(400), sizes[chosen])
        values = (rng.random(len(clusters)) < quality[chosen][clusters]).astype(float)
        return betting.log_wealth(values, average, clusters=clusters, max_size=5)

    assert ever_rejected(draw, 5) < ALPHA + MARGIN


def test_the_bound_excludes_the_mean_exactly_when_wealth_reaches_its_threshold():
    rng = np.random.default_rng(6)
    for _ in range(20):
        values, clusters = ties(rng, 300, 0.54), rng.integers(0, 100, 300)
        low = betting.lower(values, alpha=ALPHA, clusters=clusters)
        rejected = betting.log_wealth(values, 0.5, clusters=clusters)[-1] >= -math.log(ALPHA)
        assert (low > 0.5) == rejected


def test_the_asymptotic_sequence_from_a_hundred_observations():
    def draw(rng):
        x, n = ties(rng, 3000), np.arange(1.0, 3001)
        total = np.cumsum(x)
        sd = np.sqrt(np.maximum(np.cumsum(x * x) - total**2 / n, 0) / np.maximum(n - 1, 1))
        return asymptotic.log_e_value(total, n, sd, mean=0.5, alpha=ALPHA, t_opt=1000)[99:]

    assert 0.01 < ever_rejected(draw, 7) < ALPHA + MARGIN


def test_a_fixed_interval_looked_at_all_the_time_is_wrong_in_a_third_of_all_runs():
    def draw(rng):
        x, n = ties(rng, 3000), np.arange(1.0, 3001)
        z = (np.cumsum(x) - n / 2) / np.sqrt(0.175 * n)
        return np.where(z[99:] > 1.645, np.inf, -np.inf)

    assert ever_rejected(draw, 7) > 0.25
