"""Requests that the arms of a rollout answered, on both databases."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from harness.domain.served import Arm, Served, ServedOutcome
from harness.errors import InfrastructureError
from harness.store import DataRefusedError, Store, schema, tables
from harness.store import served as module
from harness.store.connection import Database

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def request(id_: str = "a", rollout_id: str = "r1", **fields: object) -> Served:
    values = {
        "number": 7, "arm": Arm.CANDIDATE, "conversation": "c1", "at": NOW, "surface": "chat",
        "outcome": ServedOutcome.SERVED, "status": 200, "latency_ms": 12.5, "ttft_ms": 3.25, "reason": None,
    }  # fmt: skip
    return Served(rollout_id=rollout_id, request_id=id_, **(values | fields))


def ids(store: Store, rollout_id: str = "r1", **options: datetime) -> list[str]:
    return [item.request_id for item, _ in store.served(rollout_id, **options)]


def test_requests_come_back_as_they_were(store):
    items = [
        request("a"),
        request("b", arm=Arm.CONTROL, outcome=ServedOutcome.CLIENT_GONE, status=0, latency_ms=None, ttft_ms=None),
        request("c", outcome=ServedOutcome.FELL_BACK, reason="timeout", surface="messages", conversation="é"),
    ]
    store.put_served(items)
    store.put_served([request("a", "r2")])
    store.put_served([])
    assert [item for item, _ in store.served("r1")] == items
    assert [item for item, _ in store.served("r2")] == [request("a", "r2")]
    assert list(store.served("none")) == []


def test_the_column_failed_says_what_the_request_says(store_url):
    items = [
        request(f"{outcome}-{status}", outcome=outcome, status=status)
        for outcome in ServedOutcome
        for status in (0, 200, 400, 429, 500)
    ]
    with Store.open(store_url) as store:
        store.put_served(items)
    database = Database(store_url)
    with database.engine.connect() as connection:
        found = connection.execute(sa.select(tables.served_requests.c["request_id", "failed"])).all()
    database.close()
    assert {row.request_id: row.failed for row in found} == {item.request_id: item.failed for item in items}
    assert {item.failed for item in items} == {True, False}


def test_writing_again_changes_nothing_and_adds_what_is_new(store):
    store.put_served([request("a")])
    before = list(store.served("r1"))
    store.put_served([request("b"), request("a", status=500), request("b")])
    after = list(store.served("r1"))
    assert after[:1] == before
    assert [item for item, _ in after] == [request("a"), request("b")]


def test_order_is_that_of_storing_whatever_the_clock_of_the_requests_says(store):
    for number, id_ in enumerate("zyx"):
        store.put_served([request(id_, at=NOW - timedelta(days=number)), request(f"{id_}2")])
    assert ids(store) == ["z", "z2", "y", "y2", "x", "x2"]
    moments = [moment for _, moment in store.served("r1")]
    assert moments == sorted(moments)
    assert len(set(moments)) == 3
    assert all(abs(moment - datetime.now(UTC)) < timedelta(minutes=1) for moment in moments)
    assert ids(store, stored_from=moments[2]) == ["y", "y2", "x", "x2"]
    assert ids(store, stored_from=moments[-1] + timedelta(microseconds=1)) == []


def test_a_clock_that_was_set_back_does_not_put_new_requests_before_old_ones(store, monkeypatch):
    store.put_served([request("z")])
    last = max(moment for _, moment in store.served("r1"))
    monkeypatch.setattr(module, "_turn", lambda _: last - timedelta(hours=1))
    store.put_served([request("b")])
    store.put_served([request("a")])
    assert ids(store) == ["z", "b", "a"]
    assert ids(store, stored_from=last + timedelta(microseconds=2)) == ["a"]


def test_pages_end_and_begin_anywhere(store, monkeypatch):
    monkeypatch.setattr(module, "_PAGE", 3)
    written = []
    for size in (1, 2, 3, 4, 5):  # a page ends within one moment, and at its end
        batch = [f"{size}-{number}" for number in range(size)]
        store.put_served([request(id_) for id_ in reversed(batch)])
        written += batch
        assert ids(store) == written
    reading = store.served("r1")
    first = next(reading)[0].request_id
    store.put_served([request("last")])  # while somebody reads
    assert [first, *(item.request_id for item, _ in reading)] == [*written, "last"]


def test_who_reads_on_from_the_last_moment_misses_nothing_of_several_writers(store_url):
    """Rows are committed in the order of their moments, or a reader would go past some that are still to come."""
    writers, batches, size = 4, 25, 10
    problems: list[BaseException] = []

    def write(name: int) -> None:
        try:
            with Store.open(store_url) as store:
                for batch in range(batches):
                    store.put_served([request(f"{name}-{batch}-{number}") for number in range(size)])
        except BaseException as error:  # noqa: BLE001  reported below, in the main thread
            problems.append(error)

    seen, since = set(), None
    with Store.open(store_url) as reader:
        threads = [threading.Thread(target=write, args=(name,)) for name in range(writers)]
        for thread in threads:
            thread.start()
        while True:
            done = not any(thread.is_alive() for thread in threads)
            found = list(reader.served("r1", stored_from=since))
            seen |= {item.request_id for item, _ in found}
            since = found[-1][1] if found else since
            if done:
                break
        assert problems == []
        assert len(seen) == writers * batches * size
        assert len(list(reader.served("r1"))) == len(seen)


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_a_writer_that_is_gone_in_its_turn_does_not_hold_up_the_others(store_url, monkeypatch):
    """Its machine, or the network: a process that is gone from this one holds no lock."""
    monkeypatch.setattr(module, "_IDLE_MS", 300)

    def stall(connection: sa.Connection, other: Store) -> None:
        module._turn(connection)
        other.put_served([request("b")])  # waits for its turn, and gets it
        module._turn(connection)

    with Store.open(store_url) as store, Store.open(store_url) as other:
        with pytest.raises(InfrastructureError):
            store._database.writing(stall, other)
        assert ids(other) == ["b"]
        store.put_served([request("a")])
        assert ids(store) == ["b", "a"]


@pytest.mark.parametrize("odd", [{"status": 10**30}, {"number": 10**30}])
def test_what_the_database_cannot_hold_is_refused_with_its_batch_and_alone(store, odd):
    items = [request("a"), request("b", **odd), request("c")]
    with pytest.raises(DataRefusedError):
        store.put_served(items)
    assert ids(store) == []
    for item in items:
        if item.request_id == "b":
            with pytest.raises(DataRefusedError):
                store.put_served([item])
        else:
            store.put_served([item])
    assert ids(store) == ["a", "c"]


def test_text_that_columns_cannot_hold_costs_nothing_but_itself(store):
    store.put_served([request("a", reason="\ud800\x00", conversation="\x00", latency_ms=float("inf"))])
    [(found, _)] = store.served("r1")
    assert (found.reason, found.conversation) == ("?␀", "␀")
    assert found.latency_ms == float("inf")


def test_deleting_a_run_leaves_them(store):
    store.put_served([request("a", "run")])
    store.delete_run("run")
    assert ids(store, "run") == ["a"]


def test_a_store_of_the_version_before_is_migrated(store_url):
    database = Database(store_url)
    with database.engine.begin() as connection:
        schema.upgrade(connection, "0003")
    database.close()
    with Store.open(store_url) as store:
        store.put_served([request()])
        assert ids(store) == ["a"]


def test_reading_on_uses_the_index(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/s.db"
    with Store.open(url) as store:
        store.put_served([request(str(number)) for number in range(10)])
    database = Database(url)
    statement = (
        "EXPLAIN QUERY PLAN SELECT * FROM served_requests WHERE rollout_id = 'r1' AND (stored_at, request_id) > "
        "('2026', 'a') ORDER BY stored_at, request_id LIMIT 2000"
    )
    with database.engine.connect() as connection:
        plan = " ".join(str(row) for row in connection.exec_driver_sql(statement))
    database.close()
    assert "served_requests_by_time (rollout_id=? AND stored_at>?)" in plan.replace(
        "(stored_at,request_id)>(?,?)", "stored_at>?"
    )
    assert "TEMP B-TREE" not in plan


def test_a_request_is_not_changed_by_being_kept(store):
    kept = request("a", outcome=ServedOutcome.BROKE_OFF)
    store.put_served([kept])
    [(found, _)] = store.served("r1")
    assert found == kept
    assert found.failed
    assert replace(found, outcome=ServedOutcome.SERVED).failed is False
