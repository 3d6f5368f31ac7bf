import math

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from harness.stats import sample_ratio

SKEWED = [821_588, 815_482]


def test_chi_square_reference():
    assert sample_ratio.chi_square(SKEWED, [0.5, 0.5]) == pytest.approx(1.8e-6, abs=5e-8)
    assert sample_ratio.chi_square([30, 50, 20], [1, 2, 1]) == pytest.approx(
        stats.chisquare([30, 50, 20], [25, 50, 25]).pvalue
    )


@pytest.mark.parametrize(("concentration", "log10_e"), [(1, 1.740), (100, 2.837)])
def test_sequential_reference(concentration, log10_e):
    found = sample_ratio.log_e(SKEWED, [0.5, 0.5], concentration=concentration)
    assert found / math.log(10) == pytest.approx(log10_e, abs=5e-4)


def test_two_arms_are_the_average_over_beta_shares():
    def ratio(p):
        return (p / 0.2) ** 9 * ((1 - p) / 0.8) ** 16 * stats.beta.pdf(p, 0.2 * 30, 0.8 * 30)

    assert np.exp(sample_ratio.log_e([9, 16], [1, 4], concentration=30)) == pytest.approx(quad(ratio, 0, 1)[0])


def test_a_fair_split_breaks_even_on_average():
    """Over all ways to assign twelve requests to three arms, exactly."""
    shares = np.array([0.5, 0.3, 0.2])
    counts = np.array([(i, j, 12 - i - j) for i in range(13) for j in range(13 - i)])
    chance = stats.multinomial.pmf(counts, 12, shares)
    assert np.sum(chance * np.exp(sample_ratio.log_e(counts, shares, concentration=5))) == pytest.approx(1.0)


def test_many_looks_at_once():
    counts = np.array([[10, 12], [300, 280], [0, 0]])
    found = sample_ratio.log_e(counts, [1, 1])
    assert found == pytest.approx([float(sample_ratio.log_e(row, [1, 1])) for row in counts])
    assert found[2] == 0.0


def test_false_alarms_over_forty_thousand_looks():
    """An alarm at E >= 1000 comes in one fair run of a thousand at most."""
    rng = np.random.default_rng(6)
    first = np.cumsum(rng.random((100, 40_000)) < 0.5, axis=1)[:, 9::10]
    counts = np.stack([first, np.arange(10, 40_001, 10) - first], axis=-1)
    assert np.sum((sample_ratio.log_e(counts, [1, 1]) >= math.log(1000)).any(axis=1)) <= 1
    assert sample_ratio.log_e([19_200, 20_800], [1, 1]) > math.log(1000)


def test_nothing_assigned_is_no_mismatch():
    assert sample_ratio.chi_square([0, 0], [1, 1]) == 1.0


@pytest.mark.parametrize(
    ("counts", "shares", "message"),
    [([1, 2], [1], "do not match"), ([-1, 2], [1, 1], "must not be negative"), ([1, 2], [0, 1], "must be positive")],
)
def test_impossible_counts_are_refused(counts, shares, message):
    with pytest.raises(ValueError, match=message):
        sample_ratio.chi_square(counts, shares)
    with pytest.raises(ValueError, match=message):
        sample_ratio.log_e(counts, shares)


def test_concentration_is_positive():
    with pytest.raises(ValueError, match="concentration=0 is not positive"):
        sample_ratio.log_e([1, 2], [1, 1], concentration=0)
