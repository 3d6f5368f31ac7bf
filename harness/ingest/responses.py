"""A candidate given as a file of responses obtained elsewhere, joined to the sampled exchanges."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from harness.config import Mapping_
from harness.domain.exchange import Exchange
from harness.domain.observation import Observation
from harness.ingest.reader import ExportReader
from harness.ingest.records import Ending, Record
from harness.ingest.redaction import Redactor
from harness.ingest.sampling import digest_of
from harness.ingest.summary import message_text

_AMBIGUOUS = ""


@dataclass
class JoinCounts:
    """What became of the records of a responses file; the five add up to ``read``."""

    read: int = 0
    matched: int = 0
    unmatched: int = 0
    """Answers to requests that are not in the sample."""
    duplicate: int = 0
    """Further answers to an exchange that has one; the first is kept."""
    ambiguous: int = 0
    """Answers that fit several sampled exchanges by their request, and none by id."""
    unusable: int = 0
    """Records without an answer to a request: skipped, rejected and ignored ones."""
    by_key: dict[str, int] = field(default_factory=dict)
    """Matched records by what joined them: id, trace_id, messages, dialogue or user_turns."""


@dataclass
class JoinIndex:
    """Which sampled exchange an answer belongs to; holds hashes and ids, no text.

    Tried in order: the exchange's id; ``metadata["trace_id"]``; exactly equal messages; equal messages apart from
    system prompts; equal texts of all user messages, in order. The last two let a candidate have its own system
    prompt or its own earlier answers. A key that fits several exchanges joins nothing.
    """

    ids: set[str] = field(default_factory=set)
    keys: dict[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def of(cls, exchanges: Iterable[Exchange]) -> "JoinIndex":
        """Index the sampled exchanges, as stored (redacted)."""
        index = cls()
        for exchange in exchanges:
            index.ids.add(exchange.id)
            for key in _keys(exchange):
                known = index.keys.setdefault(key, exchange.id)
                if known != exchange.id:
                    index.keys[key] = _AMBIGUOUS
        return index

    def find(self, exchange: Exchange) -> tuple[str | None, str | None]:
        """The id of the sampled exchange and the key that joined; (None, "ambiguous") when several fit."""
        if exchange.id in self.ids:
            return exchange.id, "id"
        ambiguous = False
        for kind, value in _keys(exchange):
            found = self.keys.get((kind, value))
            if found:
                return found, kind
            ambiguous = ambiguous or found == _AMBIGUOUS
        return None, "ambiguous" if ambiguous else None


class RecordedResponses:
    """One responses file (or several) as a candidate's Observations.

    Attributes:
        counts: filled while :meth:`observations` is iterated.
        warnings: the reader's, complete after iteration.

    Raises:
        InputError: from the reader, on files that are missing or in no known dialect.
    """

    def __init__(
        self,
        sources: Sequence[str],
        *,
        dialect: str = "auto",
        mapping: Mapping_ | None = None,
        reader: Iterable[Record] | None = None,
    ) -> None:
        self.reader = reader if reader is not None else ExportReader(list(sources), dialect=dialect, mapping=mapping)
        self.counts = JoinCounts()

    @property
    def warnings(self) -> list[str]:
        """What the reader had to say."""
        return list(getattr(self.reader, "warnings", []))

    def observations(
        self, *, arm: str, fingerprint: str, wanted: JoinIndex, redactor: Redactor | None
    ) -> Iterator[Observation]:
        """At most one Observation per sampled exchange, redacted as the traffic was.

        Records are redacted before they are joined and compared, because the stored requests and answers are.
        """
        self.counts = JoinCounts()
        answered: set[str] = set()
        for record in self.reader:
            self.counts.read += 1
            if record.ending is Ending.DUPLICATE:
                self.counts.duplicate += 1
            elif record.ending is not Ending.EXCHANGE or record.exchange is None:
                self.counts.unusable += 1
            else:
                exchange = redactor.exchange(record.exchange) if redactor is not None else record.exchange
                found = self._join(exchange, wanted, answered)
                if found is not None:
                    yield replace(exchange.production, exchange_id=found, arm=arm, fingerprint=fingerprint)

    def _join(self, exchange: Exchange, wanted: JoinIndex, answered: set[str]) -> str | None:
        found, key = wanted.find(exchange)
        if found is None or key is None:
            if key == "ambiguous":
                self.counts.ambiguous += 1
            else:
                self.counts.unmatched += 1
            return None
        if found in answered:
            self.counts.duplicate += 1
            return None
        answered.add(found)
        self.counts.matched += 1
        self.counts.by_key[key] = self.counts.by_key.get(key, 0) + 1
        return found


def recorded_observations(
    sources: Sequence[str],
    dialect: str,
    mapping: Mapping_ | None,
    *,
    arm: str,
    fingerprint: str,
    wanted: JoinIndex,
    redactor: Redactor | None,
) -> Iterator[Observation]:
    """The Observations of :class:`RecordedResponses`, for callers that need no counts."""
    responses = RecordedResponses(sources, dialect=dialect, mapping=mapping)
    return responses.observations(arm=arm, fingerprint=fingerprint, wanted=wanted, redactor=redactor)


def _keys(exchange: Exchange) -> Iterator[tuple[str, str]]:
    """What an exchange can be recognised by, the surest first."""
    trace = exchange.metadata.get("trace_id")
    if trace:
        yield "trace_id", trace
    messages = exchange.request.messages
    yield "messages", digest_of(messages)
    dialogue = [message for message in messages if message.get("role") not in {"system", "developer"}]
    yield "dialogue", digest_of(dialogue)
    asked = [message_text(message).strip() for message in dialogue if message.get("role") == "user"]
    if any(asked):
        yield "user_turns", digest_of(asked)
