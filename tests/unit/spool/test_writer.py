"""The writer when everything goes wrong: what was sampled is spooled, dropped or waiting, and never more or less."""

import errno
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from harness.domain.mirror import MirrorDrop
from harness.spool import counters, record
from harness.spool.counters import INDEX, CounterFile
from harness.spool.reader import SpoolReader
from harness.spool.record import Captured
from harness.spool.writer import SpoolLimits, SpoolWriter


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """A disk that refused is asked again, and the folder sized up, after a moment."""
    monkeypatch.setattr("harness.spool.writer._RETRY_S", 0.05)
    monkeypatch.setattr("harness.spool.writer._MEASURE_S", 0.05)


def captured(id_: str, size: int = 10) -> Captured:
    return Captured(id=id_, at_ns=1, method="POST", path="/v1/chat/completions", status=200, response=b"x" * size)


def until(condition, deadline_s: float = 10.0):
    end = time.monotonic() + deadline_s
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.005)
    return found


class Spool:
    """A writer, its counts, and how many records it was offered."""

    def __init__(self, folder: Path, **limits) -> None:
        self.folder = folder
        self.counts = CounterFile(folder / "counters", "w")
        self.writer = SpoolWriter(folder, "w", SpoolLimits(**limits), self.counts)
        self.offered = 0

    def offer(self, *records: Captured) -> list[bool]:
        taken = []
        for one in records:
            self.offered += 1
            size = sum(map(len, record.encode(one)))
            taken.append(self.writer.offer(lambda one=one: record.encode(one), size))
        return taken

    def count(self, name: str) -> int:
        return self.counts.values[INDEX[name]]

    def dropped(self) -> dict[str, int]:
        return {reason: number for reason in MirrorDrop if (number := self.count(f"dropped.{reason}"))}

    def settle(self) -> None:
        until(lambda: self.writer.is_idle)
        assert self.offered == self.count("spooled") + sum(self.dropped().values())

    def read(self) -> list[str]:
        with SpoolReader(self.folder) as reader:
            found = [one.id for _, one in reader.read(100_000)]
            reader.save()
        return found

    def end(self) -> list[str]:
        self.writer.close()
        assert self.offered == self.count("spooled") + sum(self.dropped().values())
        return self.read()


def test_everything_offered_is_spooled_dropped_or_waiting_at_any_time(tmp_path):
    spool = Spool(tmp_path, max_bytes=200_000, segment_bytes=20_000, queue_records=50)
    hold = threading.Event()
    for number in range(400):
        spool.offer(captured(str(number), 1_000))
        # What is in the batch being written is in none of the three for a moment, so only the upper bound always holds.
        assert spool.count("spooled") + sum(spool.dropped().values()) <= spool.offered
        hold.wait(0.0005)
    spool.settle()
    assert len(spool.end()) == spool.count("spooled") > 0
    assert set(spool.dropped()) <= {MirrorDrop.SPOOL_FULL, MirrorDrop.QUEUE_FULL}


def test_a_full_spool_drops_and_takes_again_when_it_was_read(tmp_path):
    spool = Spool(tmp_path, max_bytes=10_000, segment_bytes=2_000)
    spool.offer(*(captured(str(number), 1_000) for number in range(5)))
    spool.settle()
    for number in range(5, 20):
        spool.offer(captured(str(number), 1_000))
        spool.settle()
    assert spool.dropped().keys() == {MirrorDrop.SPOOL_FULL}
    kept = spool.count("spooled")
    assert 5 <= kept < 10
    assert sum(path.stat().st_size for path in tmp_path.glob("*.spool")) <= 10_000
    assert not spool.offer(captured("refused at once"))[0]

    assert len(spool.read()) == kept
    until(lambda: not spool.writer.is_full)
    assert spool.offer(captured("again")) == [True]
    spool.settle()
    assert spool.end()[-1] == "again"


