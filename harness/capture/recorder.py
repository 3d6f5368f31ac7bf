"""The thread that turns ended attempts into records: everything that counts, waits or touches a disk happens here."""

import logging
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from uuid import uuid4

from harness.capture.attempt import Attempt, Ending
from harness.config import Live
from harness.domain.mirror import MirrorDrop, NotEligible
from harness.spool import control, record
from harness.spool.counters import INDEX, CounterFile
from harness.spool.reader import COUNTERS
from harness.spool.sampling import Sampled
from harness.spool.writer import SpoolLimits, SpoolWriter

_MOST_HELD = 1_024
_RECORD_BYTES = 1_024
"""What a record takes besides its bodies, generously."""
_log = logging.getLogger("harness.capture")


class Recorder:
    """One process's part: its inbox, its counters and its files in the spool.

    Callers only ever put something into the inbox, which neither blocks nor fails.
    """

    def __init__(
        self, live: Callable[[], Live | None], look: Callable[[], None], is_closed: Callable[[], bool]
    ) -> None:
        self._live = live
        self._look = look
        self._is_closed = is_closed
        self._inbox: SimpleQueue[_Began | _Ended | _GaveUp | _Wait] = SimpleQueue()
        self._lock = threading.Lock()
        self._inbox_bytes = 0
        self._inbox_limit = 64 << 20
        self._books: _Books | None = None
        self._tried = float("-inf")
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name="shadow-capture", daemon=True)
        self._thread.start()

    def began(self, attempt: Attempt) -> None:
        """Count a request."""
        self._inbox.put(_Began(attempt))

    def ended(self, attempt: Attempt) -> None:
        """Take an attempt that has its ending; without its bodies when too many wait already."""
        if self._abandoned:
            return
        size = attempt.waiting_bytes
        with self._lock:
            if self._inbox_bytes + size > self._inbox_limit:
                attempt.strip(MirrorDrop.QUEUE_FULL)
                size = 0
            self._inbox_bytes += size
        self._inbox.put(_Ended(attempt, size))

    def lost(self, attempt: Attempt) -> None:
        """Take an attempt whose answer was thrown away unread; may be called by the garbage collector."""
        # Without the lock, which the thread that collects may hold.
        self._inbox.put(_Ended(attempt, 0))

    def gave_up(self, call: str) -> None:
        """Take in that a call will not be tried again."""
        self._inbox.put(_GaveUp(call.encode()))

    def flush(self, timeout_s: float, *, last: bool = False) -> bool:
        """Wait until everything that was put in is in the spool."""
        wait = _Wait(last)
        self._inbox.put(wait)
        deadline = time.monotonic() + timeout_s
        if not wait.reached.wait(timeout_s):
            return False
        if last:
            self._thread.join(max(0.0, deadline - time.monotonic()))
            return not self._thread.is_alive()
        books = self._books
        while books is not None and not books.writer.is_idle:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.002)
        return True

    def abandon(self) -> None:
        """Let go of what belongs to the parent; called in a forked child, which has no such thread."""
        self._abandoned = True
        if self._books is not None:
            self._books.abandon()

    def _run(self) -> None:
        looked = time.monotonic()
        while True:
            message: _Began | _Ended | _GaveUp | _Wait | None
            try:
                message = self._inbox.get(timeout=control.LOOK_S)
            except Empty:
                message = None
            now = time.monotonic()
            try:
                books = self._open(now)
                if now - looked >= control.LOOK_S:
                    looked = now
                    self._look()
                    if books is not None:
                        books.expire(now)
                if isinstance(message, _Wait):
                    if self._reached(message, books):
                        return
                elif message is not None:
                    self._take(message, books, now)
            except Exception:  # noqa: BLE001  the thread must outlive anything
                _log.exception("shadow capture: a request could not be recorded")

    def _take(self, message: "_Began | _Ended | _GaveUp", books: "_Books | None", now: float) -> None:
        if isinstance(message, _Ended) and message.size:
            with self._lock:
                self._inbox_bytes -= message.size
        if books is None:
            return
        if isinstance(message, _Began):
            books.began(message.attempt)
        elif isinstance(message, _GaveUp):
            books.settle_call(message.key)
        else:
            books.ended(message.attempt, now)

    def _reached(self, wait: "_Wait", books: "_Books | None") -> bool:
        try:
            if books is not None:
                books.settle_all()
                if wait.last:
                    books.close()
        finally:
            wait.reached.set()
        return wait.last

    def _open(self, now: float) -> "_Books | None":
        if self._books is None and now - self._tried >= 1.0:
            live = self._live()
            if live is None:
                return None
            first, self._tried = self._tried == float("-inf"), now
            try:
                self._books = _Books(live, self._is_closed)
                self._inbox_limit = live.spool.queue_bytes
            except OSError as error:
                if first:
                    _log.error("shadow capture: the spool cannot be opened, so nothing is captured: %s", error)
        return self._books


