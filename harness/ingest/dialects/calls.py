"""What a dialect makes of a record, and how that becomes an Exchange."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from harness.config import Mapping_
from harness.domain.exchange import ChatRequest, Exchange, Source
from harness.domain.json import Json
from harness.domain.observation import PRODUCTION, CallError, Completion, Observation, Status, Usage
from harness.ingest import records
from harness.ingest.dialects.parts import Halves

JsonObject: TypeAlias = Mapping[str, Json]


class UnreadableRecord(Exception):  # noqa: N818  names the record, which is data, not our failure
    """This record cannot be used; every other one still can. The message says why and what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """Where a record stands and what its dialect may use."""

    file: str
    line: int | None
    halves: Halves
    warn: Callable[[str], None]
    sha256: str | None = None
    position: int | None = None
    """Place from 1 in a JSON document, which has no lines."""
    mapping: Mapping_ | None = None

    @property
    def place(self) -> str:
        """File and line for messages."""
        return records.place(self.file, self.line, self.position)

    def stable_id(self, part: int | str | None = None) -> str:
        """An id for a record that has none: the same when the same file is read again."""
        where = self.line or self.position or self.sha256
        return hashlib.sha256(f"{self.file}\n{where}\n{part or ''}".encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back: a completion or an error, and what it used."""

    completion: Completion | None = None
    error: CallError | None = None
    usage: Usage = field(default_factory=Usage)
    created: datetime | None = None
    """When the provider says it answered."""
    id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One recorded chat call."""

    request: ChatRequest
    answer: Answer
    id: str | None = None
    """The export's own id of the call; a stable one is made up when it has none."""
    part: int | str | None = None
    """Tells several calls of one line apart when there is no id."""
    latency_ms: float | None = None
    ttft_ms: float | None = None
    cost_usd: float | None = None
    timestamp: datetime | None = None
    session: str | None = None
    user: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    cache_hit: bool = False
    context: Context | None = None
    """Where it stands, when that is not the record being read."""

    def exchange(self, context: Context) -> Exchange:
        """The Exchange; a call with an error is production's failed Observation."""
        id_ = self.id or context.stable_id(self.part)
        failed = self.answer.error is not None
        production = Observation(
            exchange_id=id_,
            arm=PRODUCTION,
            status=Status.FAILED if failed else Status.COMPLETED,
            completion=None if failed else self.answer.completion,
            error=self.answer.error,
            latency_ms=self.latency_ms,
            ttft_ms=self.ttft_ms,
            usage=self.answer.usage,
            cost_usd=self.cost_usd,
            started_at=self.timestamp,
            cache_hit=self.cache_hit,
        )
        return Exchange(
            id=id_,
            request=self.request,
            production=production,
            timestamp=self.timestamp,
            session=self.session,
            user=self.user,
            tags=self.tags,
            metadata=self.metadata,
            source=Source(file=context.file, line=context.line, sha256=context.sha256),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Skip:
    """A sound record with nothing to compare."""

    reason: str
    message: str
    facts: JsonObject = field(default_factory=dict)
    context: Context | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ignore:
    """No model call at all."""

    context: Context | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeat:
    """A second record of a call already read."""

    message: str
    context: Context | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reject:
    """A record, or one of several in it, that cannot be read."""

    code: str
    message: str
    """Cause and next step; the place is put before it."""
    context: Context | None = None


Outcome: TypeAlias = Call | Skip | Ignore | Repeat | Reject

MALFORMED = (UnreadableRecord, TypeError, ValueError, AttributeError, LookupError, RecursionError)
"""What reading an unforeseen shape may raise. Traffic is hostile: it may cost that record, not the import."""


def rejected(error: Exception, context: Context | None = None) -> Reject:
    """The ending of a record whose reading raised one of MALFORMED."""
    if isinstance(error, UnreadableRecord):
        return Reject(code=error.code, message=str(error), context=context)
    message = f"has a shape its format does not know ({type(error).__name__}: {error})"[:500]
    return Reject(code="bad_shape", message=message, context=context)


def guarded(build: Callable[[], Outcome], context: Context) -> Outcome:
    """What ``build`` makes of a record put aside earlier, or its rejection."""
    try:
        return build()
    except MALFORMED as error:
        return rejected(error, context)
