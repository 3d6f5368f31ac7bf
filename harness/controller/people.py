"""What people do to a rollout, from the command line or over the admin port: the same steps, written the same way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from harness.config import Live
from harness.config.rollout import Rollout
from harness.controller.control import severe_name
from harness.domain.json import Json
from harness.domain.rollout import Event, EventKind, PhaseKind, RolloutState, RolloutStatus
from harness.errors import ConfigurationError, InputError
from harness.rollout import history
from harness.rollout.histories import attempt_policy
from harness.stats import multiplicity
from harness.store import EventRefusedError, Store
from harness.store.rollouts import RolloutRecord

_TRIES = 5
"""Of writing the next event while a controller writes too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A rollout and where it stands."""

    record: RolloutRecord
    policy: Rollout
    events: tuple[Event, ...]
    state: RolloutState


def standing(store: Store, live: str) -> Standing:
    """The rollout of a live experiment that is under way, else the one that ended last.

    Raises:
        InputError: there was none yet.
    """
    record = store.latest_rollout(live)
    if record is None:
        raise InputError(
            f"no rollout of {live} was started yet: `harness rollout start ROLLOUT.yaml --by NAME --reason ...`"
        )
    return _standing(store, record)


def _standing(store: Store, record: RolloutRecord) -> Standing:
    events = tuple(store.rollout_events(record.id))
    policy = attempt_policy(record, events)
    return Standing(record=record, policy=policy, events=events, state=history.state_of(events, policy.steps))


# Start


def start(
    store: Store, live: Live, policy: Rollout, *, by: str, reason: str, at: datetime | None = None
) -> tuple[RolloutRecord, Event]:
    """Begin a rollout in its first phase.

    Raises:
        ConfigurationError: the live experiment does not have what its phases need.
        InputError: another one goes on, the same artefact was rolled back on evidence, or the cool-down is not over.
    """
    at = at or datetime.now(UTC)
    fingerprint = _check(live, policy)
    earlier = [_standing(store, record) for record in store.rollouts(live.name)]
    _may_begin(earlier, fingerprint, policy, at)
    attempt = 1 + sum(_served(one) for one in earlier if one.record.candidate == policy.candidate)
    alpha = multiplicity.spent(attempt, alpha=policy.rollback.alpha)
    configuration = policy.model_dump(mode="json")
    record = RolloutRecord(
        id=f"{policy.name}-{at.astimezone(UTC):%Y%m%d-%H%M%S}",
        live=live.name,
        candidate=policy.candidate,
        fingerprint=fingerprint,
        configuration=configuration,
        started_at=at,
    )
    evidence: dict[str, Json] = {
        "configuration_sha256": record.configuration_sha256,
        "fingerprint": fingerprint,
        "attempt": attempt,
        "attempt_alpha": alpha,
        "alpha": {"attempt": attempt, "attempt_alpha": alpha, "configured": policy.rollback.alpha},
    }
    event = history.start(
        record.id, policy.steps, at=at, actor=by, reason=reason,
        earlier=earlier[-1].state if earlier else None, cool_down_s=policy.rollback.cool_down_s, evidence=evidence,
    )  # fmt: skip
    store.create_rollout(record, event)
    return record, event


def _check(live: Live, policy: Rollout) -> str:
    """The candidate's fingerprint."""
    known = {candidate.name: candidate for candidate in live.candidates}
    if policy.candidate not in known:
        raise ConfigurationError(f"{live.name} has no candidate {policy.candidate!r}; it has: {', '.join(known)}")
    phases = policy.steps
    if any(phase.kind is PhaseKind.CALIBRATION for phase in phases) and live.replica is None:
        raise ConfigurationError(
            "the calibration phase compares production with itself: add `replica` to the live experiment, or leave the "
            "phase out of `phases`"
        )
    if any(phase.kind.serves_users for phase in phases) and live.canary is None:
        raise ConfigurationError(
            "the gateway serves no candidate without a `canary` section in the live experiment; add `canary: {}`"
        )
    if live.decision.looks != "any":
        raise ConfigurationError("a rollout decides at any time: set `decision.looks: any` in the live experiment")
    return known[policy.candidate].fingerprint


