"""From the columns of one arm to every Estimate a criterion or a report may name."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from harness.decision import floors, people, quality, service, verbosity
from harness.decision.quality import metric_names
from harness.decision.scope import Measures, Scope
from harness.domain import metrics as names
from harness.domain.estimate import Estimate, Metric
from harness.domain.metrics import METRICS
from harness.stats.evidence import Evidence
from harness.stats.looks import ONE_LOOK, Looks

__all__ = ["METRICS", "catalogue", "estimates", "metric_names"]


def catalogue(judge_metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Every metric an experiment with these judges can name."""
    known = dict(METRICS)
    for judge, name in metric_names(judge_metrics).items():
        metric = judge_metrics[judge]
        owner = name == metric.name
        known[name] = metric if owner else replace(metric, name=name, title=f"{metric.title} ({judge})")
        if owner:
            continue
        for derived in names.DERIVED.get(metric.name, ()):
            own = f"{derived.name}:{judge}"
            known[own] = replace(derived, name=own, title=f"{derived.title} ({judge})")
    return known


def estimates(
    evidence: Evidence,
    *,
    level: float,
    judge_metrics: Mapping[str, Metric],
    looks: Looks = ONE_LOOK,
    floor: Evidence | None = None,
    only: Collection[str] | None = None,
) -> dict[str, Estimate]:
    """Every metric of one arm by name, also those without data (value ``None``).

    Args:
        evidence: The arm's columns.
        level: Confidence of the two-sided interval; each of its ends misses half as often.
        judge_metrics: Judge name to its Metric, in the order of the experiment.
        looks: At how many looks at growing data the intervals have to hold.
        floor: The replica's columns on the same rows; without them what needs them has no value.
        only: Metrics that are wanted; all when ``None``.
    """
    scope = Scope(evidence=evidence, level=level, looks=looks, floor=floor, judge_metrics=judge_metrics)
    known: Measures = {}
    for family in (service, quality, people, verbosity, floors):
        known |= family.measures(scope)
    return {name: compute() for name, compute in known.items() if only is None or name in only}
