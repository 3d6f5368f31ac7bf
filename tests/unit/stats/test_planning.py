import math

import numpy as np
import pytest

from harness.stats import means, planning, ppi, quantiles


def asymptotic(n: float, alpha: float = 0.05, best: float = 3000) -> float:
    """One-sided multiplier of the asymptotic confidence sequence (Waudby-Smith et al.), as an example of one."""
    scale = (-2 * math.log(2 * alpha) + math.log(1 - 2 * math.log(2 * alpha))) / best
    root = math.sqrt(n * scale + 1)
    return math.sqrt(2 * root**2 / (n * scale) * math.log(1 + root / (2 * alpha)))


@pytest.mark.parametrize(
    ("decisive", "pairs"),
    [(0.1, (687, 248, 62)), (0.2, (1374, 495, 124)), (0.4, (2748, 990, 248)), (0.6, (4122, 1484, 371))],
)
def test_net_win_rate_table(decisive, pairs):
    sd = planning.paired_sd(discordant=decisive)
    found = tuple(planning.pairs_needed(effect=0, margin=-m, sd=sd, level=0.9) for m in (0.03, 0.05, 0.1))
    assert found == pairs
    stricter = planning.pairs_needed(effect=0, margin=-0.03, sd=sd, level=0.95)
    assert stricter == pytest.approx(1.27 * pairs[0], rel=0.002)


@pytest.mark.parametrize(
    ("delta", "at_80", "at_90"),
    [(0.01, 10_814, 14_979), (0.015, 4_803, 6_653), (0.02, 2_699, 3_739), (0.03, 1_196, 1_657), (0.05, 427, 591),
     (0.1, 103, 142)],
)  # fmt: skip
def test_win_rate_with_ties_table(delta, at_80, at_90):
    sd = planning.win_rate_sd(tie_share=0.3, win_rate=0.5 + delta)
    for power, pairs in ((0.8, at_80), (0.9, at_90)):
        assert planning.pairs_needed(effect=0.5 + delta, margin=0.5, sd=sd, level=0.9, power=power) == pairs


def test_a_simulated_run_of_the_planned_size_passes_as_often_as_planned():
    rng = np.random.default_rng(0)
    sd = planning.win_rate_sd(tie_share=0.4, win_rate=0.55)
    n = planning.pairs_needed(effect=0.55, margin=0.48, sd=sd, power=0.8)
    passed = 0
    for _ in range(600):
        scores = rng.choice([0.0, 0.5, 1.0], n, p=[0.25, 0.4, 0.35])
        passed += means.mean(scores, np.arange(n), bounds=(0.0, 1.0)).low > 0.48
    assert passed / 600 == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize(("tie_share", "win_rate"), [(0.3, 0.5), (0.0, 0.7), (1.0, 0.5), (0.2, 0.55)])
def test_standard_deviation_of_a_score(tie_share, win_rate):
    win = win_rate - tie_share / 2
    values, chances = np.array([0, 0.5, 1]), np.array([1 - win - tie_share, tie_share, win])
    sd = math.sqrt(chances @ (values - win_rate) ** 2)
    assert planning.win_rate_sd(tie_share=tie_share, win_rate=win_rate) == pytest.approx(sd)


def test_standard_deviation_of_a_paired_difference():
    assert planning.paired_sd(discordant=0.03, difference=0.01) == pytest.approx(math.sqrt(0.02 + 0.01 - 0.0001))


def test_conversations_multiply_the_pairs():
    factor = planning.design_effect(cluster_size=5, correlation=0.2)
    assert factor == pytest.approx(1.8)
    sd = planning.paired_sd(discordant=0.1)
    single = planning.pairs_needed(effect=0, margin=0.05, sd=sd)
    many = planning.pairs_needed(effect=0, margin=0.05, sd=sd, design_effect=factor)
    assert many == math.ceil(single * 1.8)


def test_an_anytime_multiplier_is_asked_at_every_size():
    assert asymptotic(500) == pytest.approx(3.26, abs=0.005)
    sd = planning.win_rate_sd(tie_share=0.3)
    n = planning.pairs_needed(effect=0.53, margin=0.5, sd=sd, multiplier=asymptotic)
    fixed = planning.pairs_needed(effect=0.53, margin=0.5, sd=sd, level=0.9)

    def slack(pairs: int) -> float:
        return math.sqrt(pairs) * 0.03 / sd - asymptotic(pairs) - 0.841621

    assert slack(n) >= 0 > slack(n - 1)
    assert 1.5 * fixed < n < 3 * fixed
    assert planning.pairs_needed(effect=0.53, margin=0.5, sd=sd, multiplier=1.644854) == fixed


@pytest.mark.parametrize(("effect", "sd"), [(0.5, 0.4), (0.5 + 1e-6, 0.4)])
def test_what_no_run_can_settle_is_none(effect, sd):
    assert planning.pairs_needed(effect=effect, margin=0.5, sd=sd) is None