class _Books:
    """Counters, files, and the failed attempts that may yet be followed by another of the same call."""

    def __init__(self, live: Live, is_closed: Callable[[], bool]) -> None:
        self._is_closed = is_closed
        folder = Path(live.spool.folder)
        name = f"app-{os.getpid()}-{uuid4().hex[:12]}"
        self._counters = CounterFile(folder / COUNTERS, name)
        self._counts = self._counters.values
        spool = live.spool
        limits = SpoolLimits(
            max_bytes=spool.max_bytes,
            segment_bytes=spool.segment_bytes,
            queue_records=spool.queue_records,
            queue_bytes=spool.queue_bytes,
            flush_s=spool.flush_s,
        )
        self.writer = SpoolWriter(folder, name, limits, self._counters)
        self._held: OrderedDict[int, tuple[bytes, Attempt, float]] = OrderedDict()
        self._by_key: dict[bytes, deque[int]] = {}
        self._held_bytes = 0
        self._held_limit = spool.queue_bytes
        self._number = 0

    def began(self, attempt: Attempt) -> None:
        """Count a call; its further attempts are not calls."""
        if attempt.call is not None and attempt.key in self._by_key:
            attempt.retries = 1
        if attempt.retries:
            # However long this one takes: the one before it has been followed, and is no call's last word.
            attempt.follows = self._release(attempt.key)
            return
        self._add("requests")
        self._add("started")
        match attempt.decided:
            case Sampled():
                self._add("sampled")
            case NotEligible():
                self._add(f"not_eligible.{attempt.decided}")
            case _:
                self._add("sampled_out")

    def ended(self, attempt: Attempt, now: float) -> None:
        """Settle it, or hold it back for as long as another attempt may follow."""
        attempt.settle_early_end()
        if attempt.retries:
            first = attempt.follows or self._release(attempt.key)
            if first is None:
                # The first attempt was settled long ago, or began before capture was switched on.
                return
            attempt.id, attempt.decided, attempt.at_ns = first.id, first.decided, first.at_ns
            attempt.salt_id = first.salt_id
        if attempt.may_be_followed:
            self._hold(attempt, now)
        else:
            self._settle(attempt)

    def expire(self, now: float) -> None:
        """Settle attempts after which nothing came."""
        for number in [number for number, (_, _, until) in self._held.items() if now >= until]:
            self._settle(self._forget(number))

    def settle_call(self, key: bytes) -> None:
        """Wait for no further attempt at this call."""
        if found := self._release(key):
            self._settle(found)

    def settle_all(self) -> None:
        """Wait for no further attempt."""
        for number in list(self._held):
            self._settle(self._forget(number))

    def close(self) -> None:
        """Write what waits."""
        self.writer.close()
        self._counters.close()

    def abandon(self) -> None:
        """Leave the files to the parent."""
        self.writer.abandon()
        with suppress(BufferError):
            self._counters.close()

    def _hold(self, attempt: Attempt, now: float) -> None:
        key = attempt.key
        self._number += 1
        self._held[self._number] = (key, attempt, now + attempt.hold_s)
        self._by_key.setdefault(key, deque()).append(self._number)
        self._held_bytes += attempt.waiting_bytes
        while len(self._held) > _MOST_HELD or self._held_bytes > self._held_limit:
            self._settle(self._forget(next(iter(self._held))))

    def _release(self, key: bytes) -> Attempt | None:
        """Any attempt at the same request: calls that ask the same at once cannot be told apart, and need not be."""
        numbers = self._by_key.get(key)
        return self._forget(numbers[0]) if numbers else None

    def _forget(self, number: int) -> Attempt:
        key, attempt, _ = self._held.pop(number)
        numbers = self._by_key[key]
        numbers.remove(number)
        if not numbers:
            del self._by_key[key]
        self._held_bytes -= attempt.waiting_bytes
        return attempt

    def _settle(self, attempt: Attempt) -> None:
        self._add("answered")
        self._count_ending(attempt)
        decided = attempt.decided
        if not isinstance(decided, Sampled):
            return
        reason = attempt.drop
        if reason is None and self._is_closed():
            reason = MirrorDrop.SWITCHED_OFF
        if reason is None and not attempt.kept:
            reason = MirrorDrop.CAPTURE_FAILED
        if reason is not None:
            self._add(f"dropped.{reason}")
            return
        self.writer.offer(lambda: record.encode(captured(attempt, decided)), attempt.waiting_bytes + _RECORD_BYTES)

    def _count_ending(self, attempt: Attempt) -> None:
        if attempt.ending is Ending.LEFT:
            self._add("client_gone")
        elif attempt.ending in {Ending.CUT, Ending.FAILED}:
            timed_out = (attempt.error or "").startswith("timeout")
            self._add("upstream_timeout" if timed_out else "upstream_unreachable")
        if attempt.ending is not Ending.LEFT or attempt.status:
            self._add(f"status.{min(attempt.status // 100, 5)}")

    def _add(self, name: str) -> None:
        self._counts[INDEX[name]] += 1


def captured(attempt: Attempt, sampled: Sampled) -> record.Captured:
    """The record of an attempt."""
    return record.Captured(
        id=attempt.id,
        at_ns=attempt.at_ns,
        method=attempt.method,
        path=attempt.path,
        status=attempt.status,
        latency_ms=attempt.latency_ms,
        ttft_ms=attempt.ttft_ms,
        error=attempt.error,
        request_headers=attempt.headers,
        response_headers=attempt.response_headers,
        rate=sampled.rate,
        salt_id=attempt.salt_id,
        session=sampled.session,
        user=sampled.user,
        request=attempt.request,
        response=b"".join(attempt.chunks),
    )


class _Began:
    __slots__ = ("attempt",)

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt


class _Ended:
    __slots__ = ("attempt", "size")

    def __init__(self, attempt: Attempt, size: int) -> None:
        self.attempt = attempt
        self.size = size
        """What it was counted with when it was put in."""


class _GaveUp:
    __slots__ = ("key",)

    def __init__(self, key: bytes) -> None:
        self.key = key


class _Wait:
    __slots__ = ("last", "reached")

    def __init__(self, last: bool) -> None:
        self.last = last
        self.reached = threading.Event()
