"""Intervals about judges and people cover as often as they say; the judge alone does not. Seeded and quick."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from harness.domain.estimate import Estimate
from harness.stats import agreement, length_control, means, ppi

REPETITIONS = 400
MARGIN = 3.3 * (0.95 * 0.05 / REPETITIONS) ** 0.5

ROWS, LABELS = 3000, 300
SENSITIVITY, SPECIFICITY = 0.9, 0.7


def coverage(draw: Callable[[np.random.Generator], Estimate], truth: float, seed: int) -> float:
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(REPETITIONS):
        estimate = draw(rng)
        assert estimate.low is not None
        assert estimate.high is not None
        hits += estimate.low <= truth <= estimate.high
    return hits / REPETITIONS


def verdict(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    """A judge that favours the candidate: it sees nine of ten wins, and a win in three of ten losses."""
    seen, imagined = rng.random((2, len(truth)))
    return np.where(truth == 1, seen < SENSITIVITY, imagined >= SPECIFICITY).astype(float)


def some(rng: np.random.Generator, truth: np.ndarray, labels: int = LABELS) -> np.ndarray:
    return np.where(rng.permutation(len(truth)) < labels, truth, np.nan)


@pytest.mark.parametrize("labels", [60, 300])
def test_the_corrected_rate_covers_with_a_biased_judge(labels):
    def draw(rng):
        truth = (rng.random(ROWS) < 0.5).astype(float)
        return ppi.ppi_mean(some(rng, truth, labels), verdict(rng, truth), np.arange(ROWS))

    assert abs(coverage(draw, 0.5, 1) - 0.95) < MARGIN


def test_the_judge_alone_never_covers():
    def draw(rng):
        truth = (rng.random(ROWS) < 0.5).astype(float)
        return means.mean(verdict(rng, truth), np.arange(ROWS), bounds=(0.0, 1.0))

    assert coverage(draw, 0.5, 1) == 0.0


def test_the_rectifier_covers_the_judges_bias():
    def draw(rng):
        truth = (rng.random(ROWS) < 0.5).astype(float)
        return ppi.rectifier(some(rng, truth), verdict(rng, truth), np.arange(ROWS))

    assert abs(coverage(draw, 0.5 * 0.1 - 0.5 * 0.3, 2) - 0.95) < MARGIN


def test_the_corrected_rate_covers_in_conversations():
    def draw(rng):
        clusters = np.repeat(np.arange(ROWS // 5), 5)
        truth = (rng.random(ROWS) < np.repeat(rng.beta(1, 1, ROWS // 5), 5)).astype(float)
        people = np.where(np.isin(clusters, rng.choice(ROWS // 5, 80, replace=False)), truth, np.nan)
        return ppi.ppi_mean(people, verdict(rng, truth), clusters)

    assert abs(coverage(draw, 0.5, 3) - 0.95) < MARGIN


def test_the_corrected_rate_covers_when_people_see_more_of_the_judges_wins():
    def draw(rng):
        truth = (rng.random(ROWS) < 0.5).astype(float)
        judge = verdict(rng, truth)
        chance = np.where(judge == 1, 0.15, 0.05)
        people = np.where(rng.random(ROWS) < chance, truth, np.nan)
        return ppi.ppi_mean(people, judge, np.arange(ROWS), propensity=chance)

    assert abs(coverage(draw, 0.5, 4) - 0.95) < MARGIN


def test_a_judge_that_errs_rarely_is_not_trusted_for_not_having_erred():
    def draw(rng):
        truth = (rng.random(ROWS) < 0.5).astype(float)
        judge = np.where((truth == 0) & (rng.random(ROWS) < 0.04), 1.0, truth)
        return ppi.ppi_mean(some(rng, truth, 60), judge, np.arange(ROWS))

    assert coverage(draw, 0.5, 5) > 0.95 - MARGIN


def test_pseudo_outcomes_cover_at_one_look():
    def draw(rng):
        truth = (rng.random(ROWS) < 0.5).astype(float)
        people = np.where(rng.random(ROWS) < 0.1, truth, np.nan)
        return means.mean(ppi.pseudo_outcomes(people, verdict(rng, truth), np.full(ROWS, 0.1)), np.arange(ROWS))

    assert abs(coverage(draw, 0.5, 6) - 0.95) < MARGIN


def test_pseudo_outcomes_under_an_anytime_bound_hardly_ever_miss_at_any_look():
    looks = np.arange(500, ROWS + 1)
    scale = (-2 * math.log(0.05) + math.log(1 - 2 * math.log(0.05))) / 1000
    roots = looks * scale + 1
    half = np.sqrt(2 * roots / (looks * looks * scale) * np.log(np.sqrt(roots) / 0.05))
    rng = np.random.default_rng(7)
    missed = fixed = 0
    for _ in range(REPETITIONS):
        truth = (rng.random(ROWS) < 0.5).astype(float)
        people = np.where(rng.random(ROWS) < 0.1, truth, np.nan)
        phi = ppi.pseudo_outcomes(people, verdict(rng, truth), np.full(ROWS, 0.1))
        mean = (np.cumsum(phi) / np.arange(1, ROWS + 1))[looks - 1]
        sd = np.sqrt((np.cumsum(phi**2) / np.arange(1, ROWS + 1))[looks - 1] - mean**2)
        missed += bool(np.any(np.abs(mean - 0.5) > half * sd))
        fixed += bool(np.any(np.abs(mean - 0.5) > 1.96 * sd / np.sqrt(looks)))
    assert missed / REPETITIONS < 0.05
    assert fixed / REPETITIONS > 0.15


TABLES = [
    [[0.42, 0.08], [0.07, 0.43]],
    [[0.48, 0.02], [0.02, 0.48]],
    [[0.3, 0.05, 0.05], [0.05, 0.1, 0.05], [0.05, 0.05, 0.3]],
]


@pytest.mark.parametrize("table", TABLES)
def test_kappa(table):
    shares = np.array(table)
    k = len(shares)
    expected = shares.sum(1) @ shares.sum(0)

    def draw(rng):
        cells = rng.choice(k * k, 100, p=shares.ravel() / shares.sum())
        return agreement.kappa(cells // k * 1.0, cells % k * 1.0, np.arange(100))

    assert coverage(draw, (np.trace(shares) - expected) / (1 - expected), 8) > 0.95 - MARGIN


@pytest.mark.parametrize(("n", "theta"), [(80, 2.0), (300, 0.0), (300, -1.5)])
def test_the_rate_at_equal_length(n, theta):
    # The spread that the model divides by is the sample's own; with these lengths it hardly varies.
    def draw(rng):
        longer = rng.choice([-2.0, -1.0, 1.0, 2.0, 3.0], n)
        chance = 1 / (1 + np.exp(-(theta + 1.5 * np.tanh(longer / 1.855))))
        scores = (rng.random((2, n)) < chance).mean(axis=0)
        return length_control.length_controlled(scores, 10 + longer, np.full(n, 10.0), np.arange(n))

    assert abs(coverage(draw, 1 / (1 + math.exp(-theta)), 9) - 0.95) < MARGIN
