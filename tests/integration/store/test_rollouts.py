"""Rollouts and their histories, on both databases."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from harness.domain.rollout import Event, EventKind
from harness.errors import InputError
from harness.store import EventRefusedError, RolloutRecord, Store, schema
from harness.store.connection import Database

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def record(id_: str = "r1", **fields: object) -> RolloutRecord:
    defaults = {"live": "chat", "candidate": "small", "fingerprint": "f1", "configuration": {"b": [1, None], "a": "é"}}
    return RolloutRecord(id=id_, started_at=NOW, **(defaults | fields))


def event(number: int, kind: EventKind = EventKind.ADVANCED, id_: str = "r1", **fields: object) -> Event:
    defaults = {"phase": "canary_5", "at": NOW + timedelta(hours=number), "actor": "ann", "reason": "it is time"}
    return Event(rollout_id=id_, number=number, kind=kind, **(defaults | fields))


def begin(store: Store, id_: str = "r1", **fields: object) -> None:
    store.create_rollout(record(id_, **fields), event(1, EventKind.STARTED, id_))


def test_a_rollout_and_its_history_come_back_as_they_were(store):
    begin(store)
    second = event(2, evidence={"checks": [{"name": "gate", "figures": {"n": 5.5}}], "text": "\ud800 \x00 é"})
    store.append_event(second)
    assert store.rollout("r1") == record()
    assert store.rollout_events("r1") == [event(1, EventKind.STARTED), second]
    assert (store.rollout("other"), store.rollout_events("other")) == (None, [])


def test_the_hash_of_a_configuration_is_that_of_what_it_says():
    same = record(configuration={"a": "é", "b": [1, None]})
    assert record().configuration_sha256 == same.configuration_sha256
    assert record().configuration_sha256 != record(configuration={"a": "é", "b": [2, None]}).configuration_sha256


@pytest.mark.parametrize("number", [-1, 0, 1, 2, 4])
def test_a_number_that_is_taken_or_not_the_next_is_refused(store, number):
    begin(store)
    store.append_event(event(2))
    with pytest.raises(EventRefusedError, match=f"event {number} does not follow event 2"):
        store.append_event(event(number, EventKind.ROLLED_BACK))
    assert [kept.kind for kept in store.rollout_events("r1")] == [EventKind.STARTED, EventKind.ADVANCED]
    store.append_event(event(3))


def test_what_was_never_started_has_no_events(store):
    with pytest.raises(InputError, match="no rollout r1"):
        store.append_event(event(1, EventKind.STARTED))


@pytest.mark.parametrize("first", [event(2), event(1), event(1, EventKind.STARTED, "other")])
def test_a_history_begins_with_its_own_start(store, first):
    with pytest.raises(EventRefusedError, match="begins with event 1 `started`"):
        store.create_rollout(record(), first)
    assert store.rollout("r1") is None


def test_of_two_connections_that_append_the_same_number_exactly_one_wins(store_url):
    with Store.open(store_url) as one, Store.open(store_url) as other:
        begin(one)
        for number in range(2, 22):
            start, refused, problems = threading.Barrier(2), [], []

            def append(
                store: Store, actor: str, number: int = number, start=start, refused=refused, problems=problems
            ) -> None:
                start.wait()
                try:
                    store.append_event(event(number, actor=actor))
                except EventRefusedError:
                    refused.append(actor)
                except BaseException as problem:  # noqa: BLE001  reported below, in the main thread
                    problems.append(problem)

            threads = [threading.Thread(target=append, args=(s, a)) for s, a in ((one, "ann"), (other, "bob"))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert problems == []
            assert len(refused) == 1
            assert {one.rollout_events("r1")[-1].actor} == {"ann", "bob"} - set(refused)
        assert [kept.number for kept in other.rollout_events("r1")] == list(range(1, 22))


def test_a_number_taken_between_look_and_write_is_refused_by_the_database(store_url, monkeypatch):
    """The race itself: the other's event is committed after this one has looked at the last number."""
    with Store.open(store_url) as store:
        begin(store)
        store.append_event(event(2))
        monkeypatch.setattr("harness.store.rollouts.sa.Connection.scalar", lambda *_: 1)
        with pytest.raises(EventRefusedError, match="somebody else has written event 2"):
            store.append_event(event(2, actor="bob"))
        monkeypatch.undo()
        assert [kept.actor for kept in store.rollout_events("r1")] == ["ann", "ann"]


def test_a_live_experiment_has_one_active_rollout(store):
    begin(store)
    with pytest.raises(InputError, match="r1 of chat is under way"):
        begin(store, "r2")
    begin(store, "r3", live="other")
    assert (store.active_rollout("chat"), store.active_rollout("none")) == (record(), None)
    store.append_event(event(2, EventKind.COMPLETED))
    assert store.active_rollout("chat") is None
    with pytest.raises(InputError, match="a rollout r1 already"):
        begin(store)
    begin(store, "r2")
    assert store.active_rollout("chat") == record("r2")


def test_of_two_that_start_at_once_one_is_refused(store_url):
    with Store.open(store_url) as one, Store.open(store_url) as other:
        start, refused = threading.Barrier(2), []

        def attempt(store: Store, id_: str) -> None:
            start.wait()
            try:
                begin(store, id_)
            except InputError:
                refused.append(id_)

        threads = [threading.Thread(target=attempt, args=(s, i)) for s, i in ((one, "r1"), (other, "r2"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(refused) == 1
        assert one.active_rollout("chat").id not in refused


@pytest.mark.parametrize("kind", [EventKind.ROLLED_BACK, EventKind.STOPPED, EventKind.EXPIRED, EventKind.COMPLETED])
def test_every_end_ends(store, kind):
    begin(store)
    assert store.last_ended_rollout("f1") is None
    store.append_event(event(2, kind))
    assert store.active_rollout("chat") is None
    assert store.last_ended_rollout("f1") == record() == store.latest_rollout("chat")
    assert store.last_ended_rollout("f2") is None


def test_the_one_that_ended_last_counts_and_not_the_one_that_began_last(store):
    begin(store, "a", live="one")
    begin(store, "b", live="two")
    store.append_event(event(2, EventKind.STOPPED, "b"))
    store.append_event(event(2, EventKind.ROLLED_BACK, "a", at=NOW + timedelta(days=1)))
    assert store.last_ended_rollout("f1").id == "a"


def test_the_active_rollout_is_followed_before_any_that_ended(store):
    assert store.latest_rollout("chat") is None
    begin(store)
    store.append_event(event(2, EventKind.COMPLETED, at=NOW + timedelta(days=9)))
    begin(store, "r2")
    assert store.latest_rollout("chat").id == "r2"


def test_deleting_a_run_leaves_rollouts(store):
    begin(store)
    store.delete_run("r1")
    assert store.rollout("r1") == record()
    assert len(store.rollout_events("r1")) == 1


def test_a_store_of_the_version_before_is_migrated_with_what_it_holds(store_url):
    database = Database(store_url)
    with database.engine.begin() as connection:
        schema.upgrade(connection, "0002")
    database.close()
    with Store.open(store_url) as store:
        begin(store)
        assert store.rollout("r1") == record()
