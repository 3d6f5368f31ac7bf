"""The bounds that decide: a metric is shown with these, and with no others, wherever it appears."""

import math

from harness.domain.decision import CriterionResult, Decision, Outcome
from harness.domain.estimate import Estimate, Metric, Unit
from harness.domain.formatting import format_confidence, format_value
from reports.metrics import passes_above, span

COUNT = "count"
"""Method of what is counted instead of estimated."""
_PPI = "ppi"


def deciding(result: CriterionResult) -> Estimate:
    """The estimate with the bounds the outcome rests on: a fail has its own, wider ones."""
    if result.outcome is Outcome.FAIL and result.strict is not None:
        return result.strict
    return result.estimate


def decided_on(decision: Decision) -> dict[str, Estimate]:
    """What the decision rests on, by metric."""
    found: dict[str, Estimate] = {}
    for result in decision.results:
        if result.criterion.metric not in found or result.outcome is Outcome.FAIL:
            found[result.criterion.metric] = deciding(result)
    return found


def is_corrected(estimate: Estimate) -> bool:
    """Whether people's labels stand in this rate, and not the judge alone."""
    return estimate.method.startswith(_PPI)


def confidence(estimate: Estimate) -> str:
    """How sure each bound is: ``97.5% confidence at any look``, ``97.5% confidence at one look``."""
    return format_confidence(estimate) + (" at one look" if estimate.looks == "one" else "")


def bounds(estimate: Estimate, unit: Unit) -> str:
    """Both bounds with how sure they are; empty when there are none.

    ``54.50% to 59.70%, a 95% interval for one look``, or ``48.90% to 60.70%, each bound with 99.24% confidence at any
    look``.
    """
    low, high = _finite(estimate.low), _finite(estimate.high)
    if low is None and high is None:
        return ""
    shown = span(low, high, unit)
    if estimate.looks == "one":
        return f"{shown}, a {100 * estimate.level:.4g}% interval for one look"
    return f"{shown}, each bound with {confidence(estimate)}"


def bound(result: CriterionResult, metric: Metric) -> str:
    """The bound the outcome rests on: ``at least 49.10%``; both where neither decides, none where there is none."""
    estimate = deciding(result)
    low, high = _finite(estimate.low), _finite(estimate.high)
    if estimate.method == COUNT or (low is None and high is None):
        return ""
    is_low = passes_above(result.criterion) is (result.outcome is Outcome.PASS)
    end = low if is_low else high
    if result.outcome not in {Outcome.PASS, Outcome.FAIL} or end is None:
        return span(low, high, metric.unit)
    return f"at {'least' if is_low else 'most'} {format_value(end, metric.unit)}"


def claim(result: CriterionResult, metric: Metric) -> str:
    """The bound the outcome rests on as one reads it: ``at least 49.10% with 97% confidence at any look``.

    Both bounds where neither decides; empty where there is none.
    """
    estimate = deciding(result)
    if estimate.method == COUNT:
        return "counted, not estimated"
    shown = bound(result, metric)
    if not shown:
        return ""
    one = shown.startswith(("at least", "at most"))
    return f"{shown} with {confidence(estimate)}" if one else f"{shown}, each bound with {confidence(estimate)}"


def _finite(end: float | None) -> float | None:
    return end if end is not None and math.isfinite(end) else None
