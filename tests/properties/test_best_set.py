"""The best set holds the best candidate as often as it says; simulated, seeded and quick."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats import contests, proportions, quantiles
from harness.stats.best_set import best_set, efficient, pair_level
from harness.stats.looks import ONE_LOOK, AnyLook, Looks

REPETITIONS = 300
MARGIN = 3.3 * (0.95 * 0.05 / REPETITIONS) ** 0.5
"""About 0.04: what 300 repetitions can tell from 0.95."""
Draw = Callable[[np.random.Generator], tuple[list[float], Callable[[int, int], bool]]]


def held(draw: Draw, best: int, seed: int) -> tuple[float, float]:
    """How often the best one is in the set, and the mean number of candidates in it."""
    rng = np.random.default_rng(seed)
    hits = sizes = 0
    for _ in range(REPETITIONS):
        found = best_set(*draw(rng))
        hits += best in found.best
        sizes += len(found.best)
    return hits / REPETITIONS, sizes / REPETITIONS


def win_rates(
    truth: list[float], n: int, *, size: int = 1, failing: float = 0.0, missing: float = 0.0, looks: Looks = ONE_LOOK
) -> Draw:
    """Verdicts of one judge on every candidate; requests, and conversations, are hard or easy for all of them."""
    level = pair_level(0.95, len(truth))

    def draw(rng):
        clusters = np.repeat(np.arange(n // size), size)
        hard = rng.normal(0, 0.5, n // size)[clusters] + rng.normal(0, 0.5, n)
        sides = []
        for rate in truth:
            # Above the rate's quantile of a normal variable that shares half of its variance with the others'.
            latent = hard + rng.normal(0, 0.5**0.5, n)
            scores = (latent < np.sqrt(1.0) * _normal_quantile(rate)).astype(float)
            scores[rng.random(n) < missing] = np.nan
            failed = rng.random(n) < failing
            sides.append(
                contests.Scored(
                    scores=np.where(failed, np.nan, scores), failed=failed, worth=np.where(failed, 0.0, np.nan)
                )
            )

        def beats(first, second):
            found = contests.difference_with_failures(sides[first], sides[second], clusters, level=level, looks=looks)
            return found.low is not None and found.low > 0

        return [float(np.nanmean(side.values)) for side in sides], beats

    return draw


def _normal_quantile(p: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(p))


@pytest.mark.parametrize(
    ("truth", "more"),
    [
        ([0.5, 0.5, 0.5, 0.5], {}),
        ([0.55, 0.5, 0.45, 0.4], {}),
        ([0.52, 0.5, 0.5, 0.5, 0.5], {"size": 4}),
        ([0.55, 0.5, 0.5], {"failing": 0.1, "missing": 0.4}),
        ([0.5, 0.5, 0.5], {"looks": AnyLook(t_opt=100.0)}),
    ],
    ids=["equal", "apart", "conversations", "failures-and-unscored", "any-look"],
)
def test_the_best_by_win_rate_is_in_the_set(truth, more):
    share, _ = held(win_rates(truth, 400, **more), 0, 11)
    assert share >= 0.95 - MARGIN


def test_those_that_are_clearly_worse_are_not():
    share, size = held(win_rates([0.7, 0.68, 0.4, 0.3], 600), 0, 12)
    assert share >= 0.95 - MARGIN
    assert size < 2.1


def test_ignoring_the_number_of_candidates_would_lose_the_best():
    # What the correction is for: six equal ones, each comparison at 95% by itself.
    draw = win_rates([0.5] * 6, 300)

    def uncorrected(rng):
        values, _ = draw(rng)
        n = 300
        error = np.sqrt(2 * 0.25 * 0.5 / n)
        return values, lambda first, second: values[first] - values[second] > 1.645 * error

    assert held(uncorrected, 0, 13)[0] < 0.92
    assert held(draw, 0, 13)[0] >= 0.95 - MARGIN


def test_the_best_by_rare_errors_is_in_the_set():
    level = pair_level(0.95, 3)

    def draw(rng):
        failed = [rng.random(250) < rate for rate in (0.01, 0.01, 0.012)]

        def beats(first, second):
            found = proportions.paired_difference(failed[first], failed[second], np.arange(250), level=level)
            return found.high is not None and found.high < 0

        return [-float(item.mean()) for item in failed], beats

    assert held(draw, 0, 14)[0] >= 0.95 - MARGIN


def test_the_best_by_latency_is_in_the_set():
    level = pair_level(0.95, 3)

    def draw(rng):
        load = rng.normal(0, 0.5, 300)
        times = [np.exp(6 + load + rng.normal(shift, 0.4, 300)) for shift in (0.0, 0.0, 0.2)]

        def beats(first, second):
            found = quantiles.quantile_ratio(times[first], times[second], np.arange(300), 0.95, level=level)
            return found.high is not None and found.high < 1

        return [-float(np.quantile(item, 0.95)) for item in times], beats

    assert held(draw, 0, 15)[0] >= 0.95 - MARGIN


POINTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


@given(POINTS)
def test_the_frontier_is_what_no_point_outdoes(points):
    kept = efficient(points)
    assert kept
    for position, (quality, price) in enumerate(points):
        outdone = any(q >= quality and p <= price and (q, p) != (quality, price) for q, p in points)
        assert (position in kept) is not outdone
    along = [points[position] for position in kept]
    assert along == sorted(along, key=lambda point: (point[1], point[0]))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.floats(0.001, 0.5))
def test_with_one_yardstick_the_measured_best_is_always_in_the_set(values, needed):
    found = best_set(values, lambda first, second: values[first] - values[second] > needed)
    top = max(range(len(values)), key=lambda position: values[position])
    assert top in found.best
    assert set(found.best) == {p for p, value in enumerate(values) if max(values) - value <= needed}
    assert set(found.best) | set(found.beaten_by) == set(range(len(values)))
