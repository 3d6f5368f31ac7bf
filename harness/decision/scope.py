"""What every family of measures is computed from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from harness.decision.rows import Rows
from harness.domain.estimate import Estimate, Metric
from harness.stats.evidence import Evidence
from harness.stats.looks import ONE_LOOK, Looks

Measures: TypeAlias = dict[str, Callable[[], Estimate]]
"""Metric name to what computes its Estimate when it is wanted."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scope:
    """One arm's evidence, beside the replica's, and how sure the bounds have to be."""

    evidence: Evidence
    level: float
    """Two-sided: each bound alone misses with a chance of ``(1 - level) / 2`` at most."""
    looks: Looks = ONE_LOOK
    floor: Evidence | None = None
    """The replica's evidence on the same rows; ``None`` without a replica."""
    judge_metrics: Mapping[str, Metric] = field(default_factory=dict)
    """Judge name to what it measures, in the order of the experiment."""

    @cached_property
    def rows(self) -> Rows:
        """Rows of the arm."""
        return Rows.of(self.evidence)

    @cached_property
    def of_replica(self) -> "Scope | None":
        """The replica in the candidate's place."""
        if self.floor is None:
            return None
        return Scope(evidence=self.floor, level=self.level, looks=self.looks, judge_metrics=self.judge_metrics)
