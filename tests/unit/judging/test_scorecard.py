"""A judge against people: the figures of its card, from judgments."""

from dataclasses import replace

import numpy as np
import pytest

from harness.domain.judgment import Judgment, JudgmentState, Label, Order, UnscoredReason
from harness.judging.scorecard import LabelledColumns, Scorecard, Unscored, scorecard

FIRST, SECOND = Order.PRODUCTION_FIRST, Order.CANDIDATE_FIRST


def labelled(labels: list[float], **more) -> LabelledColumns:
    n = len(labels)
    fields = {
        "ids": [f"e{i}" for i in range(n)],
        "clusters": [f"c{i}" for i in range(n)],
        "labels": np.array(labels),
        "labellers": [1] * n,
        "chars_1": np.full(n, 10.0),
        "chars_2": np.full(n, 20.0),
        "identical": [False] * n,
    }
    return LabelledColumns(**{**fields, **more})


def judgment(row: int, value: float | None, order: Order = Order.NONE, **more) -> Judgment:
    state = {} if value is not None else {"state": JudgmentState.UNSCORED, "reason": UnscoredReason.OFF_MENU}
    label = None if value is None else Label.TIE if value == 0.5 else Label.WIN if value > 0.5 else Label.LOSS
    return Judgment(
        exchange_id=f"e{row}", arm="answer-2", judge="j", judge_fingerprint="f", observation_fingerprint="",
        order=order, value=value, **{"label": label, **state, **more},
    )  # fmt: skip


def read(*rows: tuple[float | None, float | None]) -> list[Judgment]:
    """Verdicts with answer 1 shown first, and second."""
    return [
        judgment(row, value, order)
        for row, both in enumerate(rows)
        for value, order in zip(both, (FIRST, SECOND), strict=True)
    ]


def counts(card: Scorecard) -> list[tuple[int, int]]:
    assert card.correct is not None
    return [(int(item.extra["count"]), item.n) for item in card.correct]


ROWS = ((1.0, 1.0), (0.0, 0.0), (0.0, 1.0), (1.0, None), (None, None), (0.5, 1.0))
LABELS = [1.0, 0.0, 1.0, 1.0, 0.0, 0.5]


@pytest.mark.parametrize(
    ("unscored", "correct", "same", "accuracy"),
    [
        (Unscored.WRONG, [(4, 6), (3, 6), (2, 6)], (3, 6), (3, 6)),
        (Unscored.LEFT_OUT, [(4, 5), (3, 4), (2, 4)], (2, 4), (3, 5)),
        (Unscored.TIE, [(4, 6), (3, 6), (2, 6)], (3, 6), (3, 6)),
    ],
)
def test_what_a_pair_without_a_verdict_counts_as(unscored, correct, same, accuracy):
    card = scorecard("j", read(*ROWS), labelled(LABELS), unscored=unscored)
    assert counts(card) == correct
    assert (card.consistency.extra["count"], card.consistency.n) == same
    assert (card.agreement.accuracy.extra["count"], card.agreement.accuracy.n) == accuracy
    assert (card.pairs, card.scored, card.unscored) == (6, 5, {"off_menu": 1})


def test_a_verdict_that_is_missing_is_right_when_it_counts_as_a_tie_and_people_said_tie():
    found = [judgment(0, None), judgment(1, 1.0)]
    right = {
        way: scorecard("j", found, labelled([0.5, 1.0]), unscored=way).agreement.accuracy.extra["count"]
        for way in (Unscored.WRONG, Unscored.TIE)
    }
    assert right == {Unscored.WRONG: 1.0, Unscored.TIE: 2.0}


def test_orders_that_contradict_average_to_a_tie():
    card = scorecard("j", read((0.0, 1.0), (1.0, 1.0)), labelled([1.0, 1.0]))
    assert (card.ties, card.agreement.accuracy.value) == (1, 0.5)


def test_soft_scores_are_averaged_before_they_are_a_verdict():
    """The likeliest word takes the first answer both times; the probabilities still know better."""
    card = scorecard("j", read((0.1, 0.95), (0.05, 0.9)), labelled([1.0, 0.0]))
    assert card.soft
    assert card.agreement.accuracy.value == 1.0
    assert counts(card) == [(1, 2), (1, 2), (0, 2)]


