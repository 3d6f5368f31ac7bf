"""Everything a report shows, as one value: rendering needs neither the store nor the network.

The pipeline builds an EvaluationReport; the ``reports`` package turns it into HTML, JSON, Markdown and JUnit.
All text in it is untrusted model output or user traffic and has to be escaped where it is shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from harness.domain.attempt import Attempt
from harness.domain.decision import Decision
from harness.domain.estimate import Estimate, Metric
from harness.domain.health import JudgeHealth
from harness.domain.json import Message
from harness.domain.judgment import Judgment
from harness.domain.observation import Observation
from harness.domain.run import IngestReport
from harness.domain.side_by_side import SideBySide
from harness.domain.slices import SlicePlan, SliceTest

REPORT_SCHEMA = 2


class Readers(StrEnum):
    """Whom a report is for."""

    INSIDE = "inside"
    """Those who may read what users and models wrote."""
    OUTSIDE = "outside"
    """Everybody else: figures, verdict, criteria and method, and no text, id, file name or address."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Funnel:
    """Every sampled request of one arm ends in exactly one of completed, failed, dropped, skipped."""

    sampled: int
    completed: int
    failed: Mapping[str, int] = field(default_factory=dict)
    """By ErrorKind."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    comparable: int = 0
    """Both sides completed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeReport:
    """One judge on one candidate: coverage, health and spend."""

    judge: str
    kind: str
    """Registry name: exact, similarity, pairwise, ..."""
    metric: str
    fingerprint: str
    model: str | None = None
    further_models: tuple[str, ...] = ()
    """Models it asks besides, such as the one that close pairs are escalated to."""
    prompt: str | None = None
    prompt_sha256: str | None = None
    pairs: int = 0
    """Comparable pairs the judge was given."""
    scored: int = 0
    unscored: Mapping[str, int] = field(default_factory=dict)
    """Pairs without a value, by UnscoredReason."""
    wins: int | None = None
    ties: int | None = None
    losses: int | None = None
    flips: int | None = None
    """Pairs whose two orders gave opposite winners."""
    both_orders: int | None = None
    first_slot_share: float | None = None
    """How often the answer shown first was preferred, ties as a half; 0.5 is unbiased."""
    cost_usd: float | None = None
    canaries_usd: float | None = None
    """Spent on pairs with a known answer: once for the run, whatever its candidates. ``None`` without a known price."""
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Distribution:
    """One quantity on both sides, thinned to at most a few hundred points for drawing."""

    metric: str
    title: str
    unit: str
    production: tuple[float, ...] = ()
    """Quantiles at ``probabilities``."""
    candidate: tuple[float, ...] = ()
    replica: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()
    log_scale: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceReport:
    """Estimates on the exchanges that share one value of one attribute."""

    attribute: str
    value: str
    n: int
    estimates: tuple[Estimate, ...]
    too_small: bool = False
    """Below the minimum for a rate; no estimate is shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One pair shown in full, side by side."""

    exchange_id: str
    why: str
    """The first reason it was picked for: ``worst``, ``failed``, ``slice``, ``judge``, ``flip``, ``label``,
    ``unscored``, ``best`` or ``unchanged``."""
    score: float | None
    score_metric: str
    messages: tuple[Message, ...]
    production: Observation
    candidate: Observation
    judgments: tuple[Judgment, ...] = ()
    tags: tuple[str, ...] = ()
    slices: Mapping[str, str] = field(default_factory=dict)
    """Slice attribute to the pair's value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CostReport:
    """What was spent, and what production traffic would cost a month on either side."""

    candidate_usd: float | None
    """Spent on this candidate's calls in this run."""
    unpriced_calls: int
    judges_usd: float | None
    production_per_1k_usd: float | None
    """Mean cost of 1,000 requests on production's side, over pairs with both costs known."""
    candidate_per_1k_usd: float | None
    requests_per_month: float | None
    requests_per_month_source: str
    """``configured`` or ``extrapolated from the export's time span``, or why it is unknown."""
    production_month_usd: float | None
    candidate_month_usd: float | None
    candidate_month_low_usd: float | None = None
    candidate_month_high_usd: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoppingReport:
    """How much of the sample was asked, and what the rest would have cost."""

    reason: str | None
    """Why less than all was asked: ``settled``, ``out_of_reach``, ``budget``, ``time_limit``; ``None`` for all."""
    asked: int
    sampled: int
    saved_usd: float | None
    """Candidate and judges on the rest, at what they cost so far; ``None`` when a price is unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeOnLabels:
    """How one judge and people see the same pairs."""

    judge: str
    n: int
    """Labelled pairs the judge scored."""
    accuracy: Estimate | None
    """Share of the same verdict (win, tie, loss)."""
    baseline: float | None
    """What always giving people's most common verdict would reach."""
    kappa: Estimate | None
    bias: Estimate | None
    """People's mean score less the judge's, over pairs drawn at random: below zero it favours the candidate."""
    labels: tuple[str, ...] = ("loss", "tie", "win")
    confusion: tuple[tuple[int, ...], ...] = ()
    """Counts by people's verdict (rows) and the judge's (columns)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PeopleReport:
    """What people said about the pairs of one candidate."""

    labelled: int
    """Pairs with at least one verdict."""
    drawn: int
    """Of them, pairs that a known random design drew; only these correct anything."""
    labellers: int
    wins: int
    ties: int
    losses: int
    """By the mean of all labellers of a pair."""
    designs: tuple[str, ...] = ()
    judges: tuple[JudgeOnLabels, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateReport:
    """Everything about one candidate."""

    arm: str
    model: str
    """What answered: the litellm name, or the file of recorded responses."""
    decision: Decision
    estimates: tuple[Estimate, ...]
    funnel: Funnel
    judges: tuple[JudgeReport, ...]
    errors: Mapping[str, tuple[int, int]]
    """ErrorKind to (production's count, candidate's count) over the sampled requests."""
    distributions: tuple[Distribution, ...]
    cost: CostReport
    slices: tuple[SliceReport, ...]
    examples: tuple[Example, ...]
    dropped_params: Mapping[str, int] = field(default_factory=dict)
    """Parameters the provider does not take, with the number of requests that lost them."""
    health: tuple[JudgeHealth, ...] = ()
    """Of every judge that states a preference or asks a model."""
    people: PeopleReport | None = None
    """``None`` when nobody labelled a pair."""
    slice_tests: tuple[SliceTest, ...] = ()
    slice_plan: SlicePlan | None = None
    attempts: tuple[Attempt, ...] = ()
    """Every attempt of the candidate's family that is in the store, this one included."""
    stopping: StoppingReport | None = None
    answered_models: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseFloor:
    """What production does to itself: the replica arm against production's recorded answers."""

    n: int
    share: float
    estimates: tuple[Estimate, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationReport:
    """One run's report."""

    run_id: str
    name: str
    harness_version: str
    created_at: datetime
    decided_at: datetime
    metrics: Mapping[str, Metric]
    """Every metric named by an estimate, a criterion or a slice."""
    production_models: Mapping[str, int]
    ingest: IngestReport
    candidates: tuple[CandidateReport, ...]
    noise_floor: NoiseFloor | None
    experiment_yaml: str
    """The experiment as used, without secrets."""
    seed: int
    versions: Mapping[str, str]
    prompts: Mapping[str, str]
    """Prompt name to sha256."""
    stop_reason: str | None = None
    command: str = ""
    schema: int = REPORT_SCHEMA
    warnings: tuple[str, ...] = ()
    show_text: bool = True
    """Whether messages, answers and judges' words may appear in any rendering (``report.show_text``)."""
    readers: Readers = Readers.INSIDE
    """Whom it is for; everything else is gone already from one for readers outside."""
    side_by_side: SideBySide | None = None
    """``None`` with fewer than two candidates, and in reports of before they were compared."""
