"""One criterion over the runs of an experiment: figures in, a drawing's coordinates out."""

import math
from collections.abc import Callable, Sequence

from harness.domain.decision import Criterion, Outcome
from harness.domain.estimate import Direction, Metric, Unit
from harness.domain.formatting import format_value
from harness.domain.published import PublishedCriterion, PublishedRun
from reports.metrics import passes_above, rule, span
from reports.page_parts import OUTCOME_BADGES
from reports.text import one_line, plural
from reports.views_charts import TickView, finite, round_ticks, scale
from reports.views_index import TrendPoint, TrendView

MOST_POINTS = 30
"""Runs in one drawing, the newest ones."""
_WIDTH, _HEIGHT = 340, 172
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 288, 12, 140
_INSET = 16
_FAR = 1e12
"""A figure beyond it has no place in a drawing; none of ours is."""

Series = Sequence[tuple[PublishedRun, PublishedCriterion]]


def trend(series: Series, trend_id: str, *, newest: PublishedRun) -> TrendView:
    """The drawing of one criterion, oldest run first; ``newest`` is the newest run of the experiment."""
    last = series[-1][1]
    drawn = [(run, one) for run, one in series[-MOST_POINTS:] if _place(one.value) is not None]
    lost = len(series[-MOST_POINTS:]) - len(drawn)
    across, up, ticks = _axes(drawn)
    points = tuple(_point(index, run, one, across, up) for index, (run, one) in enumerate(drawn))
    lines = [(one, _place(one.threshold)) for _, one in drawn]
    threshold = finite(_place(last.threshold))
    return TrendView(
        id=trend_id,
        title=one_line(last.title, 80),
        rule=rule_of(last) + ("" if last.required else ", advisory"),
        value=format_value(last.value, last.unit),
        bounds=span(last.low, last.high, last.unit)
        if last.value is not None and (last.low is not None or last.high is not None)
        else "",
        badge=OUTCOME_BADGES[last.outcome],
        change=_change(series, newest=newest),
        desc=_desc(drawn),
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        right=_RIGHT,
        top=_TOP,
        bottom=_BOTTOM,
        y_ticks=tuple(TickView(at=up(tick), label=_short(tick, last.unit)) for tick in ticks),
        x_ticks=_dates(drawn, across),
        line=_line(drawn, points),
        threshold=_threshold(lines, across, up),
        threshold_y=_BOTTOM if threshold is None else up(threshold),
        threshold_label="" if threshold is None or not drawn else _short(threshold, last.unit),
        passing=_passing(lines, across, up),
        breaks=tuple(
            round((points[index - 1].x + points[index].x) / 2, 1)
            for index in range(1, len(drawn))
            if drawn[index][1].basis != drawn[index - 1][1].basis
        ),
        points=points,
        missing=f"{plural(lost, 'run')} without a figure" if lost else "",
    )


def rule_of(one: PublishedCriterion) -> str:
    """``below 1.2x``."""
    return rule(_criterion(one), metric(one))


def metric(one: PublishedCriterion) -> Metric:
    """As much of the metric as is published."""
    return Metric(name=one.metric, title=one.title, unit=one.unit, direction=Direction.NEUTRAL)


def difference(value: float, unit: Unit) -> str:
    """One value less another, with its sign: of shares in points, of anything else in its own unit."""
    if unit is Unit.SHARE:
        return format_value(value, Unit.POINTS)
    text = format_value(value, unit)
    return text if text.startswith(("+", "-")) or value <= 0 else f"+{text}"


def _criterion(one: PublishedCriterion) -> Criterion:
    return Criterion(metric=one.metric, bound=one.bound, threshold=one.threshold, required=one.required)


