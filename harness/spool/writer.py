"""Appends captured requests to the spool without ever making the event loop wait."""

import fcntl
import os
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.domain.mirror import MirrorDrop
from harness.spool import record
from harness.spool.counters import INDEX, CounterFile

SUFFIX = ".spool"
MARK_BYTES = 8
"""Before every record stands its file's mark, which is a part of the file's name. Nobody outside can know it, so
nothing that a client or production puts into a body can be taken for the beginning of a record."""
_IOV = 512
"""Buffers per call of writev; the kernel takes 1,024."""
_RETRY_S = 1.0
"""Pause after the disk refused a write."""
_MEASURE_S = 1.0
_SPOOLED, _BYTES, _ERRORS = INDEX["spooled"], INDEX["spooled_bytes"], INDEX["spool_errors"]
_DROPPED = {reason: INDEX[f"dropped.{reason}"] for reason in MirrorDrop}

Draft = Callable[[], Sequence[bytes]]
"""Makes the buffers of one record; called in the writer's thread."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpoolLimits:
    """How much may wait, in memory and on disk."""

    max_bytes: int = 1 << 30
    """Of all files in the folder together."""
    segment_bytes: int = 16 << 20
    segment_s: float = 5.0
    """A file is closed after this time, so that what is in it can be removed once it is read."""
    queue_records: int = 8_192
    queue_bytes: int = 64 << 20
    flush_s: float = 0.02
    """How long a record may wait in memory; half of what ``kill -9`` can lose at most."""


class SpoolWriter:
    """One process's part of a spool: a bounded queue, and a thread that empties it into files of its own.

    Files are named after the writer and numbered, are locked while they are written, and are never opened again. What
    was written is never taken back, because a reader may have it: only the end of a file can be torn.
    """

    def __init__(self, folder: Path, name: str, limits: SpoolLimits, counters: CounterFile) -> None:
        self._folder = folder
        self._name = name
        self._limits = limits
        self._counts = counters.values
        self._queue: deque[tuple[Draft, int]] = deque()
        self._queued_bytes = 0
        self._taken_bytes = 0
        self.is_full = False
        """Whether the folder has reached its limit, or the disk refused the last write."""
        self._reason = MirrorDrop.SPOOL_FULL
        self._segment: int | None = None
        self._mark = b""
        self._path = folder
        self._segment_size = 0
        self._segment_since = 0.0
        self._number = 0
        self._others = 0
        self._measured = float("-inf")
        self._refused_until = float("-inf")
        self._writing = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)
        self._thread.start()

    def offer(self, draft: Draft, size: int) -> bool:
        """Take a record of about ``size`` bytes, or count why not; never blocks.

        Called by one thread only.
        """
        waiting = self._queued_bytes - self._taken_bytes
        if self.is_full:
            self._counts[_DROPPED[self._reason]] += 1
            return False
        if len(self._queue) >= self._limits.queue_records or waiting + size > self._limits.queue_bytes:
            self._counts[_DROPPED[MirrorDrop.QUEUE_FULL]] += 1
            return False
        self._queued_bytes += size
        self._queue.append((draft, size))
        return True

    @property
    def waiting(self) -> int:
        """Records in memory."""
        return len(self._queue)

    @property
    def is_idle(self) -> bool:
        """Whether everything that was taken has been written or counted as dropped."""
        # In this order: a batch that has left the queue is being written.
        return not self._queue and not self._writing

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits and stop."""
        self._closing.set()
        self._thread.join(timeout_s)

    def abandon(self) -> None:
        """Let go of the parent's file, in a child that was forked and has no such thread; the parent writes on."""
        if self._segment is not None:
            os.close(self._segment)
            self._segment = None

    def _run(self) -> None:
        limits = self._limits
        while True:
            # No lock and no signal from the event loop: waking up is cheaper than being woken.
            closing = self._closing.wait(limits.flush_s)
            now = time.monotonic()
            self._writing = True
            try:
                self._measure(now)
                if self._segment is not None and now - self._segment_since > limits.segment_s:
                    self._end_segment()
            except Exception:  # noqa: BLE001  the thread must outlive anything a disk can do
                self._counts[_ERRORS] += 1
            while self._queue:
                self._flush()
            self._writing = False
            if closing:
                self._end_segment()
                return

    def _flush(self) -> None:
        buffers: list[bytes] = []
        ends: list[int] = []
        size = 0
        room = self._limits.max_bytes - self._others - self._segment_size
        # A batch that does not fit is refused as a whole, so it takes in no more than fits.
        while self._queue and len(buffers) < _IOV and (not ends or size + self._queue[0][1] <= room):
            draft, expected = self._queue.popleft()
            self._taken_bytes += expected
            try:
                pieces = draft()
                length = sum(map(len, pieces))
            except Exception:  # noqa: BLE001  one record that cannot be made is counted, the others are written
                self._counts[_DROPPED[MirrorDrop.CAPTURE_FAILED]] += 1
                continue
            buffers.append(b"")
            buffers.extend(filter(None, pieces))
            size += MARK_BYTES + length
            ends.append(size)
        if not ends:
            return
        try:
            written, reason = self._write(buffers, size)
        except Exception:  # noqa: BLE001  see above
            self._counts[_ERRORS] += 1
            written, reason = 0, MirrorDrop.CAPTURE_FAILED
        whole = bisect_right(ends, written)
        self._counts[_SPOOLED] += whole
        self._counts[_BYTES] += ends[whole - 1] if whole else 0
        self._counts[_DROPPED[reason]] += len(ends) - whole

    def _write(self, buffers: list[bytes], size: int) -> tuple[int, MirrorDrop]:
        """Bytes that got written, and why the rest did not; an empty buffer stands for the mark."""
        if time.monotonic() < self._refused_until:
            return 0, MirrorDrop.DISK_FAILED
        if self._others + self._segment_size + size > self._limits.max_bytes:
            self.is_full, self._reason = True, MirrorDrop.SPOOL_FULL
            return 0, MirrorDrop.SPOOL_FULL
        written = 0
        try:
            segment = self._begin_segment() if self._segment is None else self._segment
            mark = self._mark
            written = _write_all(segment, [buffer or mark for buffer in buffers])
        except OSError:
            pass
        self._segment_size += written
        if written < size:
            self._counts[_ERRORS] += 1
            self._refused_until = time.monotonic() + _RETRY_S
            self.is_full, self._reason = True, MirrorDrop.DISK_FAILED
        if self._segment_size >= self._limits.segment_bytes or written < size:
            self._end_segment()
        return written, MirrorDrop.DISK_FAILED

    def _begin_segment(self) -> int:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        mark = os.urandom(MARK_BYTES)
        path = self._folder / _file_name(self._name, self._number, mark)
        self._number += 1
        # It gets its name last: a reader would take an empty file that is not locked for one that is done with.
        draft = path.with_suffix(".begun")
        segment = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(segment, fcntl.LOCK_EX)
            draft.rename(path)
        except OSError:
            os.close(segment)
            draft.unlink(missing_ok=True)
            raise
        self._segment, self._mark, self._path = segment, mark, path
        self._segment_size = 0
        self._segment_since = time.monotonic()
        return segment

    def _end_segment(self) -> None:
        if self._segment is None:
            return
        if not self._segment_size:
            # A disk that refuses everything must not be filled with names.
            with suppress(OSError):
                self._path.unlink()
        with suppress(OSError):
            os.close(self._segment)
        self._others += self._segment_size
        self._segment, self._segment_size = None, 0

    def _measure(self, now: float) -> None:
        """Size up the folder once a second: a reader removes files, other processes add to theirs."""
        if now - self._measured < _MEASURE_S:
            return
        self._measured = now
        if self._segment is not None and not os.fstat(self._segment).st_nlink:
            # Somebody removed it, perhaps with the whole folder; what follows goes to a new one.
            self._end_segment()
        total = 0
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX) and (self._segment is None or entry.name != self._path.name):
                    with suppress(FileNotFoundError):
                        total += entry.stat().st_size
        self._others = total
        full = total + self._segment_size >= self._limits.max_bytes
        if not full and now >= self._refused_until:
            self.is_full = False


