import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats.inclusion import RARE_LIMIT, UNIFORM_SHARE, inclusion_probabilities, labelling_weights, uncertainty

weights = st.lists(st.floats(0.01, 100.0), min_size=1, max_size=60).map(np.array)


@given(weights, st.floats(0.0, 1.0))
def test_chances_add_up_to_the_size_and_follow_the_weights_until_they_are_one(values, share):
    size = share * len(values)

    chances = inclusion_probabilities(values, size)

    assert chances.sum() == pytest.approx(size, abs=1e-9 * len(values))
    assert (chances >= 0).all()
    assert (chances <= 1).all()
    below = chances < 1 - 1e-12
    assert chances[below] * values[below].sum() == pytest.approx(values[below] * chances[below].sum(), rel=1e-6)
    if below.any() and (~below).any():
        assert values[~below].min() >= values[below].max() * (1 - 1e-9)


@given(weights, st.floats(0.0, 70.0), st.floats(0.0, 70.0))
def test_a_larger_size_lowers_no_chance(values, one, other):
    small, large = sorted((one, other))

    assert (inclusion_probabilities(values, large) >= inclusion_probabilities(values, small) - 1e-12).all()


def test_a_size_that_takes_in_every_row_is_certain():
    assert inclusion_probabilities(np.array([0.1, 9.0]), 2).tolist() == [1.0, 1.0]


def test_uncertainty_is_highest_at_one_half_and_the_mean_where_unscored():
    found = uncertainty(np.array([0.0, 0.5, 1.0, 0.2, np.nan]))

    assert found.tolist() == pytest.approx([0.0, 0.5, 0.0, 0.4, 0.225])
    assert uncertainty(np.array([np.nan])).tolist() == [0.0]


def test_sure_rows_keep_the_uniform_part_of_the_weight():
    found = labelling_weights(np.array([1.0, 1.0, 0.5, 0.5]), {})

    assert found.tolist() == pytest.approx([UNIFORM_SHARE, UNIFORM_SHARE, 2 - UNIFORM_SHARE, 2 - UNIFORM_SHARE])
    assert found.mean() == pytest.approx(1.0)


def test_without_any_doubt_all_rows_are_alike():
    assert labelling_weights(np.array([1.0, 0.0, np.nan]), {}).tolist() == [1.0, 1.0, 1.0]


def test_rows_of_rare_slices_count_more_and_rows_without_a_slice_do_not():
    sure = np.ones(100)
    team = np.array(["big"] * 96 + ["small"] * 3 + [""], dtype=object)

    found = labelling_weights(sure, {"team": team})

    assert found[:96].tolist() == [1.0] * 96
    assert found[96:99].tolist() == pytest.approx([0.05 / 0.03] * 3)
    assert found[99] == 1.0
    assert labelling_weights(np.ones(1000), {"id": np.array([str(i) for i in range(1000)])}).max() == RARE_LIMIT
