"""Intervals cover the truth about as often as they say, on simulated conversations; seeded and quick."""

from collections.abc import Callable

import numpy as np
import pytest

from harness.domain.estimate import Estimate
from harness.stats import means, proportions, quantiles, ratios

REPETITIONS = 400
MARGIN = 3.3 * (0.95 * 0.05 / REPETITIONS) ** 0.5
"""About 0.036: what 400 repetitions can tell from 0.95."""


def coverage(draw: Callable[[np.random.Generator], Estimate], truth: float, seed: int) -> float:
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(REPETITIONS):
        estimate = draw(rng)
        low = -np.inf if estimate.low is None else estimate.low
        high = np.inf if estimate.high is None else estimate.high
        hits += low <= truth <= high
    return hits / REPETITIONS


def conversations(rng: np.random.Generator, n: int, mean_size: float = 4.0) -> np.ndarray:
    sizes = rng.geometric(1 / mean_size, n)
    return np.repeat(np.arange(n), sizes)[:n]


def test_clustered_difference():
    def draw(rng):
        clusters = conversations(rng, 300)
        shared = rng.normal(0, 1, 300)[clusters]
        return means.paired_difference(shared + rng.normal(0, 1, 300), rng.normal(0, 1, 300), clusters)

    assert abs(coverage(draw, 0.0, 1) - 0.95) < MARGIN


def test_ignoring_conversations_would_undercover():
    def draw(rng):
        clusters = conversations(rng, 300)
        shared = rng.normal(0, 1, 300)[clusters]
        return means.paired_difference(shared + rng.normal(0, 1, 300), rng.normal(0, 1, 300), np.arange(300))

    assert coverage(draw, 0.0, 1) < 0.88


def test_nearly_constant_scores_do_not_undercover():
    def draw(rng):
        return means.mean((rng.random(200) > 0.01).astype(float), np.arange(200), bounds=(0.0, 1.0))

    assert coverage(draw, 0.99, 2) > 0.95 - MARGIN


def test_win_rate_with_failures_and_unscored_answers():
    def draw(rng):
        failed = rng.random(400) < 0.1
        scores = rng.choice([0.0, 0.5, 1.0], 400, p=[0.3, 0.2, 0.5])
        scores[rng.random(400) < 0.4] = np.nan
        return means.mean_with_failures(scores, failed, np.arange(400))

    assert abs(coverage(draw, 0.9 * 0.6, 3) - 0.95) < MARGIN


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_error_rate_difference_in_conversations(rate):
    def draw(rng):
        clusters = conversations(rng, 400)
        bad = rng.beta(rate * 4, (1 - rate) * 4, 400)[clusters]
        return proportions.paired_difference(rng.random(400) < bad, rng.random(400) < bad, clusters)

    assert coverage(draw, 0.0, 4) > 0.95 - MARGIN


def test_latency_ratio():
    def draw(rng):
        shared = rng.normal(size=500)
        production = np.exp(shared + 0.5 * rng.normal(size=500))
        candidate = 1.2 * np.exp(shared + 0.5 * rng.normal(size=500))
        return quantiles.quantile_ratio(candidate, production, np.arange(500), 0.95)

    assert coverage(draw, 1.2, 5) > 0.95 - MARGIN


def test_latency_ratio_in_conversations():
    def draw(rng):
        clusters = conversations(rng, 600)
        shared = rng.normal(size=600)[clusters]
        production, candidate = np.exp(shared + rng.normal(size=(2, 600)))
        return quantiles.quantile_ratio(candidate, production, clusters, 0.95)

    assert coverage(draw, 1.0, 6) > 0.95 - MARGIN


def test_cost_ratio_in_conversations():
    def draw(rng):
        clusters = conversations(rng, 400)
        base = rng.gamma(2, 50, 400) * np.exp(0.3 * rng.normal(size=400))[clusters]
        return ratios.ratio_of_means(base * rng.gamma(20, 0.04, 400), base, clusters)

    assert abs(coverage(draw, 0.8, 7) - 0.95) < MARGIN
