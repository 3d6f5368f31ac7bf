import numpy as np
import pytest
from scipy import stats

from harness.stats import means
from harness.stats.looks import ONE_LOOK, AnyLook

NAN = float("nan")


def test_one_row_per_cluster_is_the_ordinary_t_interval():
    x = np.random.default_rng(0).normal(3, 2, 50)
    low, high = stats.t.interval(0.9, 49, loc=x.mean(), scale=stats.sem(x))
    estimate = means.mean(x, np.arange(50), level=0.9)
    assert (estimate.value, estimate.std_error) == (pytest.approx(x.mean()), pytest.approx(stats.sem(x)))
    assert (estimate.low, estimate.high) == (pytest.approx(low), pytest.approx(high))
    assert (estimate.n, estimate.n_clusters, estimate.n_missing) == (50, 50, 0)


def test_clustered_standard_error_by_hand():
    # Cluster sums about the mean 3: (1-3)+(2-3) = -3, (3-3) = 0, (6-3) = 3; J/(J-1) * 18 / 16.
    estimate = means.mean(np.array([1.0, 2, 3, 6]), np.array([7, 7, 8, 9]))
    assert estimate.std_error == pytest.approx((1.5 * 18 / 16) ** 0.5)
    assert estimate.high - estimate.value == pytest.approx(stats.t.ppf(0.975, 2) * estimate.std_error)


def test_missing_values_are_counted_and_left_out():
    estimate = means.mean(np.array([1.0, NAN, 3.0]), np.arange(3))
    assert (estimate.value, estimate.n, estimate.n_missing) == (2.0, 2, 1)


def test_without_data_there_is_no_value():
    estimate = means.mean(np.array([NAN, NAN]), np.arange(2))
    assert (estimate.value, estimate.low, estimate.high, estimate.n, estimate.n_missing) == (None, None, None, 0, 2)


@pytest.mark.parametrize("clusters", [np.array([4]), np.array([4, 4, 4])])
def test_one_cluster_has_a_value_and_no_interval(clusters):
    estimate = means.mean(np.arange(len(clusters), dtype=float), clusters, bounds=(0.0, 5.0))
    assert estimate.value is not None
    assert (estimate.low, estimate.high) == (None, None)
    assert estimate.notes == ("one cluster has no interval",)


def test_equal_bounded_scores_get_the_exact_binomial_bound_and_not_zero_width():
    estimate = means.mean(np.ones(100), np.arange(100), bounds=(0.0, 1.0))
    assert estimate.low == pytest.approx(stats.binomtest(100, 100).proportion_ci(method="exact").low)
    assert (estimate.high, estimate.std_error, estimate.method) == (1.0, 0.0, "clustered-mean-t+exact")


def test_equal_scores_inside_their_bounds_are_widened_to_both_sides():
    estimate = means.mean(np.full(805, 0.5), np.arange(805), bounds=(0.0, 1.0))
    assert 0.497 < estimate.low < 0.5 < estimate.high < 0.503


def test_equal_unbounded_values_have_no_interval():
    estimate = means.mean(np.full(30, 12.0), np.arange(30))
    assert (estimate.value, estimate.low, estimate.high) == (12.0, None, None)
    assert estimate.notes == ("all values are equal: no interval",)


def test_a_single_deviating_score_is_covered_by_the_exact_bound():
    x = np.ones(1000)
    x[0] = 0.0
    estimate = means.mean(x, np.arange(1000), bounds=(0.0, 1.0))
    exact = stats.binomtest(999, 1000).proportion_ci(method="exact")
    assert estimate.low == pytest.approx(exact.low)
    assert estimate.method == "clustered-mean-t+exact"


def test_interval_is_cut_to_the_bounds():
    x = np.array([0.0, 1.0] * 3)
    estimate = means.mean(x, np.arange(6), level=0.999, bounds=(0.0, 1.0))
    assert (estimate.low, estimate.high) == (0.0, 1.0)


def test_paired_difference_names_both_sides_over_the_same_rows():
    candidate, production = np.array([2.0, 5.0, NAN, 3.0]), np.array([1.0, 1.0, 9.0, NAN])
    estimate = means.paired_difference(candidate, production, np.arange(4))
    assert (estimate.value, estimate.candidate, estimate.production) == (2.5, 3.5, 1.0)
    assert (estimate.n, estimate.n_missing) == (2, 2)


def test_paired_difference_without_common_rows_has_no_sides():
    estimate = means.paired_difference(np.array([NAN]), np.array([1.0]), np.arange(1))
    assert (estimate.value, estimate.candidate, estimate.production) == (None, None, None)


def test_failures_count_as_the_lowest_score_when_all_answers_are_scored():
    rng = np.random.default_rng(5)
    scores, failed = rng.random(60), np.zeros(60, dtype=bool)
    failed[::7] = True
    clusters = np.repeat(np.arange(20), 3)
    filled = means.mean(np.where(failed, 0.0, scores), clusters, bounds=(0.0, 1.0))
    mixed = means.mean_with_failures(np.where(failed, NAN, scores), failed, clusters)
    assert mixed.value == pytest.approx(filled.value)
    assert mixed.std_error == pytest.approx(filled.std_error)
    assert (mixed.low, mixed.high) == (pytest.approx(filled.low), pytest.approx(filled.high))


def test_a_partly_scored_sample_keeps_the_failures_share():
    # 10 of 100 failed, 20 of the 90 answers were scored at 0.8: failures weigh 10 %, not 10 of 30.
    failed = np.arange(100) < 10
    scores = np.where(np.arange(100) >= 80, 0.8, NAN)
    estimate = means.mean_with_failures(scores, failed, np.arange(100))
    assert estimate.value == pytest.approx(0.72)
    assert (estimate.n, estimate.n_missing) == (30, 70)


def test_nothing_but_failures_scores_lowest():
    estimate = means.mean_with_failures(np.full(40, NAN), np.ones(40, dtype=bool), np.arange(40))
    assert estimate.value == 0.0
    assert 0.05 < estimate.high < 0.12


def test_unscored_answers_alone_have_no_value():
    estimate = means.mean_with_failures(np.full(4, NAN), np.array([True, False, False, False]), np.arange(4))
    assert (estimate.value, estimate.n_missing) == (None, 3)


def test_a_win_and_a_loss_in_every_conversation_decide_nothing():
    found = means.mean(np.tile([0.0, 1.0], 20), np.repeat(np.arange(20), 2), bounds=(0.0, 1.0))

    assert found.std_error == 0
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.45
    assert found.high > 0.55


@pytest.mark.parametrize(("n", "looks"), [(50, AnyLook()), (500, AnyLook()), (50, ONE_LOOK)])
def test_values_outside_their_bounds_are_used_and_the_bounds_are_not(n, looks):
    percent = np.linspace(40, 60, n)
    found = means.mean(percent, np.arange(n), bounds=(0.0, 1.0), looks=looks)
    assert found.value == pytest.approx(50)
    assert found.notes[0] == "values lie outside 0 to 1, which is therefore not relied on"
    assert (found.low is None) == (found.n_clusters < looks.least_units)
