"""Geometry of a criterion's sequence: its estimate and bounds at every look, against the threshold."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from harness.domain.decision import Criterion
from harness.domain.estimate import Metric
from harness.domain.formatting import format_interval, format_value
from harness.domain.look import LookPoint
from reports.metrics import passes_above, rule
from reports.text import plural
from reports.views_charts import TickView, finite, round_ticks, scale, value_tick

SEQUENCE_WIDTH, SEQUENCE_HEIGHT = 460, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 12, 34
_MAX_POINTS = 160
_SETTLED = 0.3
"""The first part of the looks, whose bounds may be so wide that nothing else could be told apart beside them."""
_STEPS: tuple[tuple[float, str], ...] = (
    *((n, "s") for n in (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)),
    *((n * 60.0, "min") for n in (1, 2, 5, 10, 15, 30)),
    *((n * 3_600.0, "h") for n in (1, 2, 3, 6, 12)),
    *((n * 86_400.0, "d") for n in (1, 2, 5, 7, 14, 28, 56, 91, 182, 365)),
)
_UNITS = {"s": 1.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceView:
    """One criterion over time, on 460 x 220 user units."""

    id: str
    """Unique id of the drawing within the page."""
    title: str
    """The metric and its rule."""
    desc: str
    """What can be read off it, in words."""
    width: int
    """Width of the drawing."""
    height: int
    """Height of the drawing."""
    left: float
    """Left edge of the plot."""
    right: float
    """Right edge of the plot."""
    top: float
    """Upper edge of the plot."""
    bottom: float
    """Lower edge of the plot."""
    pass_y: float
    """Upper edge of the side that passes."""
    pass_height: float
    """Height of the side that passes."""
    threshold: float
    """Where the threshold line stands."""
    threshold_label: str
    """The threshold's value."""
    threshold_y: float
    """Where its label stands, so that it does not cover the line."""
    band: str
    """Area between the bounds, as SVG path data; empty without any."""
    bounds: str
    """Both bounds as lines, as SVG path data; they end where nothing bounds the estimate."""
    line: str
    """The estimate, as SVG path data."""
    last_x: float
    """Where the newest estimate stands."""
    last_y: float
    """How high it stands."""
    x_ticks: tuple[TickView, ...]
    """Time since the first look."""
    y_ticks: tuple[TickView, ...]
    """The metric's values."""
    x_title: str
    """What the horizontal axis counts."""
    caption: str
    """How many looks, from when to when."""


def sequence(points: Sequence[LookPoint], criterion: Criterion, metric: Metric, drawing_id: str) -> SequenceView | None:
    """The criterion's looks as a drawing; ``None`` for fewer than two with an estimate.

    Args:
        points: looks at this criterion, oldest first.
        criterion: gives the threshold and the side of it that passes.
        metric: gives the unit.
        drawing_id: unique within the page.
    """
    known = [point for point in points if finite(point.value) is not None]
    threshold = finite(criterion.threshold)
    if len(known) < 2 or threshold is None:
        return None
    shown = _thinned(known)
    begin, end = known[0].at, known[-1].at
    span = max((end - begin).total_seconds(), 1.0)
    right, bottom = SEQUENCE_WIDTH - _RIGHT, SEQUENCE_HEIGHT - _BOTTOM
    across = scale(0.0, span, _LEFT, right, pad=0.0)
    low, high = _range(known, threshold)
    up = _inside(scale(low, high, bottom, _TOP, pad=0.06), bottom)

    def x(moment: datetime) -> float:
        return across((moment - begin).total_seconds())

    at = up(threshold)
    above = passes_above(criterion)
    last = known[-1]
    return SequenceView(
        id=drawing_id,
        title=f"{metric.title}, {rule(criterion, metric)}",
        desc=_in_words(known, criterion, metric),
        width=SEQUENCE_WIDTH,
        height=SEQUENCE_HEIGHT,
        left=_LEFT,
        right=right,
        top=_TOP,
        bottom=bottom,
        pass_y=_TOP if above else at,
        pass_height=round(at - _TOP if above else bottom - at, 1),
        threshold=at,
        threshold_label=f"{rule(criterion, metric)} passes",
        threshold_y=round(at - 5 if at > _TOP + 18 else at + 14, 1),
        band=_band(shown, x, up, bottom),
        bounds=_edge(shown, x, up, lambda point: point.low) + _edge(shown, x, up, lambda point: point.high),
        line=_joined([(x(point.at), up(point.value)) for point in shown if point.value is not None]),
        last_x=x(last.at),
        last_y=up(last.value) if last.value is not None else at,
        x_ticks=_time_ticks(span, across),
        y_ticks=_value_ticks(low, high, up, metric, bottom),
        x_title="since the first look",
        caption=f"{plural(len(points), 'look')} kept, {_moment(begin)} to {_moment(end)} UTC.",
    )


