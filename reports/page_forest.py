"""Slices against the criteria as forest plots, those where the candidate loses first."""

import math
from dataclasses import dataclass

from harness.domain.decision import CriterionResult
from harness.domain.estimate import Estimate, Metric
from harness.domain.formatting import format_value
from harness.domain.report import CandidateReport, EvaluationReport
from reports.deciding import deciding
from reports.metrics import metric_of, passes_above, rule
from reports.page_parts import FLAGGED, interval, words
from reports.text import plural
from reports.views_forest import FOREST_WIDTH, ROW_HEIGHT, ForestLine, ForestRow, ForestView, Interval, line_of, mark_of

MAX_ROWS = 30
"""Slices drawn per criterion; flagged ones are drawn all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Slice:
    """One slice's estimate of a criterion's metric."""

    name: str
    estimate: Estimate
    value: float
    gap: float
    """How far on the passing side of the threshold the value is; below 0 on the wrong one."""
    flagged: bool


def forests_of(report: EvaluationReport, candidate: CandidateReport) -> tuple[ForestView, ...]:
    """One plot per criterion that slices were measured on: those with flagged slices first, then by how much loses."""
    found = []
    seen: set[str] = set()
    for result in candidate.decision.results:
        name = result.criterion.metric
        slices = _slices(candidate, result) if name not in seen and math.isfinite(result.criterion.threshold) else []
        if slices:
            seen.add(name)
            found.append((result, slices))
    ranked = sorted(found, key=lambda item: (-sum(s.flagged for s in item[1]), not item[0].criterion.required))
    return tuple(
        _forest(metric_of(report, result.criterion.metric), result, slices, is_open=number == 0)
        for number, (result, slices) in enumerate(ranked)
    )


def _slices(candidate: CandidateReport, result: CriterionResult) -> list[_Slice]:
    metric, threshold = result.criterion.metric, result.criterion.threshold
    flagged = {(test.attribute, test.value) for test in candidate.slice_tests if test.flagged and test.metric == metric}
    sign = 1.0 if passes_above(result.criterion) else -1.0
    found = []
    for item in candidate.slices:
        estimate = next((e for e in item.estimates if e.metric == metric), None)
        if estimate is None or estimate.value is None or not math.isfinite(estimate.value):
            continue
        found.append(
            _Slice(
                name=f"{words(item.attribute)}: {item.value}",
                estimate=estimate,
                value=estimate.value,
                gap=sign * (estimate.value - threshold),
                flagged=(item.attribute, item.value) in flagged,
            )
        )
    return sorted(found, key=lambda item: (not item.flagged, item.gap, item.name))


def _forest(metric: Metric, result: CriterionResult, slices: list[_Slice], *, is_open: bool) -> ForestView:
    flagged = sum(item.flagged for item in slices)
    wrong = sum(item.gap < 0 for item in slices)
    shown = slices[: max(MAX_ROWS, flagged)]
    whole, threshold = deciding(result), result.criterion.threshold
    known = whole.value is not None and math.isfinite(whole.value)
    items = [_interval(item.estimate, item.value) for item in shown]
    if known and whole.value is not None:
        items.append(_interval(whole, whole.value))
    line = line_of(items, threshold)
    above = passes_above(result.criterion)
    rows = [_row(metric, item, line) for item in shown]
    if known and whole.value is not None:
        rows.insert(0, _whole(metric, whole, whole.value, line))
    left = len(slices) - len(shown)
    return ForestView(
        title=metric.title,
        rule=rule(result.criterion, metric),
        summary=f"{plural(len(slices), 'slice')}: {wrong:,} on the wrong side, {flagged:,} of them beyond chance",
        width=FOREST_WIDTH,
        height=ROW_HEIGHT,
        pass_x=line.threshold if above else 0,
        pass_width=round(FOREST_WIDTH - line.threshold if above else line.threshold, 1),
        threshold=line.threshold,
        threshold_label=format_value(threshold, metric.unit, trim=True),
        label_anchor=line.anchor,
        rows=tuple(rows),
        note="The upright line is the threshold, the shaded side passes, a larger mark rests on more pairs. A slice's "
        "interval is for one look at it alone, and decides nothing; what is flagged is beyond the threshold with all "
        "slices taken into account." + (f" {plural(left, 'more slice is', 'more slices are')} in report.json, all of "
        "them further on the passing side." if left else ""),
        is_open=is_open,
    )  # fmt: skip


def _interval(estimate: Estimate, value: float) -> Interval:
    return Interval(value=value, low=estimate.low, high=estimate.high, n=estimate.n)


def _row(metric: Metric, item: _Slice, line: ForestLine) -> ForestRow:
    wrong = item.gap < 0
    said = "beyond chance" if item.flagged else "wrong side, chance may explain it" if wrong else ""
    return ForestRow(
        name=item.name,
        sample=f"{item.estimate.n:,}",
        value=format_value(item.value, metric.unit),
        interval=interval(item.estimate, metric.unit),
        said=said,
        badge=FLAGGED if item.flagged else None,
        tone="bad" if item.flagged else "open" if wrong else "good",
        mark=mark_of(_interval(item.estimate, item.value), line),
    )


def _whole(metric: Metric, estimate: Estimate, value: float, line: ForestLine) -> ForestRow:
    return ForestRow(
        name="All traffic",
        sample=f"{estimate.n:,}",
        value=format_value(value, metric.unit),
        interval=interval(estimate, metric.unit),
        said="as decided on",
        badge=None,
        tone="mark",
        mark=mark_of(_interval(estimate, value), line),
    )
