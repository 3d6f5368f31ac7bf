"""The page as a value: the template gets one ReportView and computes nothing.

Every field is documented, and a test holds that. Text in the fields is still untrusted: the template environment makes
it visible and escapes it.
"""

from dataclasses import dataclass

from reports.views import Badge, Fact, FunnelStep, Table, TrafficView
from reports.views_charts import ChartView, StackPart
from reports.views_examples import ExamplesView
from reports.views_forest import ForestView
from reports.views_glance import MonthView, RiskView
from reports.views_side_by_side import SideBySideView
from reports.views_strips import StripView
from reports.views_trust import JudgeHealthView, ObjectionView, PeopleView, RatesView, SureView


@dataclass(frozen=True, kw_only=True, slots=True)
class CriterionView:
    """One go/no-go rule held against what was measured."""

    anchor: str
    """Id of its row among the criteria."""
    title: str
    """The metric."""
    help: str
    """The metric in one sentence; may be empty."""
    value: str
    """Measured value."""
    claim: str
    """The bound the outcome rests on, with its confidence and at how many looks it holds; empty when there is none."""
    bound: str
    """The same as short as the first screen needs it; empty when there is none."""
    bounds: str
    """Both bounds; empty when there are none."""
    method: str
    """Name of the estimator; empty when nothing was measured."""
    wider: str
    """The bounds a fail needs, where they differ and it has not come to one; empty otherwise."""
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
    objection: ObjectionView | None
    """Why its figures do not count; ``None`` when they do."""
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
    rates: RatesView | None
    """The win rate in every way of counting; ``None`` when it is not known in any."""
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
    """Estimates on quality besides win rates; ``None`` when there are none."""
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
class SlicesView:
    """Parts of the traffic on their own."""

    forests: tuple[ForestView, ...]
    """Intervals of all slices against each criterion, where the candidate loses first."""
    tests: Table | None
    """Slices held against the criteria, flagged ones first; ``None`` when none was tested."""
    notes: tuple[str, ...]
    """How many were tested and what that means; what was left out."""
    tables: tuple[Table, ...]
    """Measures by attribute."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SectionView:
    """One section of a candidate's part, for the contents."""

    title: str
    """Its heading, short."""
    anchor: str
    """Id to link to."""


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
    objections: tuple[ObjectionView, ...]
    """What speaks against the decision as a whole."""
    objections_lead: str
    """Whether that is what keeps it from a GO, or comes on top of a failed rule."""
    objections_first: bool
    """Whether they are more decisive than the reasons."""
    ruled: str
    """Who decided, when, and by which rules."""
    risk: RiskView | None
    """The biggest risk of taking over; ``None`` when nothing required was measured."""
    month: MonthView
    """What a month would cost."""
    reasons: tuple[str, ...]
    """Why it is no GO, most decisive first: of required rules, objections to the whole left out."""
    facts: tuple[Fact, ...]
    """Numbers of the first screen."""
    sure: SureView | None
    """How sure the decision is; ``None`` when its terms are not known."""
    needed: str
    """Sample still needed, or why more would not help; may be empty."""
    warnings: tuple[str, ...]
    """What limits the result."""
    sections: tuple[SectionView, ...]
    """Sections of this part, in order."""
    criteria: tuple[CriterionView, ...]
    """Go/no-go rules."""
    criteria_note: str
    """How to read the drawings, as far as these need it."""
    glance_note: str
    """The same for the first screen, where there is little room."""
    quality: QualityView
    """How good the answers are."""
    noise: Table | None
    """Candidate and production asked again beside each other; ``None`` without a replica."""
    noise_note: str
    """What the noise floor says, or that there is none."""
    judges: tuple[JudgeHealthView, ...]
    """How far judges can be believed."""
    judges_note: str
    """What stands in place of judges; empty when there are some."""
    people: PeopleView
    """What people said."""
    latency: MeasureView
    """How long they take."""
    errors: MeasureView
    """What fails."""
    cost: MeasureView
    """What it costs."""
    funnel: tuple[FunnelStep, ...]
    """From the export to scored pairs."""
    slices: SlicesView
    """By attribute, worst first."""
    attempts: Table | None
    """The ledger of the candidate's family; ``None`` when none is entered."""
    examples: ExamplesView
    """Pairs in full."""


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
    """Verdicts and criteria, candidates by column; ``None`` when there is only one."""
    side_by_side: SideBySideView | None
    """Candidates held against each other; ``None`` when they were not."""
    candidates: tuple[CandidateView, ...]
    """In the order of the experiment."""
    traffic: TrafficView
    """What was read."""
    method: tuple[str, ...]
    """Paragraphs on how intervals and verdicts come about."""
    methods: Table | None
    """Estimator by metric."""
    glossary: tuple[tuple[str, Fact], ...]
    """Words used, each with the id of its entry where it is linked to."""
    provenance: ProvenanceView
    """How to repeat the run."""
    footer: str
    """Version and schema."""