def _thinned(points: Sequence[LookPoint]) -> list[LookPoint]:
    """Evenly over the looks, the newest always among them."""
    step = max(1, math.ceil(len(points) / _MAX_POINTS))
    chosen = list(points[::step])
    if chosen[-1] is not points[-1]:
        chosen.append(points[-1])
    return chosen


def _range(points: Sequence[LookPoint], threshold: float) -> tuple[float, float]:
    settled = points[math.floor(len(points) * _SETTLED) :]
    ends = [threshold, *(point.value for point in points if point.value is not None)]
    ends += [end for point in settled for end in (finite(point.low), finite(point.high)) if end is not None]
    return min(ends), max(ends)


def _inside(place: Callable[[float], float], bottom: float) -> Callable[[float], float]:
    """Bounds that lie beyond the plot run along its edge."""
    return lambda value: min(max(place(value), float(_TOP)), float(bottom))


def _joined(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in points) if points else ""


def _edge(
    points: Sequence[LookPoint],
    x: Callable[[datetime], float],
    up: Callable[[float], float],
    end_of: Callable[[LookPoint], float | None],
) -> str:
    """One bound as a line, broken where there is none."""
    parts: list[list[tuple[float, float]]] = [[]]
    for point in points:
        end = finite(end_of(point))
        if end is None:
            parts.append([])
        else:
            parts[-1].append((x(point.at), up(end)))
    return "".join(_joined(part) for part in parts if len(part) > 1)


def _band(
    points: Sequence[LookPoint], x: Callable[[datetime], float], up: Callable[[float], float], bottom: float
) -> str:
    upper, lower = [], []
    for point in points:
        low, high = finite(point.low), finite(point.high)
        if low is None and high is None:
            continue
        upper.append((x(point.at), float(_TOP) if high is None else up(high)))
        lower.append((x(point.at), float(bottom) if low is None else up(low)))
    if len(upper) < 2:
        return ""
    return _joined([*upper, *reversed(lower)]) + "Z"


def _time_ticks(span: float, at: Callable[[float], float]) -> tuple[TickView, ...]:
    step, unit = next(((step, unit) for step, unit in _STEPS if span / step <= 5), (math.ceil(span / 5), "d"))
    return tuple(
        TickView(at=at(index * step), label=f"{index * step / _UNITS[unit]:g} {unit}" if index else "0")
        for index in range(math.floor(span / step + 1e-9) + 1)
    )


def _value_ticks(
    low: float, high: float, up: Callable[[float], float], metric: Metric, bottom: float
) -> tuple[TickView, ...]:
    margin = 0.06 * (high - low)
    inside = [tick for tick in round_ticks(low, high) if low - margin <= tick <= high + margin]
    return tuple(
        TickView(at=up(tick), label=value_tick(tick, metric.unit)) for tick in inside if _TOP <= up(tick) <= bottom
    )


def _in_words(points: Sequence[LookPoint], criterion: Criterion, metric: Metric) -> str:
    first, last = points[0], points[-1]
    return (
        f"From {format_value(first.value, metric.unit)} ({_pairs(first)}) to {format_value(last.value, metric.unit)} "
        f"({_pairs(last)}), bounds now {format_interval(last.low, last.high, metric.unit)}; passes "
        f"{rule(criterion, metric)}: {last.outcome.replace('_', ' ')}."
    )


def _pairs(point: LookPoint) -> str:
    return plural(point.n, "pair")


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