def _place(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and abs(value) < _FAR else None


def _axes(
    drawn: Series,
) -> tuple[Callable[[int], float], Callable[[float], float], list[float]]:
    ends = [
        place
        for _, one in drawn
        for value in (one.value, one.low, one.high, one.threshold)
        if (place := _place(value)) is not None
    ] or [0.0]
    ticks = round_ticks(min(ends), max(ends))
    ticks = ticks if len(ticks) <= 5 else ticks[::2]
    up = scale(min(*ends, *ticks), max(*ends, *ticks), _BOTTOM, _TOP, pad=0.02)
    room = _RIGHT - _LEFT - 2 * _INSET
    count = max(len(drawn) - 1, 1)

    def across(index: int) -> float:
        return round((_LEFT + _RIGHT) / 2 if len(drawn) == 1 else _LEFT + _INSET + room * index / count, 1)

    return across, up, ticks


def _point(
    index: int, run: PublishedRun, one: PublishedCriterion, across: Callable[[int], float], up: Callable[[float], float]
) -> TrendPoint:
    low, high = _place(one.low), _place(one.high)
    bounded = low is not None or high is not None
    return TrendPoint(
        x=across(index),
        y=up(one.value or 0.0),
        low=(up(low) if low is not None else _BOTTOM) if bounded else None,
        high=(up(high) if high is not None else _TOP) if bounded else None,
        low_open=bounded and low is None,
        high_open=bounded and high is None,
        badge=OUTCOME_BADGES[one.outcome],
        title=f"{one_line(run.run_id, 60)}, {run.decided_at:%Y-%m-%d}: {_said(one)}",
    )


def _said(one: PublishedCriterion) -> str:
    bounds = f", {span(one.low, one.high, one.unit)}" if one.low is not None or one.high is not None else ""
    return f"{format_value(one.value, one.unit)}{bounds}, {_word(one.outcome)}"


def _word(outcome: Outcome) -> str:
    return outcome.value.replace("_", " ")


def _change(series: Series, *, newest: PublishedRun) -> str:
    run, last = series[-1]
    if run.run_id != newest.run_id:
        return f"Not a criterion of the newest run; this is of {run.decided_at:%Y-%m-%d}."
    if len(series) == 1:
        return ""
    before_run, before = series[-2]
    since = f"since {before_run.decided_at:%Y-%m-%d}"
    if before.basis != last.basis:
        return f"Not comparable with {before_run.decided_at:%Y-%m-%d}: production or the judge became another one."
    old, new = _place(before.value), _place(last.value)
    moved = "" if old is None or new is None else f"{difference(new - old, last.unit)} {since}"
    turned = f"was {_word(before.outcome)}" if before.outcome is not last.outcome else ""
    ruled = f"the rule was {rule_of(before)}" if _criterion(before) != _criterion(last) else ""
    return "; ".join(part for part in (moved, turned, ruled) if part)


def _desc(drawn: Series) -> str:
    if not drawn:
        return "No run has a figure for it."
    run, last = drawn[-1]
    newest = f"newest, {run.decided_at:%Y-%m-%d}: {_said(last)}; it passes {rule_of(last)}."
    if len(drawn) == 1:
        return f"One run, the {newest}"
    values = [one.value for _, one in drawn if one.value is not None]
    first = drawn[0][0].decided_at
    lowest, highest = format_value(min(values), last.unit), format_value(max(values), last.unit)
    return f"{len(drawn)} runs since {first:%Y-%m-%d}, from {lowest} to {highest}; {newest}"


def _dates(drawn: Series, across: Callable[[int], float]) -> tuple[TickView, ...]:
    ends = sorted({0, len(drawn) - 1}) if drawn else []
    return tuple(TickView(at=across(index), label=f"{drawn[index][0].decided_at:%Y-%m-%d}") for index in ends)


def _line(drawn: Series, points: Sequence[TrendPoint]) -> str:
    """Broken where figures cannot be compared."""
    parts = []
    for index, point in enumerate(points):
        joined = index and drawn[index][1].basis == drawn[index - 1][1].basis
        parts.append(f"{'L' if joined else 'M'}{point.x:g} {point.y:g}")
    return "".join(parts) if len(points) > 1 else ""


_Lines = Sequence[tuple[PublishedCriterion, float | None]]


def _stretch(index: int, count: int, across: Callable[[int], float]) -> tuple[float, float]:
    """From half way to the run before to half way to the next one, the edges of the plot at both ends."""
    left = _LEFT if index == 0 else (across(index - 1) + across(index)) / 2
    right = _RIGHT if index == count - 1 else (across(index) + across(index + 1)) / 2
    return round(left, 1), round(right, 1)


def _threshold(lines: _Lines, across: Callable[[int], float], up: Callable[[float], float]) -> str:
    parts: list[str] = []
    before: float | None = None
    for index, (_, threshold) in enumerate(lines):
        left, right = _stretch(index, len(lines), across)
        if threshold is not None:
            parts.append(f"{'M' if before is None else 'L'}{left:g} {up(threshold):g}H{right:g}")
        before = threshold
    return "".join(parts)


def _passing(lines: _Lines, across: Callable[[int], float], up: Callable[[float], float]) -> str:
    parts = []
    for index, (one, threshold) in enumerate(lines):
        if threshold is not None:
            left, right = _stretch(index, len(lines), across)
            edge = _TOP if passes_above(_criterion(one)) else _BOTTOM
            parts.append(f"M{left:g} {up(threshold):g}H{right:g}V{edge}H{left:g}z")
    return "".join(parts)


def _short(value: float, unit: Unit) -> str:
    """As short as an axis needs it."""
    if unit in {Unit.SHARE, Unit.POINTS}:
        shown = f"{100 * value:+.4g}" if unit is Unit.POINTS else f"{100 * value:.4g}"
        return f"{shown.removeprefix('+') if value == 0 else shown}{'%' if unit is Unit.SHARE else ''}"
    if unit is Unit.RATIO:
        return f"{value:.4g}x"
    if unit is Unit.MILLISECONDS:
        return f"{value / 1000:.4g} s" if abs(value) >= 1000 else f"{value:.4g} ms"
    if unit is Unit.USD:
        return f"${value:,.4g}"
    if abs(value) >= 10_000:
        return f"{value / 1000:,.4g}k" if abs(value) < 1e7 else f"{value:.2g}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
