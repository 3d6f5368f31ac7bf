"""The biggest risk of taking a candidate over, in one sentence, chosen by a rule that needs no judgement.

The first of these that the evidence shows, and of several of a kind the strongest:

1. a required criterion that fails, the one whose bound lies furthest beyond its threshold;
2. a flagged slice, the one with the strongest evidence;
3. a judge, people or length that speak against figures which would pass or fail;
4. a required rule that nobody meets, or that nothing was measured for;
5. an open required criterion, the one least likely to pass as it stands;
6. a tested slice that is measured on the wrong side, though chance may explain it;
7. the criterion that passes most narrowly, of those that are estimated and not merely counted.

How far a bound lies from its threshold is counted in half-widths of its own interval, so that milliseconds, shares
and dollars can be compared.
"""

import math

from harness.domain.decision import CriterionResult, Outcome
from harness.domain.estimate import Estimate
from harness.domain.formatting import format_value
from harness.domain.report import CandidateReport, EvaluationReport
from harness.domain.slices import SliceTest
from reports.deciding import COUNT, bound, deciding
from reports.metrics import metric_of, passes_above, rule
from reports.page_criteria import objection_of
from reports.page_slices import is_one_look, name_of
from reports.text import plural
from reports.views_glance import RiskView

_SECTIONS = {"judge": "judges", "unscored": "judges", "people": "people", "slice": "slices"}


def risk_of(report: EvaluationReport, candidate: CandidateReport) -> RiskView | None:
    """The biggest risk; ``None`` when nothing required was measured."""
    required = [result for result in candidate.decision.results if result.criterion.required]
    return (
        _failed(required)
        or _flagged(report, candidate)
        or _spoken_against(candidate, required)
        or _unmet(required)
        or _open(required)
        or _losing(report, candidate, required)
        or _narrow(report, required)
    )


def distance(result: CriterionResult, end: float | None) -> float:
    """How far ``end`` lies on the passing side of the threshold, in half-widths of its interval; below 0 beyond it."""
    if end is None or not math.isfinite(end):
        return -math.inf
    threshold = result.criterion.threshold
    gap = end - threshold if passes_above(result.criterion) else threshold - end
    return gap / _half_width(deciding(result), threshold)


def _half_width(estimate: Estimate, threshold: float) -> float:
    ends = [end for end in (estimate.low, estimate.high) if end is not None and math.isfinite(end)]
    if estimate.value is not None and math.isfinite(estimate.value):
        half = max((abs(end - estimate.value) for end in ends), default=0.0)
        if half > 0:
            return half
    # What is counted has no interval; a share of the threshold still tells near from far.
    return abs(threshold) or 1.0


def _failed(required: list[CriterionResult]) -> RiskView | None:
    failed = [result for result in required if result.outcome is Outcome.FAIL]
    if not failed:
        return None
    worst = min(failed, key=lambda result: (distance(result, _last_hope(result)), result.criterion.metric))
    return RiskView(title="It breaks a rule", sentence=worst.reason, section="criteria")


def _last_hope(result: CriterionResult) -> float | None:
    """The end of the interval that is nearest to passing."""
    estimate = deciding(result)
    end = estimate.high if passes_above(result.criterion) else estimate.low
    return estimate.value if end is None else end


def _flagged(report: EvaluationReport, candidate: CandidateReport) -> RiskView | None:
    flagged = [test for test in candidate.slice_tests if test.flagged]
    if not flagged:
        return None
    sign = 1 if is_one_look(candidate) else -1
    worst = min(flagged, key=lambda test: (sign * test.evidence, test.attribute, test.value, test.metric))
    others = len({(test.attribute, test.value) for test in flagged}) - 1
    more = f" {plural(others, 'more slice is', 'more slices are')} flagged." if others else ""
    return RiskView(
        title="A part of the traffic loses",
        sentence=f"{_measured(report, candidate, worst)}, beyond what chance explains.{more}",
        section="slices",
    )


def _measured(report: EvaluationReport, candidate: CandidateReport, test: SliceTest) -> str:
    metric = metric_of(report, test.metric)
    wanted = next((r.criterion for r in candidate.decision.results if r.criterion.metric == test.metric), None)
    asks = f" where the rule asks for {rule(wanted, metric)}" if wanted is not None else ""
    value = format_value(test.estimate, metric.unit)
    return f"On {name_of(test)} the candidate's {_lower(metric.title)} is {value} on {plural(test.n, 'pair')}{asks}"


def _lower(title: str) -> str:
    """The title inside a sentence; abbreviations keep their capitals."""
    return title if title[:2].isupper() or title[:2] in {"P5", "P9"} else title[:1].lower() + title[1:]


def _spoken_against(candidate: CandidateReport, required: list[CriterionResult]) -> RiskView | None:
    against = [result.objection for result in required if result.objection is not None]
    against += [objection for objection in candidate.decision.objections if objection.kind != "slice"]
    if not against:
        return None
    shown = objection_of(against[0], said="")
    return RiskView(title=shown.title, sentence=shown.sentence, section=_SECTIONS.get(against[0].kind, "criteria"))


def _unmet(required: list[CriterionResult]) -> RiskView | None:
    for outcome, title in (
        (Outcome.UNATTAINABLE, "A rule that nobody meets"),
        (Outcome.NO_DATA, "A rule that nothing was measured for"),
    ):
        found = next((result for result in required if result.outcome is outcome), None)
        if found is not None:
            return RiskView(title=title, sentence=found.reason, section="criteria")
    return None


def _open(required: list[CriterionResult]) -> RiskView | None:
    is_open = [result for result in required if result.outcome is Outcome.INCONCLUSIVE]
    if not is_open:
        return None
    worst = min(is_open, key=lambda result: (distance(result, deciding(result).value), result.criterion.metric))
    return RiskView(title="A rule that is still open", sentence=worst.reason, section="criteria")


def _losing(report: EvaluationReport, candidate: CandidateReport, required: list[CriterionResult]) -> RiskView | None:
    results = {result.criterion.metric: result for result in required}
    losing = [
        (distance(results[test.metric], test.estimate), test.attribute, test.value, test.metric, test)
        for test in candidate.slice_tests
        if test.metric in results and distance(results[test.metric], test.estimate) < 0
    ]
    if not losing:
        return None
    worst = min(losing, key=lambda item: item[:4])[-1]
    return RiskView(
        title="The weakest part of the traffic",
        sentence=f"{_measured(report, candidate, worst)}; chance may explain it.",
        section="slices",
    )


def _narrow(report: EvaluationReport, required: list[CriterionResult]) -> RiskView | None:
    passed = [result for result in required if result.outcome is Outcome.PASS]
    # How many pairs there are is a matter of the sample, and no risk of the candidate's.
    passed = [result for result in passed if deciding(result).method != COUNT] or passed
    if not passed:
        return None

    def by_distance(result: CriterionResult) -> tuple[float, str]:
        estimate = deciding(result)
        end = estimate.low if passes_above(result.criterion) else estimate.high
        return distance(result, estimate.value if estimate.method == COUNT else end), result.criterion.metric

    nearest = min(passed, key=by_distance)
    metric = metric_of(report, nearest.criterion.metric)
    shown = bound(nearest, metric) or format_value(nearest.estimate.value, metric.unit)
    return RiskView(
        title="The closest call",
        sentence=f"{metric.title} passes most narrowly: {shown}, where the rule asks for "
        f"{rule(nearest.criterion, metric)}.",
        section="criteria",
    )
