import math

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.special import betainc

from harness.stats import mixtures
from tests.reference import confseq_port as confseq

ALPHA = 0.05
TUNED = {"v_opt": 100.0, "alpha": ALPHA}


# Constants of confseq's unit tests


def test_best_rho_reference():
    assert mixtures.best_rho(100, alpha=ALPHA, sides=2) == pytest.approx(12.60056, abs=1e-5)
    assert mixtures.best_rho(100, alpha=ALPHA / 2) == mixtures.best_rho(100, alpha=ALPHA, sides=2)


@pytest.mark.parametrize(("sides", "log_e", "bound"), [(2, -0.6510052, 30.35209), (1, -0.06502391, 27.66071)])
def test_normal_mixture_reference(sides, log_e, bound):
    rho = mixtures.best_rho(100, alpha=ALPHA, sides=sides)
    assert mixtures.normal_log_e(10.0, 100.0, rho=rho, sides=sides) == pytest.approx(log_e, abs=1e-5)
    assert mixtures.normal_bound(100.0, alpha=ALPHA, rho=rho, sides=sides) == pytest.approx(bound, abs=1e-5)


@pytest.mark.parametrize(("sides", "log_e", "bound"), [(2, -0.6941012, 31.4308), (1, -0.07134019, 28.41238)])
def test_beta_binomial_mixture_reference(sides, log_e, bound):
    case = TUNED | {"g": 0.2, "h": 0.8, "sides": sides}
    assert confseq.beta_binomial_log(10, 100, **case) == pytest.approx(log_e, abs=1e-5)
    assert confseq.beta_binomial_bound(100, **case) == pytest.approx(bound, abs=1e-5)


def test_other_mixtures_of_the_same_tuning():
    assert confseq.gamma_exponential_log(10, 100, c=2, **TUNED) == pytest.approx(-0.2490165, abs=1e-5)
    assert confseq.gamma_exponential_bound(100, c=2, **TUNED) == pytest.approx(33.02017, abs=1e-5)
    assert confseq.gamma_poisson_log(10, 100, c=2, **TUNED) == pytest.approx(-0.06991219, abs=1e-5)
    assert confseq.gamma_poisson_bound(100, c=2, **TUNED) == pytest.approx(30.1949, abs=1e-5)


@pytest.mark.parametrize(("c", "bound"), [(3, 64.48755), (-1, 28.99389)])
def test_polynomial_stitching_reference(c, bound):
    assert confseq.poly_stitching_bound(100, alpha=ALPHA, v_min=10, c=c) == pytest.approx(bound, abs=1e-5)


@pytest.mark.parametrize(("p", "bound"), [(0.5, 68.62803), (0.9, 43.72119), (0.1, 59.96521)])
def test_double_stitching_reference(p, bound):
    assert confseq.double_stitching_bound(p, 1000, alpha=ALPHA, t_opt=100) == pytest.approx(bound, abs=1e-5)


def test_empirical_process_reference():
    assert confseq.empirical_process_lil_bound(1000, alpha=ALPHA, t_min=100) == pytest.approx(0.08204769, abs=1e-5)


@pytest.mark.parametrize(
    ("k", "n", "t_opt", "low", "high"),
    [
        (700, 1000, 100, 0.651629, 0.745949),
        (15, 50, 50, 0.129556, 0.511896),
        (5, 50, 50, 0.013021, 0.269264),
        (1, 50, 50, 0.0, 0.13489),
        (1, 2, 50, 0.0, 1.0),
        (100, 200, 1, 0.328923, 0.671076),
    ],
)
def test_bernoulli_interval_reference(k, n, t_opt, low, high):
    found = mixtures.bernoulli_interval(k, n, alpha=ALPHA, t_opt=t_opt)
    assert found == (pytest.approx(low, abs=2e-6), pytest.approx(high, abs=2e-6))


@pytest.mark.parametrize(
    ("p", "shift", "p_value"),
    [(0.5, 70, 0.814704), (0.5, 85, 0.0838055), (0.5, 100, 0.0054947), (0.9, 55, 0.0340463)],
)
def test_quantile_ab_reference(p, shift, p_value):
    values = np.arange(1.0, 1001)
    assert confseq.quantile_ab_p_value(values, values + shift, p=p, t_opt=100) == pytest.approx(p_value, rel=1e-5)
    assert confseq.quantile_ab_p_value(values + shift, values, p=p, t_opt=100) == pytest.approx(p_value, rel=1e-5)


# Against the integrals they stand for


