"""Parts of the traffic on their own: which of them lose, with the number of parts looked at taken into account."""

import math
from collections.abc import Mapping, Sequence

from harness.domain.decision import CriterionResult
from harness.domain.estimate import Direction, Estimate
from harness.domain.formatting import format_value
from harness.domain.report import CandidateReport, EvaluationReport, SliceReport
from harness.domain.slices import SliceTest
from reports.deciding import COUNT
from reports.metrics import metric_of, passes_above, rule
from reports.page_forest import forests_of
from reports.page_parts import FLAGGED, NONE, e_value, interval, table, words
from reports.text import plural
from reports.views import Badge, Cell, Table
from reports.views_page import SlicesView

MAX_TESTS = 40
_BEYOND = Badge(word="beyond the limit", tone="bad", icon="cross")
_FIRST = ("win_rate", "similarity", "exact")


def slices_of(report: EvaluationReport, candidate: CandidateReport) -> SlicesView:
    """Tests against the criteria first, flagged ones at the top; then what every slice measures."""
    by_attribute: dict[str, list[SliceReport]] = {}
    for item in candidate.slices:
        by_attribute.setdefault(item.attribute, []).append(item)
    return SlicesView(
        forests=forests_of(report, candidate),
        tests=_tests(report, candidate),
        notes=_notes(report, candidate),
        tables=tuple(_table(report, candidate, attribute, items) for attribute, items in by_attribute.items()),
    )


def is_one_look(candidate: CandidateReport) -> bool:
    """Whether the evidence of the tests is an adjusted p-value; else it is an e-value."""
    return candidate.decision.terms is not None and candidate.decision.terms.looks == "one"


def flagged_slices(candidate: CandidateReport) -> tuple[str, ...]:
    """Slices that lose, by name."""
    return tuple(dict.fromkeys(name_of(test) for test in candidate.slice_tests if test.flagged))


def _tests(report: EvaluationReport, candidate: CandidateReport) -> Table | None:
    if not candidate.slice_tests:
        return None
    results = {result.criterion.metric: result for result in candidate.decision.results}
    one_look = is_one_look(candidate)

    def order(test: SliceTest) -> tuple[bool, float, str, str]:
        strength = test.evidence if one_look else -test.evidence
        return not test.flagged, math.inf if math.isnan(strength) else strength, test.attribute, test.value

    ranked = sorted(candidate.slice_tests, key=order)
    flagged = sum(test.flagged for test in ranked)
    shown = ranked[: max(MAX_TESTS, flagged)]
    rows = [
        (
            Cell(text=name_of(test), badge=FLAGGED if test.flagged else None),
            Cell(text=metric_of(report, test.metric).title, sub=_rule(report, results.get(test.metric))),
            Cell(text=format_value(test.estimate, metric_of(report, test.metric).unit)),
            Cell(text=f"{test.n:,}"),
            Cell(text=_p(test.evidence) if one_look else e_value(test.evidence)),
        )
        for test in shown
    ]
    left = len(ranked) - len(shown)
    what = (
        "The adjusted p-value is the share of false alarms to expect when this slice and all above it are flagged."
        if one_look
        else "The e-value is what a stake of 1 has grown to when betted against the slice meeting the rule: by chance "
        "alone it reaches 20 at most once in 20 slices, at whatever time one looks."
    )
    return table(
        "Slices against the criteria",
        ["Slice", "Criterion", "Measured", "Pairs", "Adjusted p" if one_look else "E-value"],
        rows,
        numeric=(2, 3, 4),
        note=what + (f" {left:,} more tests are in report.json, none of them flagged." if left else ""),
    )


def _notes(report: EvaluationReport, candidate: CandidateReport) -> tuple[str, ...]:
    plan, tests = candidate.slice_plan, candidate.slice_tests
    if not candidate.slices or plan is None:
        return ()
    if not tests:
        return (f"No slice of at least {plan.min_pairs:,} pairs was there to be tested; what the tables show decides "
                "nothing.",)  # fmt: skip
    flagged = sum(test.flagged for test in tests)
    combinations = plural(len(tests), "combination of slice and criterion", "combinations of slice and criterion")
    said = [
        f"{combinations} tested, on slices of at least {plan.min_pairs:,} pairs: "
        f"{f'{flagged:,} flagged' if flagged else 'none flagged'}. Of what is flagged, at most "
        f"{100 * plan.false_discoveries:.3g}% are expected to be false alarms."
    ]
    small = sum(item.n < plan.min_pairs for item in candidate.slices)
    if small:
        said.append(f"{plural(small, 'slice is', 'slices are')} too small for a test.")
    untested = _untested(report, candidate)
    if untested:
        said.append(f"No slice could be tested on: {', '.join(untested)}.")
    said.append("Intervals in the tables by attribute are for one look at one slice, and corrected for nothing.")
    return tuple(said)


