"""Everything the report of a rollout shows, as one value: rendering needs neither the store nor the network.

``harness.rollout.reporting`` builds a RolloutReport from the history; the ``reports`` package turns it into a page and
into JSON. Numbers are kept as they were recorded, and what was not recorded is ``None``. Names, reasons and sentences
are untrusted text and have to be escaped where they are shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from harness.domain.json import Json
from harness.domain.rollout import EventKind, Phase, RolloutStatus

ROLLOUT_REPORT_SCHEMA = 1


class PhaseOutcome(StrEnum):
    """What became of a phase."""

    PASSED = "passed"
    CURRENT = "current"
    ENDED = "ended"
    """The rollout ended in it."""
    NOT_REACHED = "not_reached"


class ApprovalState(StrEnum):
    """What became of somebody's agreement, or of the wish for it."""

    USED = "used"
    """The next phase began on it."""
    VALID = "valid"
    """Given, and not used yet."""
    LAPSED = "lapsed"
    """Given, and too old when it was looked at; or the rollout ended first."""
    AWAITED = "awaited"
    """Asked for, and nobody has answered."""
    MOOT = "moot"
    """Asked for, and the rollout ended first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckEntry:
    """One question as the history keeps it."""

    name: str
    speaks_for: str | None
    """The action it called for; ``None`` when it had no objection."""
    sentence: str
    figures: Mapping[str, int | float] = field(default_factory=dict)
    """As they were recorded: 3 stays 3, so that the history can be hashed again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionEntry:
    """The decision on the shadow pairs, as it was when the event was written."""

    verdict: str | None
    sentence: str | None
    run_id: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One event with what it rested on, and where the rollout stood before and after it."""

    number: int
    kind: EventKind
    at: datetime
    actor: str
    reason: str
    phase_before: str | None
    """The phase its checks were made in; ``None`` for the start."""
    phase: str
    """The phase in force after it, as it was recorded."""
    status: RolloutStatus
    """After it."""
    served_share: float
    """After it."""
    mirror_rate: float | None
    """After it; ``None`` where the live experiment's own rate holds."""
    changed: bool
    """Whether it changed anything: what follows an end does not, nor does a program that ends people's pause."""
    checks: tuple[CheckEntry, ...] = ()
    decision: DecisionEntry | None = None
    spend_usd: float | None = None
    evidence_sha256: str | None = None
    configuration_sha256: str | None = None
    asks: str | None = None
    """What a pause asks people for, such as ``approval``."""
    evidence: Mapping[str, Json] = field(default_factory=dict)
    """What was kept with it, as it was recorded; without the checks where those above say all of them."""

    @property
    def objections(self) -> tuple[CheckEntry, ...]:
        """Checks that called for something, in the order in which they were asked: the first one decided."""
        return tuple(check for check in self.checks if check.speaks_for is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseEntry:
    """One phase as it was planned, and as it went."""

    phase: Phase
    outcome: PhaseOutcome
    entered_at: datetime | None = None
    entered_by: int | None = None
    """Number of the event it began with."""
    left_at: datetime | None = None
    left_by: int | None = None
    """Number of the event it ended with."""
    ran_s: float | None = None
    """Time in it without holds and pauses."""
    held_s: float = 0.0
    holds: int = 0
    paused_s: float = 0.0
    pauses: int = 0
    evidence_n: int | None = None
    """Pairs, or conversations per arm, when they were last recorded in it."""
    sentence: str | None = None
    """What let it pass or ended it: the gate's answer, else the event's reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A time in which nothing changed: same phase, same standing, same shares."""

    begin: datetime
    end: datetime
    phase: str
    status: RolloutStatus
    served_share: float
    mirror_rate: float | None
    """``None`` where the live experiment's own rate holds, or nothing is mirrored for the rollout."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ApprovalEntry:
    """One time that people were asked, or agreed without being asked."""

    phase: str
    state: ApprovalState
    asked_at: datetime | None
    asked_by: int | None
    """Number of the event that asked."""
    evidence_sha256: str | None
    """Of the evidence they were asked on."""
    approved_at: datetime | None = None
    approved_number: int | None = None
    approved_by: str | None = None
    reason: str | None = None
    used_by: int | None = None
    """Number of the event that began the next phase on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmCount:
    """One arm's conversations in one phase; a conversation failed when one of its requests did."""

    begun: int
    failed: int
    failed_share: float | None
    """``None`` when none was begun."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AffectedEntry:
    """Whose conversations were touched in one phase that serves users, as last recorded."""

    phase: str
    candidate: ArmCount | None
    control: ArmCount | None
    difference: float | None
    """The candidate's share of failed conversations less the control's."""
    number: int | None
    """Of the event that recorded it; ``None`` when it is what was collected last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpendEntry:
    """What was spent when a phase ended, or as far as is known in it."""

    phase: str
    total_usd: float
    """Since the start of the rollout."""
    phase_usd: float | None
    """In this phase; ``None`` when what was spent before it is not recorded."""
    number: int | None
    """Of the event that recorded it; ``None`` when it is what was collected last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlphaTest:
    """What one sequential test may spend, and how far its evidence had gone when it was last recorded."""

    name: str
    alpha: float | None
    check: CheckEntry | None
    """Its last answer."""
    number: int | None
    """Of the event with that answer; ``None`` when it is what was collected last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlphaLedger:
    """Chances of doing a good candidate wrong, and the other way round, all accepted beforehand."""

    attempt: int | None
    attempt_alpha: float | None
    """What the roll-back tests of this attempt share."""
    configured_alpha: float
    """What they would share at a first attempt."""
    gate_alpha: float
    """Of saying `serves_as_well` of a candidate at a margin."""
    sample_ratio_alpha: float
    """Of ever doubting an assignment that works."""
    tests: tuple[AlphaTest, ...]
    tests_alpha: float | None
    """What they may spend together, as it was recorded for each."""
    changes: int
    """Times that the recorded amounts differ from those recorded before; more than 0 needs an explanation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionEntry:
    """Something that was done besides the history: a hook, an actuator, an alert."""

    number: int
    """Of the event it belongs to."""
    name: str
    begun_at: datetime | None
    done_at: datetime | None
    outcome: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PairLink:
    """One pair in the report of a run."""

    anchor: str
    """Its id in that page."""
    title: str
    """What it is, in a few words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLink:
    """Where the report of a run is, seen from the folder of this one."""

    run_id: str
    href: str
    """Relative path, or an address that begins with ``https://`` or ``http://``."""
    pairs: tuple[PairLink, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Halt:
    """The candidate was taken away from users before that was recorded."""

    at: datetime
    reason: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutReport:
    """One rollout, as its history tells it."""

    rollout_id: str
    name: str
    live: str
    candidate: str
    fingerprint: str
    """Of the candidate's artefact: everything that decides what it answers."""
    configuration: Mapping[str, Json]
    configuration_sha256: str
    started_at: datetime
    at: datetime
    """When it was looked at; what goes on has gone on until then."""
    status: RolloutStatus
    number: int
    """Of the last event."""
    phase: str
    """The phase in force, or the one it ended in."""
    since: datetime
    """When the present standing began."""
    served_share: float
    """Of the conversations, that the candidate serves now."""
    mirror_rate: float | None
    """Of the requests, mirrored now; ``None`` where the live experiment's own rate holds."""
    why_not_served: str | None
    """Why the candidate serves nobody although the history gives it users; ``None`` when that is not so."""
    asks_approval: bool
    people: tuple[str, ...]
    """Who may approve; anybody who gives a name when empty."""
    approval_valid_s: float
    automatic: bool
    """Whether the controller may roll back by itself."""
    budget_usd: float | None
    spend_usd: float | None
    spend_share: float | None
    """Of the budget."""
    history_sha256: str
    """Of all events as canonical JSON."""
    configuration_matches: int
    """Events that recorded the configuration's hash as it is."""
    configuration_differs: tuple[int, ...]
    """Numbers of events that recorded another hash."""
    fingerprint_differs: tuple[int, ...]
    """Numbers of events that recorded another fingerprint of the candidate."""
    phases: tuple[PhaseEntry, ...]
    entries: tuple[Entry, ...]
    """Every event, oldest first."""
    stretches: tuple[Stretch, ...]
    approvals: tuple[ApprovalEntry, ...]
    affected: tuple[AffectedEntry, ...]
    candidate_total: ArmCount | None
    """The candidate's conversations in all phases."""
    control_total: ArmCount | None
    spend: tuple[SpendEntry, ...]
    alpha: AlphaLedger
    actions: tuple[ActionEntry, ...]
    runs: tuple[RunLink, ...] = ()
    halt: Halt | None = None
    latest: tuple[CheckEntry, ...] = ()
    """What the evidence said when it was last looked at, whether or not an event came of it."""
    latest_at: datetime | None = None
    schema: int = ROLLOUT_REPORT_SCHEMA
    harness_version: str = ""
