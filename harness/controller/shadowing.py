"""What the shadow pairs say at one moment: the worker's run, read as any report reads it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from harness.decision.reaching import reach
from harness.domain.decision import Decision, Verdict
from harness.domain.health import JudgeHealth
from harness.domain.metrics import WIN_RATE, WIN_RATE_CORRECTED
from harness.domain.mirror import SkipReason
from harness.domain.observation import ArmRole
from harness.domain.rollout import Phase, PhaseKind
from harness.domain.slices import SliceTest
from harness.errors import ConfigurationError
from harness.pipeline import attempts, evaluation
from harness.pipeline.arms import arms_of
from harness.pipeline.seats import SeatedJudge
from harness.pipeline.session import Session
from harness.rollout.evidence import PairCount
from harness.stats.evidence import Evidence
from harness.store.counts import ObservationCounts


@dataclass(frozen=True, kw_only=True)
class ShadowLook:
    """One look at the pairs of a live experiment."""

    at: datetime
    decision: Decision | None = None
    """On the candidate; in the calibration on production's own second answers."""
    pairs: PairCount | None = None
    """Of the present phase."""
    judges: tuple[JudgeHealth, ...] = ()
    flagged: tuple[SliceTest, ...] = ()
    production_error_rate: float | None = None
    spend_usd: float | None = None
    last_at: datetime | None = None
    """When the last request came that was mirrored."""


def look(
    session: Session, judges: Sequence[SeatedJudge], candidate: str, phase: Phase, *, since: datetime, begun: datetime
) -> ShadowLook:
    """Look at everything that has been mirrored, asked and judged so far.

    Args:
        session: On the run of the live experiment.
        judges: Of the experiment.
        candidate: The arm that is rolled out.
        phase: The one in force.
        since: When it began; pairs are counted from there, because a new load is a new question.
        begun: When the rollout began; spend is counted from there.

    Raises:
        ConfigurationError: the experiment has no such arm, or no replica in the calibration.
    """
    at = datetime.now(UTC)
    calibrating = phase.kind is PhaseKind.CALIBRATION
    arm = next(
        (one for one in arms_of(session.experiment)
         if (one.role is ArmRole.REPLICA if calibrating else one.name == candidate)),
        None,
    )  # fmt: skip
    if arm is None:
        raise ConfigurationError(
            "the calibration compares production with itself and needs `replica` in the live experiment"
            if calibrating
            else f"the live experiment has no candidate {candidate!r}"
        )
    replica = next((one for one in arms_of(session.experiment) if one.role is ArmRole.REPLICA), None)
    asked = [arm] if replica is None or calibrating else [arm, replica]
    own, *rest = evaluation.numbers_of(session, asked, judges)
    evidence = own.evidence
    if not evidence.n:
        return ShadowLook(at=at)
    floor = evidence if calibrating else next((one.evidence for one in rest), None)
    health = evaluation.health_of(session, arm, judges, evidence, floor, counts=own.counts)
    attempt = None if calibrating else attempts.of(session, arm)
    rulebook = evaluation.rulebook_of(session.experiment, judges, attempt)
    reached = reach(evidence, rulebook, floor=floor, health=health)
    decisive = {criterion.metric for criterion in rulebook.criteria if criterion.required}
    needed = [
        seat.name for seat in judges
        if seat.judge.metric.name in decisive
        or (seat.judge.metric.name == WIN_RATE.name and WIN_RATE_CORRECTED.name in decisive)
    ]  # fmt: skip
    by_arm, judged = session.store.spent_since(session.run_id, begun)
    last = float(np.nanmax(evidence.timestamps)) if np.isfinite(evidence.timestamps).any() else None
    return ShadowLook(
        at=at,
        decision=reached.decision,
        pairs=_count(session.store.observation_counts(session.run_id, arm.name, arm.fingerprint, since=since)),
        judges=tuple(health[name] for name in needed if name in health),
        flagged=() if calibrating else tuple(test for test in reached.slices if test.flagged),
        production_error_rate=_error_rate(evidence),
        spend_usd=by_arm.get(arm.name, 0.0) + judged,
        last_at=None if last is None else datetime.fromtimestamp(last, UTC),
    )


def _count(counts: ObservationCounts) -> PairCount:
    """Requests that have ended for the arm, and those that say something about it.

    A call that failed is evidence, of errors; one that was dropped or skipped is missing, and one that was not to be
    made is not.
    """
    return PairCount(
        due=counts.asked - counts.skipped.get(SkipReason.NOT_DRAWN, 0),
        complete=counts.completed + sum(counts.failed.values()),
    )


def _error_rate(evidence: Evidence) -> float | None:
    production = evidence.production
    n = int((production.completed | production.failed).sum())
    return float(production.failed.sum()) / n if n else None


def with_served(shadow: ShadowLook, served: ShadowLook) -> ShadowLook:
    """The shadow's look, and what the pairs of what the candidate served speak against.

    Two quantities that are not pooled: either may say NO_GO, and neither may say GO for the other. Slices that one of
    them flags are flagged, and what both cost is spent.
    """
    against = served.decision is not None and served.decision.verdict is Verdict.NO_GO
    known = {(test.attribute, test.value, test.metric) for test in shadow.flagged}
    more = tuple(test for test in served.flagged if (test.attribute, test.value, test.metric) not in known)
    spent = [look.spend_usd for look in (shadow, served) if look.spend_usd is not None]
    return replace(
        shadow,
        decision=served.decision if against else shadow.decision,
        flagged=(*shadow.flagged, *more),
        spend_usd=math.fsum(spent) if spent else None,
    )