@pytest.mark.parametrize(("total", "variance", "rho"), [(10, 100, 12.6), (-30, 50, 3), (4, 1, 0.5), (0, 10, 10)])
@pytest.mark.parametrize("sides", [1, 2])
def test_normal_mixture_is_the_average_over_normal_effects(total, variance, rho, sides):
    def wealth(effect):
        return math.exp(effect * total - effect**2 * variance / 2) * stats.norm.pdf(effect, scale=rho**-0.5)

    reach, peak = 12 * rho**-0.5, total / (variance + rho)
    above, below = (quad(wealth, *limits, points=[peak], limit=200)[0] for limits in ((0, reach), (-reach, 0)))
    found = math.exp(mixtures.normal_log_e(float(total), float(variance), rho=rho, sides=sides))
    assert found == pytest.approx(2 * above if sides == 1 else above + below)


def averaged_likelihood_ratio(k: float, n: float, share: float, prior: float, low: float) -> float:
    """Log of the mean over p in (low, 1) of the likelihood ratio, on a grid: slow and plain."""
    p = low + (1 - low) * (np.arange(400_000) + 0.5) / 400_000
    log_prior = stats.beta.logpdf(p, share * prior, (1 - share) * prior)
    ratio = k * np.log(p / share) + (n - k) * np.log((1 - p) / (1 - share))
    top = (ratio + log_prior).max()
    mass = stats.beta.sf(low, share * prior, (1 - share) * prior)
    return top + math.log(np.exp(ratio + log_prior - top).mean() * (1 - low) / mass)


@pytest.mark.parametrize(
    ("k", "n", "share", "prior"),
    [
        (60, 100, 0.5, 30),
        (12.5, 40, 0.2, 50),
        (3, 900, 0.01, 400),
        (500, 5500, 0.5, 400),  # the incomplete beta function is zero in floats here
        (20, 4000, 0.2, 100),  # and here
    ],
)
def test_beta_binomial_is_the_average_over_beta_shares(k, n, share, prior):
    one_sided = mixtures.bernoulli_log_e(float(k), float(n), share=share, concentration=prior)
    two_sided = mixtures.bernoulli_log_e(float(k), float(n), share=share, concentration=prior, sides=2)
    assert one_sided == pytest.approx(averaged_likelihood_ratio(k, n, share, prior, share), abs=2e-4)
    assert two_sided == pytest.approx(averaged_likelihood_ratio(k, n, share, prior, 0.0), abs=2e-4)


def test_evidence_runs_smoothly_into_where_the_incomplete_beta_function_is_zero_in_floats():
    k, n, prior = np.arange(1000.0, 2400, 25), 6000.0, 400.0
    outside = betainc(n - k + prior / 2, k + prior / 2, 0.5) < 1e-280
    log_e = mixtures.bernoulli_log_e(k, np.full(len(k), n), share=0.5, concentration=prior)
    assert 10 < outside.sum() < len(k) - 10
    assert np.all(np.diff(log_e) > 0)
    assert np.abs(np.diff(log_e, 3)).max() < 2e-4


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
@pytest.mark.parametrize("sides", [1, 2])
def test_a_fair_bet_breaks_even_on_average(share, sides):
    """Over all outcomes of 25 requests, exactly."""
    k = np.arange(26.0)
    wealth = np.exp(mixtures.bernoulli_log_e(k, np.full(26, 25.0), share=share, concentration=8.0, sides=sides))
    assert np.sum(stats.binom.pmf(k, 25, share) * wealth) == pytest.approx(1.0)
    lower = np.sum(stats.binom.pmf(k, 25, 0.8 * share) * wealth)
    assert (lower < 1) == (sides == 1)


# Validity with a look at every observation, computed without simulation


def least_successes(log_e, looks: int) -> list[int]:
    """How many successes in 1, 2, ... observations reach 1/ALPHA; it never falls from one look to the next."""
    found, k = [], 0
    for n in range(1, looks + 1):
        while k <= n and log_e(float(k), float(n)) < -math.log(ALPHA):
            k += 1
        found.append(k)
    return found


def chance_of_ever_reaching(critical: list[int], share: float) -> float:
    """Exact, by following the distribution of the number of successes among paths that have not reached it."""
    alive, reached = np.array([1.0]), 0.0
    for least in critical:
        alive = np.append(alive, 0.0) * (1 - share) + np.append(0.0, alive) * share
        reached += alive[least:].sum()
        alive[least:] = 0.0
    return reached