def test_a_full_queue_drops_by_number_and_by_size(tmp_path, monkeypatch):
    go = threading.Event()
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda *how: go.wait(10) and real(*how))
    spool = Spool(tmp_path, queue_records=3, queue_bytes=10_000)
    spool.offer(captured("in the batch"))
    until(lambda: spool.writer.waiting == 0)
    assert spool.offer(*(captured(str(number)) for number in range(5))) == [True, True, True, False, False]
    assert spool.dropped() == {MirrorDrop.QUEUE_FULL: 2}
    assert spool.writer.waiting == 3
    go.set()
    spool.settle()
    go.clear()
    spool.offer(captured("in the batch"))
    until(lambda: spool.writer.waiting == 0)
    assert spool.offer(captured("large", 8_000), captured("too large", 8_000), captured("small")) == [True, False, True]
    go.set()
    spool.settle()
    assert spool.end() == ["in the batch", "0", "1", "2", "in the batch", "large", "small"]


def failing(monkeypatch, real, take: int | None, error: int = errno.ENOSPC):
    """Make writev take so many bytes of everything that follows, and then refuse; ``None`` for all."""
    left = [take]

    def writev(descriptor, buffers):
        if left[0] is None:
            return real(descriptor, buffers)
        if left[0] == 0:
            raise OSError(error, os.strerror(error))
        part = b"".join(buffers)[: left[0]]
        left[0] -= len(part)
        return os.write(descriptor, part)

    monkeypatch.setattr(os, "writev", writev)
    return left


@pytest.mark.parametrize(
    ("share", "error"),
    [(0.0, errno.ENOSPC), (0.3, errno.ENOSPC), (0.5, errno.EIO), (0.99, errno.EDQUOT), (0.0, errno.EROFS)],
)
def test_a_disk_that_fails_half_way_loses_what_it_did_not_take_and_counts_it(tmp_path, monkeypatch, share, error):
    batch = [captured(str(number), 200) for number in range(10)]
    size = sum(len(b"".join(record.encode(one))) + 8 for one in batch)
    real = os.writev
    go = threading.Event()
    spool = Spool(tmp_path)
    spool.offer(captured("before"))
    spool.settle()
    left = failing(monkeypatch, lambda *how: go.wait(10) and real(*how), None)
    spool.offer(captured("holds the thread"))
    until(lambda: spool.writer.waiting == 0)
    spool.offer(*batch)
    left[0] = int(share * size)
    go.set()
    spool.settle()

    whole = int(share * 10)
    assert spool.count("spooled") == 2 + whole
    assert spool.dropped() == {MirrorDrop.DISK_FAILED: 10 - whole}
    assert spool.count("spool_errors") == 1
    assert spool.writer.is_full
    assert spool.offer(captured("refused at once")) == [False]

    left[0] = None
    until(lambda: not spool.writer.is_full)
    spool.offer(captured("after"))
    assert spool.end() == ["before", "holds the thread", *map(str, range(whole)), "after"]


def test_a_reader_in_between_never_gets_what_is_taken_back(tmp_path, monkeypatch):
    """Records of a batch that failed half-way may have been read already; they have to count as spooled."""
    spool = Spool(tmp_path)
    left = failing(monkeypatch, os.writev, 1_000)
    seen = []
    for number in range(30):
        spool.offer(captured(str(number), 200))
        spool.settle()
        seen += spool.read()
        if left[0] == 0:
            left[0] = 700
            until(lambda: not spool.writer.is_full, 5)
            if number > 10:
                break
    left[0] = None
    seen += spool.end()
    assert len(seen) == len(set(seen)) == spool.count("spooled")


def test_a_disk_that_refuses_everything_is_not_filled_with_empty_files(tmp_path, monkeypatch):
    spool = Spool(tmp_path)
    failing(monkeypatch, os.writev, 0)
    for _ in range(20):
        spool.writer.is_full = False
        spool.offer(captured("1"))
        spool.settle()
        time.sleep(0.06)
    assert spool.dropped() == {MirrorDrop.DISK_FAILED: 20}
    assert list(tmp_path.glob("*spool*")) == []
    assert list(tmp_path.glob("*.begun")) == []
    spool.end()


