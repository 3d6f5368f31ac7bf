import numpy as np
import pytest

from harness.stats.best_set import best_set, efficient, pair_level
from harness.stats.contests import Scored, difference_with_failures
from harness.stats.looks import AnyLook
from harness.stats.means import mean_with_failures, paired_difference


@pytest.mark.parametrize(("contestants", "level"), [(2, 0.90), (3, 0.95), (11, 0.99), (1, 0.90)])
def test_every_comparison_with_the_best_has_its_share_of_what_may_go_wrong(contestants, level):
    assert pair_level(0.95, contestants) == pytest.approx(level)


def test_whoever_nobody_beats_may_be_the_best():
    found = best_set([0.6, 0.5, 0.55], lambda first, second: (first, second) in {(0, 1), (2, 1)})
    assert found.best == (0, 2)
    assert found.beaten_by == {1: 0}


def test_the_one_that_beats_need_not_measure_best():
    # Pairs share different requests: the second is beaten on those it shares with the third alone.
    found = best_set([0.6, 0.5, 0.55], lambda first, second: (first, second) == (2, 1))
    assert found.best == (0, 2)
    assert found.beaten_by == {1: 2}


def test_a_circle_tells_nothing():
    circle = {(0, 1), (1, 2), (2, 0)}
    assert best_set([0.5, 0.5, 0.5], lambda first, second: (first, second) in circle).best == (0, 1, 2)


def test_the_frontier_runs_from_cheap_to_good():
    points = [(0.7, 5.0), (0.5, 1.0), (0.6, 6.0), (0.6, 3.0), (0.4, 1.0)]
    assert efficient(points) == (1, 3, 0)


def test_equal_points_stand_together_on_the_frontier():
    assert efficient([(0.5, 1.0), (0.5, 1.0)]) == (0, 1)


def scored(rng, n, failed_share=0.1, missing_share=0.0, base=None):
    base = rng.random(n) if base is None else base
    scores = np.where(base + rng.normal(0, 0.3, n) > 0.5, 1.0, 0.0)
    failed = rng.random(n) < failed_share
    scores[rng.random(n) < missing_share] = np.nan
    return Scored(scores=np.where(failed, np.nan, scores), failed=failed, worth=np.where(failed, 0.0, np.nan))


def test_with_every_score_it_is_the_paired_difference_of_the_values():
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(100), 3)
    base = rng.random(300)
    one, two = (scored(rng, 300, base=base) for _ in range(2))
    found = difference_with_failures(one, two, clusters)
    plain = paired_difference(one.values, two.values, clusters, bounds=(-1.0, 1.0))
    assert (found.value, found.low, found.high) == pytest.approx((plain.value, plain.low, plain.high))
    assert (found.n, found.n_clusters, found.n_missing) == (300, 100, 0)


def test_unscored_answers_do_not_give_failures_more_weight():
    rng = np.random.default_rng(2)
    one, two = (scored(rng, 4_000, missing_share=0.7) for _ in range(2))
    found = difference_with_failures(one, two, np.arange(4_000))
    sides = [
        mean_with_failures(side.scores, side.failed, np.arange(4_000), worth=np.where(side.failed, 0.0, np.nan)).value
        for side in (one, two)
    ]
    assert found.value == pytest.approx(sides[0] - sides[1])
    assert found.n_missing > 3_000


@pytest.mark.parametrize("nobody", [np.nan, 1.0])
def test_without_a_judged_answer_there_is_nothing_to_compare(nobody):
    n = 5
    judged = Scored(scores=np.ones(n), failed=np.zeros(n, dtype=bool), worth=np.full(n, np.nan))
    failed = np.full(n, nobody == 1.0)
    other = Scored(scores=np.full(n, np.nan), failed=failed, worth=np.where(failed, 0.0, np.nan))
    found = difference_with_failures(judged, other, np.arange(n))
    assert (found.value, found.low, found.high) == (None, None, None)


def test_few_conversations_at_any_look_are_bet_on_only_when_every_answer_is_scored():
    rng = np.random.default_rng(3)
    whole = [scored(rng, 60) for _ in range(2)]
    part = [scored(rng, 60, missing_share=0.5) for _ in range(2)]
    found = difference_with_failures(*whole, np.arange(60), looks=AnyLook())
    assert found.method == "betting-cs"
    assert found.low < found.value < found.high
    assert difference_with_failures(*part, np.arange(60), looks=AnyLook()).low is None
