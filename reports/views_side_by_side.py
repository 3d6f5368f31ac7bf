"""The parts of the comparison of several candidates, as values: templates compute nothing."""

from dataclasses import dataclass

from reports.diff import Run
from reports.views import Badge, Cell, Fact, MessageView, Table
from reports.views_charts import TickView


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricRow:
    """One metric of every candidate."""

    title: str
    """The metric."""
    help: str
    """The metric in one sentence; may be empty."""
    note: str
    """Which side is better, and what was found; may be empty."""
    cells: tuple[Cell, ...]
    """By candidate: value, interval, and a badge on those that may be the best."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricGroup:
    """Metrics of one kind."""

    title: str
    """Quality, latency, errors or cost."""
    rows: tuple[MetricRow, ...]
    """In order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricTable:
    """Every metric by candidate."""

    caption: str
    """What it shows."""
    arms: tuple[str, ...]
    """Candidates, by column."""
    groups: tuple[MetricGroup, ...]
    """Rows by kind."""
    notes: tuple[str, ...]
    """How to read it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PointView:
    """One candidate, or production, in the picture; numbers are user units of the drawing."""

    name: str
    """Who it is."""
    kind: str
    """``production``, ``frontier`` or ``outdone``; decides shape and filling."""
    x: float
    """Where it stands from left to right."""
    y: float
    """Where it stands from top to bottom."""
    whiskers: str
    """SVG path of both intervals with their ends; an end that is not drawn lies beyond the picture or is unbounded."""
    label: str
    """What is written beside it."""
    label_x: float
    """Left edge of the label."""
    label_y: float
    """Base line of the label."""
    leader: str
    """SVG path from the point to a label that stands apart; empty when it stands beside it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScatterView:
    """Quality against one other metric."""

    id: str
    """Unique id of the drawing within the page."""
    title: str
    """Heading."""
    desc: str
    """What can be read off it, in words."""
    width: int
    """Width of the drawing."""
    height: int
    """Height of the drawing."""
    left: float
    """Left edge of the plot."""
    right: float
    """Right edge of the plot."""
    top: float
    """Upper edge of the plot."""
    bottom: float
    """Lower edge of the plot."""
    x_ticks: tuple[TickView, ...]
    """Horizontal axis."""
    y_ticks: tuple[TickView, ...]
    """Vertical axis."""
    x_title: str
    """What the horizontal axis counts."""
    y_title: str
    """What the vertical axis counts."""
    frontier: str
    """SVG path along those that nobody outdoes."""
    points: tuple[PointView, ...]
    """Candidates, and production where it has a place."""
    has_production: bool
    """Whether production has a place in it."""
    missing: str
    """Who has no place in it, and why; empty when everybody has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnView:
    """What one arm made of a request."""

    side: str
    """``production`` or ``candidate``."""
    label: str
    """Heading."""
    runs: tuple[Run, ...]
    """The answer; what production's does not have is marked."""
    empty: str
    """What stands in place of a missing text; empty when there is one."""
    error: str
    """The failure; empty when it completed."""
    refusal: str
    """The refusal; may be empty."""
    calls: tuple[Fact, ...]
    """Tools called: name and arguments."""
    facts: tuple[Fact, ...]
    """Score, latency, tokens, cost."""
    note: str
    """What was cut; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedRequestView:
    """One request with everybody's answer."""

    anchor: str
    """Id to link to, stable as long as the request is shown."""
    title: str
    """What was asked, on one line."""
    id: str
    """The exchange."""
    why: Badge
    """Why it is shown."""
    about: str
    """The candidate it is about; empty when it is about all."""
    scores: str
    """What the judge scored every candidate, on one line; may be empty."""
    tags: tuple[str, ...]
    """Tags of the exchange."""
    messages: tuple[MessageView, ...]
    """The conversation."""
    conversation: str
    """Heading of the conversation."""
    messages_note: str
    """What was left out of it; may be empty."""
    answers: tuple[ColumnView, ...]
    """Production, then every candidate."""
    judgments: Table | None
    """What every judge said about every candidate."""
    is_open: bool
    """Whether it is unfolded at first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedGroup:
    """Requests shown for one reason."""

    title: str
    """Heading."""
    intro: str
    """Why they are here."""
    requests: tuple[SharedRequestView, ...]
    """In order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SideBySideView:
    """All candidates beside each other."""

    intro: str
    """How sure what can be told is."""
    lead: tuple[str, ...]
    """What can be told, in plain sentences."""
    warnings: tuple[str, ...]
    """What makes it less than it seems."""
    many: bool
    """Whether there are so many candidates that paper needs them below each other."""
    metrics: MetricTable
    """Every metric by candidate."""
    scatters: tuple[ScatterView, ...]
    """The picture; empty where quality or everything it is held against is unknown."""
    key: tuple[str, ...]
    """Names of the letters in the picture; empty when names themselves stand there."""
    picture: Table | None
    """The picture as a table; ``None`` without a picture."""
    picture_note: str
    """How to read it, or why there is none."""
    duels: tuple[Table, ...]
    """By judge: how often the candidate of the row did better than that of the column."""
    duels_note: str
    """How the comparison was made, or why there is none."""
    slices: tuple[Table, ...]
    """By attribute: the best candidates of every slice."""
    slices_note: str
    """How sure they are, or why there are none."""
    groups: tuple[SharedGroup, ...]
    """Requests with everybody's answer."""
    requests_note: str
    """What is marked in them, or why there are none."""
