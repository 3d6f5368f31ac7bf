"""Runs as they lie published: the small value beside each report, from which the index is built.

Whoever may write to the place may write these files too, so every text and number in one that was read is untrusted.
"""

from dataclasses import dataclass, field
from datetime import datetime

from harness.domain.decision import Bound, Outcome, Verdict
from harness.domain.estimate import Unit
from harness.domain.report import Readers

PUBLISHED_SCHEMA = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedCriterion:
    """One criterion of one candidate, with the bounds that decided."""

    metric: str
    title: str
    unit: Unit
    bound: Bound
    threshold: float
    required: bool
    outcome: Outcome
    value: float | None
    low: float | None
    high: float | None
    level: float
    looks: str
    n: int
    """Pairs used."""
    basis: str
    """Hash of production's models and the judge behind the metric: figures of another basis cannot be compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedCandidate:
    """One candidate's decision."""

    arm: str
    model: str
    verdict: Verdict
    sentence: str
    comparable: int
    """Pairs in which both sides completed."""
    candidate_per_1k_usd: float | None
    production_per_1k_usd: float | None
    criteria: tuple[PublishedCriterion, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedFile:
    """One file of a published run."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedRun:
    """One run as it was published; its file is written last, so that a run that has one is complete."""

    run_id: str
    name: str
    """Of the experiment."""
    fingerprint: str
    """Hash of what makes it this run: id, experiment, seed and when it began. Going on with the run keeps it."""
    created_at: datetime
    decided_at: datetime
    harness_version: str
    readers: Readers
    verdict: Verdict
    """GO only when every candidate is GO, NO_GO as soon as one is."""
    production_models: tuple[str, ...]
    sampled: int
    candidates: tuple[PublishedCandidate, ...]
    files: tuple[PublishedFile, ...]
    schema: int = PUBLISHED_SCHEMA


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedComparison:
    """A page that holds a run against the one before it."""

    before: str
    """Run id."""
    after: str
    """Run id."""
    page: str
    """Where the page is, seen from the index."""
    comparable: bool
    """Whether the figures of the two can be held against each other."""
    hindrances: tuple[str, ...] = ()
    """Kinds of what keeps them from it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """A folder that looks like a published run and is not used, or not in full."""

    folder: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedIndex:
    """Everything that is published in one place."""

    runs: tuple[PublishedRun, ...]
    """Newest decision first."""
    comparisons: tuple[PublishedComparison, ...] = ()
    left_out: tuple[LeftOut, ...] = field(default_factory=tuple)
    schema: int = PUBLISHED_SCHEMA
