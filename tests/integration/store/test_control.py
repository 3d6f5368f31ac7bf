"""Who controls a rollout, whether it was halted, and what was done about it, on both databases."""

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import harness
from harness.errors import InputError
from harness.store import RolloutAction, RolloutControl, Store

ROOT = Path(harness.__file__).parents[1]
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def claim(store: Store, holder: str, now: datetime = NOW, lease_s: float = 60, id_: str = "r1") -> bool:
    return store.claim_rollout(id_, holder, now=now, lease_s=lease_s)


def test_nobody_holds_what_nobody_claimed(store):
    assert store.rollout_control("r1") == RolloutControl(rollout_id="r1")
    assert not store.rollout_control("r1").is_attended(NOW)


def test_a_claim_holds_against_others_and_is_renewed_by_its_holder(store):
    assert claim(store, "one")
    assert store.rollout_control("r1") == RolloutControl(rollout_id="r1", holder="one", held_until=NOW + 60 * SECOND)
    assert not claim(store, "two", NOW + 30 * SECOND)
    assert store.rollout_control("r1").held_until == NOW + 60 * SECOND
    assert claim(store, "one", NOW + 30 * SECOND)
    assert store.rollout_control("r1").held_until == NOW + 90 * SECOND
    assert claim(store, "two", id_="r2")


def test_a_claim_that_ran_out_is_anybodys(store):
    assert claim(store, "one")
    assert not claim(store, "two", NOW + 60 * SECOND)
    assert claim(store, "two", NOW + 60.001 * SECOND)
    assert not claim(store, "one", NOW + 61 * SECOND)
    assert store.rollout_control("r1").holder == "two"


def test_what_is_let_go_can_be_claimed_at_once_and_is_attended_to_the_end_of_its_lease(store):
    assert claim(store, "one")
    store.release_rollout("r1", "two")
    assert not claim(store, "two")
    store.release_rollout("r1", "one")
    left = store.rollout_control("r1")
    assert left.holder is None
    assert left.is_attended(NOW + 60 * SECOND)
    assert not left.is_attended(NOW + 61 * SECOND)
    assert claim(store, "two")


CLAIMER = """
import sys
from datetime import UTC, datetime, timedelta
from harness.store import Store
with Store.open(sys.argv[1]) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(200):
        now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)
        if store.claim_rollout(f"r{number % 3}", sys.argv[2], now=now, lease_s=3600):
            print(number, flush=True)
"""


def test_of_two_processes_that_claim_at_once_exactly_one_gets_it(store_url):
    """200 rounds, in each of which the last lease has run out, or there was none."""
    Store.open(store_url).close()
    claimers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMER, store_url, name],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    for claimer in claimers:
        assert claimer.stdout.readline() == "ready\n"
    for claimer in claimers:
        claimer.stdin.write("go\n")
        claimer.stdin.flush()
    got = [claimer.communicate(timeout=120) for claimer in claimers]
    assert [error for _, error in got] == ["", ""]
    one, two = ({int(line) for line in out.split()} for out, _ in got)
    assert one & two == set()
    assert one | two == set(range(200))


def test_of_many_threads_that_claim_at_once_exactly_one_gets_it(store_url):
    stores = [Store.open(store_url) for _ in range(4)]
    for number in range(20):
        start, got, problems = threading.Barrier(len(stores)), [], []

        def attempt(store: Store, holder: str, number: int = number, start=start, got=got, problems=problems) -> None:
            start.wait()
            try:
                if claim(store, holder, NOW + number * timedelta(hours=1)):
                    got.append(holder)
            except BaseException as error:  # noqa: BLE001  reported below, in the main thread
                problems.append(error)

        threads = [threading.Thread(target=attempt, args=(s, f"c{i}")) for i, s in enumerate(stores)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []
        assert len(got) == 1
        assert stores[0].rollout_control("r1").holder == got[0]
    for store in stores:
        store.close()


def test_the_first_halt_stays_and_claims_go_on(store):
    store.halt_rollout("r1", "errors \ud800", now=NOW)
    store.halt_rollout("r1", "latency", now=NOW + SECOND)
    assert claim(store, "one", NOW)
    assert store.rollout_control("r1") == RolloutControl(
        rollout_id="r1", holder="one", held_until=NOW + 60 * SECOND, halted_at=NOW, halted_reason="errors ?"
    )
    assert store.rollout_control("r1").is_halted
    assert claim(store, "one", id_="r2")
    store.halt_rollout("r2", "by hand", now=NOW)
    halted = store.rollout_control("r2")
    assert (halted.holder, halted.halted_reason) == ("one", "by hand")


def test_an_action_is_begun_once_done_once_and_known_to_be_repeated(store):
    begun = RolloutAction(rollout_id="r1", number=3, name="hook:tell", begun_at=NOW)
    assert store.begin_action("r1", 3, "hook:tell", now=NOW) == begun
    assert store.begin_action("r1", 3, "hook:tell", now=NOW + SECOND) == begun, "after a crash"
    store.finish_action("r1", 3, "hook:tell", "ok \x00", now=NOW + 2 * SECOND)
    store.finish_action("r1", 3, "hook:tell", "again", now=NOW + 3 * SECOND)
    assert store.begin_action("r1", 3, "hook:tell", now=NOW + 4 * SECOND) is None
    done = RolloutAction(
        rollout_id="r1", number=3, name="hook:tell", begun_at=NOW, done_at=NOW + 2 * SECOND, outcome="ok ␀"
    )
    assert store.rollout_actions("r1") == [done]


def test_actions_come_by_event_in_the_order_in_which_they_were_begun(store):
    for number, name, at in ((2, "z", 0), (2, "a", 1), (1, "m", 5)):
        assert store.begin_action("r1", number, name, now=NOW + at * SECOND) is not None
    assert store.begin_action("r2", 1, "m", now=NOW) is not None
    assert [(action.number, action.name) for action in store.rollout_actions("r1")] == [(1, "m"), (2, "z"), (2, "a")]
    assert store.rollout_actions("none") == []


def test_what_was_never_begun_cannot_be_finished(store):
    with pytest.raises(InputError, match="hook about event 1 was never begun"):
        store.finish_action("r1", 1, "hook", "ok", now=NOW)
    assert store.rollout_actions("r1") == []
