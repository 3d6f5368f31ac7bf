"""Served requests come from the spool into the store, each once, whatever happens on the way."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.domain.served import Arm
from harness.errors import InfrastructureError
from harness.rollout import shipping
from harness.rollout.shipping import Shipper
from harness.spool.reader import POSITION, SpoolReader, saved_position
from harness.spool.record import Captured
from harness.spool.writer import append
from harness.store import Store


def captured(id_: str, *, status: int = 200, at_ns: int = 1_767_323_045_678_901_999, **told: object) -> Captured:
    values = {
        "rollout_id": "r1", "number": 7, "arm": "candidate", "conversation": "00ff", "surface": "chat",
        "outcome": "served", "reason": None,
    }  # fmt: skip
    return Captured(
        id=id_, at_ns=at_ns, method="POST", path="/v1/chat/completions", status=status, latency_ms=1.5,
        served=values | told,
    )  # fmt: skip


def ids(store: Store, rollout_id: str = "r1") -> list[str]:
    return sorted(item.request_id for item, _ in store.served(rollout_id))


@contextmanager
def shipping_from(store: Store, folder: Path) -> Iterator[Shipper]:
    with SpoolReader(folder) as spool:
        yield Shipper(store, spool, threading.Event())


class Flaky(Store):
    """A store that is away while it is told to be, before or after the commit."""

    away = False
    away_after_commit = False

    def put_served(self, items):
        if self.away:
            raise InfrastructureError("away")
        super().put_served(items)
        if self.away_after_commit:
            raise InfrastructureError("the answer to the commit was lost")


@pytest.fixture
def flaky(store_url: str) -> Iterator[Flaky]:
    with Flaky.open(store_url) as opened:
        yield opened


def soon(condition: Callable[[], bool], within_s: float = 10.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_records_become_rows_and_their_files_go(store, tmp_path):
    append(tmp_path, "one", [captured("a"), captured("b", arm="control")])
    append(tmp_path, "two", [captured("c", rollout_id="nobody knows it")])
    with shipping_from(store, tmp_path) as shipper:
        assert shipper.ship() == 3
        assert shipper.ship() == 0
    assert {item.request_id: item.arm for item, _ in store.served("r1")} == {"a": Arm.CANDIDATE, "b": Arm.CONTROL}
    assert ids(store, "nobody knows it") == ["c"]
    assert list(tmp_path.glob("*.spool")) == []
    assert saved_position(tmp_path).counts == {"stored": 3}


def test_what_is_no_request_is_counted_and_left_out(store, tmp_path):
    odd = [
        captured("x", arm="neither"),
        captured("y", number="7"),
        Captured(id="z", at_ns=1, method="GET", path="/", status=1),
    ]
    append(tmp_path, "one", [captured("a"), *odd, captured("b")])
    with shipping_from(store, tmp_path) as shipper:
        assert shipper.ship() == 5
    assert ids(store) == ["a", "b"]
    assert saved_position(tmp_path).counts == {"stored": 2, "not_served": 3}


def test_what_the_database_cannot_hold_costs_no_other_request(store, tmp_path):
    batch = [captured(f"{number:03}", status=10**12 if number in {3, 4, 77} else 200) for number in range(100)]
    batch[4] = captured("004", number=10**18 * 10)
    append(tmp_path, "one", batch)
    with shipping_from(store, tmp_path) as shipper:
        shipper.ship()
    refused = {f"{number:03}" for number in range(100)} - set(ids(store))
    # SQLite holds the large status in a column of whatever size.
    assert refused in ({"003", "004", "077"}, {"004"})
    assert saved_position(tmp_path).counts == {"stored": 100 - len(refused), "refused": len(refused)}


def test_damage_in_a_file_costs_what_is_damaged(store, tmp_path):
    path = append(tmp_path, "one", [captured("a"), captured("b"), captured("c")])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    append(tmp_path, "two", [captured("d")])
    with shipping_from(store, tmp_path) as shipper:
        assert shipper.ship() == 3
    assert ids(store) == ["a", "c", "d"]


def test_while_the_store_is_away_everything_waits_and_then_comes_once(flaky, tmp_path):
    flaky.away = True
    append(tmp_path, "one", [captured("a"), captured("b")])
    stop = threading.Event()
    with SpoolReader(tmp_path) as spool:
        shipper = Shipper(flaky, spool, stop)
        thread = threading.Thread(target=shipper.run)
        thread.start()
        assert soon(lambda: shipper.problem == "away")
        append(tmp_path, "two", [captured("c")])
        assert saved_position(tmp_path).offsets == {}
        assert ids(flaky) == []
        flaky.away, flaky.away_after_commit = False, True
        assert soon(lambda: ids(flaky) == ["a", "b"])
        before = list(flaky.served("r1"))
        time.sleep(0.6)
        assert list(flaky.served("r1")) == before, "written again and again, and there once"
        flaky.away_after_commit = False
        assert soon(lambda: ids(flaky) == ["a", "b", "c"])
        assert soon(lambda: shipper.problem is None)
        stop.set()
        thread.join()
    assert saved_position(tmp_path).counts == {"stored": 3}


def test_who_is_told_to_end_while_the_store_is_away_leaves_it_to_the_next(flaky, tmp_path):
    flaky.away = True
    append(tmp_path, "one", [captured("a")])
    stop = threading.Event()
    with SpoolReader(tmp_path) as spool:
        thread = threading.Thread(target=Shipper(flaky, spool, stop).run)
        thread.start()
        time.sleep(0.2)
        stop.set()
        thread.join(5)
        assert not thread.is_alive()
    flaky.away = False
    with shipping_from(flaky, tmp_path) as shipper:
        assert shipper.ship() == 1
    assert ids(flaky) == ["a"]


def test_who_is_told_to_end_ships_what_is_there(store, tmp_path):
    append(tmp_path, "one", [captured(f"{number:04}") for number in range(2_500)])
    stop = threading.Event()
    stop.set()
    with SpoolReader(tmp_path) as spool:
        Shipper(store, spool, stop).run()
    assert len(ids(store)) == 2_500


def test_a_disk_that_refuses_the_position_has_it_saved_later_and_nothing_stored_twice(store, tmp_path, monkeypatch):
    append(tmp_path, "one", [captured("a")])
    full = OSError(28, "No space left on device")
    with shipping_from(store, tmp_path) as shipper:
        monkeypatch.setattr("harness.spool.reader.os.fsync", lambda _: (_ for _ in ()).throw(full))
        with pytest.raises(OSError, match="No space"):
            shipper.ship()
        assert ids(store) == ["a"]
        monkeypatch.undo()
        append(tmp_path, "two", [captured("b")])
        shipper.ship()
    assert ids(store) == ["a", "b"]
    assert saved_position(tmp_path).counts == {"stored": 2}


def test_a_second_reader_waits_and_takes_over(store, tmp_path):
    stop, found = threading.Event(), []
    first = SpoolReader(tmp_path)
    thread = threading.Thread(target=lambda: found.append(shipping.opened(tmp_path, stop)))
    thread.start()
    time.sleep(0.7)
    assert found == []
    with first:
        append(tmp_path, "one", [captured("a")])
        Shipper(store, first, stop).ship()
    assert soon(lambda: bool(found))
    thread.join()
    with found[0] as second:
        append(tmp_path, "two", [captured("b")])
        assert Shipper(store, second, stop).ship() == 1
    assert ids(store) == ["a", "b"]


def test_who_waits_for_the_spool_can_be_told_to_end(tmp_path):
    stop = threading.Event()
    with SpoolReader(tmp_path):
        threading.Timer(0.2, stop.set).start()
        assert shipping.opened(tmp_path, stop) is None


@pytest.mark.parametrize("damage", [b"", b"{", b'{"what": 1}'])
def test_a_damaged_position_is_put_aside_and_all_is_read_again(store, tmp_path, damage):
    with shipping_from(store, tmp_path) as shipper:
        append(tmp_path, "one", [captured("a")])
        shipper.ship()
    append(tmp_path, "two", [captured("b")])
    (tmp_path / POSITION).write_bytes(damage)
    with shipping.opened(tmp_path, threading.Event()) as spool:
        assert Shipper(store, spool, threading.Event()).ship() == 1
    assert ids(store) == ["a", "b"]
    assert (tmp_path / "position.damaged").read_bytes() == damage
