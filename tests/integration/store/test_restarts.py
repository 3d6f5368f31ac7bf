"""The server is restarted under writers and readers: nothing is lost, nothing is double, nobody notices."""

import itertools
import logging
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from psycopg import IsolationLevel

import harness
from harness.domain.judgment import Judgment
from harness.errors import InfrastructureError
from harness.store import Store, tables
from harness.testing import exchange, observation
from tests.postgres import Fragile, fragile

__all__ = ["fragile"]

ROOT = Path(harness.__file__).parents[1]
BATCH = 40
WRITER = f"""
import sys, time
from harness.domain.judgment import Judgment
from harness.store import Store
from harness.testing import observation
url, arm, until = sys.argv[1], sys.argv[2], float(sys.argv[3])
n = 0
with Store.open(url, patience_s=60) as store:
    while time.time() < until:
        ids = [f"e{{n + i}}" for i in range({BATCH})]
        store.put_observations(
            "r1", [observation("ok", arm=arm, exchange_id=i, attempts=1, cost_usd=0.25) for i in ids])
        store.put_judgments("r1", [Judgment(
            exchange_id=i, arm=arm, judge="j", judge_fingerprint="j1", observation_fingerprint="f1", cost_usd=0.5,
            latency_ms=4.0, attempts=1, value=1.0) for i in ids])
        n += {BATCH}
print(n)
"""