def test_probabilities_count_as_the_verdict_they_come_to_where_the_judge_says_so():
    """Both orders see a tie first: a tie, whichever side the rest of the probability leans to."""
    tie = {"label": Label.TIE}
    found = [judgment(0, 0.55, FIRST, **tie), judgment(0, 0.45, SECOND, **tie), *read((0.6, 0.5), (0.6, 0.7))[2:]]
    found += [judgment(2, 0.55, FIRST, **tie), judgment(2, 0.52, SECOND, **tie)]
    labels = [0.5, 1.0, 0.5]
    shares, verdicts = (scorecard("j", found, labelled(labels), by_verdict=way) for way in (False, True))
    assert (shares.agreement.accuracy.extra["count"], verdicts.agreement.accuracy.extra["count"]) == (2, 3)
    assert (shares.ties, verdicts.ties) == (1, 2)


def test_kappa_between_orders_in_our_coding_and_the_published_one():
    """The published one codes answer 1 as one label and all else, no verdict too, as the other."""
    rows = [(0.0, 0.0)] * 4 + [(1.0, 1.0)] * 4 + [(0.0, 1.0), (None, 0.0)]
    card = scorecard("j", read(*rows), labelled([0.0] * 10))
    ours = (8 / 9 - (5 * 4 + 4 * 5) / 81) / (1 - (5 * 4 + 4 * 5) / 81)
    coded = (8 / 10 - (5 * 5 + 5 * 5) / 100) / (1 - (5 * 5 + 5 * 5) / 100)
    assert card.kappa_orders.value == pytest.approx(ours)
    assert card.kappa_orders_coded == pytest.approx(coded)


def test_macro_averages_run_over_the_labels_people_gave():
    """A judge's ties are wrong where people gave none, and no label of their own with a recall of 0."""
    card = scorecard("j", [judgment(0, 1.0), judgment(1, 0.0), judgment(2, 0.5)], labelled([1.0, 0.0, 0.0]))
    assert card.agreement.precision == 1.0
    assert card.agreement.recall == pytest.approx(0.75)


def test_what_the_longer_answer_would_reach():
    card = scorecard(
        "j", [judgment(i, 1.0) for i in range(3)], labelled([1.0, 0.0, 0.5], chars_1=np.array([1.0, 2.0, 3.0]),
                                                            chars_2=np.array([2.0, 3.0, 3.0]))
    )  # fmt: skip
    assert card.longer_wins.value == pytest.approx(2 / 3)


def test_a_judge_that_read_one_order_has_no_figures_of_two():
    card = scorecard("j", [judgment(0, 1.0), judgment(1, 0.0)], labelled([1.0, 0.0]))
    assert (card.correct, card.consistency, card.kappa_orders, card.kappa_orders_coded) == (None, None, None, None)


def test_the_health_of_a_labelled_set_knows_people_and_no_replica():
    card = scorecard("j", read(*[(0.0, 1.0)] * 60), labelled([1.0, 0.0] * 30))
    assert {check.name for check in card.health.failed} == {"position", "flips", "signal", "people"}
    assert "self_agreement" not in {check.name for check in card.health.checks}


def test_orders_that_were_not_drawn_and_pairs_that_are_not_in_the_set_count_for_nothing():
    found = [
        judgment(0, 1.0, FIRST),
        judgment(0, None, SECOND, reason=UnscoredReason.NOT_DRAWN),
        replace(judgment(0, 0.0), exchange_id="elsewhere"),
    ]
    card = scorecard("j", found, labelled([1.0]))
    assert (card.scored, card.unscored, card.agreement.accuracy.value) == (1, {}, 1.0)


def test_usage_is_per_pair_that_was_asked():
    asked = {"attempts": 1, "latency_ms": 1500.0, "tokens_in": 100, "tokens_out": 4, "cost_usd": 0.25}
    found = [judgment(0, 1.0, FIRST, **asked), judgment(0, 1.0, SECOND, **asked), judgment(1, 0.5, FIRST)]
    usage = scorecard("j", found, labelled([1.0, 0.5])).usage
    assert (usage.seconds_per_pair, usage.tokens_in_per_pair, usage.tokens_out_per_pair) == (3.0, 200.0, 8.0)
    assert usage.cost_usd == 0.5
    assert scorecard("j", [judgment(0, 1.0)], labelled([1.0])).usage.seconds_per_pair is None


def test_pairs_with_one_request_are_one_cluster():
    apart = scorecard("j", [judgment(i, 1.0) for i in range(4)], labelled([1.0, 1.0, 0.0, 0.0]))
    together = scorecard(
        "j", [judgment(i, 1.0) for i in range(4)], labelled([1.0, 1.0, 0.0, 0.0], clusters=["a", "a", "b", "b"])
    )
    assert (apart.agreement.accuracy.n_clusters, together.agreement.accuracy.n_clusters) == (4, 2)