def _untested(report: EvaluationReport, candidate: CandidateReport) -> list[str]:
    """Required criteria on what can be estimated that no test is about."""
    tested = {test.metric for test in candidate.slice_tests}
    return [
        metric_of(report, result.criterion.metric).title
        for result in candidate.decision.results
        if result.criterion.required and result.estimate.method != COUNT and result.criterion.metric not in tested
    ]


def name_of(test: SliceTest) -> str:
    """The slice as a reader names it: ``metadata.plan: team``."""
    return f"{words(test.attribute)}: {test.value}"


def _rule(report: EvaluationReport, result: CriterionResult | None) -> str:
    return "" if result is None else rule(result.criterion, metric_of(report, result.criterion.metric))


def _p(value: float) -> str:
    if math.isnan(value):
        return NONE
    return f"{value:.4f}" if value >= 0.0001 else "under 0.0001"


def _table(report: EvaluationReport, candidate: CandidateReport, attribute: str, items: Sequence[SliceReport]) -> Table:
    names = list(dict.fromkeys(estimate.metric for item in items for estimate in item.estimates))
    names.sort(key=lambda name: not name.startswith(_FIRST))
    ranked_by = metric_of(report, names[0]) if names else None
    tests = {(test.value, test.metric): test for test in candidate.slice_tests if test.attribute == attribute}
    flagged = {value for (value, _), test in tests.items() if test.flagged}

    def badness(item: SliceReport) -> tuple[bool, bool, float, str]:
        value = next((e.value for e in item.estimates if names and e.metric == names[0]), None)
        calm = item.value not in flagged
        if value is None or ranked_by is None:
            return calm, True, float(-item.n), item.value
        return calm, False, value if ranked_by.direction is not Direction.LOWER_IS_BETTER else -value, item.value

    criteria = {result.criterion.metric: result for result in candidate.decision.results}
    rows = []
    for item in sorted(items, key=badness):
        found = {estimate.metric: estimate for estimate in item.estimates}
        cells = [
            _cell(report, candidate, found.get(name), criteria.get(name), tests.get((item.value, name)), item)
            for name in names
        ]
        rows.append((Cell(text=item.value, sub=_size(candidate, item, tests)), Cell(text=f"{item.n:,}"), *cells))
    heads = [attribute, "Requests", *(metric_of(report, name).title for name in names)]
    ordered = f", worst {ranked_by.title.lower()} first" if ranked_by else ""
    return table(f"By {words(attribute)}{ordered}", heads, rows, numeric=range(1, len(heads)))


def _size(candidate: CandidateReport, item: SliceReport, tests: Mapping[tuple[str, str], SliceTest]) -> str:
    plan = candidate.slice_plan
    if item.too_small:
        return "too small for a rate"
    if plan is None or any(value == item.value for value, _ in tests):
        return ""
    return "too small for a test" if item.n < plan.min_pairs else "not tested"


def _cell(
    report: EvaluationReport,
    candidate: CandidateReport,
    estimate: Estimate | None,
    criterion: CriterionResult | None,
    test: SliceTest | None,
    item: SliceReport,
) -> Cell:
    if estimate is None:
        return Cell(text="too few" if item.too_small else NONE)
    metric = metric_of(report, estimate.metric)
    badge = FLAGGED if test is not None and test.flagged else None
    if candidate.slice_plan is None and criterion is not None and _is_beyond(estimate, criterion):
        # Reports of before slices were tested: the slice's own interval, uncorrected.
        badge = _BEYOND
    return Cell(text=format_value(estimate.value, metric.unit), sub=interval(estimate, metric.unit), badge=badge)


def _is_beyond(estimate: Estimate, result: CriterionResult) -> bool:
    """Whether the whole interval lies on the failing side of the threshold."""
    end = estimate.high if passes_above(result.criterion) else estimate.low
    if end is None:
        return False
    return end < result.criterion.threshold if passes_above(result.criterion) else end > result.criterion.threshold