def test_no_variance_needs_one_pair():
    assert planning.pairs_needed(effect=1.0, margin=0.5, sd=0.0) == 1


@pytest.mark.parametrize("correlation", [-0.4, 0.0, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("probability", [0.5, 0.95])
def test_exceedance_correlation_against_the_joint_tail(correlation, probability):
    from scipy.stats import multivariate_normal, norm

    z = norm.ppf(probability)
    joint = multivariate_normal(cov=[[1, correlation], [correlation, 1]]).cdf([-z, -z])
    expected = (joint - (1 - probability) ** 2) / (probability * (1 - probability))
    assert planning.exceedance_correlation(correlation, probability) == pytest.approx(expected, abs=1e-5)


def test_spread_of_a_quantile_ratio_is_what_simulation_gives():
    rng = np.random.default_rng(1)
    made = []
    for _ in range(1500):
        shared, own = rng.normal(size=1000), rng.normal(size=(2, 1000))
        arms = math.sqrt(0.6) * shared + math.sqrt(0.4) * own
        made.append(np.diff(np.quantile(0.8 * arms, 0.95, axis=1))[0])
    sd = planning.quantile_ratio_sd(0.95, log_sd=0.8, correlation=0.6)
    assert np.std(made) * math.sqrt(1000) == pytest.approx(sd, rel=0.06)


def test_a_density_may_be_given_instead_of_a_lognormal():
    assert planning.quantile_ratio_sd(0.5, log_density=0.5) == pytest.approx(math.sqrt(2))
    same = planning.quantile_ratio_sd(0.5, log_density=1 / math.sqrt(2 * math.pi))
    assert same == pytest.approx(planning.quantile_ratio_sd(0.5, log_sd=1.0))
    assert planning.quantile_ratio_sd(0.95, log_sd=1.0, correlation=1.0) == 0.0
    for given in ({}, {"log_sd": 1.0, "log_density": 1.0}):
        with pytest.raises(ValueError, match="either log_sd or log_density"):
            planning.quantile_ratio_sd(0.95, **given)


def test_pairs_for_a_quantile_ratio_work_on_the_log_scale():
    sd = planning.quantile_ratio_sd(0.95, log_sd=1.0, correlation=0.5)
    found = planning.pairs_for_quantile_ratio(0.95, effect=1.0, margin=1.2, sd=sd)
    assert found == planning.pairs_needed(effect=0, margin=math.log(1.2), sd=sd)
    up = planning.pairs_for_quantile_ratio(0.95, effect=1.2, margin=1.0, sd=sd)
    assert up == found
    assert planning.pairs_for_quantile_ratio(0.95, effect=1.2, margin=1.2, sd=sd) is None


def test_a_percentile_needs_its_least_number_of_pairs_however_large_the_effect():
    least = quantiles.min_n(0.99, level=0.95)
    assert planning.pairs_for_quantile_ratio(0.99, effect=1.0, margin=3.0, sd=0.1) == least
    doubled = planning.pairs_for_quantile_ratio(0.99, effect=1.0, margin=3.0, sd=0.1, design_effect=2.0)
    assert doubled == 2 * least
    anytime = planning.pairs_for_quantile_ratio(0.99, effect=1.0, margin=3.0, sd=0.1, multiplier=3.0)
    assert anytime > least


@pytest.mark.parametrize(
    ("half_width", "correlation", "labels"), [(0.0455, 0.6, 302), (0.0255, 0.6, 999), (0.0348, 0.8, 301)]
)
def test_labels_for_a_half_width_table(half_width, correlation, labels):
    # Simulated with 300, 1,000 and 300 labels among 10,000 judged pairs.
    assert planning.labels_needed(half_width, pairs=10_000, correlation=correlation) == labels


def test_the_planned_labels_give_the_planned_width():
    rng = np.random.default_rng(2)
    truth = (rng.random(5000) < 0.5).astype(float)
    judge = np.where(rng.random(5000) < 0.85, truth, 1 - truth)
    n = planning.labels_needed(0.06, pairs=5000, correlation=0.7)
    people = np.where(rng.permutation(5000) < n, truth, np.nan)
    found = ppi.ppi_mean(people, judge, np.arange(5000))
    assert (found.high - found.low) / 2 == pytest.approx(0.06, rel=0.06)


def test_few_labels_are_planned_with_t_and_too_many_not_at_all():
    usual = planning.labels_needed(0.15, pairs=1000, correlation=0.5)
    assert usual > planning.labels_needed(0.15, pairs=1000, correlation=0.5, multiplier=1.959964)
    assert planning.labels_needed(0.15, pairs=1000, correlation=0.5, multiplier=lambda n: 3.0) > usual
    assert planning.labels_needed(0.01, pairs=1000, correlation=0.5) is None
    assert planning.labels_needed(0.1, pairs=0, correlation=0.0) is None
