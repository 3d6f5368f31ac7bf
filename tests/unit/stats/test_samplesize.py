import pytest

from harness.domain.estimate import Estimate
from harness.stats.samplesize import n_needed


def estimate(value, low, high, n=400, **extra):
    return Estimate(metric="m", value=value, low=low, high=high, n=n, extra=extra)


def test_four_times_the_pairs_halve_the_interval():
    assert n_needed(estimate(0.52, 0.48, 0.56), 0.5) == 1600


def test_asymmetric_intervals_count_the_side_towards_the_threshold():
    assert n_needed(estimate(0.52, 0.46, 0.53), 0.5) == 3600
    assert n_needed(estimate(0.49, 0.40, 0.51), 0.5) == 1600


def test_ratios_shrink_on_the_log_scale():
    assert n_needed(estimate(1.1, 0.5, 1.1**4), 1.21, log_scale=True) == 3600


@pytest.mark.parametrize(
    "item",
    [
        estimate(None, None, None),
        estimate(0.5, 0.4, 0.6),  # on the threshold
        estimate(0.6, None, None),
        estimate(float("inf"), 1.0, None),
        estimate(0.5 + 1e-9, 0.4, 0.6),  # would take more than a billion pairs
        estimate(0.6, 0.4, 0.8, n=0),
    ],
)
def test_what_cannot_be_projected_is_none(item):
    assert n_needed(item, 0.5) is None


def test_nothing_is_projected_from_a_ratio_that_reaches_zero():
    assert n_needed(estimate(0.9, 0.0, 2.0), 0.5, log_scale=True) is None


def test_an_open_percentile_first_needs_a_finite_limit():
    assert n_needed(estimate(1.0, None, None, n=20, n_min=72.0), 1.2) == 72
    assert n_needed(estimate(1.0, None, None, n=100, n_min=72.0), 1.2) is None


def test_the_projection_is_never_below_what_there_is():
    assert n_needed(estimate(0.52, 0.5, 0.54), 0.5) == 401
