"""The words of a rollout: what its phases, gates, checks and events are called, and what they mean."""

from collections.abc import Mapping

from harness.domain.rollout import Action, EventKind, Gate, PhaseKind, RolloutStatus
from harness.domain.rollout_report import ApprovalState, PhaseOutcome
from reports.glossary import WORDS
from reports.views import Badge

STATUS_BADGES: Mapping[RolloutStatus, Badge] = {
    RolloutStatus.RUNNING: Badge(word="RUNNING", tone="mark", icon="play"),
    RolloutStatus.HOLD: Badge(word="ON HOLD", tone="open", icon="hold"),
    RolloutStatus.PAUSED: Badge(word="PAUSED", tone="open", icon="pause"),
    RolloutStatus.COMPLETED: Badge(word="COMPLETED", tone="good", icon="check"),
    RolloutStatus.STOPPED: Badge(word="STOPPED", tone="bad", icon="cross"),
    RolloutStatus.ROLLED_BACK: Badge(word="ROLLED BACK", tone="bad", icon="cross"),
    RolloutStatus.EXPIRED: Badge(word="EXPIRED", tone="open", icon="dash"),
}
EVENT_BADGES: Mapping[EventKind, Badge] = {
    EventKind.STARTED: Badge(word="started", tone="none", icon="play"),
    EventKind.ADVANCED: Badge(word="advanced", tone="mark", icon="up"),
    EventKind.HELD: Badge(word="held", tone="open", icon="hold"),
    EventKind.RESUMED: Badge(word="resumed", tone="none", icon="play"),
    EventKind.PAUSED: Badge(word="paused", tone="open", icon="pause"),
    EventKind.APPROVED: Badge(word="approved", tone="good", icon="check"),
    EventKind.ROLLED_BACK: Badge(word="rolled back", tone="bad", icon="cross"),
    EventKind.STOPPED: Badge(word="stopped", tone="bad", icon="cross"),
    EventKind.EXPIRED: Badge(word="expired", tone="open", icon="dash"),
    EventKind.COMPLETED: Badge(word="completed", tone="good", icon="flag"),
}
OUTCOME_BADGES: Mapping[PhaseOutcome, Badge] = {
    PhaseOutcome.PASSED: Badge(word="passed", tone="good", icon="check"),
    PhaseOutcome.CURRENT: Badge(word="in force", tone="mark", icon="play"),
    PhaseOutcome.ENDED: Badge(word="ended here", tone="bad", icon="cross"),
    PhaseOutcome.NOT_REACHED: Badge(word="not reached", tone="none", icon="dash"),
}
APPROVAL_BADGES: Mapping[ApprovalState, Badge] = {
    ApprovalState.USED: Badge(word="used", tone="good", icon="check"),
    ApprovalState.VALID: Badge(word="valid", tone="good", icon="check"),
    ApprovalState.LAPSED: Badge(word="not used", tone="none", icon="dash"),
    ApprovalState.AWAITED: Badge(word="awaited", tone="open", icon="question"),
    ApprovalState.MOOT: Badge(word="no answer", tone="none", icon="dash"),
}
NO_OBJECTION = Badge(word="no objection", tone="good", icon="check")
ACTION_BADGES: Mapping[str, Badge] = {
    Action.ROLL_BACK: Badge(word="roll back", tone="bad", icon="cross"),
    Action.HOLD: Badge(word="hold", tone="open", icon="hold"),
    Action.WAIT: Badge(word="wait", tone="none", icon="dash"),
    Action.PAUSE: Badge(word="pause", tone="open", icon="pause"),
    Action.ASK_APPROVAL: Badge(word="ask people", tone="open", icon="question"),
    Action.ADVANCE: Badge(word="advance", tone="good", icon="up"),
    Action.EXPIRE: Badge(word="expire", tone="bad", icon="dash"),
}
"""What an objection calls for."""

CHECKS: Mapping[str, str] = {
    "breaker.severe": "Severe events",
    "breaker.spend": "Budget",
    "breaker.errors": "Errors of the last minutes",
    "breaker.latency": "Latency of the last minutes",
    "sequential.errors": "Failed conversations by count",
    "sequential.error_difference": "Difference of error rates",
    "sequential.latency": "Ratio of P95 latencies",
    "sequential.decision": "Decision on the shadow pairs",
    "validity.fresh": "Age of the evidence",
    "validity.sample_ratio": "Random assignment",
    "validity.completeness": "Sampled requests that became pairs",
    "validity.judges": "Health of the judges",
    "validity.traffic": "Traffic",
    "minimum.evidence": "Least evidence",
    "minimum.bake": "Bake time",
    "gate": "Gate",
    "slices": "Slices",
    "approval": "Approval",
    "time": "Time limit",
}
"""Names of checks in words."""

