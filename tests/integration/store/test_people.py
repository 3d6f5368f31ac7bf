"""Labels, label plans and the ledger of attempts, on both databases."""

import threading
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from harness.domain.judgment import Judgment, JudgmentState, Label, Order, UnscoredReason
from harness.domain.label import HumanLabel, LabelSource, PlannedLabel
from harness.store import Store
from harness.testing import exchange, observation

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def label(exchange_id: str, verdict: Label | None, *, labeller: str = "ann", **fields: object) -> HumanLabel:
    return HumanLabel(
        exchange_id=exchange_id,
        arm="candidate",
        observation_fingerprint="f1",
        labeller=labeller,
        label=verdict,
        recorded_at=NOW,
        **fields,
    )


def sampled(store: Store, n: int) -> None:
    store.put_exchanges("r1", [(exchange(id=f"e{i}"), i / n) for i in range(n)])
    store.put_observations("r1", [observation(arm="candidate", exchange_id=f"e{i}") for i in range(n)])


def test_labels_come_back_as_they_were_and_a_second_thought_replaces_the_first(store):
    first = label("e1", Label.WIN, shown_first="candidate", seconds=4.5, note="clearer")
    imported = label("e2", None, labeller="bob", source=LabelSource.IMPORT, probability=0.25)
    store.put_labels("r1", [first, imported])
    store.put_labels("r1", [replace(first, label=Label.LOSS)])
    assert store.labels("r1", "candidate", "f1") == [replace(first, label=Label.LOSS), imported]
    assert store.labels("r1", "candidate", "f2") == []


def test_a_plan_is_read_in_the_order_in_which_pairs_are_shown(store):
    rows = [PlannedLabel(exchange_id=f"e{i}", rank=9 - i, probability=0.5, design="uniform, seed 0") for i in range(10)]
    store.put_label_plan("r1", "candidate", "f1", rows)
    store.put_label_plan("r1", "candidate", "f1", rows[:1])
    assert store.label_plan("r1", "candidate", "f1") == rows[::-1]


def test_evidence_has_the_mean_label_and_the_chance_of_being_drawn(store):
    sampled(store, 4)
    store.put_label_plan(
        "r1", "candidate", "f1", [PlannedLabel(exchange_id="e0", rank=0, probability=0.5, design="uniform, seed 0")]
    )
    store.put_labels("r1", [label("e0", Label.WIN), label("e0", Label.TIE, labeller="bob"), label("e1", None)])
    store.put_labels("r1", [label("e2", Label.LOSS), label("gone", Label.WIN)])
    found = store.evidence("r1", "candidate", "f1", judges={}).labels
    assert found.value.tolist()[:1] == [0.75]
    np.testing.assert_array_equal(np.isnan(found.value), [False, True, False, True])
    assert found.labellers.tolist() == [2, 0, 1, 0]
    np.testing.assert_array_equal(found.probability, [0.5, np.nan, np.nan, np.nan])


def test_evidence_without_labels_says_so(store):
    sampled(store, 2)
    store.put_labels("r1", [label("e0", None)])
    assert store.evidence("r1", "candidate", "f1", judges={}).labels is None


def judgment(exchange_id: str, order: Order, value: float | None, reason: UnscoredReason | None = None) -> Judgment:
    return Judgment(
        exchange_id=exchange_id,
        arm="candidate",
        judge="j",
        judge_fingerprint="jf",
        observation_fingerprint="f1",
        order=order,
        state=JudgmentState.SCORED if value is not None else JudgmentState.UNSCORED,
        reason=reason,
        value=value,
    )


def test_an_order_that_was_not_drawn_is_not_missing(store):
    sampled(store, 2)
    store.put_judgments(
        "r1",
        [
            judgment("e0", Order.PRODUCTION_FIRST, 1.0),
            judgment("e0", Order.CANDIDATE_FIRST, None, UnscoredReason.NOT_DRAWN),
            judgment("e1", Order.PRODUCTION_FIRST, 1.0),
            judgment("e1", Order.CANDIDATE_FIRST, None, UnscoredReason.OFF_MENU),
        ],
    )
    column = store.evidence("r1", "candidate", "f1", judges={"j": ("jf", "win_rate")}).scores["j"]
    assert column.value.tolist() == [1.0, 1.0]
    assert column.missing_order.tolist() == [False, True]
    np.testing.assert_array_equal(column.production_first, [1.0, 1.0])
    assert np.isnan(column.candidate_first).all()
    counts = store.counted_evidence("r1", [("candidate", "f1")], judges={"j": ("jf", "win_rate")})[0][1]["j"]
    assert (counts.scored, counts.missing_order, counts.unscored) == (2, 1, {})
    orders = (Order.PRODUCTION_FIRST, Order.CANDIDATE_FIRST)
    assert store.count_pending_pairs("r1", "candidate", "f1", judge_fingerprint="jf", orders=orders) == 0


def begin(store: Store, fingerprint: str, sequence: str = "s1", family: str = "swap/small"):
    return store.begin_attempt(
        family=family,
        fingerprint=fingerprint,
        sequence=sequence,
        arm="small",
        run_id="r1",
        alpha_of=lambda number: 0.04 / number,
    )


def test_the_same_candidate_on_the_same_traffic_is_one_attempt(store):
    first = begin(store, "f1")
    assert (first.number, first.alpha) == (1, 0.04)
    assert begin(store, "f1") == first
    assert [begin(store, "f2").number, begin(store, "f1", "s2").number] == [2, 3]
    assert begin(store, "f1", family="swap/other").number == 1
    assert [attempt.alpha for attempt in store.attempts("swap/small")] == [0.04, 0.02, pytest.approx(0.04 / 3)]


def test_the_ledger_survives_the_run(store):
    attempt = begin(store, "f1")
    store.record_attempt(attempt, verdict="NO_GO", n_pairs=500)
    store.delete_run("r1")
    [kept] = store.attempts()
    assert (kept.verdict, kept.n_pairs, kept.number) == ("NO_GO", 500, 1)
    assert kept.decided_at is not None


def test_attempts_that_begin_at_once_get_numbers_of_their_own(store):
    threads = [threading.Thread(target=begin, args=(store, f"f{i}")) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [attempt.number for attempt in store.attempts()] == [1, 2, 3, 4, 5, 6]
