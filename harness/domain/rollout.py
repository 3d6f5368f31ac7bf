"""The gradual rollout: its phases, what is asked of the evidence in each, and the history it leaves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from harness.domain.json import Json


class PhaseKind(StrEnum):
    """Whose requests the candidate gets, and who sees its answers."""

    CALIBRATION = "calibration"
    """Production against itself; nobody sees anything."""
    SHADOW = "shadow"
    """Copies of a share of the requests; nobody sees the answers."""
    CANARY = "canary"
    """A share of the conversations is served by the candidate."""
    FULL = "full"
    """Every conversation but a holdback is served by the candidate."""

    @property
    def serves_users(self) -> bool:
        """Whether users see the candidate's answers."""
        return self in {PhaseKind.CANARY, PhaseKind.FULL}


class Gate(StrEnum):
    """What the evidence must show before the next phase."""

    CALIBRATED = "calibrated"
    """Production does not differ from itself on any criterion."""
    SAFE = "safe"
    """Nothing speaks against the candidate."""
    REACHABLE = "reachable"
    """As `safe`, and every criterion can probably be settled within the requests of the largest shadow phase."""
    GO = "go"
    """Every criterion passes and no slice objects."""
    SERVES_AS_WELL = "serves_as_well"
    """Errors and P95 of served conversations are shown to be no worse than the control's by their margins."""


class WhenInconclusive(StrEnum):
    """What happens when a phase has its evidence and its time, and its gate says neither yes nor no."""

    WAIT = "wait"
    """Go on in the phase, at any number of looks, up to its time limit."""
    HOLD = "hold"
    """As `wait`, and say so; it goes on by itself when the evidence does."""
    ASK = "ask"
    """Pause for people."""


class RolloutStatus(StrEnum):
    """Where a rollout stands."""

    RUNNING = "running"
    HOLD = "hold"
    """The evidence is not valid at the moment; goes on by itself when its cause has gone."""
    PAUSED = "paused"
    """Waits for people."""
    COMPLETED = "completed"
    STOPPED = "stopped"
    """Ended before users saw the candidate."""
    ROLLED_BACK = "rolled_back"
    """Ended after users saw it; production serves everybody again."""
    EXPIRED = "expired"
    """Ended at its time limit with too little evidence; production serves everybody."""

    @property
    def is_over(self) -> bool:
        """Whether nothing follows."""
        return self not in {RolloutStatus.RUNNING, RolloutStatus.HOLD, RolloutStatus.PAUSED}


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """One step of the gradual rollout."""

    name: str
    kind: PhaseKind
    share: float
    """Of the requests that are mirrored, or of the conversations that are served by the candidate; 0 to 1."""
    gate: Gate
    min_pairs: int
    """Evidence before the gate is looked at: pairs, or conversations per arm where users are served."""
    min_bake_s: float
    """Time before the gate is looked at."""
    max_s: float
    """Time after which a phase whose gate is still not passed ends the rollout as expired."""
    when_inconclusive: WhenInconclusive = WhenInconclusive.WAIT
    ask_after_s: float = 72 * 3600.0
    """How long the phase may stay inconclusive, with `ask`, or on hold for a slice before people are asked; again from
    when they resume."""
    approval: bool = False
    """Whether a named person has to agree before the next phase."""


class Action(StrEnum):
    """What the evidence calls for."""

    ROLL_BACK = "roll_back"
    """To production, at once; in a phase without users, stop."""
    HOLD = "hold"
    WAIT = "wait"
    PAUSE = "pause"
    ASK_APPROVAL = "ask_approval"
    ADVANCE = "advance"
    EXPIRE = "expire"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One question that was asked of the evidence, and its answer."""

    name: str
    """``breaker.errors``, ``breaker.spend``, ``sequential.errors``, ``validity.sample_ratio``, ``gate`` and so on."""
    speaks_for: Action | None
    """The action it calls for; ``None`` when there is nothing to say against going on."""
    sentence: str
    """The answer in one plain sentence with the numbers."""
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ruling:
    """What is to be done now, and every check that was made, in the order in which they were asked."""

    action: Action
    reason: str
    checks: tuple[Check, ...]
    made_on: int = 0
    """Number of the last event of the state it was made on; it leads to nothing on any other."""


class EventKind(StrEnum):
    """What happened to a rollout; the history is made of these alone."""

    STARTED = "started"
    ADVANCED = "advanced"
    HELD = "held"
    RESUMED = "resumed"
    PAUSED = "paused"
    APPROVED = "approved"
    ROLLED_BACK = "rolled_back"
    STOPPED = "stopped"
    EXPIRED = "expired"
    COMPLETED = "completed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One entry of the append-only history.

    ``(rollout_id, number)`` is unique in the store: of two controllers that act on the same state, one fails to append.
    """

    rollout_id: str
    number: int
    """From 1, without gaps."""
    kind: EventKind
    phase: str
    """The phase that is in force after the event."""
    at: datetime
    actor: str
    """The person who did it, or ``controller``."""
    reason: str
    evidence: Mapping[str, Json] = field(default_factory=dict)
    """The figures it was done on, with hashes of evidence and configuration, and the alpha ledger."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutState:
    """Where a rollout stands; a function of its history alone."""

    rollout_id: str
    status: RolloutStatus
    phase: Phase
    number: int
    """Of the last event."""
    phase_since: datetime
    """When the phase began; holds and pauses do not count for the bake time, so it moves on by them."""
    since: datetime
    """Of the last event."""
    asked_since: datetime
    """When the phase began, or when people last let it go on: they are not asked again at once."""
    asks_approval: bool = False
    """Whether it is paused for somebody's agreement, and not by somebody."""
    approved_by: str | None = None
    """Who agreed that the next phase may begin; of this phase only."""
    approved_at: datetime | None = None

    def in_phase_s(self, now: datetime) -> float:
        """Seconds the phase has run, without holds and pauses."""
        until = now if self.status is RolloutStatus.RUNNING else self.since
        return max((until - self.phase_since).total_seconds(), 0.0)

    @property
    def served_share(self) -> float:
        """The share of conversations the candidate serves now; 0 unless users are meant to see it and may."""
        if self.status.is_over and self.status is not RolloutStatus.COMPLETED:
            return 0.0
        return self.phase.share if self.phase.kind.serves_users else 0.0

    @property
    def mirror_rate(self) -> float:
        """The share of the requests that is mirrored now; below 0 where the live experiment's own rate holds."""
        return -1.0 if self.status.is_over or self.phase.kind.serves_users else self.phase.share
