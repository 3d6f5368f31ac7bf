import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import norm

from harness.stats import asymptotic, mixtures, quantiles

ALPHA = 0.05


# Published values


@pytest.mark.parametrize(
    ("n", "one_sided", "two_sided"),
    [(500, 3.26, 3.46), (1000, 2.94, 3.17), (3000, 2.78, 3.04), (5000, 2.79, 3.05), (10_000, 2.85, 3.11)],
)
def test_multiplier_reference(n, one_sided, two_sided):
    assert asymptotic.multiplier(n, alpha=ALPHA, t_opt=3000) == pytest.approx(one_sided, abs=5e-3)
    assert asymptotic.multiplier(n, alpha=ALPHA, t_opt=3000, sides=2) == pytest.approx(two_sided, abs=5e-3)


@pytest.mark.parametrize(("sides", "rho", "width"), [(2, 0.08908510, 0.09598174), (1, 0.07955413, 0.08788268)])
def test_half_width_reference(sides, rho, width):
    assert asymptotic.rho(alpha=ALPHA, t_opt=1000, sides=sides) == pytest.approx(rho, abs=1e-8)
    assert asymptotic.half_width(1000, 1.0, alpha=ALPHA, t_opt=1000, sides=sides) == pytest.approx(width, abs=1e-8)


class GrowthBook:
    """The two arms of its sequential tests: unpaired, with the variance scaled to the sum of both arms."""

    n_a, n_b = 3000, 3461
    mean_a, mean_b = 1396.87 / n_a, 2422.7 / n_b
    variance_a = (52377.9767 - 1396.87**2 / n_a) / (n_a - 1)
    variance_b = (134698.29 - 2422.7**2 / n_b) / (n_b - 1)
    n = n_a + n_b
    lift = (mean_b - mean_a) / mean_a
    sd_lift = math.sqrt(n * (variance_b / (mean_a**2 * n_b) + variance_a * mean_b**2 / (mean_a**4 * n_a)))
    difference = mean_b - mean_a
    sd_difference = math.sqrt(n * (variance_a / n_a + variance_b / n_b))


def test_growthbook_relative_reference():
    gb = GrowthBook
    two_sided = asymptotic.half_width(gb.n, gb.sd_lift, alpha=ALPHA, t_opt=1000, sides=2)
    one_sided = asymptotic.half_width(gb.n, gb.sd_lift, alpha=ALPHA, t_opt=5000)
    assert gb.lift == pytest.approx(0.50336, abs=5e-6)
    assert (gb.lift - two_sided, gb.lift + two_sided) == pytest.approx((-0.55844, 1.56516), abs=5e-6)
    assert (gb.lift - one_sided, gb.lift + one_sided) == pytest.approx((-0.423565, 1.430287), abs=1e-6)


def test_growthbook_absolute_reference():
    gb = GrowthBook
    half = asymptotic.half_width(gb.n, gb.sd_difference, alpha=ALPHA, t_opt=5000)
    assert gb.difference == pytest.approx(0.2343767, abs=5e-7)
    assert (gb.difference - half, gb.difference + half) == pytest.approx((-0.1265684, 0.5953218), abs=5e-7)


def anytime_level(n: int) -> float:
    z = asymptotic.multiplier(n, alpha=ALPHA, t_opt=3000, sides=2)
    return float(2 * ndtr(z) - 1)


def test_p95_ranks_at_ten_thousand():
    """The normal multiplier gives the ranks of the exact quantile sequence of Howard and Ramdas, but for one."""
    n = 10_000
    estimate = quantiles.quantile(np.arange(1.0, n + 1), np.arange(n), 0.95, level=anytime_level(n))
    assert (estimate.low, estimate.value, estimate.high) == (9431, 9500, 9567)

    below = np.arange(9000.0, n)
    prior = mixtures.concentration(3000, alpha=ALPHA, sides=2)
    log_e = mixtures.bernoulli_log_e(below, np.full(len(below), float(n)), share=0.95, concentration=prior, sides=2)
    possible = below[log_e < -math.log(ALPHA)]
    assert (possible.min(), possible.max() + 1) == (9431, 9566)