def test_sign_test_holds_at_every_look():
    critical = least_successes(lambda w, n: mixtures.sign_test_log_e(w, n - w, alpha=ALPHA, t_opt=500), 3000)
    assert 0.02 < chance_of_ever_reaching(critical, 0.5) <= ALPHA
    assert chance_of_ever_reaching(critical, 0.47) < ALPHA / 10
    assert chance_of_ever_reaching(critical, 0.54) > 0.95


@pytest.mark.parametrize("share", [0.01, 0.2])
def test_bound_of_a_share_holds_at_every_look(share):
    """The bound lies above the share exactly when the e-value against the share reaches 1/alpha."""
    prior = mixtures.concentration(500, alpha=ALPHA)

    def log_e(k, n):
        return mixtures.bernoulli_log_e(k, n, share=share, concentration=prior)

    assert 0.015 < chance_of_ever_reaching(least_successes(log_e, 2500), share) <= ALPHA


# Bounds of a share


@pytest.mark.parametrize(
    ("k", "n", "t_opt"), [(7, 100, 300), (0.4, 30, 50), (1, 20, 100), (48.5, 60, 10), (20, 20, 50)]
)
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_lower_bound_is_the_least_share_not_rejected(k, n, t_opt, alpha):
    """On a fine grid of shares, without relying on how the e-value runs between them."""
    prior = mixtures.concentration(t_opt, alpha=alpha)
    grid = np.linspace(0, 1, 4001)[1:-1]
    kept = [mixtures.bernoulli_log_e(float(k), float(n), share=m, concentration=prior) < -math.log(alpha) for m in grid]
    low = mixtures.bernoulli_lower(k, n, alpha=alpha, t_opt=t_opt)
    first = grid[kept.index(True)]
    assert first - 1 / 4000 <= low <= first
    assert low <= k / n
    assert mixtures.bernoulli_upper(n - k, n, alpha=alpha, t_opt=t_opt) == pytest.approx(1 - low)


def test_nothing_seen_bounds_nothing():
    assert mixtures.bernoulli_interval(0, 0, alpha=ALPHA, t_opt=100) == (0.0, 1.0)
    assert mixtures.bernoulli_lower(0, 50, alpha=ALPHA, t_opt=100) == 0.0
    assert mixtures.bernoulli_upper(50, 50, alpha=ALPHA, t_opt=100) == 1.0


def test_no_error_in_n_bounds_the_rate_like_a_wider_rule_of_three():
    for n in (300, 3000):
        assert 3 / n < mixtures.bernoulli_upper(0, n, alpha=ALPHA, t_opt=n) < 7 / n


def test_one_side_is_tighter_than_two():
    low, high = mixtures.bernoulli_interval(120, 1000, alpha=ALPHA, t_opt=1000)
    assert low < mixtures.bernoulli_lower(120, 1000, alpha=ALPHA, t_opt=1000)
    assert mixtures.bernoulli_upper(120, 1000, alpha=ALPHA, t_opt=1000) < high


# Sign test and p-values


def test_sign_test_is_the_beta_binomial_at_one_half():
    prior = mixtures.concentration(500, alpha=ALPHA)
    expected = mixtures.bernoulli_log_e(130.0, 230.0, share=0.5, concentration=prior)
    assert mixtures.sign_test_log_e(130.0, 100.0, alpha=ALPHA, t_opt=500) == pytest.approx(expected)


def test_arrays_give_what_their_elements_give():
    wins, losses = np.array([3.0, 40.0, 5.0]), np.array([1.0, 20.0, 9000.0])
    found = mixtures.sign_test_log_e(wins, losses, alpha=ALPHA, t_opt=500)
    single = [mixtures.sign_test_log_e(w, b, alpha=ALPHA, t_opt=500) for w, b in zip(wins, losses, strict=True)]
    assert found == pytest.approx(single)
    assert all(isinstance(value, float) for value in single)
    assert np.all(np.isfinite(found))


def test_p_value_is_one_over_the_e_value_and_at_most_one():
    assert mixtures.p_value(math.log(20.0)) == pytest.approx(0.05)
    assert mixtures.p_value(np.array([-3.0, 0.0, math.log(1000.0)])) == pytest.approx([1.0, 1.0, 0.001])


@pytest.mark.parametrize(("alpha", "sides", "v_opt"), [(0.5, 1, 10), (1.0, 2, 10), (0.0, 1, 10), (0.05, 1, 0)])
def test_impossible_tuning_is_refused(alpha, sides, v_opt):
    with pytest.raises(ValueError, match="no such boundary"):
        mixtures.best_rho(v_opt, alpha=alpha, sides=sides)
