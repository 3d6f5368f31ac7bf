"""From stored columns to estimates and decisions; reads the store, writes nothing."""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from harness.config import Experiment
from harness.decision import metrics
from harness.decision.reaching import Reached, Rulebook, reach
from harness.domain.attempt import Attempt
from harness.domain.decision import Decision, Terms, Verdict
from harness.domain.estimate import Estimate
from harness.domain.health import JudgeHealth
from harness.domain.metrics import WIN_RATE
from harness.domain.observation import ArmRole
from harness.judging.protocol import counts_verdicts
from harness.pipeline import attempts
from harness.pipeline.arms import Arm, arms_of
from harness.pipeline.canaries import canary_checks
from harness.pipeline.health import judge_health
from harness.pipeline.seats import SeatedJudge
from harness.pipeline.session import Session
from harness.stats.evidence import Evidence
from harness.store import JudgmentCounts, ObservationCounts


@dataclass(frozen=True, kw_only=True)
class ArmEvaluation:
    """One arm's evidence and what follows from it."""

    arm: Arm
    evidence: Evidence
    estimates: dict[str, Estimate]
    """Every metric, with intervals for one look: what is described, not what is decided on."""
    reached: Reached | None = None
    """``None`` for the replica."""
    health: Mapping[str, JudgeHealth] = field(default_factory=dict)
    """By judge name, of judges that ask a model or state a preference."""
    attempt: Attempt | None = None
    counts: Mapping[str, JudgmentCounts] = field(default_factory=dict)
    """What was counted of judges, by name."""
    asked: ObservationCounts | None = None
    """How a candidate's requests ended; ``None`` of the replica, and where nothing was described."""

    @property
    def decision(self) -> Decision | None:
        """What was decided; ``None`` for the replica."""
        return None if self.reached is None else self.reached.decision


def evaluate(session: Session, judges: Sequence[SeatedJudge], *, describe: bool = True) -> tuple[ArmEvaluation, ...]:
    """Estimates of every arm, and a Decision for every candidate, from what is stored now.

    ``describe`` is whether figures that decide nothing are estimated too.
    """
    arms = arms_of(session.experiment)
    numbers = numbers_of(session, arms, judges)
    floor = next((own.evidence for arm, own in zip(arms, numbers, strict=True) if arm.role is ArmRole.REPLICA), None)
    with ThreadPoolExecutor(max_workers=1) as counter:
        # One statement each, which keeps the database busy and nobody else: beside the estimates it costs no time.
        asked = [
            counter.submit(session.store.observation_counts, session.run_id, arm.name, arm.fingerprint)
            if describe and arm.role is ArmRole.CANDIDATE
            else None
            for arm in arms
        ]
        found = [
            _evaluated(session, arm, judges, own, floor, describe=describe)
            for arm, own in zip(arms, numbers, strict=True)
        ]
    return tuple(
        item if counts is None else replace(item, asked=counts.result())
        for item, counts in zip(found, asked, strict=True)
    )


def _evaluated(
    session: Session,
    arm: Arm,
    judges: Sequence[SeatedJudge],
    numbers: "ArmNumbers",
    floor: Evidence | None,
    *,
    describe: bool,
) -> ArmEvaluation:
    own, counts = numbers.evidence, numbers.counts
    is_candidate = arm.role is ArmRole.CANDIDATE
    found: dict[str, Estimate] = {}
    if describe:
        level = session.experiment.decision.level
        found = estimates_of(own, judges, level=level, floor=floor if is_candidate else None)
    if not is_candidate:
        return ArmEvaluation(arm=arm, evidence=own, estimates=found, counts=counts)
    attempt = attempts.of(session, arm)
    health = health_of(session, arm, judges, own, floor, counts=counts)
    rulebook = rulebook_of(session.experiment, judges, attempt)
    return ArmEvaluation(
        arm=arm,
        evidence=own,
        estimates=found,
        reached=reach(own, rulebook, floor=floor, health=health),
        health=health,
        attempt=attempt,
        counts=counts,
    )


def _has_health(seat: SeatedJudge) -> bool:
    return bool(seat.models) or seat.judge.metric.name == WIN_RATE.name


