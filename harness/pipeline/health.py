"""How far a judge of a run can be believed, from what is stored of it."""

from collections.abc import Sequence

import numpy as np

from harness.domain.health import HealthCheck, JudgeHealth
from harness.domain.metrics import EXACT_MATCH, SIMILARITY, WIN_RATE
from harness.judging.conduct import Conduct
from harness.judging.health import health_of
from harness.pipeline.arms import Arm
from harness.pipeline.seats import SeatedJudge
from harness.pipeline.session import Session
from harness.stats.evidence import Evidence, Floats
from harness.store import JudgmentCounts


def judge_health(
    session: Session,
    arm: Arm,
    seat: SeatedJudge,
    evidence: Evidence,
    floor: Evidence | None = None,
    *,
    further: Sequence[HealthCheck] = (),
    level: float = 0.95,
    counts: JudgmentCounts,
) -> JudgeHealth:
    """The health of one judge on one arm.

    Args:
        session: The run.
        arm: The candidate.
        seat: The judge; one that asks no model has only its unscored pairs checked, unless it records verdicts.
        evidence: The candidate's columns, with the scores of every judge.
        floor: The replica's columns on the same rows.
        further: Checks made elsewhere, such as ``pipeline.canaries.canary_checks``.
        level: Confidence of the intervals.
        counts: What the judge made of the arm's pairs.
    """
    ingested = session.store.ingest_report(session.run_id)
    production = [] if ingested is None else [model for model in ingested.sample.models if model]
    same = _column(evidence, EXACT_MATCH.name)
    return health_of(
        Conduct(
            judge=seat.name,
            scores=evidence.scores[seat.name],
            clusters=evidence.clusters,
            preference=seat.judge.metric.name == WIN_RATE.name,
            soft=_softness(seat),
            unscored=counts.unscored,
            candidate_chars=evidence.candidate.answer_chars,
            production_chars=evidence.production.answer_chars,
            identical=None if same is None else np.asarray(same == 1.0, dtype=np.bool_),
            similarity=_column(evidence, SIMILARITY.name),
            replica=None if floor is None else floor.scores.get(seat.name),
            people=evidence.labels,
            models=[model.model for model in seat.models],
            answering={"production": production, "the candidate": [] if arm.spec is None else [arm.spec.model]},
            further=further,
            level=level,
        )
    )


def _column(evidence: Evidence, metric: str) -> Floats | None:
    """The scores of the first judge with this metric."""
    return next((column.value for column in evidence.scores.values() if column.metric == metric), None)


def _softness(seat: SeatedJudge) -> bool | None:
    """Whether verdicts are token probabilities; the scores tell where the judge's mode leaves it open."""
    return {"soft": True, "structured": False, "plain": False}.get(str(getattr(seat.judge, "mode", "")))
