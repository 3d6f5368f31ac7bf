"""From events to the state, and from rulings and people to the one event that follows; pure.

The state is a fold of the events alone, so every controller that reads the same history stands at the same place.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta

from harness.domain.json import Json
from harness.domain.rollout import Action, Event, EventKind, Phase, RolloutState, RolloutStatus, Ruling
from harness.errors import InfrastructureError, InputError

CONTROLLER = "controller"
_APPROVAL: dict[str, Json] = {"asks": "approval"}
_ENDS: Mapping[EventKind, RolloutStatus] = {
    EventKind.ROLLED_BACK: RolloutStatus.ROLLED_BACK,
    EventKind.STOPPED: RolloutStatus.STOPPED,
    EventKind.EXPIRED: RolloutStatus.EXPIRED,
    EventKind.COMPLETED: RolloutStatus.COMPLETED,
}


# From events to the state


def state_of(events: Iterable[Event], phases: Sequence[Phase]) -> RolloutState:
    """Where the rollout stands after these events, in whatever order and however often they are given.

    What comes after an end is counted and changes nothing.

    Raises:
        InfrastructureError: two events claim one number, one is missing, the first is no start, or a phase is unknown.
    """
    return states_of(events, phases)[-1]


def states_of(events: Iterable[Event], phases: Sequence[Phase]) -> list[RolloutState]:
    """Where the rollout stood after each of its events, oldest first.

    Raises:
        InfrastructureError: as :func:`state_of`.
    """
    known = {phase.name: phase for phase in phases}
    states: list[RolloutState] = []
    for event in _in_order(events):
        if event.phase not in known:
            raise InfrastructureError(
                f"rollout {event.rollout_id}: event {event.number} is in phase {event.phase!r}, which its "
                f"configuration does not have ({', '.join(known)}); use the one it was started with"
            )
        phase = known[event.phase]
        states.append(_after(states[-1], event, phase) if states else _started(event, phase))
    if not states:
        raise InfrastructureError("the rollout has no history; start it first")
    return states


def _in_order(events: Iterable[Event]) -> list[Event]:
    numbered: dict[int, Event] = {}
    for event in events:
        if numbered.setdefault(event.number, event) != event:
            raise InfrastructureError(f"rollout {event.rollout_id}: two events have number {event.number}")
    ordered = [numbered[number] for number in sorted(numbered)]
    for number, event in enumerate(ordered, start=1):
        if event.number != number:
            raise InfrastructureError(f"rollout {event.rollout_id}: event {number} is missing from its history")
    if ordered and ordered[0].kind is not EventKind.STARTED:
        raise InfrastructureError(f"rollout {ordered[0].rollout_id}: its history begins with {ordered[0].kind}")
    return ordered


def _started(event: Event, phase: Phase) -> RolloutState:
    return RolloutState(
        rollout_id=event.rollout_id,
        status=RolloutStatus.RUNNING,
        phase=phase,
        number=event.number,
        phase_since=event.at,
        since=event.at,
        asked_since=event.at,
    )


def _after(state: RolloutState, event: Event, phase: Phase) -> RolloutState:
    """The state after one more event; times never run backwards, whatever the clocks of two controllers say."""
    at = max(event.at, state.since)
    if state.status.is_over:
        return replace(state, number=event.number)
    stood = at - state.since if state.status is not RolloutStatus.RUNNING else timedelta(0)
    state = replace(state, number=event.number, since=at, phase_since=state.phase_since + stood)
    was_paused = state.status is RolloutStatus.PAUSED
    if was_paused and (event.actor == CONTROLLER or event.kind is EventKind.ADVANCED) and event.kind not in _ENDS:
        return state  # a pause is ended by people
    match event.kind:
        case EventKind.ADVANCED:
            return replace(_started(event, phase), phase_since=at, since=at, asked_since=at)
        case EventKind.HELD:
            return replace(state, status=RolloutStatus.HOLD)
        case EventKind.PAUSED:
            asks = event.evidence.get("asks") == _APPROVAL["asks"]
            return replace(state, status=RolloutStatus.PAUSED, asks_approval=asks)
        case EventKind.RESUMED | EventKind.APPROVED:
            running = replace(state, status=RolloutStatus.RUNNING, asks_approval=False)
            running = replace(running, asked_since=at) if was_paused else running
            approved = event.kind is EventKind.APPROVED
            return replace(running, approved_by=event.actor, approved_at=at) if approved else running
        case _:
            return replace(state, status=_ENDS.get(event.kind, state.status))


# What a ruling leads to


def event_for(
    state: RolloutState,
    ruling: Ruling,
    phases: Sequence[Phase],
    *,
    at: datetime,
    automatic: bool = True,
    evidence: Mapping[str, Json] | None = None,
) -> Event | None:
    """The one event a ruling leads to; ``None`` when it changes nothing, or was made on another state.

    Args:
        state: What the ruling was made on.
        ruling: What the evidence calls for.
        phases: Of the rollout, in order.
        at: When it happens.
        automatic: Whether the controller may roll back by itself; otherwise it pauses, and says what it would do.
        evidence: Hashes of evidence and configuration, to be kept with the checks of the ruling.
    """
    if state.status.is_over or ruling.made_on != state.number:
        return None
    kind = _consequence(state, ruling.action, automatic=automatic)
    if kind is None:
        return None
    phase, reason, more = state.phase, ruling.reason, dict[str, Json]()
    if kind is EventKind.ADVANCED:
        following = phases[[item.name for item in phases].index(phase.name) + 1 :]
        kind, phase = (kind, following[0]) if following else (EventKind.COMPLETED, phase)
    if kind is EventKind.PAUSED and ruling.action is Action.ASK_APPROVAL:
        more = _APPROVAL
    if kind is EventKind.PAUSED and ruling.action is Action.ROLL_BACK:
        reason = f"People have to roll back, the controller may not by itself: {reason}"
    kept = {**(evidence or {}), **more, "checks": [_plain(asdict(check)) for check in ruling.checks]}
    return _next(state, kind, at=at, actor=CONTROLLER, reason=reason, phase=phase, evidence=kept)


_CONSEQUENCES: Mapping[RolloutStatus, Mapping[Action, EventKind]] = {
    RolloutStatus.RUNNING: {
        Action.HOLD: EventKind.HELD,
        Action.PAUSE: EventKind.PAUSED,
        Action.ASK_APPROVAL: EventKind.PAUSED,
        Action.ADVANCE: EventKind.ADVANCED,
        Action.EXPIRE: EventKind.EXPIRED,
    },
    # First the hold ends, so that it is on record; what else the evidence calls for is for the next ruling.
    RolloutStatus.HOLD: {
        Action.WAIT: EventKind.RESUMED,
        Action.ASK_APPROVAL: EventKind.RESUMED,
        Action.ADVANCE: EventKind.RESUMED,
        Action.PAUSE: EventKind.PAUSED,
        Action.EXPIRE: EventKind.EXPIRED,
    },
    RolloutStatus.PAUSED: {},
}
"""What an action leads to besides a roll back; what is not named changes nothing."""


def _consequence(state: RolloutState, action: Action, *, automatic: bool) -> EventKind | None:
    if action is not Action.ROLL_BACK:
        return _CONSEQUENCES[state.status].get(action)
    if automatic or not state.phase.kind.serves_users:
        return _ending(state.phase)
    return None if state.status is RolloutStatus.PAUSED else EventKind.PAUSED


def _ending(phase: Phase) -> EventKind:
    return EventKind.ROLLED_BACK if phase.kind.serves_users else EventKind.STOPPED


# What people do


def start(
    rollout_id: str,
    phases: Sequence[Phase],
    *,
    at: datetime,
    actor: str,
    reason: str,
    earlier: RolloutState | None = None,
    cool_down_s: float = 0.0,
    evidence: Mapping[str, Json] | None = None,
) -> Event:
    """The first event of a rollout.

    Args:
        rollout_id: Of the new rollout.
        phases: In order; it starts in the first.
        at: When it starts.
        actor: Who starts it.
        reason: Why.
        earlier: The last rollout of the same candidate.
        cool_down_s: How long after its roll back none may start.
        evidence: Hashes of configuration and candidate, to be kept.

    Raises:
        InputError: the earlier one goes on, or was rolled back too recently.
    """
    if earlier is not None and not earlier.status.is_over:
        raise InputError(f"rollout {earlier.rollout_id} is {earlier.status}; abort it before another is started")
    if earlier is not None and earlier.status is RolloutStatus.ROLLED_BACK:
        again = earlier.since + timedelta(seconds=cool_down_s)
        if at < again:
            raise InputError(
                f"rollout {earlier.rollout_id} was rolled back at {earlier.since:%Y-%m-%d %H:%M %Z}; "
                f"another may start from {again:%Y-%m-%d %H:%M %Z} on"
            )
    return Event(
        rollout_id=rollout_id,
        number=1,
        kind=EventKind.STARTED,
        phase=phases[0].name,
        at=at,
        actor=_named(actor),
        reason=_explained(reason),
        evidence=dict(evidence or {}),
    )


def approve(state: RolloutState, *, at: datetime, actor: str, reason: str, people: Sequence[str] = ()) -> Event:
    """Somebody agrees to the next phase, which begins when the evidence still allows it.

    Raises:
        InputError: nobody asked, or the person may not, or gives no name or reason.
    """
    _going(state, "approved")
    name = _named(actor)
    if not state.asks_approval:
        more = "; it was paused, so `resume` it first" if state.status is RolloutStatus.PAUSED else ""
        raise InputError(f"rollout {state.rollout_id} does not ask for approval in phase {state.phase.name}{more}")
    if people and name not in people:
        raise InputError(f"{name} may not approve; those who may: {', '.join(people)}")
    return _next(state, EventKind.APPROVED, at=at, actor=name, reason=reason)


def pause(state: RolloutState, *, at: datetime, actor: str, reason: str) -> Event:
    """Somebody stops the clock; users are served as they were, and roll backs still happen.

    Raises:
        InputError: it is paused or over, or name or reason is missing.
    """
    _going(state, "paused")
    if state.status is RolloutStatus.PAUSED:
        raise InputError(f"rollout {state.rollout_id} is paused already")
    return _next(state, EventKind.PAUSED, at=at, actor=_named(actor), reason=reason)


def resume(state: RolloutState, *, at: datetime, actor: str, reason: str) -> Event:
    """Somebody lets a paused rollout go on in its phase.

    Raises:
        InputError: it is not paused, or asks for approval, or name or reason is missing.
    """
    _going(state, "resumed")
    if state.asks_approval:
        raise InputError(f"rollout {state.rollout_id} asks for approval: `approve` or `abort` it")
    if state.status is RolloutStatus.HOLD:
        raise InputError(f"rollout {state.rollout_id} is on hold and goes on by itself when the cause is gone")
    if state.status is not RolloutStatus.PAUSED:
        raise InputError(f"rollout {state.rollout_id} is not paused")
    return _next(state, EventKind.RESUMED, at=at, actor=_named(actor), reason=reason)


def abort(state: RolloutState, *, at: datetime, actor: str, reason: str) -> Event:
    """Somebody ends it: production serves everybody.

    Raises:
        InputError: it is over, or name or reason is missing.
    """
    _going(state, "aborted")
    return _next(state, _ending(state.phase), at=at, actor=_named(actor), reason=reason)


def withdraw(state: RolloutState, *, at: datetime, reason: str) -> Event:
    """The controller ends it for a reason that is no evidence: production serves everybody.

    Raises:
        InputError: it is over, or the reason is missing.
    """
    _going(state, "withdrawn")
    return _next(state, _ending(state.phase), at=at, actor=CONTROLLER, reason=reason)


def _going(state: RolloutState, what: str) -> None:
    if state.status.is_over:
        raise InputError(f"rollout {state.rollout_id} is over ({state.status}) and cannot be {what}")


def _named(actor: str) -> str:
    name = actor.strip()
    if not name:
        raise InputError("a name is needed: the history says who did what")
    if name == CONTROLLER:
        raise InputError(f"{CONTROLLER!r} is what the history calls the program; give the name of a person")
    return name


def _explained(reason: str) -> str:
    if not reason.strip():
        raise InputError("a reason is needed: the history says why")
    return reason.strip()


def _next(
    state: RolloutState,
    kind: EventKind,
    *,
    at: datetime,
    actor: str,
    reason: str,
    phase: Phase | None = None,
    evidence: Mapping[str, Json] | None = None,
) -> Event:
    return Event(
        rollout_id=state.rollout_id,
        number=state.number + 1,
        kind=kind,
        phase=(phase or state.phase).name,
        at=at,
        actor=actor,
        reason=_explained(reason),
        evidence=dict(evidence or {}),
    )


def _plain(check: dict[str, Json]) -> dict[str, Json]:
    """As JSON can say it; figures without a finite value are left out."""
    figures = {name: value for name, value in check["figures"].items() if abs(value) < float("inf")}
    return check | {"figures": figures}
