"""Two runs held against each other: what changed, in result and configuration, and whether figures may be compared."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from harness.domain.decision import Bound, Outcome, Verdict
from harness.domain.estimate import Unit
from harness.domain.report import Readers

COMPARISON_SCHEMA = 1


class Intervals(StrEnum):
    """How the intervals of two runs lie."""

    APART = "apart"
    """They share no value: more than chance lies between the two."""
    OVERLAP = "overlap"
    UNKNOWN = "unknown"
    """One of the two has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hindrance:
    """Why figures of the two cannot be held against each other."""

    kind: str
    """``experiment``, ``production``, ``traffic``, ``judge`` or ``readers``."""
    sentence: str
    metrics: tuple[str, ...] = ()
    """Metrics it concerns; empty for all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedSide:
    """A criterion as one of the two runs has it."""

    bound: Bound
    threshold: float
    required: bool
    outcome: Outcome
    value: float | None
    low: float | None
    """Of the bounds that decide."""
    high: float | None
    level: float
    looks: str
    n: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedCriterion:
    """One criterion in both runs."""

    metric: str
    title: str
    unit: Unit
    before: ComparedSide | None
    """``None`` when that run has no such criterion."""
    after: ComparedSide | None
    difference: float | None
    """After less before; ``None`` when either is not known."""
    intervals: Intervals
    outcome_changed: bool
    rule_changed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedCandidate:
    """One candidate in both runs."""

    arm: str
    arm_before: str | None
    """Its name in the earlier run, where it is another one; ``None`` when it was not there."""
    present_after: bool
    """Whether the later run has it."""
    verdict_before: Verdict | None
    verdict_after: Verdict | None
    sentence_before: str
    sentence_after: str
    pairs_before: int | None
    """Comparable pairs."""
    pairs_after: int | None
    candidate_per_1k_before_usd: float | None
    candidate_per_1k_after_usd: float | None
    criteria: tuple[ComparedCriterion, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Something that is set, or versioned, differently."""

    area: str
    """``run``, ``traffic``, ``version``, ``prompt``, ``judge`` or ``candidate``."""
    name: str
    before: str
    """Empty when it was not there."""
    after: str
    """Empty when it is gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangedLine:
    """One line of the difference between two experiment files."""

    kind: str
    """``kept``, ``removed``, ``added`` or ``gap`` (lines in between that did not change)."""
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedRun:
    """Which run one side is."""

    run_id: str
    name: str
    decided_at: datetime
    verdict: Verdict
    production_models: tuple[str, ...]
    readers: Readers
    report_sha256: str = ""
    """Hash of its ``report.json`` where it is published, so that a page about an older one is known; else empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunComparison:
    """Two runs held against each other."""

    before: ComparedRun
    after: ComparedRun
    hindrances: tuple[Hindrance, ...]
    """Empty when all figures can be compared."""
    candidates: tuple[ComparedCandidate, ...]
    changes: tuple[Change, ...]
    experiment: tuple[ChangedLine, ...]
    """Difference of the experiment files; empty when they are equal."""
    experiment_cut: bool = False
    """Whether the difference is longer than what is kept here."""
    schema: int = COMPARISON_SCHEMA

    @property
    def comparable(self) -> bool:
        """Whether all figures can be held against each other."""
        return not self.hindrances