def mark_of(path: Path) -> bytes | None:
    """The mark of a file of a spool; ``None`` when its name is not that of one."""
    try:
        mark = bytes.fromhex(path.name.rsplit(".", 2)[-2])
    except (ValueError, IndexError):
        return None
    return mark if len(mark) == MARK_BYTES and path.name.count(".") >= 3 else None


def writer_of(path: Path) -> str:
    """The name of the writer of a file of a spool."""
    return path.name.rsplit(".", 3)[0]


def _file_name(writer: str, number: int, mark: bytes) -> str:
    return f"{writer}.{number:08d}.{mark.hex()}{SUFFIX}"


def append(folder: Path, name: str, captured: Sequence[record.Captured], number: int = 0) -> Path:
    """Write one closed file of a spool at once; for tools and tests."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    mark = os.urandom(MARK_BYTES)
    path = folder / _file_name(name, number, mark)
    path.write_bytes(b"".join(mark + b"".join(record.encode(item)) for item in captured))
    return path


def _write_all(descriptor: int, buffers: list[bytes]) -> int:
    """Write buffers, none of them empty, as far as the disk takes them; returns how many bytes it took."""
    pending = buffers
    total = 0
    while pending:
        try:
            written = os.writev(descriptor, pending[:_IOV])
        except OSError:
            break
        if written <= 0:
            break
        total += written
        done = 0
        while done < len(pending) and written >= len(pending[done]):
            written -= len(pending[done])
            done += 1
        pending = pending[done:]
        if written:
            pending[0] = pending[0][written:]
    return total
