"""What the evidence calls for: a list of questions in a fixed order, of which the first that objects decides.

Hard breakers, sequential tests, validity, least evidence and bake, gate, slices, approval. What protects users comes
before what doubts the evidence, and that before what asks for more of it (the order of GrowthBook's ramp schedules).
What is not known never rolls back, and never lets a phase pass.
"""

from collections.abc import Callable
from datetime import datetime

from harness.config.rollout import Rollout
from harness.domain.rollout import Action, Check, PhaseKind, RolloutState, RolloutStatus, Ruling
from harness.rollout import gates, protection, validity
from harness.rollout.case import Case
from harness.rollout.evidence import RolloutEvidence

_WAITS_FOR_PEOPLE = "Paused: it waits for people."
_Question = Callable[[Case], Check]
_OF_USERS: tuple[_Question, ...] = (
    protection.errors_now, protection.latency_now,
    protection.error_count, protection.error_difference, protection.latency_ratio,
)  # fmt: skip
_OF_CANDIDATES: tuple[_Question, ...] = (protection.decided_against, gates.slices)
_QUESTIONS: tuple[_Question, ...] = (
    protection.severe, protection.spend, protection.errors_now, protection.latency_now,
    protection.error_count, protection.error_difference, protection.latency_ratio, protection.decided_against,
    validity.fresh, validity.sample_ratio, validity.completeness, validity.judges, validity.traffic,
    validity.enough, validity.baked,
    gates.gate,
    gates.slices,
    gates.approval,
)  # fmt: skip


def rule(state: RolloutState, evidence: RolloutEvidence, policy: Rollout, now: datetime) -> Ruling:
    """What is to be done now; the first check that objects decides, and all are listed for whoever reads it.

    A pause lets nothing but a roll back through, and an end lets nothing through.
    """
    if state.status.is_over:
        over = f"The rollout is over: {state.status}."
        return Ruling(action=Action.WAIT, reason=over, checks=(), made_on=state.number)
    case = Case(state=state, evidence=evidence, policy=policy, now=now)
    checks = tuple(question(case) for question in _QUESTIONS if _applies(question, case))
    action, reason = _first_objection(checks)
    if state.status is RolloutStatus.PAUSED and action is not Action.ROLL_BACK:
        action, reason = Action.ASK_APPROVAL if state.asks_approval else Action.PAUSE, _WAITS_FOR_PEOPLE
    elif action in {Action.WAIT, Action.HOLD, Action.PAUSE} and (late := gates.overtime(case)) is not None:
        checks, action, reason = (*checks, late), Action.EXPIRE, f"{late.sentence} {reason}"
    return Ruling(action=action, reason=reason, checks=checks, made_on=state.number)


def _first_objection(checks: tuple[Check, ...]) -> tuple[Action, str]:
    for check in checks:
        if check.speaks_for is None:
            continue
        slices = next((one for one in checks if one.name == "slices" and one.speaks_for is not None), None)
        if check.name == "gate" and check.speaks_for is Action.WAIT and slices is not None:
            # A slice that loses keeps a decision open, so the gate would wait for it for weeks and tell nobody.
            return slices.speaks_for or Action.HOLD, slices.sentence
        return check.speaks_for, check.sentence
    return Action.ADVANCE, " ".join(check.sentence for check in checks if check.name in {"gate", "approval"})


def _applies(question: _Question, case: Case) -> bool:
    """Nobody is hurt by a slow shadow, and production is not rolled back for differing from itself."""
    if question in _OF_USERS:
        return case.serves
    return question not in _OF_CANDIDATES or case.phase.kind is not PhaseKind.CALIBRATION
