import itertools
import math

import numpy as np
import pytest

from harness.stats import betting

ALPHA = 0.05


def wealth_by_hand(values, mean, clusters, low=0.0, max_size=None) -> list[float]:
    """Ten purses, each betting a fixed stake on every cluster in turn; wealth after each cluster."""
    purses = [1 / i for i in range(1, 11)]
    purses = [purse / sum(purses) for purse in purses]
    order = list(dict.fromkeys(clusters))
    history, largest = [], 0
    for cluster in order:
        rows = [value for value, other in zip(values, clusters, strict=True) if other == cluster]
        largest = max(largest, len(rows))
        for i in range(10):
            stake = min(0.5**i, 1 / (max_size or largest)) / (mean - low)
            purses[i] *= 1 + stake * sum(row - mean for row in rows)
        history.append(sum(purses))
    return history


def test_wealth_is_that_of_ten_purses():
    values, clusters = [1.0, 0.0, 0.5, 1.0, 1.0, 0.25, 0.75], [4, 7, 4, 9, 7, 4, 2]
    found = betting.log_wealth(np.array(values), 0.4, clusters=np.array(clusters))
    assert np.exp(found) == pytest.approx(wealth_by_hand(values, 0.4, clusters))


def test_a_known_largest_cluster_limits_every_bet():
    values, clusters = [1.0, 1.0, 1.0, 0.0], [0, 1, 1, 2]
    found = betting.log_wealth(np.array(values), 0.4, clusters=np.array(clusters), max_size=5)
    assert np.exp(found) == pytest.approx(wealth_by_hand(values, 0.4, clusters, max_size=5))


@pytest.mark.parametrize("mean", [0.1, 0.5, 0.8])
def test_a_fair_bet_breaks_even_on_average(mean):
    """Over all sequences of nine wins and losses, exactly; also for a mean below the one bet against."""
    average = unfair = 0.0
    for outcomes in itertools.product([0.0, 1.0], repeat=9):
        wins = sum(outcomes)
        wealth = math.exp(betting.log_wealth(np.array(outcomes), mean)[-1])
        average += mean**wins * (1 - mean) ** (9 - wins) * wealth
        unfair += (0.9 * mean) ** wins * (1 - 0.9 * mean) ** (9 - wins) * wealth
    assert average == pytest.approx(1.0)
    assert unfair < 1


def test_one_row_per_cluster_is_the_plain_sequence():
    values = np.random.default_rng(1).random(50)
    plain = betting.log_wealth(values, 0.45)
    assert betting.log_wealth(values, 0.45, clusters=np.arange(50)[::-1]) == pytest.approx(plain)
    assert betting.lower(values, alpha=ALPHA, clusters=np.arange(50)) == betting.lower(values, alpha=ALPHA)


def test_the_bound_is_where_wealth_reaches_its_threshold():
    rng = np.random.default_rng(2)
    values, clusters = rng.choice([0.0, 0.5, 1.0], 300), rng.integers(0, 100, 300)
    low = betting.lower(values, alpha=ALPHA, clusters=clusters)
    assert betting.log_wealth(values, low, clusters=clusters)[-1] == pytest.approx(-math.log(ALPHA), abs=1e-6)
    assert low < values.mean() < betting.upper(values, alpha=ALPHA, clusters=clusters)


def test_scores_without_an_exception():
    """As good as the exact bound of a share at a fixed n, but for the price of looking all the time."""
    zeros = np.zeros(300)
    assert betting.lower(zeros, alpha=ALPHA) == 0.0
    assert 1 - ALPHA ** (1 / 300) < betting.upper(zeros, alpha=ALPHA) < 1.6 * (1 - ALPHA ** (1 / 300))


def test_width_is_near_that_of_the_asymptotic_sequence():
    """1.7 times a fixed one-sided bound, and 2.3 at most."""
    values = np.random.default_rng(3).choice([0.0, 0.5, 1.0], 3000, p=[0.33, 0.3, 0.37])
    width = values.mean() - betting.lower(values, alpha=ALPHA)
    assert 1.5 < width / (1.645 * values.std() / math.sqrt(3000)) < 2.3


def test_copies_inside_a_conversation_say_nothing_new():
    values = np.random.default_rng(4).choice([0.0, 0.5, 1.0], 1000, p=[0.3, 0.3, 0.4])
    tripled = np.repeat(values, 3)
    single = values.mean() - betting.lower(values, alpha=ALPHA)
    clustered = values.mean() - betting.lower(tripled, alpha=ALPHA, clusters=np.repeat(np.arange(1000), 3))
    ignored = values.mean() - betting.lower(tripled, alpha=ALPHA)
    assert clustered == pytest.approx(single, rel=0.1)
    assert ignored < 0.7 * single


def test_no_scores_bound_nothing():
    nothing = np.array([])
    bounds = (-1.0, 2.0)
    assert betting.lower(nothing, alpha=ALPHA, bounds=bounds) == -1.0
    assert betting.upper(nothing, alpha=ALPHA, bounds=bounds) == 2.0


@pytest.mark.parametrize("value", [1.01, -0.01, float("nan"), float("inf")])
def test_scores_that_could_lose_more_than_everything_are_refused(value):
    with pytest.raises(ValueError, match="must be known and lie in"):
        betting.lower(np.array([0.5, value]), alpha=ALPHA)


def test_rounding_beyond_the_bounds_is_forgiven():
    assert betting.lower(np.array([1.0 + 1e-12] * 50), alpha=ALPHA) == betting.lower(np.ones(50), alpha=ALPHA)


def test_what_cannot_be_bet_on_is_refused():
    with pytest.raises(ValueError, match="not above the lowest value"):
        betting.log_wealth(np.ones(3), 0.0)
    with pytest.raises(ValueError, match="a cluster has 2 rows, more than max_size=1"):
        betting.lower(np.ones(3), alpha=ALPHA, clusters=np.array([0, 0, 1]), max_size=1)
