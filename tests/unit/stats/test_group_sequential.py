import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from harness.stats import group_sequential as gs

FIVE = np.arange(1, 6) / 5
DAILY = np.arange(1, 15) / 14


@pytest.mark.parametrize(
    ("spending", "alpha", "expected"),
    [
        ("obrien_fleming", 0.025, [4.877, 3.357, 2.680, 2.290, 2.031]),  # gsDesign, sfLDOF
        ("obrien_fleming", 0.05, [4.229, 2.888, 2.298, 1.962, 1.740]),
        ("pocock", 0.025, [2.438, 2.427, 2.410, 2.397, 2.386]),
    ],
)
def test_boundaries_reference(spending, alpha, expected):
    assert gs.boundaries(FIVE, alpha=alpha, spending=spending) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(
    ("delta", "power", "n"), [(0.01, 0.78, 7503), (0.015, 0.97, 5715), (0.02, 1.0, 4385), (0.03, 1.0, 3062),
                              (0.05, 1.0, 1971), (0.10, 1.0, 1234)]
)  # fmt: skip
def test_operating_characteristics_of_fourteen_looks(delta, power, n):
    """Simulated win rates of 0.5 + delta with 30 % ties, one-sided 0.05, up to 10,000 pairs."""
    drift = delta * math.sqrt(10_000 / 0.175)
    critical = gs.boundaries(DAILY, alpha=0.05)
    assert gs.power(DAILY, critical, drift) == pytest.approx(power, abs=0.03)
    assert 10_000 * gs.expected_fraction(DAILY, critical, drift) == pytest.approx(n, rel=0.05)


def no_crossing(times, critical, drift) -> float:
    """From the joint normal distribution of the z values at the looks."""
    correlation = np.sqrt(np.minimum.outer(times, times) / np.maximum.outer(times, times))
    # Integrated at random beyond two looks.
    seeded = {"abseps": 1e-7, "maxpts": 2_000_000, "rng": np.random.default_rng(0)}
    return multivariate_normal.cdf(critical, mean=drift * np.sqrt(times), cov=correlation, **seeded)


@pytest.mark.parametrize("times", [[0.5, 1.0], [0.1, 0.9], [0.2, 0.55, 1.0], [0.05, 0.3, 0.32]])
@pytest.mark.parametrize("spending", ["obrien_fleming", "pocock"])
@pytest.mark.parametrize("drift", [0.0, -1.0, 2.8])
def test_integration_agrees_with_the_joint_normal_distribution(times, spending, drift):
    times = np.array(times)
    critical = gs.boundaries(times, alpha=0.05, spending=spending)
    reached = gs.crossing(times, critical, drift=drift)
    for looks in range(1, len(times) + 1):
        expected = 1 - no_crossing(times[:looks], critical[:looks], drift)
        assert reached[looks - 1] == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize(("spending", "alpha"), [("obrien_fleming", 0.05), ("pocock", 0.01)])
def test_error_is_spent_as_planned(spending, alpha):
    times = np.array([0.1, 0.4, 0.41, 0.9])
    z = norm.ppf(1 - alpha / 2)
    planned = {
        "obrien_fleming": 2 * norm.sf(z / np.sqrt(times)),
        "pocock": alpha * np.log(1 + (math.e - 1) * times),
    }
    critical = gs.boundaries(times, alpha=alpha, spending=spending)
    assert gs.crossing(times, critical) == pytest.approx(planned[spending], abs=1e-9)


def test_a_hundred_looks_stay_within_alpha():
    rng = np.random.default_rng(5)
    times = np.arange(1, 101) / 100
    critical = gs.boundaries(times, alpha=0.05)
    walk = np.cumsum(rng.normal(size=(4000, 100)), axis=1) / np.sqrt(np.arange(1, 101))
    assert np.mean((walk >= critical).any(axis=1)) == pytest.approx(0.05, abs=0.011)


def test_one_look_is_the_fixed_test():
    assert gs.boundaries([1.0], alpha=0.025) == pytest.approx([1.959964], abs=1e-6)
    assert gs.power([1.0], [1.959964], 1.959964 + 1.281552) == pytest.approx(0.9, abs=1e-6)
    assert gs.expected_fraction([1.0], [1.959964], 3.0) == 1.0


def test_looking_costs_two_percent_of_the_sample():
    critical = gs.boundaries(FIVE, alpha=0.025)
    fixed = norm.isf(0.025) + norm.isf(0.1)
    assert gs.power(FIVE, critical, fixed) < 0.9 < gs.power(FIVE, critical, fixed * math.sqrt(1.03))
    assert gs.expected_fraction(FIVE, critical, fixed) < 0.8


def test_a_look_too_early_to_spend_anything_is_never_crossed():
    critical = gs.boundaries([0.002, 1.0], alpha=0.05)
    assert critical[0] == math.inf
    assert critical[1] == pytest.approx(norm.isf(0.05), abs=1e-9)
    assert gs.crossing([0.002, 1.0], critical)[0] == 0.0


@pytest.mark.parametrize("fractions", [[], [0.0, 1.0], [0.5, 0.5], [0.6, 0.5], [0.5, 1.1], [[0.5, 1.0]]])
def test_fractions_must_rise(fractions):
    with pytest.raises(ValueError, match="must rise strictly within"):
        gs.boundaries(fractions, alpha=0.05)


def test_other_impossible_plans_are_refused():
    with pytest.raises(ValueError, match="closer together"):
        gs.boundaries([0.5, 0.50001], alpha=0.05)
    with pytest.raises(ValueError, match=r"alpha=0\.5 is not in"):
        gs.boundaries([1.0], alpha=0.5)
    with pytest.raises(ValueError, match="1 critical values do not match 2 looks"):
        gs.crossing([0.5, 1.0], [2.0])