def _may_begin(earlier: list[Standing], fingerprint: str, policy: Rollout, at: datetime) -> None:
    for one in earlier:
        ended = one.events[-1] if one.state.status is RolloutStatus.ROLLED_BACK else None
        back = next((event for event in one.events if event.kind is EventKind.ROLLED_BACK), ended)
        if back is None:
            continue
        if one.record.fingerprint == fingerprint and back.actor == history.CONTROLLER:
            raise InputError(
                f"rollout {one.record.id} rolled this very candidate back: {back.reason} Change its model, prompt or "
                "settings, and start again"
            )
        again = back.at + timedelta(seconds=policy.rollback.cool_down_s)
        if at < again:
            raise InputError(
                f"rollout {one.record.id} was rolled back at {back.at:%Y-%m-%d %H:%M} UTC; another may start from "
                f"{again:%Y-%m-%d %H:%M} UTC on (`rollback.cool_down_s`)"
            )


def _served(one: Standing) -> bool:
    """Whether users saw the candidate, and so alpha was spent."""
    serving = {phase.name for phase in one.policy.steps if phase.kind.serves_users}
    return any(event.phase in serving for event in one.events)


# The rest


def approve(store: Store, live: str, *, by: str, reason: str, at: datetime | None = None) -> Event:
    """Agree to the next phase.

    Raises:
        InputError: nobody asked, or this person may not.
    """
    return _written(
        store, live, at,
        lambda one, now: history.approve(
            one.state, at=now, actor=by, reason=reason, people=one.policy.approvals.people
        ),
    )  # fmt: skip


def pause(store: Store, live: str, *, by: str, reason: str, at: datetime | None = None) -> Event:
    """Stop the clock; users are served as they were.

    Raises:
        InputError: it is paused or over.
    """
    return _written(store, live, at, lambda one, now: history.pause(one.state, at=now, actor=by, reason=reason))


def resume(store: Store, live: str, *, by: str, reason: str, at: datetime | None = None) -> Event:
    """Let it go on.

    Raises:
        InputError: it is not paused, or asks for approval.
    """
    return _written(store, live, at, lambda one, now: history.resume(one.state, at=now, actor=by, reason=reason))


def abort(store: Store, live: str, *, by: str, reason: str, at: datetime | None = None) -> Event:
    """End it: production serves everybody, from within a second on.

    Raises:
        InputError: it is over.
    """

    def ended(one: Standing, now: datetime) -> Event:
        event = history.abort(one.state, at=now, actor=by, reason=reason)
        if one.state.served_share > 0:
            # Users first: gateways follow the halt, whatever becomes of the record.
            store.halt_rollout(one.record.id, f"Aborted by {event.actor}: {event.reason}", now=now)
        return event

    return _written(store, live, at, ended)


def report_severe(store: Store, live: str, *, key: str, reason: str, at: datetime | None = None) -> str:
    """A monitor has seen what ends a rollout by itself, such as a leak; the controller rolls back at its next step.

    ``key`` is the monitor's own name of the event, so that it may report it twice. Returns the rollout's id.

    Raises:
        InputError: no rollout goes on.
    """
    one = standing(store, live)
    if one.state.status.is_over:
        raise InputError(f"rollout {one.record.id} is over ({one.state.status})")
    now = at or datetime.now(UTC)
    name = severe_name(key)
    if store.begin_action(one.record.id, 0, name, now=now):
        store.finish_action(one.record.id, 0, name, reason, now=now)
    return one.record.id


def _written(store: Store, live: str, at: datetime | None, event_of: Callable[[Standing, datetime], Event]) -> Event:
    """Write the event that follows from where the rollout stands, again when somebody has moved it meanwhile."""
    for left in reversed(range(_TRIES)):
        event = event_of(standing(store, live), at or datetime.now(UTC))
        try:
            store.append_event(event)
        except EventRefusedError:
            if not left:
                raise
            continue
        return event
    raise AssertionError("unreachable")


def as_json(one: Standing) -> Mapping[str, Json]:
    """A rollout's state for machines."""
    state = one.state
    return {
        "rollout_id": one.record.id,
        "live": one.record.live,
        "candidate": one.record.candidate,
        "fingerprint": one.record.fingerprint,
        "status": state.status.value,
        "phase": state.phase.name,
        "phase_since": state.phase_since.isoformat(),
        "number": state.number,
        "served_share": state.served_share,
        "mirror_rate": state.mirror_rate if state.mirror_rate >= 0 else None,
        "asks_approval": state.asks_approval,
        "approved_by": state.approved_by,
        "reason": one.events[-1].reason,
        "phases": [phase.name for phase in one.policy.steps],
    }
