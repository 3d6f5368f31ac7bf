"""The index of published runs as values: templates compute nothing.

Every field is documented, and a test holds that. Text in the fields is still untrusted: whoever may write to the place
may write it, and the template environment makes it visible and escapes it.
"""

from dataclasses import dataclass

from reports.views import Badge
from reports.views_charts import TickView


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkView:
    """A link to another page of the place."""

    href: str
    """Where it leads, relative to the page it stands on."""
    text: str
    """What it says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrendPoint:
    """One run's figure in a trend; all numbers are user units of the drawing."""

    x: float
    """Where the run stands."""
    y: float
    """Where the value stands."""
    low: float | None
    """Lower end of the interval; ``None`` without one."""
    high: float | None
    """Upper end of the interval."""
    low_open: bool
    """Whether nothing bounds it below: the line ends in an arrow at the edge."""
    high_open: bool
    """Whether nothing bounds it above."""
    badge: Badge
    """The outcome; decides colour and shape."""
    title: str
    """Run, value, bounds and outcome in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrendView:
    """One criterion of one candidate over the runs of an experiment."""

    id: str
    """Unique id within the page."""
    title: str
    """The metric."""
    rule: str
    """The rule of the newest run in words."""
    value: str
    """Value of the newest run."""
    bounds: str
    """Its bounds; empty without any."""
    badge: Badge
    """Its outcome."""
    change: str
    """How the value differs from the run before, or why that says nothing; empty with one run alone."""
    desc: str
    """What the drawing shows, in words."""
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
    y_ticks: tuple[TickView, ...]
    """Vertical axis."""
    x_ticks: tuple[TickView, ...]
    """Dates under the first and the last run."""
    line: str
    """SVG path between values that can be compared; empty without one."""
    threshold: str
    """SVG path of the threshold, in steps where it was changed."""
    threshold_y: float
    """Where the newest threshold stands."""
    threshold_label: str
    """The newest threshold's value."""
    passing: str
    """SVG path of the ground on the side that passes."""
    breaks: tuple[float, ...]
    """Where production or the judge became another one, so that the line is broken."""
    points: tuple[TrendPoint, ...]
    """One for each run with a figure, oldest first."""
    missing: str
    """How many runs have no figure to draw; empty when all have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrendGroup:
    """All criteria of one candidate of an experiment."""

    title: str
    """The candidate."""
    model: str
    """What answered in the newest run; empty when it is called the same."""
    trends: tuple[TrendView, ...]
    """In the order of the newest run."""
    note: str
    """What to know when reading them; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateLine:
    """One candidate in the line of a run."""

    arm: str
    """Its name."""
    badge: Badge
    """Its verdict."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLine:
    """One published run in the table of its experiment."""

    link: LinkView
    """Its report."""
    decided: str
    """When it was decided."""
    candidates: tuple[CandidateLine, ...]
    """Verdict by candidate."""
    pairs: str
    """Comparable pairs."""
    compared: LinkView | None
    """The page that holds it against the run before; ``None`` for the first one."""
    warning: str
    """That the two cannot be held against each other and why; empty when they can."""
    files: tuple[LinkView, ...]
    """Everything else that was published of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperimentView:
    """All published runs of one experiment."""

    anchor: str
    """Id to link to."""
    name: str
    """The experiment."""
    badge: Badge
    """Verdict of the newest run."""
    sentences: tuple[str, ...]
    """What the newest run came to, one sentence for each candidate."""
    latest: LinkView
    """The report of the newest run."""
    groups: tuple[TrendGroup, ...]
    """Trends by candidate."""
    runs: tuple[RunLine, ...]
    """Newest first."""
    runs_note: str
    """How many older ones are only in the JSON; empty when none is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexView:
    """The page that leads to every published run."""

    overline: str
    """Runs and experiments counted."""
    readers: str
    """Whom the place is for; empty for readers inside."""
    warnings: tuple[str, ...]
    """What was left out and why."""
    experiments: tuple[ExperimentView, ...]
    """The one decided last first."""
    experiments_note: str
    """How many are only in the JSON; empty when none is."""
    empty: str
    """What stands in place of runs; empty when there are some."""
    reading: str
    """How to read the drawings."""
    footer: str
    """What the page is built from."""
