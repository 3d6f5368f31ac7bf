"""From the spool into the store: every record once, whatever happens in between."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from harness.domain.exchange import Exchange
from harness.domain.mirror import SkipReason
from harness.domain.reduction import Reduced
from harness.domain.run import IngestReport
from harness.domain.served import Arm, ServedOutcome
from harness.ingest.captured import exchange_of
from harness.ingest.dialects.calls import UnreadableRecord
from harness.ingest.redaction import Redactor
from harness.ingest.summary import Features, Tally
from harness.pipeline.live.room import TICK_S, Room
from harness.pipeline.live.state import EventKind
from harness.spool.reader import Place, SpoolReader, add
from harness.spool.record import Captured
from harness.store import DataRefusedError

EXCHANGE = "exchange"
DUPLICATE = "duplicate"
"""Another request of an id that is in the store; not a record that is read again after a crash."""
REDACTED = "redacted."
_RECORDS = 256
_BYTES = 32 << 20
"""Of one batch; at most one record more than this is in memory."""
_SAVE_S = 2.0
"""How often the position is saved when nothing comes in."""
_SHOWN = 10
"""Distinct complaints about unreadable records that are passed on."""


class Intake:
    """Reads the spool. Counts by ending stand in the reader's position and are saved together with it.

    The position is saved once the store has committed. Killed in between, the same records are read again, and known by
    where they stand; their exchanges are put again with the same content.
    """

    def __init__(
        self,
        room: Room,
        reader: SpoolReader,
        *,
        on_captured: Callable[[Captured], None],
        on_served: Callable[[Sequence[tuple[Captured, Exchange]]], None] = lambda _: None,
    ) -> None:
        self._room = room
        self._reader = reader
        self._on_captured = on_captured
        self._on_served = on_served
        """Given what a rollout's candidate served; it may be given the same again."""
        self._redactor = Redactor(room.session.experiment.traffic.redaction)
        self._tally = Tally()
        self._next = 0.0
        self._save_at = 0.0
        self._complaints: Counter[str] = Counter()
        self._lock = threading.Lock()
        """Around the tally, which is read by whoever writes a report."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="intake")
        self.exchanges = 0
        """In the store."""
        self.lag_bytes = 0
        self.idle = False
        """Whether the last look at the spool found nothing to read."""
        self._listeners: list[asyncio.Event] = []

    def listen(self) -> asyncio.Event:
        """An event of the caller's own that is set whenever exchanges were added."""
        event = asyncio.Event()
        self._listeners.append(event)
        return event

    @property
    def ended(self) -> bool:
        """Whether the experiment has all the exchanges it wants."""
        return self.exchanges >= self._room.live.worker.max_samples

    @property
    def counts(self) -> dict[str, int]:
        """Records by ending, and redactions by kind."""
        return dict(self._reader.position.counts)

    @property
    def records(self) -> int:
        """Whole records read, ever."""
        return self._reader.position.records

    @property
    def damaged_bytes(self) -> int:
        """Bytes that are no record."""
        return self._reader.position.damaged_bytes

    async def prepare(self) -> None:
        """Find out what earlier workers have stored."""
        loop = asyncio.get_running_loop()
        with self._room.abandoned_when_cancelled():
            await loop.run_in_executor(self._thread, lambda: self._room.persist(self._prepare))

    async def run(self) -> None:
        """Take in batch after batch until it is time to stop."""
        loop = asyncio.get_running_loop()
        try:
            while not self._room.stopping:
                before, refused = self.exchanges, False
                try:
                    with self._room.abandoned_when_cancelled():
                        n = await loop.run_in_executor(self._thread, self._take)
                except OSError as error:
                    # A full disk: the position is kept in memory and saved once there is room.
                    self._room.session.warn_once(f"{self._reader.folder}: {error}; the worker goes on and tries again")
                    n, refused = 0, True
                if self.exchanges > before:
                    for event in self._listeners:
                        event.set()
                if not n:
                    # What could not be read is not known to be nothing.
                    self.idle = not refused
                    await asyncio.sleep(TICK_S)
        finally:
            # In a thread, since what it does may wait for the store, and the loop has more to do than that.
            await asyncio.to_thread(self._thread.shutdown)

    def report(self) -> IngestReport:
        """What was read so far, as of any export."""
        counts = self.counts
        kept = counts.get(EXCHANGE, 0)
        left_out = (SkipReason.TOO_OLD, SkipReason.ENDED, SkipReason.SERVED_BY_CANDIDATE)
        skipped = {reason.value: counts[reason] for reason in left_out if counts.get(reason)}
        rejected = counts.get(SkipReason.NOT_READABLE, 0)
        duplicates = counts.get(DUPLICATE, 0)
        source = self._room.session.experiment.traffic.source[0]
        enabled = self._redactor.enabled
        with self._lock:
            sample = self._tally.summary()
        report = IngestReport(
            files=(source,),
            dialects={source: "spool"},
            read=kept + rejected + duplicates + sum(skipped.values()),
            rejected=rejected,
            skipped=skipped,
            deduplicated=duplicates,
            kept=kept,
            sampled=kept,
            redactions={
                name.removeprefix(REDACTED): n for name, n in sorted(counts.items()) if name.startswith(REDACTED)
            },
            redaction_enabled=enabled,
            warnings=() if enabled else ("redaction is off: the store and the report hold the traffic as recorded",),
            population=sample,
            sample=sample,
        )
        report.check()
        return report

    def _prepare(self) -> None:
        store, run_id = self._room.session.store, self._room.session.run_id
        tally = Tally()
        for exchange in store.exchanges(run_id):
            tally.add(Features.of(exchange))
        last = store.last_position(run_id)
        # What was deleted for its age was still one of the experiment's samples.
        deleted = sum(item.n_exchanges for item in store.reductions(run_id) if item.what is Reduced.EXCHANGES)
        self._tally, self.exchanges = tally, store.count_exchanges(run_id) + deleted
        self._next = 0.0 if last is None else last + 1

    def _take(self) -> int:
        """One batch: read, store, save the position; returns how many records it had."""
        batch: list[tuple[Place, Captured]] = []
        size = 0
        try:
            for place, captured in self._reader.read(_RECORDS):
                batch.append((place, captured))
                size += len(captured.request) + len(captured.response)
                if size >= _BYTES:
                    break
        except OSError:
            # The reader is past what it has given us: that comes first, the fault comes again.
            if not batch:
                raise
        if batch:
            self.idle = False
            self._store(batch)
        # Saving also removes files that were read before and whose writers are done since, and settles their counts.
        if batch or time.monotonic() >= self._save_at:
            self._reader.save()
            self._save_at = time.monotonic() + _SAVE_S
        self.lag_bytes = self._reader.waiting_bytes
        return len(batch)

    def _store(self, batch: list[tuple[Place, Captured]]) -> None:
        store, run_id = self._room.session.store, self._room.session.run_id
        ids = [captured.id for _, captured in batch]
        known = self._room.persist(lambda: store.exchange_sources(run_id, ids))
        counts: Counter[str] = Counter()
        new: dict[str, Exchange] = {}
        served: list[tuple[Captured, Exchange]] = []
        for place, captured in batch:
            self._on_captured(captured)
            where = f"{place.segment}#{place.offset}"
            if captured.id in new or known.get(captured.id, where) != where:
                counts[DUPLICATE] += 1
                continue
            seen = captured.id in known
            ending, exchange = self._read(captured, where, seen=seen, added=len(new))
            if exchange is not None and is_candidates(captured):
                if captured.served.get("outcome") == ServedOutcome.SERVED:
                    served.append((captured, exchange))
                counts[SkipReason.SERVED_BY_CANDIDATE.value] += 1
                continue
            counts[ending] += 1
            if exchange is not None and not seen:
                new[captured.id] = exchange
        counts.update({f"{REDACTED}{kind}": n for kind, n in self._redactor.counts.items()})
        self._redactor.counts.clear()
        if served:
            self._room.persist(lambda: self._on_served(served))
        items = [(exchange, self._next + number) for number, exchange in enumerate(new.values())]
        for exchange in self._refused(items):
            del new[exchange.id]
            counts[EXCHANGE] -= 1
            counts[SkipReason.NOT_READABLE.value] += 1
        with self._lock:
            for exchange in new.values():
                self._tally.add(Features.of(exchange))
        self._next += len(items)
        was_ended = self.ended
        self.exchanges += len(new)
        add(self._reader.position.counts, counts)
        if self.ended and not was_ended:
            self._room.tell(
                EventKind.INTAKE_ENDED,
                f"the experiment has its {self.exchanges:,} exchanges (worker.max_samples) and takes no more",
            )

    def _refused(self, items: Sequence[tuple[Exchange, float]]) -> list[Exchange]:
        """Store the exchanges; what the database cannot hold costs its record, and never those beside it."""
        if not items:
            return []
        store, run_id = self._room.session.store, self._room.session.run_id
        try:
            self._room.persist(lambda: store.put_exchanges(run_id, items))
        except DataRefusedError as error:
            if len(items) > 1:
                return [exchange for item in items for exchange in self._refused([item])]
            exchange = items[0][0]
            where = exchange.source.file if exchange.source is not None else exchange.id
            self._complain("refused", f"{where} cannot be stored: {error}")
            return [exchange]
        return []

    def _read(self, captured: Captured, where: str, *, seen: bool, added: int) -> tuple[str, Exchange | None]:
        """The ending of a record and its redacted exchange; what is in the store already ended as one."""
        worker, spool = self._room.live.worker, self._room.live.spool
        if not seen:
            if self.exchanges + added >= worker.max_samples:
                return SkipReason.ENDED.value, None
            if time.time() - captured.at_ns / 1e9 > spool.max_age_s:
                return SkipReason.TOO_OLD.value, None
        try:
            exchange = exchange_of(captured, where, metadata_headers=self._room.live.mirror.metadata_headers)
            return EXCHANGE, self._redactor.exchange(exchange)
        except UnreadableRecord as error:
            self._complain(error.code, f"{where} {error}")
        except Exception as error:  # noqa: BLE001  a hostile body may cost its record, never the worker
            self._complain(type(error).__name__, f"{where} cannot be read ({type(error).__name__})")
        return SkipReason.NOT_READABLE.value, None

    def _complain(self, code: str, message: str) -> None:
        self._complaints[code] += 1
        if self._complaints[code] == 1 and len(self._complaints) <= _SHOWN:
            self._room.session.warn_once(self._redactor.twin().text(f"spool record {message}"))


def is_candidates(captured: Captured) -> bool:
    """Whether a record is of a conversation that a rollout's candidate serves.

    Those on which it failed are left out too: shadow pairs of its failures alone would say that it always fails.
    """
    return captured.served.get("arm") == Arm.CANDIDATE
