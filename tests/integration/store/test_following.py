"""Gateways follow a rollout through a file, on both databases, also while the store is away."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from harness.config.rollout import PhaseSection, Rollout
from harness.domain.rollout import Event, EventKind, Gate, PhaseKind
from harness.rollout.following import Follower
from harness.rollout.histories import stored_state
from harness.rollout.history import state_of
from harness.spool import assignment
from harness.spool.assignment import PRODUCTION
from harness.store import RolloutRecord, Store

POLICY = Rollout(
    name="swap", live="live.yaml", candidate="small", lease_s=60,
    phases=[
        PhaseSection(name=name, kind=kind, share=share, gate=gate, min_pairs=1, min_bake_s=0, max_s=1)
        for name, kind, share, gate in (
            ("shadow", PhaseKind.SHADOW, 1.0, Gate.GO),
            ("canary_5", PhaseKind.CANARY, 0.05, Gate.SAFE),
            ("canary_25", PhaseKind.CANARY, 0.25, Gate.SAFE),
        )
    ],
)  # fmt: skip
LEASE_S = 1.5


def event(number: int, kind: EventKind, phase: str = "canary_5", id_: str = "r1") -> Event:
    return Event(rollout_id=id_, number=number, kind=kind, phase=phase, at=datetime.now(UTC), actor="ann", reason="so")


def begin(store: Store, id_: str = "r1", policy: Rollout = POLICY, held_s: float = 60) -> None:
    """A rollout that a controller has claimed."""
    now = datetime.now(UTC)
    record = RolloutRecord(
        id=id_, live="chat", candidate="small", fingerprint="f1", configuration=policy.model_dump(mode="json"),
        started_at=now,
    )  # fmt: skip
    store.create_rollout(record, event(1, EventKind.STARTED, "shadow", id_))
    assert store.claim_rollout(id_, "controller", now=now, lease_s=held_s)


def follower(store: Store, folder: Path, **more) -> Follower:
    return Follower(store, folder, "chat", **({"salt": "salt", "lease_s": LEASE_S} | more))


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
        assert (found.rollout_id, found.candidate, found.salt) == ("r1", "small", "salt/r1")
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
    behind = follower(
        store, tmp_path, state_of=lambda store, one: state_of(store.rollout_events(one.id)[:2], POLICY.steps)
    )
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

    def slow(store, record):
        time.sleep(0.3)
        return stored_state(store, record)

    assert follower(store, tmp_path, lease_s=0.2, state_of=slow).look()
    assert assignment.read(tmp_path, time.time()) == PRODUCTION


@pytest.mark.parametrize("problem", [ValueError("odd"), OSError("full")])
def test_no_problem_ends_the_following(store, tmp_path, problem):
    begin(store)
    store.append_event(event(2, EventKind.ADVANCED))
    broken = threading.Event()
    broken.set()

    def sometimes(store, record):
        if broken.is_set():
            raise problem
        return stored_state(store, record)

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


@pytest.mark.parametrize("configuration", [{}, {"name": "swap", "of": "a later version"}])
def test_a_configuration_that_is_not_understood_renews_nothing(store, tmp_path, configuration):
    record = RolloutRecord(
        id="r1", live="chat", candidate="small", fingerprint="f1", configuration=configuration,
        started_at=datetime.now(UTC),
    )  # fmt: skip
    store.create_rollout(record, event(1, EventKind.STARTED, "shadow"))
    following = follower(store, tmp_path)
    assert not following.look()
    assert "the configuration of rollout r1 is not a valid rollout" in following.problem


def test_every_rollout_is_read_by_its_own_configuration(store, tmp_path):
    other = POLICY.model_copy(
        update={"phases": [*POLICY.phases[:1], POLICY.phases[1].model_copy(update={"share": 0.1})]}
    )
    begin(store)
    store.append_event(event(2, EventKind.STOPPED))
    begin(store, "r2", other)
    store.append_event(event(2, EventKind.ADVANCED, "canary_5", "r2"))
    assert follower(store, tmp_path).look()
    assert served(tmp_path) == (0.1, 2)


# Halts, and controllers that are gone


def test_a_halt_takes_the_candidate_away_without_an_event(store, tmp_path):
    begin(store)
    store.append_event(event(2, EventKind.ADVANCED))
    following = follower(store, tmp_path)
    assert following.look()
    store.halt_rollout("r1", "errors", now=datetime.now(UTC))
    assert following.look()
    assert served(tmp_path) == (0.0, 2)
    assert assignment.stored(tmp_path).control_share == 0
    assert following.withheld == "rollout r1 was halted: errors"
    store.append_event(event(3, EventKind.COMPLETED))
    following.look()
    assert served(tmp_path) == (0.0, 3), "also one that was completed"


def test_a_look_before_the_halt_does_not_give_the_candidate_back(store, tmp_path):
    begin(store)
    store.append_event(event(2, EventKind.ADVANCED))
    slow, other = threading.Event(), threading.Event()

    def before(store, record):
        slow.set()
        other.wait(10)
        return stored_state(store, record)

    behind = follower(store, tmp_path, state_of=before)
    behind._reason_against = lambda *_: None  # it has asked, and nothing was against it
    thread = threading.Thread(target=behind.look)
    thread.start()
    assert slow.wait(10)
    store.halt_rollout("r1", "errors", now=datetime.now(UTC))
    assert follower(store, tmp_path).look()
    other.set()
    thread.join()
    assert served(tmp_path) == (0.0, 2)


def test_without_a_controller_production_serves_until_there_is_one(store, tmp_path):
    begin(store, held_s=0.6)
    store.append_event(event(2, EventKind.ADVANCED))
    with follower(store, tmp_path, look_s=0.05) as following:
        assert soon(lambda: served(tmp_path) == (0.05, 2), 0.5)
        assert soon(lambda: served(tmp_path) == (0.0, 2))
        assert following.withheld == "no controller looks after rollout r1"
        assert store.claim_rollout("r1", "another", now=datetime.now(UTC), lease_s=60)
        assert soon(lambda: served(tmp_path) == (0.05, 2))
        assert soon(lambda: following.withheld is None)
        store.release_rollout("r1", "another")
        assert not soon(lambda: served(tmp_path) != (0.05, 2), 0.3), "the next one has the rest of the lease to come"


def test_what_no_controller_ever_held_serves_nobody(store, tmp_path):
    begin(store)
    record = store.rollout("r1")
    store.append_event(event(2, EventKind.STOPPED))
    fields = {"id": "r2", "live": "chat", "candidate": "small", "fingerprint": "f1", "started_at": record.started_at}
    store.create_rollout(
        RolloutRecord(configuration=record.configuration, **fields), event(1, EventKind.STARTED, "canary_5", "r2")
    )
    assert follower(store, tmp_path).look()
    assert served(tmp_path) == (0.0, 1)


def test_a_completed_rollout_needs_no_controller(store, tmp_path):
    begin(store, held_s=-1)
    store.append_event(event(2, EventKind.ADVANCED, "canary_25"))
    following = follower(store, tmp_path)
    following.look()
    assert served(tmp_path) == (0.0, 2)
    store.append_event(event(3, EventKind.COMPLETED, "canary_25"))
    following.look()
    assert served(tmp_path) == (0.25, 3)


def test_the_shadow_goes_on_without_a_controller_and_mirrors_at_its_own_rate(store, tmp_path):
    begin(store, held_s=-1)
    following = follower(store, tmp_path)
    following.look()
    assert assignment.stored(tmp_path).mirror_rate == 1.0
    assert following.withheld is None
    store.append_event(event(2, EventKind.ADVANCED))
    following.look()
    assert assignment.stored(tmp_path).mirror_rate == -1.0


# Clocks, and files


def test_a_clock_that_was_set_back_does_not_keep_a_dead_controller_alive(store, tmp_path, monkeypatch):
    begin(store, policy=POLICY.model_copy(update={"lease_s": 0.4}))
    store.append_event(event(2, EventKind.ADVANCED))
    following = follower(store, tmp_path)
    clock = time.time
    monkeypatch.setattr("harness.rollout.following.time.time", lambda: clock() - 3_600)
    following.look()
    assert assignment.stored(tmp_path).share == 0.05, "it was just renewed, whatever time it is"
    time.sleep(0.5)
    following.look()
    assert assignment.stored(tmp_path).share == 0.0
    store.claim_rollout("r1", "controller", now=datetime.now(UTC), lease_s=0.4)
    following.look()
    assert assignment.stored(tmp_path).share == 0.05


def test_a_clock_that_was_set_back_does_not_stop_the_following(store, tmp_path, monkeypatch):
    begin(store)
    store.append_event(event(2, EventKind.ADVANCED))
    following = follower(store, tmp_path)
    assert following.look()
    clock = time.time
    monkeypatch.setattr("harness.rollout.following.time.time", lambda: clock() - 3_600)
    assert following.look()
    assert assignment.read(tmp_path, clock() - 3_600).share == 0.05
    assert assignment.read(tmp_path, clock()) == PRODUCTION
    store.append_event(event(3, EventKind.ROLLED_BACK))
    assert following.look()
    assert assignment.read(tmp_path, clock() - 3_600).number == 3


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff" * 100, b"0" * (assignment.LARGEST_BYTES + 1)])
def test_a_damaged_file_is_replaced_at_the_next_look(store, tmp_path, damage):
    begin(store)
    store.append_event(event(2, EventKind.ADVANCED))
    following = follower(store, tmp_path)
    (tmp_path / assignment.FILE).write_bytes(damage)
    assert served(tmp_path) == (0.0, 0)
    assert following.look()
    assert served(tmp_path) == (0.05, 2)


def test_a_folder_that_cannot_be_written_is_a_problem_and_not_the_end(store, tmp_path):
    begin(store)
    folder = tmp_path / "spool"
    folder.write_text("not a folder")
    with follower(store, folder, look_s=0.05) as following:
        assert soon(lambda: following.problem is not None)
        folder.unlink()
        assert soon(lambda: assignment.stored(folder) is not None)
        assert soon(lambda: following.problem is None)