def test_a_draft_that_fails_is_counted_and_costs_no_other(tmp_path):
    spool = Spool(tmp_path)
    go = threading.Event()
    spool.writer.offer(lambda: (go.wait(5), record.encode(captured("0")))[1], 10)
    until(lambda: spool.writer.waiting == 0)
    spool.offered += 4
    for draft in (lambda: 1 / 0, lambda: [None], lambda: None):
        assert spool.writer.offer(draft, 10)
    spool.offer(captured("1"))
    go.set()
    spool.settle()
    assert spool.dropped() == {MirrorDrop.CAPTURE_FAILED: 3}
    assert spool.end() == ["0", "1"]


def test_an_error_nobody_thought_of_loses_one_batch_and_not_the_thread(tmp_path, monkeypatch):
    spool = Spool(tmp_path)
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda *_: 1 / 0)
    spool.offer(captured("lost"))
    spool.settle()
    assert spool.dropped() == {MirrorDrop.CAPTURE_FAILED: 1}
    monkeypatch.setattr(os, "writev", real)
    spool.offer(captured("kept"))
    assert spool.end() == ["kept"]


def test_a_spool_that_is_removed_begins_again(tmp_path):
    folder = tmp_path / "spool"
    spool = Spool(folder)
    spool.offer(captured("gone"))
    spool.settle()
    shutil.rmtree(folder)

    def is_back() -> bool:
        spool.offer(captured(str(spool.offered)))
        spool.settle()
        return any(folder.glob("*.spool"))

    until(is_back)
    spool.offer(captured("last"))
    assert spool.end()[-1] == "last"


def test_a_folder_that_cannot_be_made_drops_and_recovers(tmp_path):
    blocked = tmp_path / "spool"
    blocked.write_text("a file where the folder should be")
    counts = CounterFile(tmp_path / "counters", "w")
    writer = SpoolWriter(blocked, "w", SpoolLimits(), counts)
    writer.offer(lambda: record.encode(captured("1")), 10)
    until(lambda: writer.is_idle)
    assert counts.values[INDEX["dropped.disk_failed"]] == 1
    blocked.unlink()
    until(lambda: not writer.is_full)
    writer.offer(lambda: record.encode(captured("2")), 10)
    writer.close()
    with SpoolReader(blocked) as reader:
        assert [one.id for _, one in reader.read(9)] == ["2"]


def test_segments_end_by_size_and_by_time(tmp_path):
    spool = Spool(tmp_path, segment_bytes=3_000, segment_s=0.05)
    for number in range(10):
        spool.offer(captured(str(number), 1_000))
        spool.settle()
    assert len(list(tmp_path.glob("*.spool"))) >= 4
    until(lambda: not any(counters.is_held(path) for path in tmp_path.glob("*.spool")))
    assert spool.end() == [str(number) for number in range(10)]


def test_more_buffers_than_the_kernel_takes_at_once(tmp_path):
    spool = Spool(tmp_path)
    pieces = [b"%d," % number for number in range(3_000)]
    meta = record.encode(captured("1"))[1]
    spool.offered += 1
    spool.writer.offer(lambda: record.frame(meta, pieces, []), 10)
    spool.settle()
    with SpoolReader(tmp_path) as reader:
        [(_, found)] = reader.read(9)
    assert found.request == b"".join(pieces)
    spool.writer.close()


def test_a_file_size_limit_of_the_process_is_a_disk_that_fails(tmp_path):
    """The kernel's own refusal, in a process of its own: it takes a part of a batch and then none."""
    program = textwrap.dedent("""
        import resource, sys, time
        from pathlib import Path
        from tests.unit.spool.test_writer import Spool, captured, until
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
        spool = Spool(Path(sys.argv[1]))
        for number in range(30):
            spool.offer(captured(str(number), 900))
            spool.settle()
        ids = spool.end()
        assert set(spool.dropped()) == {"disk_failed"}, spool.dropped()
        assert len(ids) == spool.count("spooled") == 4, (ids, spool.count("spooled"))
        print("exact")
    """)
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "exact", done.stderr
