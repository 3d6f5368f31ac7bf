"""Files nobody reads are removed at their age limit, and their records are counted."""

import os
import time

from harness.spool import counters
from harness.spool.reader import SpoolReader, saved_position
from harness.spool.record import Captured
from harness.spool.writer import append


def captured(id_: str) -> Captured:
    return Captured(id=id_, at_ns=1, method="POST", path="/v1/chat/completions", status=200)


def test_old_closed_files_go_and_are_counted(tmp_path):
    old = append(tmp_path, "g1-1", [captured("a"), captured("b")])
    young = append(tmp_path, "g2-1", [captured("c")])
    past = time.time() - 1000
    os.utime(old, (past, past))
    with SpoolReader(tmp_path) as reader:
        assert reader.expire(500) == 2
        assert reader.expire(500) == 0
    assert not old.exists()
    assert young.exists()
    position = saved_position(tmp_path)
    assert position.counts == {"too_old": 2}
    assert position.records == 2


def test_a_file_that_is_being_written_stays(tmp_path):
    import fcntl

    path = append(tmp_path, "g1-1", [captured("a")])
    past = time.time() - 1000
    os.utime(path, (past, past))
    with path.open("rb") as held, SpoolReader(tmp_path) as reader:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert counters.is_held(path)
        assert reader.expire(500) == 0
    assert path.exists()