def health_of(
    session: Session,
    arm: Arm,
    judges: Sequence[SeatedJudge],
    evidence: Evidence,
    floor: Evidence | None,
    *,
    counts: Mapping[str, JudgmentCounts],
) -> dict[str, JudgeHealth]:
    """Of every judge that asks a model or states a preference, by name; what a program computes has no health."""
    level = session.experiment.decision.level
    return {
        seat.name: judge_health(
            session,
            arm,
            seat,
            evidence,
            floor,
            further=canary_checks(session, seat),
            level=level,
            counts=counts[seat.name],
        )
        for seat in judges
        if _has_health(seat)
    }


def record(session: Session, evaluations: Sequence[ArmEvaluation]) -> None:
    """Note in the ledger what every attempt has come to so far."""
    for item in evaluations:
        if item.attempt is not None and item.decision is not None:
            n_pairs = int(item.evidence.candidate.completed.sum())
            session.store.record_attempt(item.attempt, verdict=item.decision.verdict.value, n_pairs=n_pairs)


@dataclass(frozen=True, kw_only=True)
class ArmNumbers:
    """One arm's columns, and what its judges made of its pairs, by name."""

    evidence: Evidence
    counts: Mapping[str, JudgmentCounts]


def numbers_of(session: Session, arms: Sequence[Arm], judges: Sequence[SeatedJudge]) -> list[ArmNumbers]:
    """The arms' numbers of one moment, their columns row beside row of the same exchanges."""
    experiment = session.experiment
    found = session.store.counted_evidence(
        session.run_id,
        [(arm.name, arm.fingerprint) for arm in arms],
        judges={judge.name: (judge.fingerprint, judge.judge.metric.name) for judge in judges},
        attributes=tuple(experiment.report.slices),
        cluster_by=experiment.decision.cluster_by,
    )
    by_verdict = {judge.name for judge in judges if counts_verdicts(judge.judge)}
    return [
        ArmNumbers(
            evidence=replace(
                evidence,
                scores={
                    name: column.as_verdicts() if name in by_verdict else column
                    for name, column in evidence.scores.items()
                },
            ),
            counts=counts,
        )
        for evidence, counts in found
    ]


def rulebook_of(experiment: Experiment, judges: Sequence[SeatedJudge], attempt: Attempt | None) -> Rulebook:
    """What a decision of this experiment follows."""
    rules = experiment.decision
    terms = Terms(
        profile=rules.profile if rules.criteria is None else "own criteria",
        looks=rules.looks,
        alpha=rules.alpha,
        attempt=attempt.number if attempt is not None else 1,
        attempt_alpha=attempt.alpha if attempt is not None else None,
        horizon=rules.horizon,
        planned_looks=rules.planned_looks if rules.looks == "planned" else None,
    )
    return Rulebook(
        criteria=tuple(section.criterion() for section in rules.rules),
        terms=terms,
        judge_metrics={judge.name: judge.judge.metric for judge in judges},
        min_slice=rules.min_slice,
        slice_false_discoveries=rules.slice_false_discoveries,
    )


def estimates_of(
    evidence: Evidence,
    judges: Sequence[SeatedJudge],
    *,
    level: float,
    floor: Evidence | None = None,
    bases: Collection[str] | None = None,
) -> dict[str, Estimate]:
    """Every metric of one arm, by name; with ``bases`` those and the same by further judges (``win_rate:other``)."""
    described = {judge.name: judge.judge.metric for judge in judges}
    only = None
    if bases is not None:
        only = {name for name in metrics.catalogue(described) if name.partition(":")[0] in bases}
    return metrics.estimates(evidence, level=level, judge_metrics=described, floor=floor, only=only)


def overall(decisions: Sequence[Decision]) -> Verdict:
    """The verdict a caller gates on: GO only when every candidate is GO, NO_GO as soon as one is."""
    verdicts = {decision.verdict for decision in decisions}
    if Verdict.NO_GO in verdicts:
        return Verdict.NO_GO
    return Verdict.GO if verdicts == {Verdict.GO} else Verdict.INCONCLUSIVE
