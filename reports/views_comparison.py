"""Two runs side by side as values: templates compute nothing.

Every field is documented, and a test holds that. Text in the fields is still untrusted: the template environment makes
it visible and escapes it.
"""

from dataclasses import dataclass

from reports.views import Badge, Fact, Table
from reports.views_index import LinkView


@dataclass(frozen=True, kw_only=True, slots=True)
class PairStrip:
    """Both intervals over one another against the threshold; numbers are user units of a 240 x 58 drawing."""

    title: str
    """Accessible name."""
    desc: str
    """The same in words."""
    width: int
    """Width of the drawing."""
    height: int
    """Height of the drawing."""
    pass_x: float
    """Left end of the side that passes."""
    pass_width: float
    """Width of the side that passes; 0 when the two rules differ."""
    threshold: float
    """Where the later run's threshold stands."""
    threshold_label: str
    """Its value."""
    label_anchor: str
    """SVG text-anchor that keeps the label inside."""
    bars: tuple["PairBar", ...]
    """Before above after."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairBar:
    """One run's value and interval on such a line."""

    y: float
    """Height of the line."""
    value: float
    """Where the value stands."""
    low: float | None
    """Left end of the interval; ``None`` without one."""
    high: float | None
    """Right end of the interval."""
    low_open: bool
    """Whether nothing bounds it on the left."""
    high_open: bool
    """Whether nothing bounds it on the right."""
    badge: Badge
    """The outcome; decides colour and shape."""
    label: str
    """``before`` or ``after``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SideView:
    """A criterion in one of the two runs."""

    value: str
    """Measured value; a dash when the run has no such criterion."""
    bounds: str
    """Its bounds; empty without any."""
    rule: str
    """The rule in words; empty without one."""
    badge: Badge | None
    """The outcome; ``None`` without a criterion."""
    pairs: str
    """What it rests on; empty without one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CriterionChange:
    """One criterion in both runs."""

    title: str
    """The metric."""
    notes: tuple[str, ...]
    """That the rule was changed, or that the figures cannot be compared."""
    before: SideView
    """The earlier run."""
    after: SideView
    """The later run."""
    difference: str
    """After less before."""
    intervals: str
    """Whether the two intervals share a value, in words."""
    outcome: str
    """Whether the outcome changed, in words."""
    strip: PairStrip | None
    """The drawing; ``None`` when either has no value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateChange:
    """One candidate in both runs."""

    anchor: str
    """Id to link to."""
    title: str
    """Its name."""
    before: Badge | None
    """Earlier verdict; ``None`` when it was not there."""
    after: Badge | None
    """Later verdict; ``None`` when it is gone."""
    changed: str
    """Whether the verdict changed, in words."""
    sentence: str
    """The later decision in one sentence."""
    sentence_before: str
    """The earlier one."""
    facts: tuple[Fact, ...]
    """Pairs and cost in both."""
    criteria: tuple[CriterionChange, ...]
    """In the order of the later run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LineChange:
    """One line of the difference between the experiment files."""

    kind: str
    """``kept``, ``removed``, ``added`` or ``gap``."""
    mark: str
    """Sign in front of it."""
    word: str
    """What the sign means, for who does not see it; empty for lines that stay."""
    text: str
    """The line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonView:
    """The page that holds one run against another."""

    overline: str
    """What the page is."""
    title: str
    """Both runs."""
    index: LinkView | None
    """The index it belongs to; ``None`` for a page that stands alone."""
    before: LinkView | None
    """Report of the earlier run; ``None`` where its place is not known."""
    after: LinkView | None
    """Report of the later run."""
    facts: tuple[Fact, ...]
    """Both runs: when, production, requests."""
    badge: Badge
    """Whether figures may be compared."""
    lead: str
    """What changed in the result, in one sentence."""
    hindrances: tuple[str, ...]
    """Why figures may not be compared; empty when they may."""
    readers: str
    """Whom it is for; empty for readers inside."""
    candidates: tuple[CandidateChange, ...]
    """In the order of the later run."""
    reading: str
    """How to read the table."""
    changes: Table | None
    """What is set or versioned differently; ``None`` when nothing is."""
    experiment: tuple[LineChange, ...]
    """Difference of the experiment files."""
    experiment_note: str
    """That they are equal, or that the difference was cut; may be empty."""
    footer: str
    """Schema of the value."""
