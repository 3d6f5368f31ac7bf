"""A rollout that would go on, to be spoilt in one place per test."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from harness.config.rollout import Rollout
from harness.domain.decision import Bound, Criterion, CriterionResult, Decision, Outcome, Verdict
from harness.domain.estimate import Estimate
from harness.domain.rollout import Event, EventKind, RolloutState
from harness.rollout.evidence import (
    Assigned,
    Bounds,
    Conversations,
    PairCount,
    Recent,
    RolloutEvidence,
    Stage,
    Window,
)
from harness.rollout.history import start, state_of

POLICY = Rollout(name="swap", live="live.yaml", candidate="small", budget_usd=100.0)
PHASES = POLICY.steps
NAMES = tuple(phase.name for phase in PHASES)
BEGIN = datetime(2026, 3, 2, 8, tzinfo=UTC)
BAKED = BEGIN + timedelta(days=4)


def started(**changes) -> Event:
    return replace(start("r1", PHASES, at=BEGIN, actor="Ada", reason="cheaper"), **changes)


def history_up_to(phase: str, *, at: datetime = BEGIN) -> list[Event]:
    """A history that advanced to a phase, all at one moment."""
    events = [started(at=at)]
    for name in NAMES[1 : NAMES.index(phase) + 1]:
        events.append(event(len(events) + 1, EventKind.ADVANCED, phase=name, at=at))
    return events


def event(number: int, kind: EventKind, *, phase: str, at: datetime = BEGIN, actor: str = "controller", **changes):
    return Event(
        rollout_id="r1", number=number, kind=kind, phase=phase, at=at, actor=actor, reason="because", **changes
    )


def state_in(phase: str, **changes) -> RolloutState:
    """Running in a phase since the beginning."""
    return replace(state_of(history_up_to(phase), PHASES), **changes)


def approved(state: RolloutState, at: datetime = BAKED) -> RolloutState:
    return replace(state, approved_by="Grace", approved_at=at)


def bounds(value: float, width: float, n: int = 20_000) -> Bounds:
    level = POLICY.rollback.gate_level, POLICY.rollback.strict_level
    gate, strict = (
        Estimate(metric="m", value=value, low=value - w, high=value + w, level=at, looks="any", n=n)
        for at, w in zip(level, (width, 1.4 * width), strict=True)
    )
    return Bounds(gate=gate, strict=strict)


def result(metric: str, outcome: Outcome, *, low: float, high: float) -> CriterionResult:
    estimate = Estimate(metric=metric, value=(low + high) / 2, low=low, high=high, level=0.9, looks="any", n=10_000)
    return CriterionResult(
        criterion=Criterion(metric=metric, bound=Bound.BELOW, threshold=1.2),
        estimate=estimate,
        outcome=outcome,
        reason=f"{metric} is what it is.",
    )


def decision(verdict: Verdict, outcome: Outcome = Outcome.PASS, **changes) -> Decision:
    values = {
        "arm": "small",
        "verdict": verdict,
        "sentence": f"{verdict}.",
        "reasons": (),
        "results": (result("latency_p95_ratio", outcome, low=0.95, high=1.1),),
    }
    return Decision(**(values | changes))


def good_evidence(phase: str, *, at: datetime = BAKED, **changes) -> RolloutEvidence:
    """Evidence on which every phase passes, and nothing is missing."""
    place = next(item for item in PHASES if item.name == phase)
    share = place.share if place.kind.serves_users else 0.5
    values = {
        "at": at,
        "decisions": {phase: decision(Verdict.GO)},
        "pairs": PairCount(due=10_050, complete=10_000),
        "window": Window(
            candidate=Recent(requests=400, errors=4, p95_ms=900.0),
            control=Recent(requests=400, errors=4, p95_ms=900.0),
            baseline_error_rate=0.01,
            slow=4,
        ),
        "stages": (Stage(phase=phase, share=share, candidate=conversations(share), control=conversations(1 - share)),),
        "error_difference": bounds(0.0, 0.003),
        "latency_p95_ratio": bounds(1.0, 0.1),
        "assigned": (Assigned(name="conversations", taken=10_000, left=10_000, share=0.5),),
        "spend_usd": 10.0,
        "last_traffic": at,
    }
    return RolloutEvidence(**(values | changes))


def conversations(share: float) -> Conversations:
    n = round(400_000 * share)
    return Conversations(begun=n, failed=n // 100)
