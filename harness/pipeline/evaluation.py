"""From stored columns to estimates and decisions; reads the store, writes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.decision import metrics, policy
from harness.domain.decision import Decision, Verdict
from harness.domain.estimate import Estimate
from harness.domain.observation import ArmRole
from harness.pipeline.arms import Arm, arms_of
from harness.pipeline.seats import SeatedJudge
from harness.pipeline.session import Session
from harness.stats.evidence import Evidence


@dataclass(frozen=True, kw_only=True)
class ArmEvaluation:
    """One arm's evidence and what follows from it."""

    arm: Arm
    evidence: Evidence
    estimates: dict[str, Estimate]
    decision: Decision | None
    """``None`` for the replica."""


def evaluate(session: Session, judges: Sequence[SeatedJudge]) -> tuple[ArmEvaluation, ...]:
    """Estimates of every arm, and a Decision for every candidate, from what is stored now."""
    experiment = session.experiment
    level = experiment.decision.level
    criteria = [section.criterion() for section in experiment.decision.criteria]
    described = metrics.catalogue({judge.name: judge.judge.metric for judge in judges})
    evaluations = []
    for arm in arms_of(experiment):
        evidence = session.store.evidence(
            session.run_id,
            arm.name,
            arm.fingerprint,
            judges={judge.name: (judge.fingerprint, judge.judge.metric.name) for judge in judges},
            attributes=tuple(experiment.report.slices),
            cluster_by=experiment.decision.cluster_by,
        )
        found = estimates_of(evidence, judges, level=level)
        candidate = arm.role is ArmRole.CANDIDATE
        decision = policy.decide(arm.name, found, criteria, metrics=described) if candidate else None
        evaluations.append(ArmEvaluation(arm=arm, evidence=evidence, estimates=found, decision=decision))
    return tuple(evaluations)


def estimates_of(evidence: Evidence, judges: Sequence[SeatedJudge], *, level: float) -> dict[str, Estimate]:
    """Every metric of one arm, by name."""
    return metrics.estimates(evidence, level=level, judge_metrics={judge.name: judge.judge.metric for judge in judges})


def overall(decisions: Sequence[Decision]) -> Verdict:
    """The verdict a caller gates on: GO only when every candidate is GO, NO_GO as soon as one is."""
    verdicts = {decision.verdict for decision in decisions}
    if Verdict.NO_GO in verdicts:
        return Verdict.NO_GO
    return Verdict.GO if verdicts == {Verdict.GO} else Verdict.INCONCLUSIVE
