"""Laws every interval obeys, on generated data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.stats import means, proportions, quantiles, ratios

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(8, 120)
EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)


def latencies(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=n)
    production, candidate = np.exp(5 + 0.6 * shared + 0.5 * rng.normal(size=(2, n)))
    return candidate, production, rng.integers(0, max(n // 3, 2), n)


def errors(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rates = rng.random(2) * rng.choice([0.02, 0.3, 1.0])
    return rng.random(n) < rates[0], rng.random(n) < rates[1], rng.integers(0, max(n // 3, 2), n)


@EXAMPLES
@given(seed=seeds, n=sizes)
def test_swapping_arms_negates_differences(seed, n):
    candidate, production, clusters = latencies(seed, n)
    there = means.paired_difference(candidate, production, clusters)
    back = means.paired_difference(production, candidate, clusters)
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))
    one, other, clusters = errors(seed, n)
    there, back = (proportions.paired_difference(a, b, clusters) for a, b in ((one, other), (other, one)))
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low), abs=1e-9)


@EXAMPLES
@given(seed=seeds, n=sizes)
def test_swapping_arms_inverts_ratios(seed, n):
    candidate, production, clusters = latencies(seed, n)
    for ratio in (
        lambda c, p: ratios.ratio_of_means(c, p, clusters),
        lambda c, p: quantiles.quantile_ratio(c, p, clusters, 0.5),
        lambda c, p: quantiles.quantile_ratio(c, p, clusters, 0.95),
    ):
        there, back = ratio(candidate, production), ratio(production, candidate)
        assert back.value == pytest.approx(1 / there.value)
        if there.low and there.high:
            assert (back.low, back.high) == pytest.approx((1 / there.high, 1 / there.low))


@EXAMPLES
@given(seed=seeds, n=sizes, factor=st.floats(0.01, 100))
def test_scaling_both_latencies_leaves_ratios_unchanged(seed, n, factor):
    candidate, production, clusters = latencies(seed, n)
    for ratio in (
        lambda c, p: ratios.ratio_of_means(c, p, clusters),
        lambda c, p: quantiles.quantile_ratio(c, p, clusters, 0.95),
    ):
        plain, scaled = ratio(candidate, production), ratio(candidate * factor, production * factor)
        assert same(plain, scaled)


def same(left, right) -> bool:
    return all(
        a == b if a is None or b is None else a == pytest.approx(b, rel=1e-6, abs=1e-12)
        for a, b in ((left.value, right.value), (left.low, right.low), (left.high, right.high))
    )


@EXAMPLES
@given(seed=seeds, n=sizes)
def test_order_of_rows_does_not_matter(seed, n):
    candidate, production, clusters = latencies(seed, n)
    bad, worse, _ = errors(seed, n)
    shuffled = np.random.default_rng(seed + 1).permutation(n)

    def all_estimates(rows):
        groups = clusters[rows]
        yield means.paired_difference(candidate[rows], production[rows], groups)
        yield means.mean_with_failures(np.minimum(candidate[rows] / 1e4, 1), bad[rows], groups)
        yield ratios.ratio_of_means(candidate[rows], production[rows], groups)
        yield quantiles.quantile_ratio(candidate[rows], production[rows], groups, 0.95)
        yield quantiles.quantile(candidate[rows], groups, 0.5)
        yield proportions.paired_difference(bad[rows], worse[rows], groups)
        yield proportions.proportion(bad[rows].astype(float), groups)

    plain, mixed = all_estimates(np.arange(n)), all_estimates(shuffled)
    assert all(same(a, b) for a, b in zip(plain, mixed, strict=True))


@EXAMPLES
@given(seed=seeds, n=sizes)
def test_tripling_every_row_inside_its_conversation_changes_no_interval(seed, n):
    candidate, production, clusters = latencies(seed, n)
    bad, worse, _ = errors(seed, n)
    rows, single = np.repeat(np.arange(n), 3), np.arange(n)
    for estimator, groups in (
        (lambda r, g: means.paired_difference(candidate[r], production[r], g), clusters),
        (lambda r, g: means.mean(bad[r].astype(float), g, bounds=(0.0, 1.0)), clusters),
        (lambda r, g: ratios.ratio_of_means(candidate[r], production[r], g), clusters),
        (lambda r, g: proportions.paired_difference(bad[r], worse[r], g), single),
        (lambda r, g: proportions.proportion(bad[r].astype(float), g), single),
        (lambda r, g: quantiles.quantile(candidate[r], g, 0.95), single),
        (lambda r, g: quantiles.quantile_ratio(candidate[r], production[r], g, 0.95), single),
    ):
        assert same(estimator(np.arange(n), groups), estimator(rows, groups[rows]))


@EXAMPLES
@given(seed=seeds, n=sizes, probability=st.sampled_from([0.5, 0.9, 0.95]), data=st.data())
def test_a_timeout_can_only_raise_the_ratio(seed, n, probability, data):
    candidate, production, clusters = latencies(seed, n)
    failed = data.draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=n))
    late = candidate.copy()
    late[sorted(failed)] = np.inf
    before = quantiles.quantile_ratio(candidate, production, clusters, probability)
    after = quantiles.quantile_ratio(late, production, clusters, probability)
    assert after.value >= before.value


@EXAMPLES
@given(seed=seeds, n=sizes)
def test_a_higher_level_contains_a_lower_one(seed, n):
    candidate, production, clusters = latencies(seed, n)
    bad, worse, _ = errors(seed, n)
    for estimator in (
        lambda level: means.paired_difference(candidate, production, clusters, level=level),
        lambda level: means.mean(bad.astype(float), clusters, bounds=(0.0, 1.0), level=level),
        lambda level: means.mean_with_failures(worse.astype(float), bad, clusters, level=level),
        lambda level: ratios.ratio_of_means(candidate, production, clusters, level=level),
        lambda level: proportions.paired_difference(bad, worse, clusters, level=level),
        lambda level: proportions.proportion(bad.astype(float), clusters, level=level),
        lambda level: quantiles.quantile(candidate, clusters, 0.9, level=level),
    ):
        inner, middle, outer = (estimator(level) for level in (0.8, 0.95, 0.99))
        for narrow, wide in ((inner, middle), (middle, outer)):
            low, high = wide.low, wide.high
            assert low is None or (narrow.low is not None and low <= narrow.low + 1e-12)
            assert high is None or (narrow.high is not None and high >= narrow.high - 1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_latency_ratio_is_nested_at_usual_sizes(seed):
    candidate, production, _ = latencies(seed, 2000)
    found = [quantiles.quantile_ratio(candidate, production, np.arange(2000), 0.95, level=x) for x in (0.8, 0.95, 0.99)]
    lows, highs = [item.low for item in found], [item.high for item in found]
    assert lows == sorted(lows, reverse=True)
    assert highs == sorted(highs)
