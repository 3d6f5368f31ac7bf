"""The ingest stage: read an export, account for every record, sample, redact, and hand the sample to a store."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import orjson

from harness.config import Traffic
from harness.domain.exchange import Exchange
from harness.domain.run import IngestReport
from harness.errors import InputError
from harness.ingest.reader import ExportReader
from harness.ingest.records import Ending, Record
from harness.ingest.redaction import Redactor
from harness.ingest.sampling import Admission, Sampler, stratum_of
from harness.ingest.summary import Features, Tally

BATCH = 500
_RAW_SHOWN = 1 << 16
_HINTS = {
    "no_prompt_stored": "the gateway kept no prompts: set `store_prompts_in_spend_logs: true` under general_settings "
    "in LiteLLM's configuration and export again",
    "no_content_recorded": "the texts are not in the export, and the first one says how to get them there",
    "no_request": "these are results without their requests: name the request file (a batch's input file) in "
    "traffic.source as well",
    "no_result": "these are requests without their results: name the output and error files of the batch in "
    "traffic.source as well",
    "not_a_chat_call": "these are embeddings, images or other calls: export chat completions",
    "canceled": "these calls were canceled before they ran: export a time span with finished calls",
    "expired": "these calls expired before they ran: export a time span with finished calls",
}
_REJECTED_HINT = "set traffic.dialect, or describe the columns with `dialect: mapping` and a `mapping:` section"
_IGNORED_HINT = "there is no model call in them: export generations (LLM spans with their content), not other events"


class ExchangeSink(Protocol):
    """Where the sample goes; a store in the product, a dictionary in tests."""

    def put_exchanges(self, exchanges: Sequence[tuple[Exchange, float]]) -> None:
        """Keep redacted exchanges with their priorities; ascending priority is the order of replay."""
        ...

    def remove_exchanges(self, ids: Sequence[str]) -> None:
        """Forget exchanges put before, because better ones took their places."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far the stage is."""

    bytes_read: int
    bytes_total: int | None
    """Size of the export as stored; ``None`` when it is not known."""
    read: int
    kept: int
    rejected: int


def ingest(
    traffic: Traffic,
    sink: ExchangeSink,
    *,
    rejects_path: Path,
    on_progress: Callable[[Progress], None] | None = None,
    reader: ExportReader | None = None,
    redactor: Redactor | None = None,
) -> IngestReport:
    """Read the export once, in memory that follows the sample's size and the longest record, not the export's.

    Redaction comes before the sink, the rejects file and any message. Duplicates are told apart before redaction.

    Raises:
        InputError: no exchange was usable; names the dominant reason and the next step.
        ConfigurationError: redaction or sampling asks for something that does not exist.
    """
    redactor = redactor or Redactor(traffic.redaction)
    sampler = Sampler(traffic.sample)
    reader = reader or ExportReader(traffic.source, dialect=traffic.dialect, mapping=traffic.mapping)
    with _Rejects(rejects_path, redactor.twin()) as rejects:
        intake = _Intake(traffic, sampler, redactor.twin(), redactor.twin(), sink, rejects)
        for record in reader:
            intake.take(record)
            if on_progress is not None and intake.read % BATCH == 0:
                on_progress(intake.progress(reader))
        intake.finish()
        if on_progress is not None:
            on_progress(intake.progress(reader))
    report = intake.report(reader)
    report.check()
    if report.sampled == 0:
        raise InputError(_nothing_usable(report, intake, traffic))
    return report


class _Rejects(AbstractContextManager["_Rejects"]):
    """The rejects file: one JSON object per rejected record; made when the first one comes, an old one removed."""

    def __init__(self, path: Path, redactor: Redactor) -> None:
        self.path = path
        self.count = 0
        self.redactor = redactor
        self._stream: BinaryIO | None = None

    def __enter__(self) -> Self:
        self.path.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()

    def write(self, record: Record) -> None:
        """Append one record; at most 64 KiB of its text, cut after redaction so that no half of a secret is left."""
        if self._stream is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self.path.open("wb")
        raw = None if record.raw is None else self.redactor.text(record.raw.decode("utf-8", "backslashreplace"))
        row = {
            "file": record.file,
            "line": record.line,
            "reason": record.reason,
            "message": None if record.message is None else self.redactor.text(record.message),
            "raw": None if raw is None else raw[:_RAW_SHOWN],
        }
        self._stream.write(orjson.dumps(row) + b"\n")
        self.count += 1


@dataclass
class _Member:
    features: Features
    redactions: Counter[str]