def test_writers_and_readers_outlive_restarts(fragile: Fragile) -> None:
    url, n_processes, until = fragile.new_store(), 3, time.time() + 8
    before = fragile.restarts
    with Store.open(url, patience_s=60) as store:
        with fragile.going_down(every_s=0.8):
            processes = [
                subprocess.Popen(
                    [sys.executable, "-c", WRITER, url, f"p{i}", str(until)],
                    cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                )
                for i in range(n_processes)
            ]  # fmt: skip
            written: dict[str, int] = {}
            problems: list[BaseException] = []

            def write(arm: str) -> None:
                try:
                    for start in itertools.count(0, 10):
                        if time.time() >= until:
                            return
                        ids = [f"e{start + i}" for i in range(10)]
                        store.put_observations(
                            "r1", [observation("ok", arm=arm, exchange_id=i, attempts=1, cost_usd=0.25) for i in ids]
                        )
                        written[arm] = start + 10
                        # A reader sees whole batches at all times.
                        assert len(store.exchange_sources("r1", ["e0"])) <= 1
                except BaseException as error:  # noqa: BLE001  reported below, in the main thread
                    problems.append(error)

            threads = [threading.Thread(target=write, args=(f"t{i}",)) for i in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            said = [process.communicate(timeout=120) for process in processes]
        assert problems == []
        assert [process.returncode for process in processes] == [0] * n_processes, said
        written |= {f"p{i}": int(out) for i, (out, _) in enumerate(said)}
        assert fragile.restarts - before >= 3
        o, j = tables.observations, tables.judgments
        with store._database.engine.connect() as connection:
            for table in (o, tables.observation_bodies):
                counted = sa.select(table.c.arm, sa.func.count()).group_by(table.c.arm)
                assert dict(connection.execute(counted).tuples().all()) == written
            judged = {arm: n for arm, n in written.items() if arm.startswith("p")}
            for table in (j, tables.judgment_bodies):
                counted = sa.select(table.c.arm, sa.func.count()).group_by(table.c.arm)
                assert dict(connection.execute(counted).tuples().all()) == judged
        # What a repeated transaction wrote again has not been paid again.
        assert store.spent("r1") == {
            "candidates": pytest.approx(0.25 * sum(written.values())),
            "judges": pytest.approx(0.5 * sum(judged.values())),
        }


def test_an_iterator_goes_on_where_it_was(fragile: Fragile) -> None:
    url = fragile.new_store()
    with Store.open(url, patience_s=60) as store:
        store.put_exchanges("r1", [(exchange(id=f"e{i:04}"), float(i)) for i in range(900)])
        seen = []
        for place, found in enumerate(store.exchanges("r1")):
            if place in {100, 500}:
                fragile.restart("immediate" if place == 100 else "fast")
            seen.append(found.id)
        assert seen == [f"e{i:04}" for i in range(900)]


def test_the_impatient_are_told_at_once_and_work_again_after(fragile: Fragile) -> None:
    url = fragile.new_store()
    with Store.open(url) as store:
        fragile._control("-m", "fast", "stop")
        begin = time.monotonic()
        with pytest.raises(InfrastructureError, match="run the same command again"):
            store.runs()
        assert time.monotonic() - begin < 5
        fragile.server.ensure_postgres_running()
        assert store.runs() == []


def test_patience_ends(fragile: Fragile, caplog: pytest.LogCaptureFixture) -> None:
    url = fragile.new_store()
    caplog.set_level(logging.WARNING, "harness.store")
    with Store.open(url, patience_s=0.5) as store:
        fragile._control("-m", "fast", "stop")
        try:
            begin = time.monotonic()
            with pytest.raises(InfrastructureError, match="run the same command again"):
                store.put_observations("r1", [observation("ok")])
            assert time.monotonic() - begin >= 0.5
        finally:
            fragile.server.ensure_postgres_running()
    assert "trying again for up to 0.5 s" in caplog.text


def test_a_commit_that_was_not_answered_is_not_paid_twice(fragile: Fragile) -> None:
    """The server commits and its answer is lost, which nobody outside can tell from a commit that did not happen."""
    url = fragile.new_store()
    with Store.open(url, patience_s=30) as store:
        first, second = (
            [
                observation("ok", arm="a", exchange_id=f"e{i}", attempts=1, cost_usd=cost, latency_ms=10 * cost)
                for i in range(BATCH)
            ]
            for cost in (1.0, 2.0)
        )
        said = [
            Judgment(
                exchange_id=f"e{i}", arm="a", judge="j", judge_fingerprint="j1", observation_fingerprint="f1",
                value=1.0, attempts=1, cost_usd=0.5, latency_ms=4.0,
            )
            for i in range(BATCH)
        ]  # fmt: skip
        store.put_observations("r1", first)
        with _lost_answers(store) as lost:
            store.put_observations("r1", second)
            store.put_judgments("r1", said)
            attempt = store.begin_attempt(
                family="f", fingerprint="x", sequence="s", arm="a", run_id="r1", alpha_of=lambda n: 0.05 / n
            )
            store.record_attempt(attempt, verdict="GO", n_pairs=3)
        assert len(lost) == 4
        assert store.spent("r1") == {"candidates": BATCH * 3.0, "judges": BATCH * 0.5}
        assert [(found.number, found.verdict) for found in store.attempts()] == [(1, "GO")]


def test_a_history_takes_an_event_once_when_its_answer_was_lost(fragile: Fragile) -> None:
    from harness.domain.rollout import Event, EventKind
    from harness.store import EventRefusedError, RolloutRecord

    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    record = RolloutRecord(
        id="o1", live="live", candidate="new", fingerprint="f", configuration={"a": 1}, started_at=at
    )

    def event(number: int, kind: EventKind) -> Event:
        return Event(
            rollout_id="o1", number=number, kind=kind, phase="shadow", at=at, actor="me", reason="why", evidence={}
        )

    with Store.open(fragile.new_store(), patience_s=30) as store:
        with _lost_answers(store) as lost:
            store.create_rollout(record, event(1, EventKind.STARTED))
            store.append_event(event(2, EventKind.PAUSED))
        assert len(lost) == 2
        assert [found.number for found in store.rollout_events("o1")] == [1, 2]
        # Not a repetition but somebody else's: refused as ever.
        with pytest.raises(EventRefusedError):
            store.append_event(event(2, EventKind.PAUSED))


class _lost_answers:  # noqa: N801  used like a function
    """Every first commit of a write takes place, and its connection is gone before that is heard."""

    def __init__(self, store: Store) -> None:
        self.engine = store._database.engine
        self.lost: list[int] = []
        self.spared = False

    def __enter__(self) -> list[int]:
        self.original = self.engine.dialect.do_commit

        def do_commit(connection) -> None:
            self.original(connection)
            if connection.dbapi_connection.isolation_level is IsolationLevel.REPEATABLE_READ:
                return
            self.spared = not self.spared
            if self.spared:
                self.lost.append(1)
                with sa.create_engine(self.engine.url).connect() as other:
                    pid = connection.dbapi_connection.info.backend_pid
                    other.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 10000)")
                connection.dbapi_connection.execute("SELECT 1")

        self.engine.dialect.do_commit = do_commit
        return self.lost

    def __exit__(self, *_: object) -> None:
        self.engine.dialect.do_commit = self.original
