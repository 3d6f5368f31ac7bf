"""Distances from the noise floor: the candidate beside what production does to itself.

The replica is production asked again on a part of the requests. Where a candidate is compared with production's
recorded answer, so is the replica, and only the difference of the two says something about the candidate.
"""

from dataclasses import replace
from functools import partial

import numpy as np

from harness.decision import quality, service
from harness.decision.scope import Measures, Scope
from harness.domain import metrics as names
from harness.domain.estimate import Estimate, Metric
from harness.stats import quantiles, two_phase
from harness.stats.evidence import Floats

_NO_REPLICA = "production was not asked again; add `replica:` to the experiment"
_DISSIMILAR = 0.8


def measures(scope: Scope) -> Measures:
    """Every distance from the noise floor, by metric name."""
    found: Measures = {}
    for judge, name in quality.metric_names(quality.described(scope)).items():
        metric = quality.described(scope)[judge]
        for derived in names.FROM_FLOOR.get(metric.name, ()):
            own = name.replace(metric.name, derived.name, 1)
            found[own] = partial(_difference, scope, judge, metric, replace(derived, name=own))
    for percentile in ("p50", "p95"):
        name = names.latency_from_floor(percentile).name
        found[name] = partial(_latency, scope, percentile, name)
    return found


def _difference(scope: Scope, judge: str, metric: Metric, derived: Metric) -> Estimate:
    if scope.of_replica is None:
        return _without(scope, derived.name)
    candidate, replica = _values(scope, judge, metric), _values(scope.of_replica, judge, metric)
    if derived.name.startswith(names.DISSIMILAR_FROM_FLOOR.name):
        candidate, replica = _below(candidate), _below(replica)
    low, high = quality.bounds_of(derived) or (-1.0, 1.0)
    return two_phase.difference(
        candidate,
        replica,
        scope.evidence.clusters,
        metric=derived.name,
        level=scope.level,
        bounds=(low, high),
        looks=scope.looks,
    )


def _values(scope: Scope, judge: str, metric: Metric) -> Floats:
    """The judge's values on rows that count; failures settle a preference."""
    values = np.where(scope.rows.both_answered, quality.values_of(scope, judge), np.nan)
    if metric.name == names.WIN_RATE.name:
        return np.where(scope.rows.settled, scope.rows.worth, values)
    return values


def _below(values: Floats) -> Floats:
    return np.where(np.isfinite(values), (values < _DISSIMILAR).astype(np.float64), np.nan)


def _latency(scope: Scope, percentile: str, name: str) -> Estimate:
    """Candidate over replica, both asked by us at about the same time: the recording's own conditions cancel."""
    if scope.of_replica is None:
        return _without(scope, name)
    candidate, replica = scope.evidence.candidate, scope.of_replica.evidence.candidate
    fresh = scope.rows.both_asked & scope.of_replica.rows.both_asked & ~candidate.cache_hit & ~replica.cache_hit
    return quantiles.quantile_ratio(
        service.latency_of(candidate, "latency_ms")[fresh],
        service.latency_of(replica, "latency_ms")[fresh],
        scope.evidence.clusters[fresh],
        service.PROBABILITY[percentile],
        metric=name,
        level=scope.level,
        looks=scope.looks,
    )


def _without(scope: Scope, name: str) -> Estimate:
    return Estimate(metric=name, value=None, level=scope.level, looks=scope.looks.name, notes=(_NO_REPLICA,))