@dataclass
class _Intake:
    """Counts every record once and keeps the sink in step with the sample."""

    traffic: Traffic
    sampler: Sampler
    redactor: Redactor
    labels: Redactor
    """Redacts names of strata and messages, which are not counted as traffic."""
    sink: ExchangeSink
    rejects: _Rejects
    read: int = 0
    ignored: int = 0
    deduplicated: int = 0
    kept: int = 0
    out_of_window: int = 0
    sampled: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    files: dict[str, None] = field(default_factory=dict)
    first_messages: dict[str, str] = field(default_factory=dict)
    reject_reasons: Counter[str] = field(default_factory=Counter)
    population: Tally = field(default_factory=Tally)
    sample: Tally = field(default_factory=Tally)
    redactions: Counter[str] = field(default_factory=Counter)
    _members: dict[str, _Member] = field(default_factory=dict)
    """Of a sample that may still lose exchanges; empty when nothing is ever evicted."""
    _pending: dict[str, tuple[Exchange, float]] = field(default_factory=dict)
    _leaving: list[str] = field(default_factory=list)

    def take(self, record: Record) -> None:
        """Count one record and act on it."""
        self.read += 1
        self.files[record.file] = None
        match record.ending:
            case Ending.EXCHANGE if record.exchange is not None:
                self._exchange(record.exchange)
            case Ending.SKIPPED:
                self._explain(record, record.reason or "other")
                self.skipped[record.reason or "other"] += 1
            case Ending.IGNORED:
                self.ignored += 1
            case Ending.DUPLICATE:
                self.deduplicated += 1
            case _:
                self._explain(record, record.reason or "unreadable")
                self.reject_reasons[record.reason or "unreadable"] += 1
                self.rejects.write(record)

    def finish(self) -> None:
        """Bring sampling and sink to their final state."""
        self._evict(self.sampler.finish())
        self._flush()
        for member in self._members.values():
            self._count(member)
        self._members.clear()
        self.redactions.update(self.rejects.redactor.counts)

    def progress(self, reader: ExportReader) -> Progress:
        """Where the stage stands."""
        return Progress(
            bytes_read=reader.bytes_read,
            bytes_total=reader.bytes_total,
            read=self.read,
            kept=self.kept,
            rejected=self.rejects.count,
        )

    def report(self, reader: ExportReader) -> IngestReport:
        """Everything counted."""
        return IngestReport(
            files=tuple(dict.fromkeys([*reader.dialects, *self.files])),
            dialects=dict(reader.dialects),
            read=self.read,
            rejected=self.rejects.count,
            ignored=self.ignored,
            skipped=dict(self.skipped),
            deduplicated=self.deduplicated,
            kept=self.kept,
            out_of_window=self.out_of_window,
            sampled_out=self.kept - self.sampled - self.out_of_window,
            sampled=self.sampled,
            redactions=dict(self.redactions),
            redaction_enabled=self.redactor.enabled,
            rejects_file=str(self.rejects.path) if self.rejects.count else None,
            warnings=tuple(self._warnings(reader)),
            population=self.population.summary(),
            sample=self.sample.summary(),
        )

    def _exchange(self, exchange: Exchange) -> None:
        offer = self.sampler.offer(exchange)
        if offer.admission is Admission.DUPLICATE:
            self.deduplicated += 1
            return
        self.kept += 1
        if offer.admission is Admission.OUT_OF_WINDOW:
            self.out_of_window += 1
            return
        stratum = self.labels.identifier(stratum_of(exchange, self.traffic.sample.stratify_by)) or ""
        features = Features.of(exchange, stratum)
        self.population.add(features)
        self._evict(offer.evicted)
        if offer.admission is Admission.ADMITTED:
            self._admit(exchange, features, offer.priority)

    def _admit(self, exchange: Exchange, features: Features, priority: float) -> None:
        self.redactor.counts.clear()
        redacted = self.redactor.exchange(exchange)
        member = _Member(features, self.redactor.counts.copy())
        self.sampled += 1
        if self.traffic.sample.size is None:
            self._count(member)
        else:
            self._members[exchange.id] = member
        self._pending[exchange.id] = (redacted, priority)
        if len(self._pending) >= BATCH:
            self._flush()

    def _count(self, member: _Member) -> None:
        self.sample.add(member.features)
        self.redactions.update(member.redactions)

    def _evict(self, ids: Sequence[str]) -> None:
        for identity in ids:
            del self._members[identity]
            self.sampled -= 1
            if self._pending.pop(identity, None) is None:
                self._leaving.append(identity)

    def _flush(self) -> None:
        if self._pending:
            self.sink.put_exchanges(list(self._pending.values()))
            self._pending.clear()
        for start in range(0, len(self._leaving), BATCH):
            self.sink.remove_exchanges(self._leaving[start : start + BATCH])
        self._leaving.clear()

    def _explain(self, record: Record, reason: str) -> None:
        if record.message and reason not in self.first_messages:
            self.first_messages[reason] = self.labels.text(record.message)

    def _warnings(self, reader: ExportReader) -> Iterator[str]:
        for warning in reader.warnings:
            yield self.labels.text(warning)
        if self.sampler.undated:
            yield f"{self.sampler.undated} exchanges have no timestamp; the time window left them out"
        if not self.redactor.enabled:
            yield "redaction is off: the store and the report hold the traffic as recorded"


def _nothing_usable(report: IngestReport, intake: _Intake, traffic: Traffic) -> str:
    """Why there is no sample, by the ending most records had, and what to do about it."""
    if report.read == 0:
        return f"nothing to read in {', '.join(traffic.source)}: the files are empty or the pattern matches none"
    if report.kept:
        if report.out_of_window == report.kept:
            hint = f" ({intake.sampler.undated} of them have no timestamp)" if intake.sampler.undated else ""
            return f"all {report.kept} exchanges are out of the time window{hint}; widen traffic.sample.since and until"
        return f"none of {report.kept} exchanges was sampled; raise traffic.sample.rate, or give a size instead"
    endings = Counter(intake.skipped) + intake.reject_reasons
    if report.ignored:
        endings["not a model call"] = report.ignored
    reason, count = endings.most_common(1)[0] if endings else ("duplicate", report.deduplicated)
    if reason in intake.reject_reasons:
        hint = _REJECTED_HINT
    else:
        hint = _HINTS.get(reason, _IGNORED_HINT if reason == "not a model call" else "see the message of the first one")
    first = f"; the first one: {intake.first_messages[reason]}" if reason in intake.first_messages else ""
    where = f"; rejected records are in {report.rejects_file}" if report.rejects_file else ""
    return f"no usable exchange among {report.read} records; {count} ended as {reason}: {hint}{first}{where}"
