"""The parts of the page, as values: templates compute nothing.

Every field is documented, and a test holds that. Text in the fields is still untrusted: the template environment makes
it visible and escapes it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Badge:
    """An answer in one word with a shape, so that colour never carries it alone."""

    word: str
    """The word."""
    tone: str
    """``good``, ``bad``, ``open``, ``void``, ``none`` or ``mark``; decides the colour."""
    icon: str
    """Name of the shape: ``check``, ``cross``, ``question``, ``ceiling``, ``dash``, ``flag``, ``star``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """A labelled value."""

    label: str
    """What it is."""
    value: str
    """The value as text."""
    note: str = ""
    """A smaller line under it; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One cell of a table."""

    text: str
    """What it says."""
    sub: str = ""
    """A smaller line under it; may be empty."""
    badge: Badge | None = None
    """Shown before the text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of a table."""

    title: str
    """Its heading."""
    numeric: bool = False
    """Whether it is set flush right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table whose first column heads the rows."""

    caption: str
    """What it shows."""
    columns: tuple[Column, ...]
    """Headings, as many as cells in a row."""
    rows: tuple[tuple[Cell, ...], ...]
    """Cells by row."""
    note: str = ""
    """How to read it; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FunnelStep:
    """One stage of the way from the export to a scored pair."""

    group: str
    """What the bars from here on are measured against; empty within a group."""
    label: str
    """What is left."""
    count: str
    """How many."""
    width: float
    """Share of the group's first stage in percent."""
    losses: tuple[Fact, ...]
    """What was lost since the stage before, by reason."""
    equation: str
    """The sum written out."""
    adds_up: bool
    """Whether stage and losses add up to the stage before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrafficView:
    """What was read, what was replaced in it, and how the sample compares with it."""

    files: tuple[Fact, ...]
    """File and dialect."""
    rejects: str
    """What became of unusable records."""
    redaction: str
    """Sentence on redaction."""
    redaction_off: bool
    """Whether redaction was turned off, which is said loudly."""
    redactions: Table | None
    """Replacements by kind; ``None`` when nothing was replaced."""
    comparison: Table
    """Population against sample."""
    warnings: tuple[str, ...]
    """What ingest warned about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageView:
    """One message of the conversation."""

    role: str
    """Who says it."""
    text: str
    """What is said; parts that are no text are named."""
    calls: tuple[Fact, ...]
    """Tools called: name and arguments."""
    note: str
    """What was cut; may be empty."""
