"""From a rollout's history to the one value its report is rendered from; pure."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

import harness
from harness.config.rollout import Rollout
from harness.domain.json import Json
from harness.domain.rollout import Event, EventKind, RolloutState, RolloutStatus
from harness.domain.rollout_report import (
    ActionEntry,
    ApprovalEntry,
    ApprovalState,
    CheckEntry,
    Entry,
    Halt,
    PhaseEntry,
    PhaseOutcome,
    RolloutReport,
    RunLink,
    Stretch,
)
from harness.rollout import recorded, summing
from harness.rollout.history import states_of
from harness.store.rollouts import RolloutRecord


class Done(Protocol):
    """One row of what was done besides the history, as the store keeps it."""

    @property
    def number(self) -> int:
        """Of the event it belongs to."""

    @property
    def name(self) -> str:
        """What was done."""

    @property
    def begun_at(self) -> datetime | None:
        """When it was begun."""

    @property
    def done_at(self) -> datetime | None:
        """When it was done."""

    @property
    def outcome(self) -> str | None:
        """What came of it."""


class Control(Protocol):
    """Who holds a rollout, and whether it was halted, as the store keeps it."""

    @property
    def held_until(self) -> datetime | None:
        """When the claim of its controller runs out."""

    @property
    def halted_at(self) -> datetime | None:
        """When the candidate was taken away, recorded or not."""

    @property
    def halted_reason(self) -> str | None:
        """Why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What the evidence said when the controller last looked at it."""

    at: datetime
    evidence: Mapping[str, Json]
    """In the shape in which events keep theirs."""


def report_of(
    record: RolloutRecord,
    policy: Rollout,
    events: Iterable[Event],
    *,
    at: datetime,
    actions: Iterable[Done] = (),
    control: Control | None = None,
    latest: Look | None = None,
    runs: Sequence[RunLink] = (),
) -> RolloutReport:
    """Everything the report shows.

    Args:
        record: What the rollout was started with.
        policy: Its configuration, as parsed.
        events: Its history.
        at: When it is looked at.
        actions: What was done besides the history.
        control: Who holds it now; what the history says of users is believed without.
        latest: What the evidence says now, whether or not an event came of it; the last event's is used without.
        runs: Reports of the runs that decisions were made in.

    Raises:
        InfrastructureError: the history is broken.
    """
    numbered = {event.number: event for event in events}
    ordered = [numbered[number] for number in sorted(numbered)]
    states = states_of(ordered, policy.steps)
    state, now = states[-1], max(at, states[-1].since)
    entries = _entries(ordered, states)
    stretches = _stretches(states, now)
    current = latest.evidence if latest else {}
    configured, spent = record.configuration_sha256, summing.last_spend(entries, current)
    affected = summing.affected_of(policy, entries, current)
    withheld = _withheld(state, control, now)
    return RolloutReport(
        rollout_id=record.id,
        name=policy.name,
        live=record.live,
        candidate=record.candidate,
        fingerprint=record.fingerprint,
        configuration=record.configuration,
        configuration_sha256=configured,
        started_at=states[0].since,
        at=now,
        status=state.status,
        number=state.number,
        phase=state.phase.name,
        since=_standing_since(stretches),
        served_share=0.0 if withheld else state.served_share,
        mirror_rate=_mirrored(state),
        why_not_served=withheld,
        asks_approval=state.asks_approval,
        people=tuple(policy.approvals.people),
        approval_valid_s=policy.approvals.valid_s,
        automatic=policy.rollback.automatic,
        budget_usd=policy.budget_usd,
        spend_usd=spent,
        spend_share=spent / policy.budget_usd if spent is not None and policy.budget_usd else None,
        history_sha256=history_sha256(ordered),
        configuration_matches=sum(entry.configuration_sha256 == configured for entry in entries),
        configuration_differs=tuple(
            entry.number for entry in entries
            if entry.configuration_sha256 not in {None, configured}
        ),
        fingerprint_differs=tuple(
            entry.number for entry in entries
            if recorded.text(entry.evidence.get("fingerprint")) not in {None, record.fingerprint}
        ),
        phases=_phases(policy, entries, states, stretches, recorded.checks(current), now),
        entries=entries,
        stretches=stretches,
        approvals=_approvals(entries, state, policy, now),
        affected=affected,
        candidate_total=summing.total_of([item.candidate for item in affected]),
        control_total=summing.total_of([item.control for item in affected]),
        spend=summing.spend_of(policy, entries, current, state),
        alpha=summing.alpha_of(policy, entries, current),
        actions=tuple(
            ActionEntry(
                number=item.number, name=item.name, begun_at=item.begun_at, done_at=item.done_at, outcome=item.outcome
            )
            for item in actions
        ),
        runs=tuple(runs),
        halt=None if control is None or control.halted_at is None
        else Halt(at=control.halted_at, reason=control.halted_reason),
        latest=recorded.checks(current),
        latest_at=latest.at if latest else None,
        harness_version=harness.__version__,
    )  # fmt: skip


def history_sha256(events: Sequence[Event]) -> str:
    """Hash of a history; the order of keys within its evidence does not matter."""
    plain = [
        {
            "rollout_id": event.rollout_id, "number": event.number, "kind": event.kind.value, "phase": event.phase,
            "at": event.at.astimezone(UTC).isoformat(), "actor": event.actor, "reason": event.reason,
            "evidence": dict(event.evidence),
        }
        for event in events
    ]  # fmt: skip
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


# Events


def _entries(events: Sequence[Event], states: Sequence[RolloutState]) -> tuple[Entry, ...]:
    before: list[RolloutState | None] = [None, *states[:-1]]
    return tuple(_entry(event, was, now) for event, was, now in zip(events, before, states, strict=True))


def _entry(event: Event, before: RolloutState | None, after: RolloutState) -> Entry:
    kept = recorded.mapping(event.evidence)
    checks = recorded.checks(kept)
    return Entry(
        number=event.number,
        kind=event.kind,
        at=event.at,
        actor=event.actor,
        reason=event.reason,
        phase_before=before.phase.name if before else None,
        phase=event.phase,
        status=after.status,
        served_share=after.served_share,
        mirror_rate=_mirrored(after),
        changed=before is None or _standing(before) != _standing(after),
        checks=checks,
        decision=recorded.decision(kept),
        spend_usd=recorded.number(kept.get("spend_usd")),
        evidence_sha256=recorded.text(kept.get("evidence_sha256")),
        configuration_sha256=recorded.text(kept.get("configuration_sha256")),
        asks=recorded.text(kept.get("asks")),
        evidence=kept if recorded.lossy(kept, checks) else {name: kept[name] for name in kept if name != "checks"},
    )


def _standing(state: RolloutState) -> tuple[object, ...]:
    return state.status, state.phase, state.asks_approval, state.approved_at, state.asked_since


def _mirrored(state: RolloutState) -> float | None:
    return state.mirror_rate if state.mirror_rate >= 0 else None


def _stretches(states: Sequence[RolloutState], now: datetime) -> tuple[Stretch, ...]:
    found: list[Stretch] = []
    for state, until in zip(states, [*(following.since for following in states[1:]), now], strict=True):
        same = (state.phase.name, state.status, state.served_share, _mirrored(state))
        last = found[-1] if found else None
        if last and same == (last.phase, last.status, last.served_share, last.mirror_rate):
            found[-1] = replace(last, end=until)
            continue
        found.append(
            Stretch(
                begin=state.since, end=until, phase=state.phase.name, status=state.status,
                served_share=state.served_share, mirror_rate=_mirrored(state),
            )
        )  # fmt: skip
    return tuple(found)


def _standing_since(stretches: Sequence[Stretch]) -> datetime:
    """A phase that runs has done so since it began, whatever held it up in between."""
    last = stretches[-1]
    if last.status is not RolloutStatus.RUNNING:
        return last.begin
    return next(stretch.begin for stretch in stretches if stretch.phase == last.phase)


def _withheld(state: RolloutState, control: Control | None, now: datetime) -> str | None:
    """Why gateways serve the candidate to nobody, whatever share the history gives it."""
    if control is None or state.served_share == 0:
        return None
    if control.halted_at is not None:
        return control.halted_reason or "It was halted."
    if not state.status.is_over and (control.held_until is None or control.held_until < now):
        return "No controller holds the rollout, and without one production serves everybody."
    return None


# Phases


def _phases(
    policy: Rollout,
    entries: Sequence[Entry],
    states: Sequence[RolloutState],
    stretches: Sequence[Stretch],
    latest: Sequence[CheckEntry],
    now: datetime,
) -> tuple[PhaseEntry, ...]:
    places: dict[str, list[int]] = {}
    for index, state in enumerate(states):
        places.setdefault(state.phase.name, []).append(index)
    found: list[PhaseEntry] = []
    for phase in policy.steps:
        indices = places.get(phase.name)
        if not indices:
            found.append(PhaseEntry(phase=phase, outcome=PhaseOutcome.NOT_REACHED))
            continue
        first, last = indices[0], indices[-1]
        current = last == len(states) - 1
        # What follows an end belongs to no phase.
        ending = next((index for index in indices if states[index].status.is_over), None)
        leaving = ending if ending is not None else None if current else last + 1
        held, paused = (_standstill(stretches, phase.name, s) for s in (RolloutStatus.HOLD, RolloutStatus.PAUSED))
        found.append(
            PhaseEntry(
                phase=phase,
                outcome=_outcome(states[last], current=current),
                entered_at=states[first].since,
                entered_by=entries[first].number,
                left_at=None if leaving is None else states[leaving].since,
                left_by=None if leaving is None else entries[leaving].number,
                ran_s=states[ending].in_phase_s(now) if ending is not None
                else states[last].in_phase_s(now if leaving is None else states[leaving].since),
                held_s=held[0],
                holds=held[1],
                paused_s=paused[0],
                pauses=paused[1],
                evidence_n=_evidence_n(phase.name, entries, latest if current and ending is None else ()),
                sentence=None if leaving is None else _why_left(entries[leaving]),
            )
        )  # fmt: skip
    return tuple(found)


def _outcome(last: RolloutState, *, current: bool) -> PhaseOutcome:
    if not current or last.status is RolloutStatus.COMPLETED:
        return PhaseOutcome.PASSED
    return PhaseOutcome.ENDED if last.status.is_over else PhaseOutcome.CURRENT


def _standstill(stretches: Sequence[Stretch], phase: str, status: RolloutStatus) -> tuple[float, int]:
    found = [stretch for stretch in stretches if stretch.phase == phase and stretch.status is status]
    return math.fsum((stretch.end - stretch.begin).total_seconds() for stretch in found), len(found)


def _why_left(entry: Entry) -> str:
    if entry.kind in {EventKind.ADVANCED, EventKind.COMPLETED}:
        gate = next((check.sentence for check in entry.checks if check.name == "gate"), None)
        return gate or entry.reason
    return entry.reason


def _evidence_n(phase: str, entries: Sequence[Entry], latest: Sequence[CheckEntry]) -> int | None:
    answered = [latest, *(entry.checks for entry in reversed(entries) if entry.phase_before == phase)]
    for checks in answered:
        for check in checks:
            if check.name == "minimum.evidence" and "n" in check.figures:
                return recorded.count(check.figures["n"])
    return None


# People


def _approvals(
    entries: Sequence[Entry], state: RolloutState, policy: Rollout, now: datetime
) -> tuple[ApprovalEntry, ...]:
    found: list[ApprovalEntry] = []
    for entry in entries:
        if not entry.changed:
            continue
        last = found[-1] if found else None
        open_ = last is not None and last.state is ApprovalState.AWAITED
        if entry.kind is EventKind.PAUSED and entry.asks == "approval":
            found.append(
                ApprovalEntry(
                    phase=entry.phase, state=ApprovalState.AWAITED, asked_at=entry.at, asked_by=entry.number,
                    evidence_sha256=entry.evidence_sha256,
                )
            )  # fmt: skip
        elif entry.kind is EventKind.APPROVED:
            asked = found.pop() if open_ else ApprovalEntry(
                phase=entry.phase, state=ApprovalState.AWAITED, asked_at=None, asked_by=None, evidence_sha256=None
            )  # fmt: skip
            found.append(
                replace(
                    asked, state=ApprovalState.VALID, approved_at=entry.at, approved_number=entry.number,
                    approved_by=entry.actor, reason=entry.reason,
                )
            )  # fmt: skip
        elif last is not None and last.state is ApprovalState.VALID and _uses(entry, last):
            found[-1] = replace(last, state=ApprovalState.USED, used_by=entry.number)
        elif open_ and last is not None and entry.status is RolloutStatus.RUNNING:
            found[-1] = replace(last, state=ApprovalState.MOOT)
    return tuple(_judged(item, newest=item is found[-1], state=state, policy=policy, now=now) for item in found)


def _uses(entry: Entry, approval: ApprovalEntry) -> bool:
    return entry.kind in {EventKind.ADVANCED, EventKind.COMPLETED} and entry.phase_before == approval.phase


def _judged(item: ApprovalEntry, *, newest: bool, state: RolloutState, policy: Rollout, now: datetime) -> ApprovalEntry:
    over = state.status.is_over
    if item.state is ApprovalState.AWAITED and (over or not newest):
        return replace(item, state=ApprovalState.MOOT)
    if item.state is ApprovalState.VALID and item.approved_at is not None:
        old = (now - item.approved_at).total_seconds() > policy.approvals.valid_s
        return replace(item, state=ApprovalState.LAPSED) if old or over or not newest else item
    return item
