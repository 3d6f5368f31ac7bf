"""From the spool of served requests to the store; everything in a spool is hostile until it has been read."""

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from harness.domain.served import Arm, Served, ServedOutcome
from harness.errors import ConfigurationError, InfrastructureError
from harness.spool import reader
from harness.spool.reader import SpoolReader
from harness.spool.record import Captured
from harness.store import DataRefusedError, Store

FOLDER = "served"
"""Of the requests of a rollout's arms, inside the spool of the mirrored ones."""
BATCH = 1_000
LOOK_S = 0.2
"""How often the spool is looked at; what is written there is in the store soon after."""
STORED, NOT_SERVED, REFUSED = "stored", "not_served", "refused"
"""Endings of records, as they are counted in the position: in the store, no request of an arm, not to be stored."""
_RETRY_S = 0.5
_TAKE_OVER_S = 0.5
_TIDY_S = 2.0
"""How often files that were read before are removed when nothing new comes."""
_DRAIN_S = 2.0
"""How long it goes on shipping after it was told to end; the rest is for the next reader."""
_SHOWN = 20
"""Records that are complained about one by one."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_log = logging.getLogger("harness.rollout")


class Shipper:
    """The one reader of a spool of served requests.

    The position is saved after the commit: what was read twice, because the process was killed in between, is stored
    once. While the store is away it waits, with one batch in memory and the rest in the spool, whose limits bound it.
    """

    def __init__(self, store: Store, spool: SpoolReader, stop: threading.Event) -> None:
        """Nothing happens before :meth:`run` or :meth:`ship`.

        Args:
            store: Where the requests go.
            spool: Held by this process; closed by whoever opened it.
            stop: Set when it is time to end.
        """
        self.problem: str | None = None
        """Why nothing is stored at present."""
        self._store = store
        self._spool = spool
        self._stop = stop
        self._tidy_at = 0.0
        self._complaints = 0

    def run(self) -> None:
        """Ship until it is time to end, and then what is there, unless the store is away."""
        while not self._stop.is_set():
            if self._ship_or_tell() < BATCH:
                self._stop.wait(LOOK_S)
        until = monotonic() + _DRAIN_S
        while self.problem is None and self._ship_or_tell() == BATCH and monotonic() < until:
            pass

    def ship(self) -> int:
        """Store one batch and remember how far it got; returns how many records it had.

        Raises:
            Abandoned: it was time to end while the store was away; the batch is read again by the next reader.
            OSError: the disk refuses to be read or written; what was stored stays, and may be stored again.
        """
        batch: list[Captured] = []
        try:
            batch += (captured for _, captured in self._spool.read(BATCH))
        except OSError:
            # The reader is past what it has given us: that comes first, the fault comes again.
            if not batch:
                raise
        counts: Counter[str] = Counter()
        items: list[Served] = []
        for captured in batch:
            item = served_of(captured)
            if item is None:
                self._complain(f"record {captured.id!r:.80} is no request of an arm")
                counts[NOT_SERVED] += 1
            else:
                items.append(item)
        counts[REFUSED] = self._put(items)
        counts[STORED] = len(items) - counts[REFUSED]
        if batch or monotonic() >= self._tidy_at:
            reader.add(self._spool.position.counts, +counts)
            self._spool.save()
            self._tidy_at = monotonic() + _TIDY_S
        return len(batch)

    def _ship_or_tell(self) -> int:
        try:
            n = self.ship()
        except Abandoned:
            return 0
        except OSError as error:
            self._tell(f"the spool: {error}")
            self._stop.wait(_RETRY_S)
            return 0
        self._tell(None)
        return n

    def _put(self, items: Sequence[Served]) -> int:
        """Store the requests; how many of them the database cannot hold, which costs none of the others."""
        if not items:
            return 0
        try:
            self._persist(items)
        except DataRefusedError as error:
            if len(items) == 1:
                self._complain(f"request {items[0].request_id!r:.80} cannot be stored: {error}")
                return 1
            middle = len(items) // 2
            return self._put(items[:middle]) + self._put(items[middle:])
        return 0

    def _persist(self, items: Sequence[Served]) -> None:
        while True:
            try:
                self._store.put_served(items)
            except DataRefusedError:
                raise
            except InfrastructureError as error:
                self._tell(str(error))
            else:
                self._tell(None)
                return
            if self._stop.wait(_RETRY_S):
                raise Abandoned

    def _tell(self, problem: str | None) -> None:
        if problem is not None and problem != self.problem:
            _log.error("served requests are not stored, and wait in the spool: %s", problem)
        elif problem is None and self.problem is not None:
            _log.info("served requests are stored again")
        self.problem = problem

    def _complain(self, message: str) -> None:
        self._complaints += 1
        if self._complaints <= _SHOWN:
            _log.warning("%s", message)


class Abandoned(Exception):  # noqa: N818  reads as the state it reports
    """It was time to end before the store came back."""


def served_of(captured: Captured) -> Served | None:
    """The request of an arm that a record tells of; ``None`` when it is none, or makes no sense."""
    with suppress(TypeError, ValueError, OverflowError):
        return _served(captured, captured.served)
    return None


def _served(captured: Captured, told: Any) -> Served | None:
    if not isinstance(told, dict) or told.get("arm") == Arm.NEITHER:
        return None
    reason = told.get("reason")
    return Served(
        rollout_id=_text(told.get("rollout_id")),
        number=_whole(told.get("number")),
        request_id=_text(captured.id),
        arm=Arm(_text(told.get("arm"))),
        conversation=_text(told.get("conversation")),
        at=_EPOCH + timedelta(microseconds=_whole(captured.at_ns) // 1_000),
        surface=_text(told.get("surface")),
        outcome=ServedOutcome(_text(told.get("outcome"))),
        status=_whole(captured.status),
        latency_ms=_duration(captured.latency_ms),
        ttft_ms=_duration(captured.ttft_ms),
        reason=None if reason is None else _text(reason),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _duration(value: Any) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError
    return float(value)


def opened(folder: Path, stop: threading.Event) -> SpoolReader | None:
    """The spool, as soon as no other process reads it; ``None`` when it was time to end before.

    A position that cannot be read is put aside: what is still there is stored once, however often it is read.
    """
    told = False
    while not stop.is_set():
        try:
            _put_aside(folder)
            return SpoolReader(folder)
        except (ConfigurationError, OSError) as error:
            if not told:
                told = True
                _log.warning("served requests are not shipped by this process yet: %s", error)
        stop.wait(_TAKE_OVER_S)
    return None


def _put_aside(folder: Path) -> None:
    path = folder / reader.POSITION
    try:
        reader.saved_position(folder)
    except ConfigurationError as error:
        _log.error("the spool of served requests is read again from its beginning: %s", error)
        path.replace(path.with_suffix(".damaged"))
