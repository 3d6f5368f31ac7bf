"""Appends captured requests to the spool without ever making the event loop wait."""

import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.domain.mirror import MirrorDrop
from harness.spool import record
from harness.spool.counters import INDEX, CounterFile

SUFFIX = ".spool"
_IOV = 512
"""Buffers per call of writev; the kernel takes 1,024."""
_RETRY_S = 1.0
"""Pause after the disk refused a write."""
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

    Files are named after the writer and numbered, are locked while they are written, and are never opened again, so
    only the end of a file whose writer is gone can be torn.
    """

    def __init__(self, folder: Path, name: str, limits: SpoolLimits, counters: CounterFile) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
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
            try:
                self._measure(now)
                if self._segment is not None and now - self._segment_since > limits.segment_s:
                    self._end_segment()
                self._writing = True
                while self._queue:
                    self._flush()
            except Exception:  # noqa: BLE001  the thread must outlive anything a disk or a record can do
                self._counts[_ERRORS] += 1
            self._writing = False
            if closing:
                self._end_segment()
                return

    def _flush(self) -> None:
        buffers: list[bytes] = []
        batch = size = 0
        while self._queue and len(buffers) < _IOV:
            draft, expected = self._queue.popleft()
            self._taken_bytes += expected
            try:
                pieces = draft()
            except Exception:  # noqa: BLE001  one record that cannot be made is counted, the others are written
                self._counts[_DROPPED[MirrorDrop.CAPTURE_FAILED]] += 1
                continue
            buffers.extend(pieces)
            batch += 1
            size += sum(map(len, pieces))
        if not batch:
            return
        reason = self._write(buffers, size)
        if reason is None:
            self._counts[_SPOOLED] += batch
            self._counts[_BYTES] += size
        else:
            self._counts[_DROPPED[reason]] += batch

    def _write(self, buffers: list[bytes], size: int) -> MirrorDrop | None:
        if time.monotonic() < self._refused_until:
            return MirrorDrop.DISK_FAILED
        if self._others + self._segment_size + size > self._limits.max_bytes:
            self.is_full, self._reason = True, MirrorDrop.SPOOL_FULL
            return MirrorDrop.SPOOL_FULL
        try:
            if self._segment is None:
                self._begin_segment()
            assert self._segment is not None  # noqa: S101  just begun
            _write_all(self._segment, buffers)
        except OSError:
            self._counts[_ERRORS] += 1
            self._refused_until = time.monotonic() + _RETRY_S
            self.is_full, self._reason = True, MirrorDrop.DISK_FAILED
            self._undo()
            return MirrorDrop.DISK_FAILED
        self._segment_size += size
        if self._segment_size >= self._limits.segment_bytes:
            self._end_segment()
        return None

    def _begin_segment(self) -> None:
        path = self._folder / f"{self._name}.{self._number:08d}{SUFFIX}"
        self._segment = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._segment, fcntl.LOCK_EX)
        self._number += 1
        self._segment_size = 0
        self._segment_since = time.monotonic()

    def _end_segment(self) -> None:
        if self._segment is not None:
            os.close(self._segment)
            self._others += self._segment_size
            self._segment, self._segment_size = None, 0

    def _undo(self) -> None:
        """Cut off a half-written batch; when even that fails the file is left as it is, torn."""
        if self._segment is None:
            return
        try:
            os.ftruncate(self._segment, self._segment_size)
        except OSError:
            self._end_segment()

    def _measure(self, now: float) -> None:
        """Size up the folder once a second: a reader removes files, other processes add to theirs."""
        if now - self._measured < 1.0:
            return
        self._measured = now
        own = f"{self._name}.{self._number - 1:08d}{SUFFIX}" if self._segment is not None else ""
        total = 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX) and entry.name != own:
                    try:
                        total += entry.stat().st_size
                    except FileNotFoundError:
                        continue
        self._others = total
        full = total + self._segment_size >= self._limits.max_bytes
        if not full and now >= self._refused_until:
            self.is_full = False


def append(folder: Path, name: str, captured: Sequence[record.Captured], number: int = 0) -> Path:
    """Write one closed file of a spool at once; for tools and tests."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{name}.{number:08d}{SUFFIX}"
    path.write_bytes(b"".join(buffer for item in captured for buffer in record.encode(item)))
    return path


def _write_all(descriptor: int, buffers: list[bytes]) -> None:
    pending = [buffer for buffer in buffers if buffer]
    while pending:
        written = os.writev(descriptor, pending[:_IOV])
        done = 0
        while done < len(pending) and written >= len(pending[done]):
            written -= len(pending[done])
            done += 1
        pending = pending[done:]
        if written and pending:
            pending[0] = pending[0][written:]
