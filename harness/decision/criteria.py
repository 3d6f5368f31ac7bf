"""Hold one Criterion against its Estimate: the whole interval has to be on one side of the threshold."""

import math
from collections.abc import Iterable

from harness.domain.decision import Bound, Criterion, CriterionResult, Objection, Outcome
from harness.domain.estimate import Direction, Estimate, Metric, Unit
from harness.domain.formatting import format_confidence, format_estimate, format_value
from harness.domain.metrics import METRICS
from harness.errors import ConfigurationError
from harness.stats import samplesize

_WORDS = {Bound.BELOW: "below", Bound.ABOVE: "above", Bound.AT_LEAST: "at least", Bound.AT_MOST: "at most"}


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


def evaluate(
    criterion: Criterion,
    estimate: Estimate,
    *,
    metric: Metric | None = None,
    strict: Estimate | None = None,
    floor: Estimate | None = None,
    objection: Objection | None = None,
) -> CriterionResult:
    """PASS or FAIL when the interval lies on one side, INCONCLUSIVE when it does not, NO_DATA without a value.

    A missing end of the interval is unbounded. A count is compared as it is, and one that is still too small is
    INCONCLUSIVE, since more traffic raises it.

    Args:
        criterion: The rule.
        estimate: What was measured, with the bounds a PASS needs.
        metric: Its title and unit; the built-in one by default.
        strict: The same with the bounds a FAIL needs; those of ``estimate`` by default.
        floor: The same metric of production asked again. Where it fails the rule, a candidate that does not pass is
            not to blame: UNATTAINABLE.
        objection: What keeps the bounds from deciding, whatever they say.
    """
    metric = metric or metric_for(criterion.metric)
    if estimate.value is None or math.isnan(estimate.value):
        return CriterionResult(
            criterion=criterion,
            estimate=estimate,
            outcome=Outcome.NO_DATA,
            reason=_no_data(estimate, metric),
            objection=objection,
        )
    if estimate.method == "count":
        return _count(criterion, estimate, estimate.value, metric)
    strict = strict or estimate
    outcome = _compare(criterion, estimate, strict)
    if outcome is not Outcome.PASS and floor is not None and _fails(criterion, floor):
        outcome = Outcome.UNATTAINABLE
    if objection is not None and (outcome in {Outcome.PASS, Outcome.FAIL} or _is_final(objection, outcome)):
        said = _sentence(criterion, estimate, strict, metric, outcome)
        return CriterionResult(
            criterion=criterion,
            estimate=estimate,
            outcome=Outcome.INCONCLUSIVE,
            reason=f"{said} It does not count: {objection.sentence}",
            strict=strict,
            objection=objection,
        )
    needed = None
    if outcome is Outcome.INCONCLUSIVE:
        needed = samplesize.n_needed(estimate, criterion.threshold, log_scale=metric.unit is Unit.RATIO)
    if outcome is Outcome.UNATTAINABLE and floor is not None:
        reason = _unattainable(criterion, estimate, floor, metric)
    else:
        reason = _sentence(criterion, estimate, strict, metric, outcome, _projection(needed))
    return CriterionResult(
        criterion=criterion,
        estimate=estimate,
        outcome=outcome,
        reason=reason,
        n_needed=needed,
        strict=strict,
        objection=objection,
    )


def rule(criterion: Criterion, metric: Metric) -> str:
    """The rule in words: ``below 1.2x``."""
    return f"{_WORDS[criterion.bound]} {format_value(criterion.threshold, metric.unit, trim=True)}"


def _compare(criterion: Criterion, estimate: Estimate, strict: Estimate) -> Outcome:
    if holds(criterion, _least(estimate)) and holds(criterion, _most(estimate)):
        return Outcome.PASS
    return Outcome.FAIL if _fails(criterion, strict) else Outcome.INCONCLUSIVE


def _fails(criterion: Criterion, estimate: Estimate) -> bool:
    """Whether the whole interval is on the wrong side."""
    if estimate.value is None:
        return False
    return not holds(criterion, _least(estimate)) and not holds(criterion, _most(estimate))


def _least(estimate: Estimate) -> float:
    return -math.inf if estimate.low is None else estimate.low


def _most(estimate: Estimate) -> float:
    return math.inf if estimate.high is None else estimate.high


def holds(criterion: Criterion, value: float) -> bool:
    """Whether the value is on the good side."""
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
    if holds(criterion, value):
        return CriterionResult(
            criterion=criterion,
            estimate=estimate,
            outcome=Outcome.PASS,
            reason=f"{metric.title}: {shown}, {wanted} as required.",
        )
    if criterion.passes_below:
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


def _is_final(objection: Objection, outcome: Outcome) -> bool:
    """Whether it stands however many pairs there are: those of a judge that cannot judge settle nothing."""
    return objection.kind == "judge" and outcome is Outcome.INCONCLUSIVE


def _projection(needed: int | None) -> str:
    return (
        f"; about {needed:,} pairs in all would probably settle it" if needed else "; no sample size can be projected"
    )


def _sentence(
    criterion: Criterion, estimate: Estimate, strict: Estimate, metric: Metric, outcome: Outcome, projection: str = ""
) -> str:
    wanted = rule(criterion, metric)
    if outcome is Outcome.PASS:
        return f"{metric.title} is {_claim(criterion, estimate, metric, good=True)}: {wanted} as required."
    if outcome is Outcome.FAIL:
        return f"{metric.title} is {_claim(criterion, strict, metric, good=False)}: required is {wanted}."
    # Bounds that would fail one rule alone may leave it open among several: then it is the wider ones that straddle.
    shown = strict if _fails(criterion, estimate) else estimate
    measured = f"{metric.title} is {format_estimate(shown, metric.unit)}"
    if shown.low is None and shown.high is None:
        why = f"; {estimate.notes[0]}" if estimate.notes else ""
        return f"{measured}, but has no interval to hold against {wanted}{why}."
    threshold = format_value(criterion.threshold, metric.unit, trim=True)
    return f"{measured}, which does not settle {wanted}: the interval reaches both sides of {threshold}{projection}."


def _claim(criterion: Criterion, estimate: Estimate, metric: Metric, *, good: bool) -> str:
    """Value and the one bound the outcome rests on: ``51.20%, above 49.80% with 97% confidence at any look``."""
    value = format_value(estimate.value, metric.unit)
    upper = criterion.passes_below is good
    end = estimate.high if upper else estimate.low
    if end is None or estimate.value is None or not math.isfinite(end):
        return value
    side = "below" if upper else "above"
    return f"{value}, {side} {format_value(end, metric.unit)} with {format_confidence(estimate)}"


def _unattainable(criterion: Criterion, estimate: Estimate, floor: Estimate, metric: Metric) -> str:
    return (
        f"{metric.title} is {format_value(estimate.value, metric.unit)}, but production itself does not reach "
        f"{rule(criterion, metric)}: asked again it has {_claim(criterion, floor, metric, good=False)}. No candidate "
        "can be held to that; compare with the noise floor instead, or change the threshold."
    )
