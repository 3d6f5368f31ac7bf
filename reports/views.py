"""What the page shows, as values: the template gets one ReportView and computes nothing.

Every field is documented, and a test holds that. Text in the fields is still untrusted: the template environment makes
it visible and escapes it.
"""

from dataclasses import dataclass

from reports.diff import Run
from reports.views_charts import ChartView, StackPart, StripView


@dataclass(frozen=True, kw_only=True, slots=True)
class Badge:
    """An answer in one word with a shape, so that colour never carries it alone."""

    word: str
    """The word."""
    tone: str
    """``good``, ``bad``, ``open`` or ``none``; decides the colour."""
    icon: str
    """Name of the shape: ``check``, ``cross``, ``question``, ``dash``."""


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
class CriterionView:
    """One go/no-go rule held against what was measured."""

    title: str
    """The metric."""
    help: str
    """The metric in one sentence; may be empty."""
    value: str
    """Measured value."""
    interval: str
    """Its interval; empty when there is none."""
    level: str
    """``95 % interval``."""
    sides: str
    """Both arms' own values; empty where there are none."""
    rule: str
    """``below 1.20x``."""
    advisory: bool
    """Whether it is shown without deciding."""
    badge: Badge
    """Its outcome."""
    reason: str
    """One plain sentence."""
    sample: str
    """What it rests on."""
    needed: str
    """Requests still needed; empty when settled or not projectable."""
    notes: tuple[str, ...]
    """What the estimator remarked."""
    noise: str
    """The same quantity between production and itself; empty without a replica."""
    strip: StripView | None
    """Interval against threshold; ``None`` when nothing was measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreferenceView:
    """Wins, ties and losses by one judge."""

    judge: str
    """Its name."""
    model: str
    """The model that judged; may be empty."""
    parts: tuple[StackPart, ...]
    """The stacked bar; empty when nothing was scored."""
    title: str
    """The bar's accessible name."""
    sentence: str
    """Flips and first-slot share in words."""
    warnings: tuple[str, ...]
    """What makes the judge suspect."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityView:
    """How good the answers are."""

    preferences: tuple[PreferenceView, ...]
    """Judges that name a winner."""
    coverage: Table | None
    """What every judge scored and did not; ``None`` without judges."""
    estimates: Table | None
    """Estimates on quality; ``None`` when there are none."""
    charts: tuple[ChartView, ...]
    """Distributions of scores."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureView:
    """Latency, errors or cost of one candidate."""

    tables: tuple[Table, ...]
    """Numbers."""
    charts: tuple[ChartView, ...] = ()
    """Distributions."""
    facts: tuple[Fact, ...] = ()
    """Single numbers shown large."""
    notes: tuple[str, ...] = ()
    """What to know when reading them."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerView:
    """One side of an example."""

    side: str
    """``production`` or ``candidate``."""
    label: str
    """Heading."""
    runs: tuple[Run, ...]
    """The answer; changed runs are marked."""
    empty: str
    """What stands in place of a missing text; empty when there is one."""
    error: str
    """The failure; empty when it completed."""
    refusal: str
    """The refusal; may be empty."""
    calls: tuple[Fact, ...]
    """Tools called: name and arguments."""
    facts: tuple[Fact, ...]
    """Latency, tokens, cost."""
    note: str
    """What was cut; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExampleView:
    """One pair in full."""

    anchor: str
    """Id to link to, stable as long as the exchange is shown."""
    title: str
    """What was asked, on one line."""
    id: str
    """The exchange."""
    why: Badge
    """Worst, best or failed."""
    score: str
    """The score it was chosen by; may be empty."""
    tags: tuple[str, ...]
    """Tags of the exchange."""
    messages: tuple[MessageView, ...]
    """The conversation."""
    conversation: str
    """Heading of the conversation."""
    messages_note: str
    """What was left out of it; may be empty."""
    answers: tuple[AnswerView, ...]
    """Production, then the candidate."""
    diff_note: str
    """Whether the answers were compared word by word; may be empty."""
    judgments: Table | None
    """What every judge said in each order."""
    is_open: bool
    """Whether it is unfolded at first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExampleGroup:
    """Examples shown for one reason."""

    title: str
    """Heading."""
    intro: str
    """Why they are here."""
    examples: tuple[ExampleView, ...]
    """In order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateView:
    """Everything about one candidate."""

    anchor: str
    """Prefix of all ids in its section."""
    arm: str
    """Its name."""
    model: str
    """What answered."""
    badge: Badge
    """The verdict."""
    sentence: str
    """The decision in one sentence."""
    reasons: tuple[str, ...]
    """Most decisive first."""
    facts: tuple[Fact, ...]
    """Numbers of the first screen."""
    needed: str
    """Sample still needed; may be empty."""
    warnings: tuple[str, ...]
    """What limits the result."""
    criteria: tuple[CriterionView, ...]
    """Go/no-go rules."""
    has_noise: bool
    """Whether a noise floor is drawn into the criteria."""
    quality: QualityView
    """How good the answers are."""
    latency: MeasureView
    """How long they take."""
    errors: MeasureView
    """What fails."""
    cost: MeasureView
    """What it costs."""
    funnel: tuple[FunnelStep, ...]
    """From the export to scored pairs."""
    slices: tuple[Table, ...]
    """By attribute, worst first."""
    groups: tuple[ExampleGroup, ...]
    """Examples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProvenanceView:
    """How to repeat the run."""

    facts: tuple[Fact, ...]
    """Run, seed, dates, command."""
    versions: Table | None
    """Versions of what ran."""
    judges: Table | None
    """Judges with fingerprints and prompts."""
    prompts: Table | None
    """Prompt files and their hashes."""
    experiment: str
    """The experiment file as used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportView:
    """One page."""

    name: str
    """Name of the experiment."""
    title: str
    """Question the page answers."""
    subtitle: str
    """Production, requests, date."""
    facts: tuple[Fact, ...]
    """Numbers of the first screen that hold for all candidates."""
    warnings: tuple[str, ...]
    """What limits every result."""
    overview: Table | None
    """Candidates side by side; ``None`` when there is only one."""
    candidates: tuple[CandidateView, ...]
    """In the order of the experiment."""
    traffic: TrafficView
    """What was read."""
    noise: Table | None
    """Production against itself; ``None`` without a replica."""
    noise_note: str
    """What the noise floor says, or that there is none."""
    method: tuple[str, ...]
    """Paragraphs on how intervals and verdicts come about."""
    methods: Table | None
    """Estimator by metric."""
    glossary: tuple[Fact, ...]
    """Words used."""
    provenance: ProvenanceView
    """How to repeat the run."""
    footer: str
    """Version and schema."""
