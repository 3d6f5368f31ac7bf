"""What the capture inside applications needs of the writer: to know when it is done, and to survive a fork."""

import os
import time

from harness.spool import counters, record
from harness.spool.counters import CounterFile
from harness.spool.reader import SpoolReader
from harness.spool.writer import SpoolLimits, SpoolWriter


def captured(id_: str) -> record.Captured:
    return record.Captured(id=id_, at_ns=1, method="POST", path="/v1/chat/completions", status=200)


def until(condition) -> bool:
    deadline = time.monotonic() + 5
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def test_idle_means_that_everything_is_on_disk(tmp_path):
    counts = CounterFile(tmp_path / "counters", "w")
    writer = SpoolWriter(tmp_path, "w", SpoolLimits(), counts)

    for number in range(500):
        writer.offer(lambda number=number: record.encode(captured(str(number))), 100)

    assert until(lambda: writer.is_idle)
    with SpoolReader(tmp_path) as reader:
        assert len(list(reader.read(1000))) == 500
    writer.close()


def test_a_child_that_lets_go_does_not_keep_its_parents_files_from_being_finished(tmp_path):
    counts = CounterFile(tmp_path / "counters", "w")
    writer = SpoolWriter(tmp_path, "w", SpoolLimits(), counts)
    writer.offer(lambda: record.encode(captured("1")), 100)
    assert until(lambda: writer.is_idle)
    child = os.fork()
    if child == 0:
        writer.abandon()
        counts.close()
        time.sleep(30)
        os._exit(0)
    try:
        time.sleep(0.1)
        writer.close()
        counts.close()

        assert not counters.is_held(next(tmp_path.glob("*.spool")))
        assert not counters.is_held(tmp_path / "counters" / "w.counts")
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
