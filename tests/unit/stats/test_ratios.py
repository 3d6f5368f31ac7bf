import numpy as np
import pytest

from harness.stats import ratios

NAN = float("nan")


def test_fieller_by_hand():
    # The limits are the ratios R at which mean(c) - R mean(p) is t standard errors from zero.
    from scipy import stats

    rng = np.random.default_rng(0)
    p = rng.gamma(2, 100, 60)
    c = 0.8 * p + rng.normal(0, 20, 60)
    estimate = ratios.ratio_of_means(c, p, np.arange(60))
    assert estimate.value == pytest.approx(c.sum() / p.sum())
    for limit in (estimate.low, estimate.high):
        gap = c - limit * p
        assert abs(gap.mean()) / stats.sem(gap) == pytest.approx(stats.t.ppf(0.975, 59))
    assert (estimate.production, estimate.candidate) == (pytest.approx(p.mean()), pytest.approx(c.mean()))


def test_conversations_widen_the_interval():
    rng = np.random.default_rng(1)
    base, effect = rng.gamma(5, 20, 400), np.repeat(rng.normal(1, 0.3, 80), 5)
    single = ratios.ratio_of_means(base * effect, base, np.arange(400))
    clustered = ratios.ratio_of_means(base * effect, base, np.repeat(np.arange(80), 5))
    assert clustered.high - clustered.low > 1.5 * (single.high - single.low)
    assert clustered.value == single.value


def test_exactly_proportional_costs_keep_a_width():
    p = np.arange(1.0, 101)
    estimate = ratios.ratio_of_means(0.5 * p, p, np.arange(100))
    assert estimate.value == pytest.approx(0.5)
    assert 0.48 < estimate.low < 0.5 < estimate.high < 0.52
    assert estimate.method == "proportional+exact"


def test_a_denominator_not_told_from_zero_leaves_the_ratio_open():
    p, c = np.array([0.0, 0.0, 0.0, 8.0]), np.array([1.0, 2.0, 3.0, 2.0])
    estimate = ratios.ratio_of_means(c, p, np.arange(4))
    assert estimate.value == 1.0
    assert estimate.high is None
    assert estimate.low >= 0
    assert estimate.notes == ("production's mean is not told from zero",)


def test_free_production_has_no_ratio():
    estimate = ratios.ratio_of_means(np.array([0.1, 0.2]), np.zeros(2), np.arange(2))
    assert (estimate.value, estimate.n, estimate.notes) == (None, 2, ("production's mean is zero",))


def test_missing_on_either_side_is_counted():
    estimate = ratios.ratio_of_means(np.array([2.0, NAN, 4.0]), np.array([1.0, 1.0, NAN]), np.arange(3))
    assert (estimate.value, estimate.n, estimate.n_missing) == (2.0, 1, 2)
    assert (estimate.low, estimate.high) == (None, None)


def test_without_data_there_is_no_value():
    estimate = ratios.ratio_of_means(np.array([NAN]), np.array([NAN]), np.arange(1))
    assert (estimate.value, estimate.n_missing, estimate.notes) == (None, 1, ())
