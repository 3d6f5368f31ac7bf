"""What every stage may rely on, on SQLite and on PostgreSQL."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from harness.domain.exchange import ChatRequest, Exchange, Source
from harness.domain.observation import (
    CallError,
    Completion,
    ErrorKind,
    Observation,
    Status,
    ToolCall,
    Usage,
)
from harness.domain.run import IngestReport, Run, Stage, Summary
from harness.store import Store
from harness.testing import exchange, observation

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
RUN = Run(
    id="r1",
    name="demo",
    created_at=NOW,
    updated_at=NOW,
    stage=Stage.CREATED,
    ingest_fingerprint="abc",
    experiment={"name": "demo", "candidates": [{"name": "small"}], "nothing": None},
    seed=2**62,
    versions={"harness": "0.1.0"},
)
FULL = Observation(
    exchange_id="e1",
    arm="small",
    status=Status.COMPLETED,
    completion=Completion(
        text="Paris.",
        tool_calls=(ToolCall(name="look_up", arguments={"city": "Paris", "n": [1, 2.5, None]}, id="c1"),),
        finish_reason="tool_calls",
        model="small-2026",
        n_choices=2,
    ),
    latency_ms=123.456,
    ttft_ms=12.5,
    queue_ms=0.0,
    retry_ms=3.25,
    attempts=2,
    usage=Usage(tokens_in=11, tokens_out=7, tokens_cached=5, tokens_reasoning=3),
    cost_usd=0.000123,
    cost_estimated=True,
    started_at=NOW,
    cache_hit=True,
    dropped_params=("seed", "top_k"),
    fingerprint="f1",
    extra={"note": {"deep": [1, "two"]}},
)
FAILED = Observation(
    exchange_id="e1",
    arm="small",
    status=Status.FAILED,
    error=CallError(kind=ErrorKind.BAD_REQUEST, message="too long", code="context", http_status=400),
    attempts=1,
    fingerprint="f1",
)
RICH = Exchange(
    id="e1",
    request=ChatRequest(
        model="azure/gpt-4o",
        messages=(
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url"}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]},
            {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        ),
        tools=({"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}},),
        params={"temperature": 0.5, "stop": ["\n"], "response_format": None},
    ),
    production=replace(FULL, arm="production", fingerprint=""),
    timestamp=NOW,
    session="s1",
    user="u1",
    tags=("vip", "beta"),
    metadata={"team": "search"},
    source=Source(file="export.jsonl", line=7, sha256="00ff"),
)


def fill(store: Store, n: int, *, run_id: str = "r1") -> list[Exchange]:
    """Store ``n`` exchanges whose positions are the reverse of their order in time."""
    items = [exchange(id=f"e{i:05}", prompt=f"question {i}", session=f"s{i % 7}") for i in range(n)]
    store.put_exchanges(run_id, [(item, float(n - i)) for i, item in enumerate(items)])
    return items[::-1]


def answers(ids: Sequence[str], *, arm: str = "small", fingerprint: str = "f1") -> list[Observation]:
    return [observation("ok", arm=arm, exchange_id=id_, fingerprint=fingerprint) for id_ in ids]


def ids(items: object) -> list[str]:
    return [getattr(item, "exchange_id", None) or item.id for item in items]  # type: ignore[attr-defined]


def test_runs_are_saved_replaced_listed_and_deleted(store: Store) -> None:
    later = replace(RUN, id="r0", created_at=NOW + timedelta(days=1), stop_reason="budget")
    store.save_run(later)
    store.save_run(RUN)
    store.save_run(replace(RUN, stage=Stage.JUDGED))
    assert store.runs() == [replace(RUN, stage=Stage.JUDGED), later]
    assert store.run("r0") == later
    assert store.run("other") is None
    fill(store, 3)
    store.delete_run("r1")
    assert store.run("r1") is None
    assert store.count_exchanges("r1") == 0
    assert list(store.pairs("r1", "production", "")) == []
    assert store.run("r0") == later


def test_ingest_report_comes_back_as_it_was(store: Store) -> None:
    report = IngestReport(
        files=("a.jsonl",),
        dialects={"a.jsonl": "openai_chat (detected)"},
        read=10,
        rejected=1,
        skipped={"no_response": 2},
        kept=7,
        sampled=7,
        redactions={"email": 3},
        warnings=("odd",),
        population=Summary(n=7, models={"m": 7}, first=NOW, last=NOW, mean_turns=1.5),
    )
    assert store.ingest_report("r1") is None
    store.save_ingest_report("r1", IngestReport(files=()))
    store.save_ingest_report("r1", report)
    assert store.ingest_report("r1") == report


def test_decisions_are_a_history(store: Store) -> None:
    for day in (2, 1):
        store.save_decision(
            "r1", decided_at=NOW + timedelta(days=day), experiment_sha256="x" * 64, decision={"verdict": str(day)}
        )
    assert [(d.decision["verdict"], d.decided_at) for d in store.decisions("r1")] == [
        ("1", NOW + timedelta(days=1)),
        ("2", NOW + timedelta(days=2)),
    ]


def test_an_exchange_comes_back_as_it_was(store: Store) -> None:
    bare = Exchange(
        id="e2",
        request=ChatRequest(model="m", messages=()),
        production=Observation(exchange_id="e2", arm="production", status=Status.COMPLETED),
    )
    store.put_exchanges("r1", [(RICH, 0.5), (bare, 0.25)])
    assert list(store.exchanges("r1")) == [bare, RICH]
    assert list(store.exchanges("r1", ids=["e1", "unknown"])) == [RICH]


@pytest.mark.parametrize("item", [FULL, FAILED], ids=["completed", "failed"])
def test_an_observation_comes_back_as_it_was(store: Store, item: Observation) -> None:
    fill(store, 0)
    store.put_exchanges("r1", [(RICH, 0.0)])
    store.put_observations("r1", [item])
    assert list(store.observations("r1", "small", "f1")) == [item]
    (pair,) = store.pairs("r1", "small", "f1")
    assert pair.exchange == RICH
    assert pair.candidate == item


def test_times_are_utc_whatever_zone_they_came_in(store: Store) -> None:
    zone = timezone(timedelta(hours=5))
    store.put_exchanges("r1", [(replace(RICH, timestamp=NOW.astimezone(zone)), 0.0)])
    (item,) = store.exchanges("r1")
    assert item.timestamp == NOW
    assert item.timestamp.tzinfo is UTC


def test_writing_twice_changes_nothing(store: Store) -> None:
    for _ in range(2):
        store.put_exchanges("r1", [(RICH, 0.5)])
        store.put_observations("r1", [FULL])
    assert list(store.exchanges("r1")) == [RICH]
    assert list(store.observations("r1", "small", "f1")) == [FULL]
    assert store.attribute_values("r1", "tag") == {"beta": 1, "vip": 1}
    assert store.spent("r1")["candidates"] == pytest.approx(0.000123)


def test_writing_again_replaces_tags_and_answers(store: Store) -> None:
    store.put_exchanges("r1", [(RICH, 0.5)])
    store.put_exchanges("r1", [(replace(RICH, tags=("new",)), 0.75)])
    assert store.attribute_values("r1", "tag") == {"new": 1}
    store.put_observations("r1", [FAILED])
    store.put_observations("r1", [FULL])
    assert list(store.observations("r1", "small", "f1")) == [FULL]


def test_an_attribute_worked_out_later_replaces_its_rows_and_no_others(store: Store) -> None:
    fill(store, 3)
    fill(store, 3, run_id="r2")
    store.put_attribute("r2", "topic", {"e00000": "other run"})
    store.put_attribute("r1", "topic", {"e00000": "refund", "e00001": "recipe", "e00002": "recipe"})
    store.put_attribute("r1", "topic", {"e00001": "code \x00\ud800", "e00002": "refund"})
    assert store.attribute_values("r1", "topic") == {"code \N{SYMBOL FOR NULL}?": 1, "refund": 1}
    assert store.attribute_values("r1", "has_tools") == {"no": 3}
    assert store.attribute_values("r2", "topic") == {"other run": 1}
    store.put_attribute("r1", "topic", {})
    assert "topic" not in store.attribute_keys("r1")
    store.clear_exchanges("r2")
    assert store.attribute_keys("r2") == []


def test_ten_thousand_exchanges_are_paged_in_order(store: Store) -> None:
    items = [(exchange(id=f"e{i:05}", prompt="?"), float((i * 7919) % 1_000)) for i in range(10_000)]
    for start in range(0, len(items), 2_500):
        store.put_exchanges("r1", items[start : start + 2_500])
    expected = [item.id for item, _ in sorted(items, key=lambda pair: (pair[1], pair[0].id))]
    assert ids(store.exchanges("r1")) == expected
    assert store.count_exchanges("r1") == 10_000
    chosen = expected[::3]
    assert ids(store.exchanges("r1", ids=chosen[::-1])) == chosen


def test_removed_exchanges_are_gone_and_what_candidates_answered_waits_for_them(store: Store) -> None:
    items = fill(store, 5)
    store.put_observations("r1", answers(ids(items)))
    store.remove_exchanges("r1", ["e00001", "e00003", "unknown"])
    assert ids(store.exchanges("r1")) == ["e00004", "e00002", "e00000"]
    assert ids(store.observations("r1", "small", "f1")) == ["e00004", "e00002", "e00000"]
    assert store.observation_counts("r1", "small", "f1").completed == 3
    store.clear_exchanges("r1")
    assert store.count_exchanges("r1") == 0
    assert store.attribute_keys("r1") == []
    fill(store, 5)
    assert list(store.pending_exchanges("r1", "small", "f1")) == []


def test_finished_calls_are_not_asked_again(store: Store) -> None:
    items = fill(store, 6)
    assert ids(store.pending_exchanges("r1", "small", "f1")) == ids(items)
    store.put_observations("r1", answers(ids(items)[:2]))
    assert ids(store.pending_exchanges("r1", "small", "f1")) == ids(items)[2:]
    assert store.count_pending_exchanges("r1", "small", "f1") == 4


def test_configurations_arms_and_runs_never_mix(store: Store) -> None:
    items = fill(store, 3)
    fill(store, 3, run_id="r2")
    store.put_observations("r1", answers(ids(items)))
    for run_id, arm, fingerprint in (("r1", "small", "f2"), ("r1", "large", "f1"), ("r2", "small", "f1")):
        assert ids(store.pending_exchanges(run_id, arm, fingerprint)) == ids(items)
        assert list(store.pairs(run_id, arm, fingerprint)) == []
        assert list(store.observations(run_id, arm, fingerprint)) == []
        assert store.observation_counts(run_id, arm, fingerprint).completed == 0
    store.put_observations("r1", answers(ids(items)[:1], fingerprint="f2"))
    assert len(list(store.pairs("r1", "small", "f1"))) == 3
    assert len(list(store.pairs("r1", "small", "f2"))) == 1


def ended(id_: str, status: Status, kind: ErrorKind | None = None, reason: str | None = None) -> Observation:
    error = CallError(kind=kind, message="m") if kind else None
    return Observation(
        exchange_id=id_, arm="small", status=status, error=error, reason=reason, attempts=1, fingerprint="f1"
    )


def test_what_counts_as_unfinished(store: Store) -> None:
    fill(store, 6)
    store.put_observations(
        "r1",
        [
            ended("e00000", Status.COMPLETED),
            ended("e00001", Status.FAILED, ErrorKind.TIMEOUT),
            ended("e00002", Status.FAILED, ErrorKind.AUTHENTICATION),
            ended("e00003", Status.SKIPPED, reason="budget"),
            ended("e00004", Status.DROPPED, reason="queue_full"),
        ],
    )

    def pending(**options: bool) -> set[str]:
        assert store.count_pending_exchanges("r1", "small", "f1", **options) == len(
            list(store.pending_exchanges("r1", "small", "f1", **options))
        )
        return {id_[-1] for id_ in ids(store.pending_exchanges("r1", "small", "f1", **options))}

    assert pending() == {"2", "3", "4", "5"}
    assert pending(retry_setup_errors=False) == {"3", "4", "5"}
    assert pending(retry_errors=True) == {"1", "2", "3", "4", "5"}


def test_a_share_is_the_same_first_part_every_time(store: Store) -> None:
    items = fill(store, 30)
    asked = ids(store.pending_exchanges("r1", "replica", "f1", share=0.1))
    assert asked == ids(items)[:3]
    store.put_observations("r1", answers(asked[:2], arm="replica"))
    assert ids(store.pending_exchanges("r1", "replica", "f1", share=0.1)) == asked[2:]
    assert ids(store.pending_exchanges("r1", "replica", "f1", share=0.2)) == ids(items)[2:6]
    assert store.count_pending_exchanges("r1", "replica", "f1", share=1.0) == 28
    assert list(store.pending_exchanges("empty", "replica", "f1", share=0.5)) == []


def test_writing_while_reading_sees_every_exchange_once(store: Store) -> None:
    items = fill(store, 450)
    asked = []
    for item in store.pending_exchanges("r1", "small", "f1"):
        asked.append(item.id)
        store.put_observations("r1", answers([item.id]))
    assert asked == ids(items)
    assert store.count_pending_exchanges("r1", "small", "f1") == 0


def test_observation_counts_are_the_funnel(store: Store) -> None:
    fill(store, 8)
    store.put_observations("r1", [
        replace(FULL, exchange_id="e00000", cost_usd=0.5),
        replace(FULL, exchange_id="e00001", cost_usd=None, dropped_params=("seed",)),
        ended("e00002", Status.FAILED, ErrorKind.TIMEOUT),
        ended("e00003", Status.FAILED, ErrorKind.TIMEOUT),
        ended("e00004", Status.FAILED, ErrorKind.BAD_REQUEST),
        ended("e00005", Status.SKIPPED, reason="budget"),
        ended("e00006", Status.DROPPED, reason="queue_full"),
    ])  # fmt: skip
    store.put_exchanges(
        "r1", [(exchange(id="e00001", production=replace(FAILED, arm="production", fingerprint="")), 0)]
    )
    counts = store.observation_counts("r1", "small", "f1")
    assert (counts.sampled, counts.completed, counts.asked, counts.comparable) == (8, 2, 7, 1)
    assert counts.failed == {"timeout": 2, "bad_request": 1}
    assert (counts.skipped, counts.dropped) == ({"budget": 1}, {"queue_full": 1})
    assert (counts.cost_usd, counts.unpriced) == (0.5, 1)
    assert counts.dropped_params == {"seed": 2, "top_k": 1}
    assert counts.answered_models == {"small-2026": 2}
    production = store.observation_counts("r1", "production", "")
    assert (production.completed, production.failed) == (7, {"bad_request": 1})


def test_an_arm_was_asked_when_it_answered_or_failed_on_a_sampled_request(store: Store) -> None:
    fill(store, 3)
    assert not store.was_asked("r1", "small", "f1")
    store.put_observations("r1", [
        ended("e00000", Status.SKIPPED, reason="budget"),
        ended("e00001", Status.DROPPED, reason="queue_full"),
        ended("gone", Status.FAILED, ErrorKind.TIMEOUT),
    ])  # fmt: skip
    assert not store.was_asked("r1", "small", "f1")
    store.put_observations("r1", [ended("e00002", Status.FAILED, ErrorKind.TIMEOUT)])
    assert store.was_asked("r1", "small", "f1")
    assert not store.was_asked("r1", "small", "f2")
    assert not store.was_asked("r2", "small", "f1")


def test_nothing_known_is_counted_as_unknown(store: Store) -> None:
    counts = store.observation_counts("r1", "small", "f1")
    assert (counts.sampled, counts.asked, counts.cost_usd) == (0, 0, None)
    assert store.spent("r1") == {"candidates": 0.0, "judges": 0.0}
    assert store.unpriced("r1") == {"candidates": 0, "judges": 0}


def test_recorded_costs_were_not_spent_here_and_repeated_calls_were(store: Store) -> None:
    fill(store, 3)
    recorded = replace(FULL, exchange_id="e00000", arm="from_file", attempts=None, cost_usd=9.0)
    failed = replace(FAILED, exchange_id="e00001", cost_usd=0.25, latency_ms=10.0)
    again = replace(FULL, exchange_id="e00001", cost_usd=0.5, latency_ms=20.0)
    unknown = replace(FULL, exchange_id="e00002", cost_usd=None)
    for batch in ([recorded], [failed], [failed], [again], [again], [unknown]):
        store.put_observations("r1", batch)
    assert store.spent("r1")["candidates"] == pytest.approx(0.75)
    assert store.unpriced("r1")["candidates"] == 1


@pytest.mark.parametrize("text", ["nul \x00 inside", "lone \ud800 surrogate", "Straße 日本語 🎉\u2028", ""])
def test_any_text_is_kept(store: Store, text: str) -> None:
    item = exchange(
        text, id="e1", prompt=text, session="s", tags=("t",), metadata={"key": text},
    )  # fmt: skip
    item = replace(item, production=replace(item.production, extra={"raw": text}))
    store.put_exchanges("r1", [(item, 0.0)])
    store.put_observations("r1", [replace(FAILED, error=CallError(kind=ErrorKind.OTHER, message=text))])
    (pair,) = store.pairs("r1", "small", "f1")
    assert pair.exchange == item
    assert pair.candidate.error == CallError(kind=ErrorKind.OTHER, message=text)


def test_ids_no_database_can_hold_still_find_their_rows(store: Store) -> None:
    odd = "id\x00\ud83d"
    store.put_exchanges("r1", [(exchange(id=odd), 0.0)])
    store.put_observations("r1", answers([odd]))
    (pair,) = store.pairs("r1", "small", "f1", ids=[odd])
    assert pair.exchange_id == pair.candidate.exchange_id == pair.production.exchange_id
    assert store.count_pending_exchanges("r1", "small", "f1") == 0
    store.remove_exchanges("r1", [odd])
    assert store.count_exchanges("r1") == 0


def test_bodies_of_many_megabytes_are_kept(store: Store) -> None:
    text = "".join(chr(97 + (i * i) % 26) for i in range(3_000_000)) * 4
    items = [exchange(text, id=f"e{i}", prompt=text[:100_000]) for i in range(3)]
    store.put_exchanges("r1", [(item, float(i)) for i, item in enumerate(items)])
    assert [item.production.completion.text == text for item in store.exchanges("r1")] == [True] * 3


def test_integers_beyond_64_bits_and_odd_numbers_are_kept(store: Store) -> None:
    item = replace(FULL, extra={"big": 2**70, "small": 1e-300})
    store.put_exchanges("r1", [(RICH, 0.0)])
    store.put_observations("r1", [item])
    assert next(store.observations("r1", "small", "f1")).extra == {"big": 2**70, "small": 1e-300}
