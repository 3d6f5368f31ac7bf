import math

import numpy as np
import pytest
from scipy import stats

from harness.stats import quantiles

INF, NAN = float("inf"), float("nan")


def test_ranks_are_the_exact_binomial_limits():
    n, tau = 1000, 0.95
    x = np.arange(1.0, n + 1)
    estimate = quantiles.quantile(x, np.arange(n), tau)
    low, high = int(estimate.low), int(estimate.high)
    assert estimate.value == 950
    assert stats.binom.cdf(low - 1, n, tau) <= 0.025 < stats.binom.cdf(low, n, tau)
    assert stats.binom.sf(high - 1, n, tau) <= 0.025 < stats.binom.sf(high - 2, n, tau)


def test_min_n_is_the_least_sample_with_a_finite_upper_limit():
    least = quantiles.min_n(0.95, level=0.95)
    assert least == 72
    assert quantiles.quantile(np.arange(1.0, least + 1), np.arange(least), 0.95).high is not None
    assert quantiles.quantile(np.arange(1.0, least), np.arange(least - 1), 0.95).high is None


def test_copies_inside_a_conversation_change_nothing():
    x = np.random.default_rng(1).lognormal(5, 1, 200)
    y = np.random.default_rng(2).lognormal(5, 1, 200)
    single = quantiles.quantile_ratio(x, y, np.arange(200), 0.95)
    tripled = quantiles.quantile_ratio(np.repeat(x, 3), np.repeat(y, 3), np.repeat(np.arange(200), 3), 0.95)
    assert (tripled.value, tripled.low, tripled.high) == (
        pytest.approx(single.value),
        pytest.approx(single.low),
        pytest.approx(single.high),
    )


def test_paired_correlation_narrows_the_ratio():
    rng = np.random.default_rng(3)
    shared, noise = rng.normal(size=2000), rng.normal(size=(2, 2000))
    alike = np.exp(shared + 0.2 * noise)
    apart = np.exp(1.02 * noise)
    close = quantiles.quantile_ratio(alike[0], alike[1], np.arange(2000), 0.95)
    loose = quantiles.quantile_ratio(apart[0], apart[1], np.arange(2000), 0.95)
    assert close.extra["correlation"] > 0.6 > abs(loose.extra["correlation"]) * 6
    assert math.log(close.high / close.low) < 0.8 * math.log(loose.high / loose.low)


def test_mover_by_hand():
    # 100 rows: ranks 90 and 100 at P95; equal arms scaled by two have correlation one.
    x = np.arange(1.0, 101)
    estimate = quantiles.quantile_ratio(2 * x, x, np.arange(100), 0.95)
    up, down = math.log(estimate_limits(x)[1] / 95), math.log(95 / estimate_limits(x)[0])
    assert estimate.value == pytest.approx(2.0)
    assert estimate.extra["correlation"] == pytest.approx(1.0)
    assert estimate.high == pytest.approx(2 * math.exp(abs(up - down)))
    assert (estimate.production, estimate.candidate) == (95.0, 190.0)


def estimate_limits(x: np.ndarray) -> tuple[float, float]:
    single = quantiles.quantile(x, np.arange(len(x)), 0.95)
    return single.low, single.high


def test_failures_are_infinite_and_not_dropped():
    rng = np.random.default_rng(4)
    production, candidate = rng.lognormal(5, 0.5, (2, 1000))
    slow = np.argsort(candidate)[-40:]
    dropped, failed = candidate.copy(), candidate.copy()
    dropped[slow], failed[slow] = NAN, INF
    honest = quantiles.quantile_ratio(failed, production, np.arange(1000), 0.95)
    flattering = quantiles.quantile_ratio(dropped, production, np.arange(1000), 0.95)
    assert honest.value > 1.1 * flattering.value
    assert honest.extra["n_infinite"] == 40
    assert (honest.n_missing, flattering.n_missing) == (0, 40)
    assert honest.high is None


def test_too_many_failures_make_the_percentile_infinite_with_a_finite_lower_limit():
    production = np.random.default_rng(5).lognormal(5, 0.5, 1000)
    candidate = np.where(np.arange(1000) < 60, INF, production)
    estimate = quantiles.quantile_ratio(candidate, production, np.arange(1000), 0.95)
    assert estimate.value == INF
    assert 0.5 < estimate.low < INF
    assert estimate.high is None
    assert estimate.notes == ("6.0% of the candidate's requests failed, so this percentile is infinite",)


def test_half_failed_is_infinitely_slower_for_sure():
    production = np.random.default_rng(6).lognormal(5, 0.5, 1000)
    candidate = np.where(np.arange(1000) < 500, INF, production)
    assert quantiles.quantile_ratio(candidate, production, np.arange(1000), 0.95).low == INF


def test_a_candidate_that_answers_where_production_fails_is_infinitely_faster():
    candidate = np.random.default_rng(7).lognormal(5, 0.5, 200)
    production = np.where(np.arange(200) < 50, INF, candidate)
    estimate = quantiles.quantile_ratio(candidate, production, np.arange(200), 0.95)
    assert (estimate.value, estimate.low, estimate.high) == (0.0, None, 0.0)
    both = quantiles.quantile_ratio(production, production, np.arange(200), 0.95)
    assert (both.value, both.low, both.high) == (None, None, None)


def test_unknown_and_impossible_times_are_missing():
    candidate, production = np.array([1.0, NAN, 0.0, 4.0, -1.0]), np.array([2.0, 3.0, 5.0, NAN, 1.0])
    estimate = quantiles.quantile_ratio(candidate, production, np.arange(5), 0.5)
    assert (estimate.value, estimate.n, estimate.n_missing) == (0.5, 1, 4)


def test_without_data_there_is_no_value():
    empty = np.array([NAN])
    assert quantiles.quantile(empty, np.arange(1), 0.5).value is None
    assert quantiles.quantile_ratio(empty, empty, np.arange(1), 0.5).value is None


def test_small_samples_have_no_finite_upper_limit():
    x = np.array([100.0, 120.0, 90.0])
    estimate = quantiles.quantile_ratio(x, x, np.arange(3), 0.95)
    assert (estimate.value, estimate.high) == (1.0, None)
    assert estimate.extra["n_min"] == 72
