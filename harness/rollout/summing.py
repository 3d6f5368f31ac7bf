"""What a rollout's history adds up to: whom it touched, what it cost, what its tests may spend; pure."""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby

from harness.config.rollout import Rollout
from harness.domain.json import Json
from harness.domain.rollout import RolloutState
from harness.domain.rollout_report import (
    AffectedEntry,
    AlphaLedger,
    AlphaTest,
    ArmCount,
    CheckEntry,
    Entry,
    SpendEntry,
)
from harness.rollout import recorded

_ROLL_BACK_TESTS = ("sequential.errors", "sequential.error_difference", "sequential.latency")


def affected_of(policy: Rollout, entries: Sequence[Entry], current: Mapping[str, Json]) -> tuple[AffectedEntry, ...]:
    """Each phase's conversations by arm, as they were recorded last."""
    found: dict[str, AffectedEntry] = {}
    for number, evidence in [*((entry.number, entry.evidence) for entry in entries), (None, current)]:
        for phase, (candidate, control) in recorded.served(evidence).items():
            shares = [None if arm is None else arm.failed_share for arm in (candidate, control)]
            own, other = shares
            found[phase] = AffectedEntry(
                phase=phase,
                candidate=candidate,
                control=control,
                difference=None if own is None or other is None else own - other,
                number=number,
            )
    order = {phase.name: index for index, phase in enumerate(policy.steps)}
    return tuple(found[phase] for phase in sorted(found, key=lambda name: (order.get(name, len(order)), name)))


def total_of(arms: Sequence[ArmCount | None]) -> ArmCount | None:
    """The sum; ``None`` when one of them is not known."""
    known = [arm for arm in arms if arm is not None]
    if not arms or len(known) < len(arms):
        return None
    begun, failed = sum(arm.begun for arm in known), sum(arm.failed for arm in known)
    return ArmCount(begun=begun, failed=failed, failed_share=failed / begun if begun else None)


def last_spend(entries: Sequence[Entry], current: Mapping[str, Json]) -> float | None:
    """What is known to be spent since the start."""
    known = [entry.spend_usd for entry in entries if entry.spend_usd is not None]
    now = recorded.number(current.get("spend_usd"))
    return now if now is not None else known[-1] if known else None


def spend_of(
    policy: Rollout, entries: Sequence[Entry], current: Mapping[str, Json], state: RolloutState
) -> tuple[SpendEntry, ...]:
    """What was spent by phase, as it was recorded last in each."""
    spent: list[tuple[str, float, int | None]] = [
        (entry.phase_before or entry.phase, entry.spend_usd, entry.number)
        for entry in entries
        if entry.spend_usd is not None
    ]
    now = recorded.number(current.get("spend_usd"))
    if now is not None:
        spent.append((state.phase.name, now, None))
    last = [list(group)[-1] for _, group in groupby(spent, key=lambda item: item[0])]
    names = [phase.name for phase in policy.steps]
    found: list[SpendEntry] = []
    for phase, total, number in last:
        place = names.index(phase)
        before = found[-1] if found and names.index(found[-1].phase) == place - 1 else None
        own = total - before.total_usd if before else total if place == 0 else None
        found.append(SpendEntry(phase=phase, total_usd=total, phase_usd=own, number=number))
    return tuple(found)


# Alpha


def alpha_of(policy: Rollout, entries: Sequence[Entry], current: Mapping[str, Json]) -> AlphaLedger:
    """What the attempt and each of its roll-back tests may spend, and what each test said last."""
    attempt: int | None = None
    alpha: float | None = None
    tests: dict[str, float] = {}
    answers: dict[str, tuple[CheckEntry, int | None]] = {}
    changes, configured = 0, policy.rollback.alpha
    kept_with = [(entry.number, entry.evidence, entry.checks) for entry in entries]
    for number, evidence, checks in [*kept_with, (None, current, recorded.checks(current))]:
        now, share = recorded.attempt(evidence), recorded.attempt_alpha(evidence)
        allotted = recorded.test_alphas(evidence)
        changes += (
            (now is not None and attempt not in {None, now})
            or (share is not None and alpha not in {None, share})
            or bool(allotted and tests and allotted != tests)
        )
        attempt = attempt if now is None else now
        alpha = alpha if share is None else share
        tests = allotted or tests
        kept = recorded.number(recorded.mapping(evidence.get("alpha")).get("configured"))
        configured = configured if kept is None else kept
        answers |= {check.name: (check, number) for check in checks}
    nothing: tuple[CheckEntry | None, int | None] = (None, None)
    return AlphaLedger(
        attempt=attempt,
        attempt_alpha=alpha,
        configured_alpha=configured,
        gate_alpha=policy.rollback.gate_alpha,
        sample_ratio_alpha=policy.validity.sample_ratio_alpha,
        tests=tuple(
            AlphaTest(name=name, alpha=tests.get(name), check=found[0], number=found[1])
            for name in dict.fromkeys((*_ROLL_BACK_TESTS, *sorted(tests)))
            for found in [answers.get(name, nothing)]
        ),
        tests_alpha=math.fsum(tests.values()) if tests else None,
        changes=changes,
    )
