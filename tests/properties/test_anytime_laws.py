"""Laws of everything that holds at every look, on generated data, and plain loops beside fast code."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from harness.stats import asymptotic, betting, group_sequential, mixtures

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
ALPHAS = (0.05, 0.025, 0.01, 0.001)

seeds = st.integers(0, 2**32 - 1)
horizons = st.floats(10, 1e5)
counts = st.integers(1, 4000).flatmap(lambda n: st.tuples(st.floats(0, n), st.just(float(n))))
means = st.floats(0.05, 0.95)


def scored_conversations(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 80))
    values = rng.choice([0.0, 0.25, 0.5, 1.0], n, p=rng.dirichlet(np.ones(4)))
    return values, rng.integers(0, max(n // 2, 1), n)


# Fast code beside plain loops


@EXAMPLES
@given(seed=seeds, mean=means, low=st.sampled_from([0.0, -1.0]))
def test_wealth_is_that_of_separate_purses(seed, mean, low):
    values, clusters = scored_conversations(seed)
    found = betting.log_wealth(values, mean, bounds=(low, 1.0), clusters=clusters)
    order, purses, largest = list(dict.fromkeys(clusters.tolist())), np.array([1 / i for i in range(1, 11)]), 0
    purses /= purses.sum()
    for step, cluster in enumerate(order):
        rows = values[clusters == cluster]
        largest = max(largest, len(rows))
        for i in range(10):
            purses[i] *= 1 + min(0.5**i, 1 / largest) / (mean - low) * sum(row - mean for row in rows)
        assert math.exp(found[step]) == pytest.approx(purses.sum(), rel=1e-8)


@EXAMPLES
@given(
    total=st.floats(-200, 200), variance=st.floats(0.1, 2000), rho=st.floats(0.5, 500), sides=st.sampled_from([1, 2])
)
def test_normal_mixture_is_a_sum_over_effects(total, variance, rho, sides):
    assume(abs(total) < 4 * math.sqrt(rho) * (1 + variance / rho))  # else the effects lie beyond the grid
    effects = np.linspace(-9, 9, 20_001) / math.sqrt(rho)
    shape = norm.logpdf(effects, scale=rho**-0.5) + effects * total - effects**2 * variance / 2
    if sides == 1:
        shape = shape[effects >= 0] + math.log(2)
        shape[0] -= math.log(2)
    expected = np.logaddexp.reduce(shape) + math.log(effects[1] - effects[0])
    found = mixtures.normal_log_e(total, variance, rho=rho, sides=sides)
    assert found == pytest.approx(expected, abs=5e-3)


@EXAMPLES
@given(count=counts, t_opt=horizons, alpha=st.sampled_from(ALPHAS))
@example(count=(5e-324, 1.0), t_opt=10.0, alpha=0.05)
def test_every_share_below_the_bound_is_rejected_and_the_next_is_not(count, t_opt, alpha):
    k, n = count
    low = mixtures.bernoulli_lower(k, n, alpha=alpha, t_opt=t_opt)
    prior = mixtures.concentration(t_opt, alpha=alpha)
    assert 0 <= low <= k / n
    if low > 0:
        log_e = [
            mixtures.bernoulli_log_e(k, n, share=part * low, concentration=prior)
            for part in (1e-6, 0.1, 0.5, 0.9, 1 - 1e-6)
        ]
        assert min(log_e) > -math.log(alpha) - 1e-6
        beyond = min(low * (1 + 1e-6), (low + 1) / 2)
        assert mixtures.bernoulli_log_e(k, n, share=beyond, concentration=prior) < -math.log(alpha) + 1e-6


@pytest.mark.parametrize("spending", ["obrien_fleming", "pocock"])
def test_crossing_is_that_of_simulated_paths(spending):
    rng = np.random.default_rng(1)
    times = np.array([0.15, 0.4, 0.7, 1.0])
    critical = group_sequential.boundaries(times, alpha=0.05, spending=spending)
    steps = np.diff(times, prepend=0.0)
    for drift in (0.0, 2.0):
        walk = np.cumsum(drift * steps + np.sqrt(steps) * rng.normal(size=(100_000, 4)), axis=1) / np.sqrt(times)
        simulated = np.maximum.accumulate(walk >= critical, axis=1).mean(axis=0)
        assert group_sequential.crossing(times, critical, drift=drift) == pytest.approx(simulated, abs=0.006)


# Order and direction


@EXAMPLES
@given(seed=seeds, mean=means)
def test_order_does_not_matter_when_the_largest_conversation_is_known(seed, mean):
    values, clusters = scored_conversations(seed)
    shuffled = np.random.default_rng(seed).permutation(len(values))
    size = int(np.bincount(clusters).max())
    for find in (
        lambda rows: betting.log_wealth(values[rows], mean, clusters=clusters[rows], max_size=size)[-1],
        lambda rows: betting.lower(values[rows], alpha=0.05, clusters=clusters[rows], max_size=size),
        lambda rows: betting.upper(values[rows], alpha=0.05),
    ):
        assert find(shuffled) == pytest.approx(find(np.arange(len(values))), abs=1e-8)


@EXAMPLES
@given(seed=seeds, first=means, second=means)
def test_wealth_falls_in_the_mean_it_is_held_against(seed, first, second):
    values, clusters = scored_conversations(seed)
    low, high = sorted((first, second))
    against_low, against_high = (betting.log_wealth(values, mean, clusters=clusters) for mean in (low, high))
    assert np.all(against_low >= against_high - 1e-9)


@EXAMPLES
@given(seed=seeds)
def test_swapping_arms_negates_every_bound(seed):
    rng = np.random.default_rng(seed)
    candidate, production = rng.random((2, 60)).round()
    bounds = (-1.0, 1.0)
    low = betting.lower(candidate - production, alpha=0.05, bounds=bounds)
    assert betting.upper(production - candidate, alpha=0.05, bounds=bounds) == pytest.approx(-low)
    k, n = float(candidate.sum()), 60.0
    low, high = mixtures.bernoulli_interval(k, n, alpha=0.05, t_opt=100)
    assert mixtures.bernoulli_interval(n - k, n, alpha=0.05, t_opt=100) == pytest.approx((1 - high, 1 - low))


@EXAMPLES
@given(seed=seeds, shift=st.floats(-5, 5), scale=st.floats(0.01, 50))
def test_bounds_move_with_the_scale_of_the_scores(seed, shift, scale):
    values, clusters = scored_conversations(seed)
    low, high = (find(values, alpha=0.05, clusters=clusters) for find in (betting.lower, betting.upper))
    moved = {"alpha": 0.05, "clusters": clusters, "bounds": (shift, shift + scale)}
    assert betting.lower(shift + scale * values, **moved) == pytest.approx(shift + scale * low, abs=1e-6 * scale)
    assert betting.upper(shift + scale * values, **moved) == pytest.approx(shift + scale * high, abs=1e-6 * scale)


# More evidence, more confidence


@EXAMPLES
@given(seed=seeds, data=st.data())
def test_a_better_score_can_only_raise_the_bound(seed, data):
    values, clusters = scored_conversations(seed)
    better = values.copy()
    better[data.draw(st.integers(0, len(values) - 1))] = 1.0
    for alpha in (0.2, 0.05):
        before, after = (betting.lower(x, alpha=alpha, clusters=clusters) for x in (values, better))
        assert after >= before - 1e-9


@EXAMPLES
@given(count=counts, t_opt=horizons, share=means, more=st.floats(0, 50), sd=st.floats(0.01, 1))
def test_evidence_grows_with_the_total(count, t_opt, share, more, sd):
    k, n = count
    tuned = {"alpha": 0.05, "t_opt": t_opt}
    total = np.array([k, k + more])
    log_e = asymptotic.log_e_value(total, np.full(2, n), sd, mean=share, **tuned)
    assert log_e[1] >= log_e[0] - 1e-9
    wins = mixtures.sign_test_log_e(np.minimum(total, n), n - np.minimum(total, n), **tuned)
    assert wins[1] >= wins[0] - 1e-9
    assert np.all(np.isfinite([log_e, wins]))


def nested(bounds) -> bool:
    return all(narrow <= wide + 1e-9 for narrow, wide in itertools.pairwise(bounds))


@EXAMPLES
@given(seed=seeds, count=counts, t_opt=horizons)
def test_a_smaller_alpha_contains_a_larger_one(seed, count, t_opt):
    values, clusters = scored_conversations(seed)
    k, n = count
    rho = mixtures.best_rho(t_opt, alpha=0.05)
    assert nested([-betting.lower(values, alpha=alpha, clusters=clusters) for alpha in ALPHAS])
    assert nested([betting.upper(values, alpha=alpha, clusters=clusters) for alpha in ALPHAS])
    assert nested([-mixtures.bernoulli_lower(k, n, alpha=alpha, t_opt=t_opt) for alpha in ALPHAS])
    assert nested([mixtures.bernoulli_upper(k, n, alpha=alpha, t_opt=t_opt) for alpha in ALPHAS])
    for sides in (1, 2):
        assert nested([mixtures.normal_bound(n, alpha=alpha, rho=rho, sides=sides) for alpha in ALPHAS])
        assert nested([asymptotic.half_width(n, 1.0, alpha=alpha, t_opt=t_opt, sides=sides) for alpha in ALPHAS])


@pytest.mark.parametrize("spending", ["obrien_fleming", "pocock"])
def test_boundaries_rise_as_alpha_falls(spending):
    times = [0.2, 0.5, 0.6, 1.0]
    found = [group_sequential.boundaries(times, alpha=alpha, spending=spending) for alpha in ALPHAS]
    assert all(np.all(strict > loose) for loose, strict in itertools.pairwise(found))
