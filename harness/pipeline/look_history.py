"""Keeps what the looks at a run said, so that the bounds of its criteria can be drawn over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from harness.domain.look import LookPoint
from harness.pipeline.evaluation import ArmEvaluation
from harness.pipeline.session import Session

PER_AGE = 500
"""A run that is looked at all the time keeps a look at most every five-hundredth of its age. What it keeps grows with
the logarithm of its age, and is densest where bounds move fastest."""


def points_of(evaluations: Sequence[ArmEvaluation], at: datetime) -> list[LookPoint]:
    """Every criterion of every candidate as one look saw it."""
    return [
        LookPoint(
            arm=item.arm.name,
            metric=result.criterion.metric,
            at=at,
            value=result.estimate.value,
            low=result.estimate.low,
            high=result.estimate.high,
            strict_low=result.strict.low if result.strict is not None else None,
            strict_high=result.strict.high if result.strict is not None else None,
            n=result.estimate.n,
            outcome=result.outcome.value,
            verdict=item.decision.verdict.value,
        )
        for item in evaluations
        if item.decision is not None
        for result in item.decision.results
    ]


def keep(session: Session, evaluations: Sequence[ArmEvaluation], *, at: datetime | None = None) -> None:
    """Keep one look, whenever it was; of a run that is looked at a few times."""
    session.store.put_looks(session.run_id, points_of(evaluations, at or datetime.now(UTC)))


@dataclass(kw_only=True)
class LookHistory:
    """Of a run that is looked at all the time: keeps what is new, and not too much of it."""

    session: Session
    _said: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    _kept_at: datetime | None = None

    def add(self, evaluations: Sequence[ArmEvaluation], *, at: datetime | None = None) -> bool:
        """Keep the look when an outcome or a verdict changed, or it is time; whether it was kept."""
        now = at or datetime.now(UTC)
        points = points_of(evaluations, now)
        said = {(point.arm, point.metric): (point.outcome, point.verdict) for point in points}
        if said == self._said and not self._is_due(now):
            return False
        self.session.store.put_looks(self.session.run_id, points)
        self._said, self._kept_at = said, now
        return True

    def _is_due(self, now: datetime) -> bool:
        if self._kept_at is None:
            return True
        age = (now - self.session.run.created_at).total_seconds()
        return (now - self._kept_at).total_seconds() >= age / PER_AGE
