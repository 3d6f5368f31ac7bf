"""What a running worker tells others: a snapshot of its state, and events that need somebody."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from harness.domain.decision import Verdict
from harness.domain.estimate import Estimate
from harness.models.breaker import BreakerState
from harness.pipeline.live.purses import Limit


class EventKind(StrEnum):
    """What can happen; the closed set used in metrics and alerts."""

    BREAKER_OPENED = "breaker_opened"
    BREAKER_CLOSED = "breaker_closed"
    BUDGET_EXHAUSTED = "budget_exhausted"
    CANDIDATE_STOPPED = "candidate_stopped"
    """Our key, permission or model name is wrong: an operator has to do something."""
    ERROR_SPIKE = "error_spike"
    LATENCY = "latency"
    DIVERGENCE = "divergence"
    QUOTA_GUARD = "quota_guard"
    KILL_SWITCH = "kill_switch"
    STORE_DOWN = "store_down"
    STORE_BACK = "store_back"
    JUDGING_FAILED = "judging_failed"
    INTAKE_ENDED = "intake_ended"
    DECIDED = "decided"
    """A verdict is new or another one than before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something happened."""

    kind: EventKind
    at: datetime
    message: str
    """For people; holds no prompt, answer or credential."""
    arm: str | None = None
    """``None`` when it is about all of them."""
    value: float | None = None
    """The figure that crossed its threshold, where there is one."""


OnEvent = Callable[[Event], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmState:
    """One candidate, or the replica, as the worker sees it."""

    arm: str
    role: str
    model: str
    outcomes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Status to reason (ErrorKind or SkipReason; ``""`` for completed) to the number of requests, in the store."""
    in_flight: int = 0
    breaker: BreakerState = BreakerState.CLOSED
    breaker_remaining_s: float = 0.0
    quota_remaining_s: float = 0.0
    """How long it rests because production was told to slow down."""
    stopped: str | None = None
    """Why it is not asked until an operator has done something."""
    spent_today_usd: float = 0.0
    daily_usd: float | None = None
    budget_exhausted: Limit | None = None
    """Whose money is spent, so that requests are skipped."""
    error_spike: str | None = None
    """How many of its last calls failed, while they are too many."""
    slow: str | None = None
    """How much slower than production's its last answers are, while that is too much."""
    diverging: str | None = None
    """How unlike production's its last answers are, while that is too much."""
    concurrency: int | None = None
    """Calls that its provider's limiter lets through at once; ``None`` before the first."""
    verdict: Verdict | None = None
    sentence: str | None = None
    n_needed: int | None = None
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    """Win rate, error rate difference and similarity, with bounds that hold at any look."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerState:
    """A worker at one moment; reading it waits for nothing."""

    run_id: str
    at: datetime
    started_at: datetime
    records: int = 0
    """Whole records read from the spool, ever."""
    endings: Mapping[str, int] = field(default_factory=dict)
    """What became of them: ``exchange``, ``duplicate``, or a SkipReason."""
    damaged_bytes: int = 0
    lag_bytes: int = 0
    """Bytes in the spool that have not been read, as of the last look at it."""
    exchanges: int = 0
    mirroring: bool = True
    """Whether the kill switch lets candidates be asked."""
    store_down_since: datetime | None = None
    intake_ended: bool = False
    """Whether the experiment takes no more."""
    arms: tuple[ArmState, ...] = ()
    judges_spent_today_usd: float = 0.0
    judges_daily_usd: float | None = None
    judges_exhausted: Limit | None = None
    """Whose money is spent, so that pairs are not judged."""
    judging_failing_since: datetime | None = None
    """Since when no judge could be asked; ``None`` while they can."""
    judging_failure: str | None = None
    """Why the last judging could not be done."""
    judging_errors_left: bool = False
    """Whether there are judgments that failed and were not made again."""
    looked_at: datetime | None = None
    """When estimates and decisions were last renewed."""
    decided_at: datetime | None = None
    reported_at: datetime | None = None
    stopping: bool = False
