import math

import numpy as np
import pytest

from harness.stats import mixtures, unpaired


def latencies(n: int, *, seed: int = 0, factor: float = 1.0):
    return factor * np.random.default_rng(seed).lognormal(6, 0.8, n), np.arange(n)


def test_a_difference_joins_the_limits_of_both_arms():
    found = unpaired.share_difference((60, 1_000), (20, 1_000), level=0.9)
    low = mixtures.bernoulli_lower(60, 1_000, alpha=0.05, t_opt=3_000)
    high = mixtures.bernoulli_upper(20, 1_000, alpha=0.05, t_opt=3_000)
    assert found.value == pytest.approx(0.04)
    assert found.low == pytest.approx(0.04 - math.hypot(0.06 - low, high - 0.02))
    assert (found.candidate, found.production, found.n, found.looks) == (0.06, 0.02, 2_000, "any")


def test_exchanging_the_arms_turns_the_interval_round():
    one = unpaired.share_difference((60, 1_000), (20, 3_000))
    other = unpaired.share_difference((20, 3_000), (60, 1_000))
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
    fast, slow = latencies(4_000), latencies(3_000, seed=1, factor=1.5)
    one, other = unpaired.quantile_ratio(slow, fast, 0.95), unpaired.quantile_ratio(fast, slow, 0.95)
    assert (one.value, one.low, one.high) == pytest.approx((1 / other.value, 1 / other.high, 1 / other.low))


def test_without_failures_the_difference_is_still_open_on_both_sides():
    found = unpaired.share_difference((0, 500), (0, 500))
    assert found.value == 0
    assert -0.05 < found.low < 0 < found.high < 0.05
    assert found.high == pytest.approx(-found.low)


@pytest.mark.parametrize(("candidate", "control"), [((0, 0), (1, 10)), ((1, 10), (0, 0))])
def test_an_empty_arm_has_no_difference(candidate, control):
    found = unpaired.share_difference(candidate, control)
    assert (found.value, found.low, found.high) == (None, None, None)


def test_more_failures_than_units_are_refused():
    with pytest.raises(ValueError, match="11 of 10"):
        unpaired.share_difference((11, 10), (1, 10))


def test_a_ratio_is_that_of_the_samples_and_its_bounds_narrow():
    wide = unpaired.quantile_ratio(latencies(500, factor=1.5), latencies(500, seed=1), 0.95)
    found = unpaired.quantile_ratio(latencies(20_000, factor=1.5), latencies(20_000, seed=1), 0.95)
    assert found.value == pytest.approx(found.candidate / found.production)
    assert wide.low < found.low < 1.5 < found.high < wide.high
    assert (found.n, found.n_clusters, found.looks) == (40_000, 40_000, "any")


def test_few_rows_bound_nothing():
    found = unpaired.quantile_ratio(latencies(40), latencies(40, seed=1), 0.95)
    assert found.value is not None
    assert (found.low, found.high) == (None, None)


def test_a_quantile_that_is_a_failure_has_no_ratio():
    values, codes = latencies(1_000)
    values[:100] = np.inf
    found = unpaired.quantile_ratio((values, codes), latencies(1_000, seed=1), 0.95)
    assert (found.value, found.low, found.high) == (None, None, None)


def test_joined_limits_hold_at_every_look():
    """Equal arms, looked at 20 times: the promise is 10 % in all, and both ends miss far less often."""
    rng = np.random.default_rng(5)
    missed = {"errors": 0, "latency": 0}
    n, rollouts = 4_000, 60
    looks = np.unique(np.geomspace(100, n, 20).astype(int))
    for _ in range(rollouts):
        failed = rng.random((2, n)) < 0.02
        times, codes = rng.lognormal(6, 0.8, (2, n)), np.arange(n)
        counts = failed.cumsum(axis=1)
        shares = [unpaired.share_difference((counts[0, m - 1], m), (counts[1, m - 1], m), level=0.9) for m in looks]
        ratios = [
            unpaired.quantile_ratio((times[0, :m], codes[:m]), (times[1, :m], codes[:m]), 0.95, level=0.9)
            for m in looks
        ]
        missed["errors"] += any(not found.low <= 0 <= found.high for found in shares)
        missed["latency"] += any(not (found.low or 0) <= 1 <= (found.high or math.inf) for found in ratios)
    assert max(missed.values()) <= 0.1 * rollouts
