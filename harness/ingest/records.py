"""What an export's records become: an Exchange, or one of four other endings, each counted and none silent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.domain.exchange import Exchange
from harness.domain.json import Json

RAW_LIMIT = 1 << 20
"""How much of a rejected line is kept, in bytes."""


class Ending(StrEnum):
    """What became of one record."""

    EXCHANGE = "exchange"
    """A chat call with its request; a recorded failure is one too."""
    SKIPPED = "skipped"
    """A sound record with nothing to compare."""
    REJECTED = "rejected"
    """A record that cannot be read."""
    IGNORED = "ignored"
    """No model call at all: HTTP spans, empty lines."""
    DUPLICATE = "duplicate"
    """A second record of a call already read; the first is kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One record of an export with its ending.

    A line that holds several calls (an OTLP batch of spans, a conversation) gives several records; two halves of
    one call (a batch's request and its result) give one.
    """

    ending: Ending
    file: str
    line: int | None
    """Physical line from 1; the data record in CSV and Parquet; ``None`` in a single JSON document."""
    exchange: Exchange | None = None
    """Set when the ending is EXCHANGE."""
    reason: str | None = None
    """For SKIPPED ``no_prompt_stored``, ``no_result``, ...; for REJECTED a short code."""
    message: str | None = None
    """For people: cause and what to do; names file and line when REJECTED."""
    raw: bytes | None = None
    """The rejected line as read, its first MiB at most."""
    facts: Mapping[str, Json] = field(default_factory=dict)
    """What a skipped record still tells: id, model, latency_ms, tokens_in, tokens_out, cost_usd, timestamp, session."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One record as it stands in a file, before any dialect looks at it."""

    file: str
    line: int | None
    raw: bytes
    value: Mapping[str, Json] | None = None
    """``None`` when it cannot be read (``problem`` says why) or is an empty line."""
    problem: str | None = None
    detail: str = ""
    """Cause and next step of the problem."""
    position: int | None = None
    """Place from 1 in a JSON document, which has no lines."""

    @property
    def place(self) -> str:
        """File and line for messages."""
        return place(self.file, self.line, self.position)


def place(file: str, line: int | None, position: int | None = None) -> str:
    """Where a record stands, as messages say it."""
    if line is not None:
        return f"{file}:{line}"
    return file if position is None else f"{file} (record {position})"
