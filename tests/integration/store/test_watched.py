"""What those who watch a store read, on SQLite and on PostgreSQL."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from harness.domain.judgment import Judgment, JudgmentState, Label, Order, UnscoredReason
from harness.domain.look import LookPoint
from harness.domain.observation import CallError, ErrorKind
from harness.domain.rollout import Event, EventKind
from harness.errors import InfrastructureError
from harness.store import Store, schema
from harness.store.connection import Database
from harness.store.rollouts import RolloutRecord
from harness.testing import exchange, observation

AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
POINT = LookPoint(
    arm="small", metric="win_rate", at=AT, value=0.5, low=0.4, high=0.6, strict_low=0.35, strict_high=None, n=12,
    outcome="inconclusive", verdict="INCONCLUSIVE",
)  # fmt: skip


def test_looks_come_back_as_they_were_by_candidate_metric_and_time(store):
    later = replace(POINT, at=AT + timedelta(seconds=3), value=0.52)
    other = replace(POINT, metric="error_rate", value=None, low=None, high=None)
    store.put_looks("r", [later, other])
    store.put_looks("r", [POINT])
    store.put_looks("another", [POINT])

    assert store.looks("r") == [other, POINT, later]
    store.put_looks("r", [replace(POINT, n=13)])
    assert [point.n for point in store.looks("r")] == [12, 13, 12]


def test_bounds_that_nothing_limits_are_no_numbers(store):
    store.put_looks("r", [replace(POINT, value=math.nan, low=-math.inf, high=math.inf)])

    [point] = store.looks("r")

    assert (point.value, point.low, point.high) == (None, None, None)


def test_a_deleted_run_takes_its_looks_along(store):
    store.put_looks("r", [POINT])
    store.delete_run("r")
    assert store.looks("r") == []


def test_every_commit_of_somebody_else_is_noticed_and_nothing_else_looks_like_one(store, store_url):
    watch = store.change_watch()
    before = watch.token()
    assert watch.token() == before
    for change in (
        lambda other: other.put_exchanges("r", [(exchange(), 0.0)]),
        lambda other: other.put_looks("r", [POINT]),
        lambda other: other.delete_run("r"),
    ):
        with Store.open(store_url) as other:
            change(other)
        after = watch.token()
        assert after != before
        before = after
    watch.close()


def test_the_watchers_own_store_cannot_be_written(store, store_url):
    store.put_looks("r", [POINT])
    with Store.open(store_url, read_only=True) as reader:
        assert reader.looks("r") == [POINT]
        with pytest.raises(InfrastructureError):
            reader.put_looks("r", [replace(POINT, n=99)])
    assert store.looks("r") == [POINT]


def test_a_store_of_another_version_is_left_alone_by_those_who_read(store, store_url):
    database = Database(store_url)
    for version, said in (("0004", "older version.*harness runs list"), ("9999", "newer version")):
        with database.engine.begin() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = :v"), {"v": version})
        with pytest.raises(InfrastructureError, match=said):
            Store.open(store_url, read_only=True)
        with database.engine.connect() as connection:
            assert schema.revision(connection) == version
    database.close()


def test_a_store_that_is_not_there_is_not_made_by_those_who_read(tmp_path):
    with pytest.raises(InfrastructureError, match="does not exist"):
        Store.open(f"sqlite:///{tmp_path}/none.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_the_newest_pairs_with_what_judges_said(store):
    store.put_exchanges("r", [(exchange(id=f"e{i}"), float(i)) for i in range(4)])
    failed = observation(arm="small", exchange_id="e0", error=CallError(kind=ErrorKind.TIMEOUT, message="slow"))
    store.put_observations("r", [failed])
    store.put_observations("r", [observation(arm="small", exchange_id="e2", cost_usd=0.5, latency_ms=80.0)])
    store.put_observations("r", [observation(arm="other", exchange_id="e3")])
    judged = Judgment(
        exchange_id="e2", arm="small", judge="pairwise", judge_fingerprint="now", observation_fingerprint="f1",
        order=Order.PRODUCTION_FIRST, value=1.0, label=Label.WIN,
    )  # fmt: skip
    unscored = replace(
        judged, order=Order.CANDIDATE_FIRST, value=None, label=None, state=JudgmentState.UNSCORED,
        reason=UnscoredReason.OFF_MENU,
    )  # fmt: skip
    store.put_judgments("r", [judged, unscored, replace(judged, judge_fingerprint="before", label=Label.LOSS)])

    first, second = store.newest_pairs("r", "small", "f1", limit=10, judges=["now"])

    assert (first.exchange_id, first.status, first.production_status) == ("e2", "completed", "completed")
    assert (first.latency_ms, first.production_latency_ms, first.cost_usd) == (80.0, 100.0, 0.5)
    assert [(said.order, said.label, said.reason) for said in first.verdicts] == [
        ("candidate_first", None, "off_menu"), ("production_first", "win", None),
    ]  # fmt: skip
    assert (second.exchange_id, second.status, second.reason, second.verdicts) == ("e0", "failed", "timeout", ())
    assert len(store.newest_pairs("r", "small", "f1", limit=1)) == 1
    assert len(store.newest_pairs("r", "small", "f1", limit=1)[0].verdicts) == 3


def test_how_far_a_judge_has_got_is_what_the_report_counts(store):
    store.put_exchanges("r", [(exchange(id=f"e{i}"), float(i)) for i in range(6)])
    store.put_observations("r", [observation(arm="small", exchange_id=f"e{i}") for i in range(6)])
    first = Judgment(
        exchange_id="e0", arm="small", judge="pairwise", judge_fingerprint="now", observation_fingerprint="f1",
        order=Order.PRODUCTION_FIRST, value=1.0, label=Label.WIN,
    )  # fmt: skip
    none = {"value": None, "label": None, "state": JudgmentState.UNSCORED}
    store.put_judgments("r", [
        first, replace(first, order=Order.CANDIDATE_FIRST, reason=UnscoredReason.OFF_MENU, **none),
        replace(first, exchange_id="e1"),
        replace(first, exchange_id="e2", reason=UnscoredReason.TRUNCATED, **none),
        replace(first, exchange_id="e3", reason=UnscoredReason.TRUNCATED, **none),
        replace(first, exchange_id="e4", **{**none, "state": JudgmentState.ERROR}, reason=UnscoredReason.TIMEOUT),
        replace(first, exchange_id="e5", reason=UnscoredReason.NOT_DRAWN, **none),
        replace(first, exchange_id="gone"), replace(first, judge_fingerprint="before", exchange_id="e5"),
    ])  # fmt: skip

    found = store.pairs_judged("r", "small", "f1", judge_fingerprint="now")

    counted = store.counted_evidence("r", [("small", "f1")], judges={"j": ("now", "m")})[0][1]["j"]
    assert (found.scored, dict(found.unscored)) == (counted.scored, dict(counted.unscored))
    assert (found.scored, dict(found.unscored)) == (2, {"truncated": 2, "timeout": 1})
    assert store.pairs_judged("r", "small", "f1", judge_fingerprint="none").scored == 0


def test_the_last_decision_alone(store):
    assert store.last_decision("r") is None
    for minute in (2, 1):
        store.save_decision(
            "r", decided_at=AT + timedelta(minutes=minute), experiment_sha256="x", decision={"minute": minute}
        )
    found = store.last_decision("r")
    assert found is not None
    assert found.decision == {"minute": 2}


def test_the_latest_rollout_of_every_live_experiment(store):
    for number, live in enumerate(("shop", "chat")):
        record = RolloutRecord(
            id=f"r{number}", live=live, candidate="small", fingerprint="f", configuration={}, started_at=AT
        )
        event = Event(rollout_id=record.id, number=1, kind=EventKind.STARTED, phase="p", at=AT, actor="Ada",
                      reason="x")  # fmt: skip
        store.create_rollout(record, event)
    assert [record.id for record in store.latest_rollouts()] == ["r1", "r0"]
