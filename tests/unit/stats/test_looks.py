import math

import numpy as np
import pytest
from scipy.stats import norm, t

from harness.stats import asymptotic, group_sequential, looks, mixtures, proportions
from harness.stats.looks import ONE_LOOK, AnyLook, PlannedLooks

QUARTERS = (0.25, 0.5, 0.75, 1.0)


def test_one_look_is_students_t():
    assert ONE_LOOK.multiplier(0.95, 10) == pytest.approx(t.ppf(0.975, 9))
    assert ONE_LOOK.multiplier(0.95, 10.9) == ONE_LOOK.multiplier(0.95, 10)
    assert ONE_LOOK.multiplier(0.95, 1) == math.inf


def test_any_look_is_the_one_sided_asymptotic_sequence():
    found = AnyLook(t_opt=3000).multiplier(0.90, 5000)
    assert found == asymptotic.multiplier(5000, alpha=0.05, t_opt=3000)
    assert found == pytest.approx(2.79, abs=0.005)
    assert math.isfinite(AnyLook().multiplier(0.90, 0))


def test_any_look_costs_about_seven_tenths_more_than_one_and_hardly_depends_on_n():
    multiples = [AnyLook().multiplier(0.90, n) for n in (1000, 3000, 10_000)]
    assert all(1.6 < multiple / norm.ppf(0.95) < 1.8 for multiple in multiples)


@pytest.mark.parametrize("look", range(1, 5))
def test_planned_looks_are_the_boundary_of_the_last_look_reached(look):
    expected = group_sequential.boundaries(QUARTERS, alpha=0.05)[look - 1]
    # What comes after a look does not change its boundary.
    assert PlannedLooks(QUARTERS[:look]).multiplier(0.90, 1000) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("way", [ONE_LOOK, AnyLook(), PlannedLooks(QUARTERS)])
def test_more_confidence_needs_more_distance(way):
    multiples = [way.multiplier(level, 1000) for level in (0.90, 0.95, 0.99, 0.999)]
    assert multiples == sorted(multiples)


@pytest.mark.parametrize(("way", "name", "least"), [(ONE_LOOK, "one", 2), (AnyLook(), "any", 100),
                                                    (PlannedLooks(QUARTERS), "planned", 30)])  # fmt: skip
def test_each_way_of_looking_has_a_name_and_a_least_number_of_conversations(way, name, least):
    assert (way.name, way.least_units) == (name, least)


def test_the_level_of_one_look_that_is_as_wide():
    assert looks.one_look_level(ONE_LOOK, 0.9, 500) == 0.9
    wide = looks.one_look_level(AnyLook(), 0.9, 500)
    assert norm.ppf(0.5 + wide / 2) == pytest.approx(AnyLook().multiplier(0.9, 500))
    assert looks.one_look_level(PlannedLooks((1e-4,)), 0.9, 500) < 1


# Bounds of shares


@pytest.mark.parametrize(("seen", "n"), [(0, 100), (3, 100), (4, 5000)])
def test_an_exact_bound_for_any_look_is_a_mixture_that_does_not_follow_n(seen, n):
    found = looks.exact_upper(AnyLook(), seen, n, 0.9)
    assert found == pytest.approx(mixtures.bernoulli_upper(seen, n, alpha=0.05, t_opt=looks.EXACT_AT))
    assert found > looks.exact_upper(ONE_LOOK, seen, n, 0.9)


@pytest.mark.parametrize("way", [AnyLook(t_opt=3000), PlannedLooks((0.2, 0.5))])
def test_each_end_of_a_share_misses_as_often_as_it_says(way):
    values = np.repeat([1.0, 0.0], [30, 970])
    found = proportions.proportion(values, np.arange(1000), level=0.9, looks=way)
    assert found.low == pytest.approx(mixtures.bernoulli_lower(30, 1000, alpha=0.05, t_opt=looks.EXACT_AT))
    assert found.high == pytest.approx(mixtures.bernoulli_upper(30, 1000, alpha=0.05, t_opt=looks.EXACT_AT))


@pytest.mark.parametrize("share", [0.01, 0.3])
def test_the_upper_end_of_a_share_is_seldom_ever_below_it(share):
    """By e-values, which the bounds invert: looks at 10, 20, ... 5,000."""
    rng = np.random.default_rng(5)
    n = np.arange(10.0, 5001, 10)
    prior = mixtures.concentration(looks.EXACT_AT, alpha=0.05)
    missed = 0
    for _ in range(1000):
        ones = np.cumsum(rng.random(5000) < share)[9::10]
        log_e = mixtures.bernoulli_log_e(n - ones, n, share=1 - share, concentration=prior)
        missed += bool(log_e.max() >= -math.log(0.05))
    assert missed / 1000 <= 0.05
