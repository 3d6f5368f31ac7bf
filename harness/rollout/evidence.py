"""What a ruling looks at: everything known of a rollout at one moment. What is not known is ``None`` or absent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from harness.domain.decision import Decision
from harness.domain.estimate import Estimate
from harness.domain.health import JudgeHealth
from harness.domain.slices import SliceTest


@dataclass(frozen=True, kw_only=True, slots=True)
class Recent:
    """One arm's requests in the last minutes."""

    requests: int
    errors: int = 0
    p95_ms: float | None = None
    """Failed requests count as infinitely slow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Both arms in the same last minutes: what hard breakers look at."""

    candidate: Recent
    control: Recent
    baseline_error_rate: float | None = None
    """Production's usual share of failed requests, over a day or more."""
    slow: int | None = None
    """The candidate's requests slower than the breaker's multiple of the control's P95, failed ones among them.

    More than 5 % of them is the same as a P95 beyond that multiple, and a count can be told from chance where the
    P95 of a few requests is simply the slowest of them.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversations:
    """One arm's conversations: the unit of assignment, so the unit of evidence."""

    begun: int
    failed: int = 0
    """Those with at least one failed request."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """The conversations that began in one phase that serves users, all under the same assignment."""

    phase: str
    share: float
    """Chance that a conversation counted here is the candidate's: its share of candidate and control together."""
    candidate: Conversations
    control: Conversations


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """One difference between the arms, with the bounds that promise and the bounds that condemn."""

    gate: Estimate
    """One-sided on either end at the gate's alpha."""
    strict: Estimate
    """The same at the alpha of one roll back test."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Assigned:
    """How many came out on either side of a random assignment."""

    name: str
    taken: int
    left: int
    share: float
    """Chance of being taken; 0 and 1 cannot be tested."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairCount:
    """Sampled requests that should have become pairs by now, and those that did."""

    due: int
    """Ended in any way, or past their deadline; what is in flight is not due."""
    complete: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutEvidence:
    """Everything a ruling is made on."""

    at: datetime
    """When it was collected."""
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    """Phase to the decision on the shadow pairs up to and including it; in the calibration, on production's own."""
    pairs: PairCount | None = None
    """Shadow pairs the decision rests on."""
    window: Window | None = None
    stages: tuple[Stage, ...] = ()
    """Phases that serve users, in order, up to the present one."""
    error_difference: Bounds | None = None
    """Candidate's less control's share of failed conversations, of those that began in this phase: pooled over phases,
    one that fails under load would hide behind the light ones."""
    latency_p95_ratio: Bounds | None = None
    """Candidate's P95 over control's, of the same conversations."""
    assigned: tuple[Assigned, ...] = ()
    """Every random assignment of the present phase."""
    judges: tuple[JudgeHealth, ...] = ()
    flagged: tuple[SliceTest, ...] = ()
    """Slices on the wrong side of a criterion when all are considered together."""
    spend_usd: float | None = None
    severe: int = 0
    """Events that end a rollout by themselves: a leak, a harmful answer."""
    last_traffic: datetime | None = None

    def stage(self, phase: str) -> Stage | None:
        """The conversations that began in a phase."""
        return next((stage for stage in self.stages if stage.phase == phase), None)