@pytest.mark.parametrize(("probability", "least", "most"), [(0.95, 147, 202), (0.99, 766, 1053), (0.999, 7700, 10_600)])
def test_the_normal_rule_for_the_least_sample_of_a_percentile_is_on_the_safe_side(probability, least, most):
    """z^2 tau / (1 - tau) rows, against the number at which an upper order statistic exists."""
    for z, rule in ((2.78, least), (3.26, most)):
        assert z**2 * probability / (1 - probability) == pytest.approx(rule, rel=0.01)
        assert 0.7 * rule < quantiles.min_n(probability, level=float(2 * ndtr(z) - 1)) < 0.8 * rule


# Against plain loops and integrals


@pytest.mark.parametrize("sides", [1, 2])
def test_formula_written_out(sides):
    for n, alpha, t_opt in [(1, 0.05, 3000), (250.5, 0.01, 100), (40_000, 0.025, 9000)]:
        tail = 2 * alpha if sides == 1 else alpha
        r2 = (-2 * math.log(tail) + math.log(1 - 2 * math.log(tail))) / t_opt
        root = math.sqrt(n * r2 + 1)
        log_term = math.log(1 + root / (2 * alpha)) if sides == 1 else math.log(root / alpha)
        expected = 2.5 * math.sqrt(2 * (n * r2 + 1) / (n * n * r2) * log_term)
        assert asymptotic.half_width(n, 2.5, alpha=alpha, t_opt=t_opt, sides=sides) == pytest.approx(expected)


@pytest.mark.parametrize(("total", "n", "sd", "mean"), [(560, 1000, 0.4, 0.5), (30, 100, 0.5, 0.5), (12, 10, 2, 0.0)])
def test_e_value_is_the_average_over_half_normal_effects(total, n, sd, mean):
    rho = asymptotic.rho(alpha=ALPHA, t_opt=500)
    s = (total - n * mean) / sd

    def wealth(effect):
        return math.exp(effect * s - effect**2 * n / 2) * 2 * norm.pdf(effect, scale=rho)

    expected = quad(wealth, 0, 12 * rho, points=[max(s / n, 0.0)], limit=200)[0]
    found = asymptotic.log_e_value(float(total), float(n), sd, mean=mean, alpha=ALPHA, t_opt=500)
    assert math.exp(found) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [20, 100, 3000, 100_000])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_the_interval_ends_just_beyond_where_the_e_value_reaches_its_threshold(n, alpha):
    end = asymptotic.half_width(n, 0.4, alpha=alpha, t_opt=3000)
    e_value = math.exp(asymptotic.log_e_value(n * end, n, 0.4, mean=0.0, alpha=alpha, t_opt=3000))
    assert 1 / alpha <= e_value <= 1 / alpha + 2


# Edges


def test_arrays_give_what_their_elements_give():
    n, sd = np.array([10.0, 500.0, 8000.0]), np.array([0.5, 0.4, 0.45])
    total = n * 0.52
    widths = asymptotic.half_width(n, sd, alpha=ALPHA, t_opt=3000)
    log_e = asymptotic.log_e_value(total, n, sd, mean=0.5, alpha=ALPHA, t_opt=3000)
    for i in range(3):
        assert widths[i] == asymptotic.half_width(float(n[i]), float(sd[i]), alpha=ALPHA, t_opt=3000)
        single = asymptotic.log_e_value(float(total[i]), float(n[i]), float(sd[i]), mean=0.5, alpha=ALPHA, t_opt=3000)
        assert log_e[i] == single
        assert isinstance(single, float)


def test_far_against_the_hypothesis_is_finite_evidence_for_it():
    low = asymptotic.log_e_value(0.0, 1e6, 0.1, mean=0.5, alpha=ALPHA, t_opt=3000)
    assert -20 < low < -5


def test_without_variance_or_observations_nothing_is_known():
    assert asymptotic.half_width(100, 0.0, alpha=ALPHA, t_opt=3000) == math.inf
    assert asymptotic.half_width(1, float("nan"), alpha=ALPHA, t_opt=3000) == math.inf
    assert asymptotic.half_width(0, 1.0, alpha=ALPHA, t_opt=3000) == math.inf
    assert asymptotic.multiplier(0, alpha=ALPHA, t_opt=3000) == math.inf
    assert asymptotic.log_e_value(100.0, 100, 0.0, mean=0.5, alpha=ALPHA, t_opt=3000) == 0.0
    assert asymptotic.log_e_value(1.0, 1, float("nan"), mean=0.5, alpha=ALPHA, t_opt=3000) == 0.0


def test_impossible_tuning_is_refused():
    with pytest.raises(ValueError, match="no such boundary"):
        asymptotic.multiplier(100, alpha=0.5, t_opt=3000)
