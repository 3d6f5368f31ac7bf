"""Judgments and numbers, on SQLite and on PostgreSQL."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from harness.domain.judgment import Judgment, JudgmentState, Label, Order, UnscoredReason
from harness.domain.observation import CallError, ErrorKind, Observation, Status, Usage
from harness.store import JudgmentCounts, Store
from harness.testing import exchange, observation

BOTH = (Order.PRODUCTION_FIRST, Order.CANDIDATE_FIRST)
FIRST, SECOND = BOTH
FULL = Judgment(
    exchange_id="e0",
    arm="small",
    judge="pairwise",
    judge_fingerprint="j1",
    observation_fingerprint="f1",
    order=FIRST,
    value=0.75,
    label=Label.WIN,
    explanation="clearer \x00 \ud800",
    details={"probability": 0.75, "notes": ["a"]},
    model="openai/judge",
    answered_model="judge-2026",
    prompt_sha256="ab" * 32,
    parser="json/1",
    raw='{"winner": "B"}',
    tokens_in=100,
    tokens_out=20,
    cost_usd=0.01,
    attempts=1,
    latency_ms=50.0,
)


def verdict(id_: str, order: Order = FIRST, label: Label = Label.WIN, **more: object) -> Judgment:
    value = {Label.WIN: 1.0, Label.TIE: 0.5, Label.LOSS: 0.0}[label]
    return replace(FULL, exchange_id=id_, order=order, label=label, value=value, **more)  # type: ignore[arg-type]


def unscored(id_: str, reason: UnscoredReason, *, state: JudgmentState, order: Order = FIRST) -> Judgment:
    return replace(FULL, exchange_id=id_, order=order, state=state, reason=reason, label=None, value=None)


def fill(store: Store, n: int, **fields: object) -> list[str]:
    """``n`` comparable pairs of arm ``small``."""
    store.put_exchanges("r1", [(exchange(id=f"e{i}", **fields), float(i)) for i in range(n)])
    store.put_observations("r1", [observation("ok", arm="small", exchange_id=f"e{i}") for i in range(n)])
    return [f"e{i}" for i in range(n)]


def pending(
    store: Store,
    orders: Sequence[Order] = BOTH,
    judge: str = "j1",
    fingerprint: str = "f1",
    *,
    retry_errors: bool = True,
) -> list[str]:
    key = {"judge_fingerprint": judge, "orders": orders, "retry_errors": retry_errors}
    found = [pair.exchange_id for pair in store.pending_pairs("r1", "small", fingerprint, **key)]  # type: ignore[arg-type]
    assert store.count_pending_pairs("r1", "small", fingerprint, **key) == len(found)  # type: ignore[arg-type]
    return found


def counts(store: Store, judge: str = "j1") -> JudgmentCounts:
    return store.counted_evidence("r1", [("small", "f1")], judges={"j": (judge, "m")})[0][1]["j"]


def test_a_judgment_comes_back_as_it_was_and_twice_is_once(store: Store) -> None:
    fill(store, 2)
    other = replace(FULL, exchange_id="e1", judge="exact", judge_fingerprint="x1", order=Order.NONE, details={})
    for _ in range(2):
        store.put_judgments("r1", [FULL, other])
    assert store.judgments("r1", "small", "f1", ids=["e0", "e1", "e9"]) == [FULL, other]
    assert store.judgments("r1", "small", "f1", ids=["e0", "e1"], judge_fingerprints=["x1"]) == [other]
    assert store.judgments("r1", "small", "f2", ids=["e0"]) == []
    assert store.spent("r1")["judges"] == pytest.approx(0.02)


def test_a_pair_is_pending_until_every_order_is_judged(store: Store) -> None:
    fill(store, 4)
    assert pending(store) == ["e0", "e1", "e2", "e3"]
    store.put_judgments("r1", [verdict("e0", FIRST), verdict("e1", FIRST), verdict("e1", SECOND)])
    assert pending(store) == ["e0", "e2", "e3"]
    assert pending(store, orders=[FIRST]) == ["e2", "e3"]
    assert pending(store, judge="j2") == ["e0", "e1", "e2", "e3"]


def test_errors_and_a_spent_budget_are_judged_again_and_other_endings_are_not(store: Store) -> None:
    fill(store, 5)
    none = Order.NONE
    store.put_judgments(
        "r1",
        [
            unscored("e0", UnscoredReason.PROVIDER_ERROR, state=JudgmentState.ERROR, order=none),
            unscored("e1", UnscoredReason.BUDGET, state=JudgmentState.UNSCORED, order=none),
            unscored("e2", UnscoredReason.OFF_MENU, state=JudgmentState.UNSCORED, order=none),
            verdict("e3", none),
        ],
    )
    assert pending(store, orders=[none]) == ["e0", "e1", "e4"]
    assert pending(store, orders=[none], retry_errors=False) == ["e1", "e4"]


def test_a_judgment_in_no_order_finishes_the_pair(store: Store) -> None:
    fill(store, 2)
    store.put_judgments("r1", [
        unscored("e0", UnscoredReason.TOO_LONG, state=JudgmentState.UNSCORED, order=Order.NONE),
    ])  # fmt: skip
    assert pending(store) == ["e1"]


def test_only_comparable_pairs_of_this_configuration_are_pending(store: Store) -> None:
    fill(store, 3)
    error = CallError(kind=ErrorKind.TIMEOUT, message="m")
    store.put_observations("r1", [observation(arm="small", exchange_id="e0", error=error)])
    failed = Observation(exchange_id="e1", arm="production", status=Status.FAILED, error=error)
    store.put_exchanges("r1", [(exchange(id="e1", production=failed), 1.0)])
    store.put_observations("r1", [observation(arm="small", exchange_id="e2", fingerprint="f2")])
    assert pending(store) == ["e2"]
    assert pending(store, fingerprint="f2") == ["e2"]
    store.put_judgments("r1", [verdict("e2", FIRST), verdict("e2", SECOND)])
    assert pending(store) == []
    assert pending(store, fingerprint="f2") == ["e2"]


def test_judging_while_reading_sees_every_pair_once(store: Store) -> None:
    ids = fill(store, 230)
    seen = []
    for pair in store.pending_pairs("r1", "small", "f1", judge_fingerprint="j1", orders=[FIRST]):
        seen.append(pair.exchange_id)
        store.put_judgments("r1", [verdict(pair.exchange_id)])
    assert seen == ids


def test_judgment_counts_tell_preferences_flips_and_position_bias(store: Store) -> None:
    fill(store, 8)
    win, tie, loss = Label.WIN, Label.TIE, Label.LOSS
    table = {"e0": (win, win), "e1": (win, loss), "e2": (loss, win), "e3": (tie, win), "e4": (loss, loss),
             "e5": (tie, tie)}  # fmt: skip
    store.put_judgments("r1", [verdict(id_, order, label) for id_, labels in table.items()
                               for order, label in zip(BOTH, labels, strict=True)])  # fmt: skip
    store.put_judgments("r1", [
        verdict("e6", FIRST, loss),
        unscored("e6", UnscoredReason.PARSE_FAILED, state=JudgmentState.UNSCORED, order=SECOND),
        unscored("e7", UnscoredReason.REFUSED, state=JudgmentState.UNSCORED, order=FIRST),
        unscored("e7", UnscoredReason.REFUSED, state=JudgmentState.UNSCORED, order=SECOND),
    ])  # fmt: skip
    found = counts(store)
    assert (found.pairs, found.judgments, found.scored, found.missing_order) == (8, 16, 7, 1)
    assert found.states == {"scored": 13, "unscored": 3}
    assert found.unscored == {"refused": 1}
    assert (found.wins, found.ties, found.losses) == (2, 3, 2)
    assert (found.flips, found.both_orders) == (2, 6)
    # First slot: e0 0+1, e1 0+0, e2 1+1, e3 0.5+1, e4 1+0, e5 0.5+0.5 of twelve.
    assert found.first_slot_share == pytest.approx(6.5 / 12)
    assert (found.tokens_in, found.tokens_out, found.unpriced) == (1600, 320, 0)
    assert found.cost_usd == pytest.approx(0.16)


def test_judges_without_labels_or_orders_have_no_preferences(store: Store) -> None:
    fill(store, 2)
    score = replace(FULL, order=Order.NONE, label=None, value=0.9, cost_usd=None, model=None, attempts=0)
    store.put_judgments("r1", [score, replace(score, exchange_id="e1", value=0.1)])
    found = counts(store)
    assert (found.scored, found.missing_order, found.wins, found.flips, found.first_slot_share) == (
        2, 0, None, None, None,
    )  # fmt: skip
    assert (found.cost_usd, found.unpriced) == (None, 0)
    assert counts(store, "unknown") == JudgmentCounts()


def test_a_repeated_judgment_does_not_refund_the_first(store: Store) -> None:
    fill(store, 1)
    error = unscored("e0", UnscoredReason.TIMEOUT, state=JudgmentState.ERROR)
    store.put_judgments("r1", [replace(error, cost_usd=0.5, latency_ms=9_000.0)])
    for _ in range(2):
        store.put_judgments("r1", [replace(FULL, cost_usd=0.25)])
    assert store.spent("r1")["judges"] == pytest.approx(0.75)
    assert counts(store).cost_usd == pytest.approx(0.75)
    store.put_judgments("r1", [replace(FULL, exchange_id="e5", cost_usd=None)])
    assert store.unpriced("r1")["judges"] == 1


def test_evidence_is_one_row_of_numbers_per_exchange(store: Store) -> None:
    fields = [{"session": "s"}, {"user": "u", "tags": ("b", "a")}, {"metadata": {"team": "x"}}, {"session": "s"}]
    store.put_exchanges("r1", [(exchange(id=f"e{i}", **more), -float(i)) for i, more in enumerate(fields)])
    error = CallError(kind=ErrorKind.TIMEOUT, message="m")
    store.put_observations("r1", [
        observation("four", arm="small", exchange_id="e0", latency_ms=10.0, ttft_ms=2.0, cost_usd=0.5),
        observation(arm="small", exchange_id="e1", error=error, latency_ms=None, usage=Usage()),
        observation("other", arm="small", exchange_id="e2", fingerprint="f2"),
        observation("cached", arm="small", exchange_id="e3", cache_hit=True),
    ])  # fmt: skip
    store.put_judgments("r1", [
        verdict("e0", FIRST, Label.WIN), verdict("e0", SECOND, Label.TIE),
        verdict("e3", FIRST, Label.LOSS),
        unscored("e3", UnscoredReason.OFF_MENU, state=JudgmentState.UNSCORED, order=SECOND),
        replace(verdict("e2", FIRST), observation_fingerprint="f2"),
    ])  # fmt: skip
    evidence = store.evidence(
        "r1", "small", "f1", judges={"pairwise": ("j1", "win_rate"), "new": ("j9", "score")},
        attributes=["tag", "metadata.team", "turns"],
    )  # fmt: skip
    assert evidence.exchange_ids.tolist() == ["e3", "e2", "e1", "e0"]
    assert evidence.clusters.tolist() == [0, 1, 2, 0]
    assert evidence.candidate.status.tolist() == ["completed", "", "failed", "completed"]
    assert evidence.candidate.error_kind.tolist() == ["", "", "timeout", ""]
    assert evidence.candidate.cache_hit.tolist() == [True, False, False, False]
    np.testing.assert_array_equal(evidence.candidate.latency_ms, [100.0, np.nan, np.nan, 10.0])
    np.testing.assert_array_equal(evidence.candidate.cost_usd, [np.nan, np.nan, np.nan, 0.5])
    np.testing.assert_array_equal(evidence.candidate.tokens_out, [5, np.nan, np.nan, 5])
    np.testing.assert_array_equal(evidence.candidate.answer_chars, [6, np.nan, np.nan, 4])
    assert evidence.production.status.tolist() == ["completed"] * 4
    assert np.isnan(evidence.timestamps).all()
    scores = evidence.scores["pairwise"]
    assert scores.metric == "win_rate"
    np.testing.assert_array_equal(scores.value, [0.0, np.nan, np.nan, 0.75])
    assert scores.missing_order.tolist() == [True, False, False, False]
    assert np.isnan(evidence.scores["new"].value).all()
    assert evidence.attributes["tag"].tolist() == ["", "", "a + b", ""]
    assert evidence.attributes["metadata.team"].tolist() == ["", "x", "", ""]
    assert evidence.attributes["turns"].tolist() == ["1"] * 4
    assert evidence.take(evidence.candidate.completed).exchange_ids.tolist() == ["e3", "e0"]


@pytest.mark.parametrize(
    ("cluster_by", "expected"),
    [(None, [0, 0, 1]), ("exchange", [0, 1, 2]), ("user", [0, 1, 0]), ("metadata.team", [0, 1, 1])],
)
def test_clusters_can_be_chosen(store: Store, cluster_by: str | None, expected: list[int]) -> None:
    items = [
        exchange(id="e0", session="s", user="u"),
        exchange(id="e1", session="s", metadata={"team": "x"}),
        exchange(id="e2", user="u", metadata={"team": "x"}),
    ]
    store.put_exchanges("r1", [(item, float(i)) for i, item in enumerate(items)])
    evidence = store.evidence("r1", "small", "f1", judges={}, cluster_by=cluster_by)
    assert evidence.clusters.tolist() == expected


def test_evidence_of_an_empty_run_is_empty(store: Store) -> None:
    evidence = store.evidence("r1", "small", "f1", judges={"j": ("j1", "m")}, attributes=["tag"])
    assert evidence.n == 0
    assert evidence.candidate.latency_ms.shape == (0,)
