"""Hold one Criterion against its Estimate: the whole interval has to be on one side of the threshold."""

import math
from collections.abc import Iterable

from harness.domain.decision import Bound, Criterion, CriterionResult, Outcome
from harness.domain.estimate import Direction, Estimate, Metric, Unit
from harness.domain.formatting import format_estimate, format_value
from harness.domain.metrics import METRICS
from harness.errors import ConfigurationError
from harness.stats import samplesize

_WORDS = {Bound.BELOW: "below", Bound.ABOVE: "above", Bound.AT_LEAST: "at least", Bound.AT_MOST: "at most"}
_UPPER = {Bound.BELOW, Bound.AT_MOST}
"""Bounds that limit the metric from above."""


def check(criteria: Iterable[Criterion], known: Iterable[str]) -> None:
    """Refuse a criterion on a metric that nothing measures.

    Raises:
        ConfigurationError: naming the metric and the known ones.
    """
    names = set(known)
    for criterion in criteria:
        if criterion.metric not in names:
            listed = ", ".join(sorted(names))
            raise ConfigurationError(f"criterion on unknown metric {criterion.metric!r}; known metrics: {listed}")


def metric_for(name: str) -> Metric:
    """The built-in Metric of a name, also of ``<metric>:<judge>``; a bare score for any other name."""
    if name in METRICS:
        return METRICS[name]
    base, _, judge = name.partition(":")
    known = METRICS.get(base)
    if known is not None:
        return Metric(
            name=name,
            title=f"{known.title} ({judge})",
            unit=known.unit,
            direction=known.direction,
            help=known.help,
            bounds=known.bounds,
        )
    return Metric(name=name, title=name.replace("_", " "), unit=Unit.SCORE, direction=Direction.NEUTRAL)


def evaluate(criterion: Criterion, estimate: Estimate, *, metric: Metric | None = None) -> CriterionResult:
    """PASS or FAIL when the whole interval lies on one side, INCONCLUSIVE when it does not, NO_DATA without a value.

    A missing end of the interval is unbounded. A count is compared as it is, and one that is still too small is
    INCONCLUSIVE, since more traffic raises it. ``metric`` gives title and unit; the built-in one by default.
    """
    metric = metric or metric_for(criterion.metric)
    if estimate.value is None or math.isnan(estimate.value):
        return CriterionResult(
            criterion=criterion, estimate=estimate, outcome=Outcome.NO_DATA, reason=_no_data(estimate, metric)
        )
    if estimate.method == "count":
        return _count(criterion, estimate, estimate.value, metric)
    outcome = _compare(criterion, estimate.low, estimate.high)
    needed = None
    if outcome is Outcome.INCONCLUSIVE:
        needed = samplesize.n_needed(estimate, criterion.threshold, log_scale=metric.unit is Unit.RATIO)
    reason = _sentence(criterion, estimate, metric, outcome, needed)
    return CriterionResult(criterion=criterion, estimate=estimate, outcome=outcome, reason=reason, n_needed=needed)


def rule(criterion: Criterion, metric: Metric) -> str:
    """The rule in words: ``below 1.2x``."""
    return f"{_WORDS[criterion.bound]} {format_value(criterion.threshold, metric.unit, trim=True)}"


def _compare(criterion: Criterion, low: float | None, high: float | None) -> Outcome:
    least = -math.inf if low is None else low
    most = math.inf if high is None else high
    if _holds(criterion, least) and _holds(criterion, most):
        return Outcome.PASS
    if not _holds(criterion, least) and not _holds(criterion, most):
        return Outcome.FAIL
    return Outcome.INCONCLUSIVE


def _holds(criterion: Criterion, value: float) -> bool:
    match criterion.bound:
        case Bound.BELOW:
            return value < criterion.threshold
        case Bound.AT_MOST:
            return value <= criterion.threshold
        case Bound.ABOVE:
            return value > criterion.threshold
        case Bound.AT_LEAST:
            return value >= criterion.threshold


def _count(criterion: Criterion, estimate: Estimate, value: float, metric: Metric) -> CriterionResult:
    shown, wanted = format_value(value, metric.unit), rule(criterion, metric)
    if _holds(criterion, value):
        return CriterionResult(
            criterion=criterion,
            estimate=estimate,
            outcome=Outcome.PASS,
            reason=f"{metric.title}: {shown}, {wanted} as required.",
        )
    if criterion.bound in _UPPER:
        return CriterionResult(
            criterion=criterion,
            estimate=estimate,
            outcome=Outcome.FAIL,
            reason=f"{metric.title}: {shown}, required is {wanted}.",
        )
    strict = criterion.bound is Bound.ABOVE
    target = math.floor(criterion.threshold) + 1 if strict else math.ceil(criterion.threshold)
    more = format_value(target - value, Unit.COUNT)
    return CriterionResult(
        criterion=criterion,
        estimate=estimate,
        outcome=Outcome.INCONCLUSIVE,
        reason=f"{metric.title}: {shown}, required is {wanted}; {more} more are needed.",
        n_needed=target,
    )


def _no_data(estimate: Estimate, metric: Metric) -> str:
    if estimate.notes:
        return f"{metric.title} could not be measured: {estimate.notes[0]}."
    if estimate.n_missing:
        pairs = (
            "1 pair that should have" if estimate.n_missing == 1 else f"{estimate.n_missing:,} pairs that should have"
        )
        return f"{metric.title} could not be measured: no value on {pairs} one."
    return f"{metric.title} could not be measured: no pair has a value."


def _sentence(criterion: Criterion, estimate: Estimate, metric: Metric, outcome: Outcome, needed: int | None) -> str:
    measured, wanted = f"{metric.title} is {format_estimate(estimate, metric.unit)}", rule(criterion, metric)
    if outcome is Outcome.PASS:
        return f"{measured}, {wanted} as required."
    if outcome is Outcome.FAIL:
        return f"{measured}, required is {wanted}."
    if estimate.low is None and estimate.high is None:
        why = f"; {estimate.notes[0]}" if estimate.notes else ""
        return f"{measured}, but has no interval to hold against {wanted}{why}."
    threshold = format_value(criterion.threshold, metric.unit, trim=True)
    projection = (
        f"about {needed:,} pairs in all would probably settle it" if needed else "no sample size can be projected"
    )
    return f"{measured}, which does not settle {wanted}: the interval reaches both sides of {threshold}; {projection}."
