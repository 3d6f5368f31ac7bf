"""Gateways follow a rollout through a file, on both databases, also while the store is away."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from harness.domain.rollout import Event, EventKind, Gate, Phase, PhaseKind
from harness.rollout.following import Follower
from harness.rollout.history import state_of
from harness.spool import assignment
from harness.spool.assignment import PRODUCTION
from harness.store import RolloutRecord, Store

PHASES = [
    Phase(name=name, kind=kind, share=share, gate=Gate.SAFE, min_pairs=1, min_bake_s=0, max_s=1)
    for name, kind, share in (
        ("shadow", PhaseKind.SHADOW, 1.0), ("canary_5", PhaseKind.CANARY, 0.05), ("canary_25", PhaseKind.CANARY, 0.25),
    )
]  # fmt: skip
LEASE_S = 1.5


def event(number: int, kind: EventKind, phase: str = "canary_5", id_: str = "r1") -> Event:
    return Event(rollout_id=id_, number=number, kind=kind, phase=phase, at=datetime.now(UTC), actor="ann", reason="so")


def begin(store: Store, id_: str = "r1") -> None:
    record = RolloutRecord(
        id=id_, live="chat", candidate="small", fingerprint="f1", configuration={}, started_at=datetime.now(UTC)
    )
    store.create_rollout(record, event(1, EventKind.STARTED, "shadow", id_))


def follower(store: Store, folder: Path, **more) -> Follower:
    options = {"salt": "salt", "lease_s": LEASE_S, "state_of": lambda events: state_of(events, PHASES)} | more
    return Follower(store, folder, "chat", **options)


def served(folder: Path) -> tuple[float, int]:
    found = assignment.read(folder, time.time())
    return found.share, found.number


def soon(condition: Callable[[], bool], within_s: float = 1.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


@contextmanager
def down(store_url: str, *stores: Store) -> Iterator[None]:
    """The database is really away: its file, or its server's socket with every connection."""
    url = sa.make_url(store_url)
    if url.get_backend_name() == "sqlite":
        place = Path(str(url.database))
    else:
        place = Path(str(url.query["host"])) / ".s.PGSQL.5432"
    for store in stores:
        store._database.engine.dispose()
    away = place.with_name(place.name + ".away")
    place.rename(away)
    for store in stores:  # a look under way may have held a connection
        store._database.engine.dispose()
    try:
        yield
    finally:
        for store in stores:
            store._database.engine.dispose()
        away.replace(place)
        for leftover in ("-wal", "-shm"):
            place.with_name(place.name + leftover).unlink(missing_ok=True)


def test_two_followers_follow_within_a_second_also_back(store_url, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    with Store.open(store_url) as controller, Store.open(store_url) as store:
        begin(controller)
        with follower(controller, one), follower(store, other):
            for number, kind, phase, share in (
                (2, EventKind.ADVANCED, "canary_5", 0.05), (3, EventKind.ADVANCED, "canary_25", 0.25),
                (4, EventKind.PAUSED, "canary_25", 0.25), (5, EventKind.ROLLED_BACK, "canary_25", 0.0),
            ):  # fmt: skip
                controller.append_event(event(number, kind, phase))
                expected = (share, number)
                assert soon(lambda expected=expected: served(one) == served(other) == expected), kind
        found = assignment.stored(one)
        assert (found.rollout_id, found.candidate, found.salt) == ("r1", "small", "salt")
        assert found.valid_until - found.written_at == pytest.approx(LEASE_S)


def test_while_the_store_is_away_the_lease_passes_and_then_it_goes_on(store_url, tmp_path):
    with Store.open(store_url) as controller, Store.open(store_url) as store:
        begin(controller)
        controller.append_event(event(2, EventKind.ADVANCED))
        with follower(store, tmp_path) as following:
            assert soon(lambda: served(tmp_path) == (0.05, 2))
            with down(store_url, store, controller):
                assert served(tmp_path) == (0.05, 2), "the lease bridges a short absence"
                assert soon(lambda: assignment.read(tmp_path, time.time()) == PRODUCTION, LEASE_S + 1)
                assert soon(lambda: following.problem is not None)
                assert not soon(lambda: served(tmp_path) != (0.0, 0), 0.7), "nothing is renewed"
            assert soon(lambda: served(tmp_path) == (0.05, 2), 2.0)
            assert soon(lambda: following.problem is None)
            controller.append_event(event(3, EventKind.ADVANCED, "canary_25"))
            assert soon(lambda: served(tmp_path) == (0.25, 3))


def test_one_look_takes_a_roll_back_to_the_gateways_at_once(store, tmp_path):
    begin(store)
    following = follower(store, tmp_path)
    store.append_event(event(2, EventKind.ADVANCED))
    assert following.look()
    assert served(tmp_path) == (0.05, 2)
    store.append_event(event(3, EventKind.ROLLED_BACK))
    assert following.look()
    assert served(tmp_path) == (0.0, 3)
    following.close()


def test_an_older_event_is_never_written(store, tmp_path):
    begin(store)
    store.append_event(event(2, EventKind.ADVANCED))
    store.append_event(event(3, EventKind.ROLLED_BACK))
    behind = follower(store, tmp_path, state_of=lambda events: state_of(events[:2], PHASES))
    assert follower(store, tmp_path).look()
    assert not behind.look()
    assert served(tmp_path) == (0.0, 3)


def test_a_completed_rollout_goes_on_serving_until_another_begins(store, tmp_path):
    begin(store)
    following = follower(store, tmp_path)
    store.append_event(event(2, EventKind.COMPLETED, "canary_25"))
    following.look()
    assert served(tmp_path) == (0.0, 2), "it was completed in the shadow"
    begin(store, "r2")
    for number, kind in ((2, EventKind.ADVANCED), (3, EventKind.COMPLETED)):
        store.append_event(event(number, kind, "canary_25", "r2"))
    following.look()
    assert served(tmp_path) == (0.25, 3)
    begin(store, "r3")
    following.look()
    assert served(tmp_path) == (0.0, 1)


def test_without_a_rollout_nothing_is_written(store, tmp_path):
    following = follower(store, tmp_path / "spool")
    assert not following.look()
    assert following.problem is None
    assert not (tmp_path / "spool").exists()


def test_the_lease_counts_from_when_the_store_was_asked(store, tmp_path):
    """An answer that took longer than the lease says nothing about now."""
    begin(store)
    store.append_event(event(2, EventKind.ADVANCED))

    def slow(events):
        time.sleep(0.3)
        return state_of(events, PHASES)

    assert follower(store, tmp_path, lease_s=0.2, state_of=slow).look()
    assert assignment.read(tmp_path, time.time()) == PRODUCTION


@pytest.mark.parametrize("problem", [ValueError("odd"), OSError("full")])
def test_no_problem_ends_the_following(store, tmp_path, problem):
    begin(store)
    store.append_event(event(2, EventKind.ADVANCED))
    broken = threading.Event()
    broken.set()

    def sometimes(events):
        if broken.is_set():
            raise problem
        return state_of(events, PHASES)

    with follower(store, tmp_path, state_of=sometimes, look_s=0.05) as following:
        assert soon(lambda: following.problem is not None)
        assert served(tmp_path) == (0.0, 0)
        broken.clear()
        assert soon(lambda: served(tmp_path) == (0.05, 2))
        assert soon(lambda: following.problem is None)


def test_a_history_of_another_configuration_renews_nothing(store, tmp_path):
    begin(store)
    store.append_event(event(2, EventKind.ADVANCED, "unknown"))
    following = follower(store, tmp_path)
    assert not following.look()
    assert "does not have" in following.problem