KINDS: Mapping[PhaseKind, str] = {
    PhaseKind.CALIBRATION: "production beside itself on {share} of the requests; no user sees anything",
    PhaseKind.SHADOW: "copies of {share} of the requests; no user sees an answer",
    PhaseKind.CANARY: "{share} of the users' conversations",
    PhaseKind.FULL: "{share} of the users' conversations, all but a holdback",
}
"""Whose requests the candidate gets."""

GATES: Mapping[Gate, str] = {
    Gate.CALIBRATED: "production does not differ from itself",
    Gate.SAFE: "nothing speaks against the candidate",
    Gate.REACHABLE: "every criterion is within reach",
    Gate.GO: "every criterion passes, no slice objects",
    Gate.SERVES_AS_WELL: "errors and P95 no worse than the control's",
}

_OWN: Mapping[str, str] = {
    "Actuator": "What carries a share out besides the gateway, such as a router or a feature flag.",
    "Approval": "A named person's agreement to the next phase, on the evidence of the present one; it lapses.",
    "Bake time": "How long a phase runs at least before its gate is looked at; holds and pauses do not count.",
    "Breaker": "A limit on the last minutes alone, for what is too bad to wait for a sequential test.",
    "Canary phase": "A phase in which the candidate answers a share of the conversations.",
    "Check": "One question asked of the evidence; it has no objection, or calls for something.",
    "Control": "Conversations answered by production, drawn at random at the same time: what the candidate's are "
    "compared with.",
    "Controller": "The program that looks at the evidence, decides by the rules fixed beforehand, and writes events.",
    "Event": "One entry of the history, which is only ever added to; the state follows from it alone.",
    "Evidence hash": "SHA-256 of everything a decision was made on.",
    "Gate": "What the evidence has to show before the next phase.",
    "Hold": "The evidence is not valid at the moment; the phase goes on by itself when the cause is gone.",
    "Holdback": "Conversations that stay with production even at the end, so that the candidate can still be compared.",
    "Mirrored share": "How many of 100 requests are copied to the candidate; users do not see its answers to copies.",
    "Pause": "The rollout waits for people.",
    "Phase": "One step of the rollout, with a share, a gate, a least time and a longest time.",
    "Roll back": "The candidate is taken from users; production answers everybody again.",
    "Roll-back test": "A sequential test that takes the candidate from users. A candidate like production is ever "
    "rolled back by one of them with at most the chance that they share.",
    "Served share": "How many of 100 conversations the candidate answers.",
    "Shadow phase": "A phase in which the candidate answers copies of requests and nobody sees its answers.",
    "Sequential test": "A test that may be looked at as often as one likes without losing its guarantee.",
}
_SHARED = (
    "Alpha", "Anytime-valid bound", "Attempt, ledger", "Candidate", "Criterion", "E-value", "Flagged slice",
    "GO, NO_GO, INCONCLUSIVE", "Interval", "Pair", "Points (pp)", "Production", "Slice",
)  # fmt: skip
_MEANINGS = {**{word: dict(WORDS)[word] for word in _SHARED}, **_OWN}
GLOSSARY: Mapping[str, str] = {word: _MEANINGS[word] for word in sorted(_MEANINGS, key=lambda w: (w.casefold(), w))}
"""Word to meaning, in the order of the alphabet."""

USED: Mapping[str, tuple[str, ...]] = {
    "ramp": ("Mirrored share", "Served share", "Hold", "Pause"),
    "phases": ("Phase", "Gate", "Bake time", "Approval"),
    "timeline": ("Event", "Check", "Breaker", "Sequential test", "Evidence hash"),
    "approvals": ("Approval", "Evidence hash"),
    "affected": ("Control", "Served share", "Points (pp)"),
    "alpha": ("Alpha", "Attempt, ledger", "Roll-back test", "E-value", "Anytime-valid bound"),
    "actions": ("Actuator", "Controller"),
}
"""By section of the page: the words it uses that need a meaning."""
