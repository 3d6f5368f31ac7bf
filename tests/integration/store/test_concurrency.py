"""Reading while others write, and writers that die."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import sqlalchemy as sa

import harness
from harness.store import Store, tables
from harness.store.connection import Database
from harness.testing import exchange, observation

ROOT = Path(harness.__file__).parents[1]
BATCH = 25
ENDLESS = f"""
import sys
from harness.store import Store
from harness.testing import observation
store = Store.open(sys.argv[1])
n = 0
while True:
    store.put_observations("r1", [observation("x" * 500, arm="a", exchange_id=f"e{{n + i}}") for i in range({BATCH})])
    n += {BATCH}
    print(n, flush=True)
"""


def test_a_killed_writer_leaves_whole_batches_and_an_open_store(store_url: str) -> None:
    sampled = 1_000
    with Store.open(store_url) as store:
        store.put_exchanges("r1", [(exchange(id=f"e{i}"), float(i)) for i in range(sampled)])
    writer = subprocess.Popen([sys.executable, "-c", ENDLESS, store_url], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    reported = 0
    while reported < 8 * BATCH:
        reported = int(writer.stdout.readline())
    os.kill(writer.pid, signal.SIGKILL)
    # Not `communicate`, which passes over what the reader of lines has already taken in.
    with writer.stdout:
        reported = max([reported, *map(int, writer.stdout.read().split())])
    writer.wait(60)

    with Store.open(store_url) as store:
        database = Database(store_url)
        with database.engine.connect() as connection:
            o, b = tables.observations, tables.observation_bodies
            written = connection.scalar(sa.select(sa.func.count()).where(o.c.arm == "a"))
            assert connection.scalar(sa.select(sa.func.count()).where(b.c.arm == "a")) == written
            if database.is_sqlite:
                assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
                assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        database.close()
        # At most the one transaction that was being committed is there without having been reported.
        assert written in {reported, reported + BATCH}
        finished = min(written, sampled)
        assert sum(1 for _ in store.observations("r1", "a", "f1")) == finished
        assert store.count_pending_exchanges("r1", "a", "f1") == sampled - finished
        store.put_observations("r1", [observation("ok", arm="b", exchange_id="e0")])
        assert store.count_pending_exchanges("r1", "b", "f1") == sampled - 1


def test_another_process_reads_while_a_run_writes(store_url: str) -> None:
    with Store.open(store_url) as store:
        store.put_exchanges("r1", [(exchange(id=f"e{i}"), float(i)) for i in range(1_000)])
        writer = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, store_url], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        try:
            assert writer.stdout is not None
            seen = []
            while len(seen) < 5:
                written = int(writer.stdout.readline())
                seen.append(store.observation_counts("r1", "a", "f1").completed)
                # What was reported is visible, and never a part of a batch.
                assert seen[-1] >= min(written, 1_000)
                assert seen[-1] % BATCH == 0
                evidence = store.evidence("r1", "a", "f1", judges={})
                assert evidence.candidate.completed.sum() >= seen[-1]
            assert seen == sorted(seen)
        finally:
            writer.kill()
            writer.communicate()


def test_threads_share_a_store(store: Store) -> None:
    store.put_exchanges("r1", [(exchange(id=f"e{i}"), float(i)) for i in range(400)])
    problems: list[BaseException] = []

    def write(arm: str) -> None:
        try:
            for start in range(0, 400, 20):
                ids = [f"e{i}" for i in range(start, start + 20)]
                store.put_observations("r1", [observation("ok", arm=arm, exchange_id=id_) for id_ in ids])
                store.observation_counts("r1", arm, "f1")
        except BaseException as error:  # noqa: BLE001  reported below, in the main thread
            problems.append(error)

    threads = [threading.Thread(target=write, args=(f"arm{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert [store.observation_counts("r1", f"arm{i}", "f1").completed for i in range(4)] == [400] * 4


def test_two_processes_writing_the_same_rows_do_not_hurt_each_other(store_url: str) -> None:
    Store.open(store_url).close()
    script = """
import random, sys
from harness.store import Store
from harness.testing import observation
store, rng = Store.open(sys.argv[1]), random.Random(int(sys.argv[2]))
for _ in range(30):
    ids = [f"e{i}" for i in range(40)]
    rng.shuffle(ids)
    store.put_observations("r1", [observation("ok", arm="a", exchange_id=id_) for id_ in ids])
"""
    writers = [
        subprocess.Popen([sys.executable, "-c", script, store_url, str(i)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for i in range(3)
    ]
    assert [writer.communicate(timeout=120)[1] for writer in writers] == [""] * 3
    assert [writer.returncode for writer in writers] == [0] * 3


def test_two_connections_of_one_read_see_the_same_rows_while_another_writes(store_url: str) -> None:
    with Store.open(store_url) as store:
        store.put_exchanges("r1", [(exchange(id=f"e{i}"), float(i)) for i in range(10)])
    stop = threading.Event()

    def write() -> None:
        with Store.open(store_url) as store:
            n = 0
            while not stop.is_set():
                store.put_observations("r1", [observation("x", arm="a", exchange_id=f"n{n}")])
                n += 1

    def count(connection: sa.Connection) -> int:
        return connection.scalar(sa.select(sa.func.count()).select_from(tables.observations)) or 0

    def both(first: sa.Connection, second: sa.Connection | None) -> tuple[int, int | None]:
        before = count(first)
        return before, None if second is None else count(second)

    database = Database(store_url)
    thread = threading.Thread(target=write)
    thread.start()
    try:
        seen = [database.reading_twice(both) for _ in range(60)]
    finally:
        stop.set()
        thread.join()
        database.close()
    assert all(second is None or first == second for first, second in seen)
    assert any(second is not None for _, second in seen)
    assert seen[-1][0] > seen[0][0]
