"""Geometry of the charts: numbers in, coordinates out. The templates draw them and CSS colours them."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.domain.estimate import Unit
from harness.domain.formatting import format_value
from harness.domain.report import Distribution
from reports.metrics import amount

CHART_WIDTH, CHART_HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 34
_BINS = 20
_MAX_POINTS = 160

Series = tuple[str, str, Sequence[float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class TickView:
    """One labelled place on an axis."""

    at: float
    """Coordinate."""
    label: str
    """Text beside it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LineView:
    """One arm's line."""

    arm: str
    """``production``, ``candidate`` or ``replica``; decides colour and dashes."""
    label: str
    """Name in the legend."""
    path: str
    """SVG path data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BarView:
    """One bar of a histogram."""

    x: float
    """Left edge."""
    y: float
    """Upper edge."""
    width: float
    """Width."""
    height: float
    """Height."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChartView:
    """A distribution as cumulative curves or as a histogram, on 460 x 250 user units."""

    id: str
    """Unique id of the drawing within the page."""
    title: str
    """Heading."""
    desc: str
    """What can be read off it, in words."""
    caption: str
    """How to read it."""
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
    x_ticks: tuple[TickView, ...]
    """Horizontal axis."""
    y_ticks: tuple[TickView, ...]
    """Vertical axis."""
    lines: tuple[LineView, ...]
    """Curves, production first."""
    bars: tuple[BarView, ...]
    """The candidate's histogram; empty for curves."""
    bars_label: str
    """Name of the bars in the legend; empty for curves."""
    x_title: str
    """What the horizontal axis counts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StackPart:
    """One part of a stacked bar."""

    kind: str
    """``win``, ``tie``, ``loss``; decides colour and pattern."""
    label: str
    """Word for it."""
    count: int
    """How many."""
    x: float
    """Left edge in percent of the bar."""
    width: float
    """Width in percent of the bar."""
    text: str
    """Count and share as text."""


def stack(parts: Sequence[tuple[str, str, int]]) -> tuple[StackPart, ...]:
    """Counts as parts of one bar; empty when there is nothing to count."""
    total = sum(count for _, _, count in parts)
    views, before = [], 0
    for kind, label, count in parts if total else ():
        views.append(
            StackPart(
                kind=kind,
                label=label,
                count=count,
                x=round(100 * before / total, 3),
                width=round(100 * count / total, 3),
                text=f"{count:,} ({format_value(count / total, Unit.SHARE)})",
            )
        )
        before += count
    return tuple(views)


def chart(distribution: Distribution, chart_id: str, candidate: str) -> ChartView | None:
    """The distribution as drawing; ``None`` when no arm has two finite points.

    Scores and shares are drawn as the candidate's histogram, everything else as cumulative curves.
    """
    series: list[Series] = []
    for arm, label, values in (
        ("production", "production", distribution.production),
        ("replica", "production asked again", distribution.replica),
        ("candidate", candidate, distribution.candidate),
    ):
        if sum(math.isfinite(value) for value in values) >= 2 and len(values) == len(distribution.probabilities):
            series.append((arm, label, values))
    if not series:
        return None
    unit = _unit(distribution.unit)
    if unit in {Unit.SCORE, Unit.SHARE} and any(arm == "candidate" for arm, _, _ in series):
        return _histogram(distribution, chart_id, series, unit)
    return _curves(distribution, chart_id, series, unit)


def _curves(distribution: Distribution, chart_id: str, series: Sequence[Series], unit: Unit) -> ChartView:
    finite = [value for _, _, values in series for value in values if math.isfinite(value)]
    log = distribution.log_scale and max(finite) > 0
    floor = min((value for value in finite if value > 0), default=1.0)
    low, high = (max(min(finite), floor), max(finite)) if log else (min(finite), max(finite))
    ticks = log_ticks(low, high) if log else _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    across = scale(low, high, LEFT, CHART_WIDTH - RIGHT, pad=0.0, log=log)
    lines = tuple(
        LineView(arm=arm, label=label, path=_path(values, distribution.probabilities, across, floor if log else None))
        for arm, label, values in series
    )
    medians = [
        f"{label}: half within {amount(_quantile(values, distribution.probabilities, 0.5), unit)}, "
        f"95% within {amount(_quantile(values, distribution.probabilities, 0.95), unit)}"
        for _, label, values in series
    ]
    return ChartView(
        id=chart_id,
        title=distribution.title,
        desc="; ".join(medians) + ".",
        caption="Read across from a height: that share of requests took at most the value below."
        if unit is Unit.MILLISECONDS
        else "Read across from a height: that share of requests has at most the value below.",
        x_ticks=tuple(TickView(at=across(tick), label=axis_label(tick, unit)) for tick in ticks),
        y_ticks=tuple(TickView(at=_height(p), label=f"{100 * p:.0f}%") for p in (0, 0.25, 0.5, 0.75, 1)),
        lines=lines,
        bars=(),
        bars_label="",
        x_title=_axis_title(distribution.title, unit, log=log),
        **_BOX,
    )


def _histogram(distribution: Distribution, chart_id: str, series: Sequence[Series], unit: Unit) -> ChartView:
    finite = [value for _, _, values in series for value in values if math.isfinite(value)]
    least = min(finite)
    ticks = _ticks(min(0.0, least) if least < 0.3 else least, _scores_top(finite))
    low, high = min(ticks[0], least), max(ticks[-1], *finite)
    edges = [low + (high - low) * index / _BINS for index in range(_BINS + 1)]
    masses = {arm: _masses(values, distribution.probabilities, edges) for arm, _, values in series}
    top = _nice_top(max(max(mass) for mass in masses.values()))
    across = scale(low, high, LEFT, CHART_WIDTH - RIGHT, pad=0.0)
    bottom = CHART_HEIGHT - BOTTOM

    def up(share: float) -> float:
        return round(bottom - (bottom - TOP) * share / top, 1)

    bars = tuple(
        BarView(
            x=across(left),
            y=up(mass),
            width=round(across(right) - across(left) - 1, 1),
            height=round(bottom - up(mass), 1),
        )
        for left, right, mass in zip(edges, edges[1:], masses["candidate"], strict=False)
        if mass > 0
    )
    lines = tuple(
        LineView(arm=arm, label=label, path=_steps(masses[arm], edges, across, up))
        for arm, label, _ in series
        if arm != "candidate"
    )
    label = next(label for arm, label, _ in series if arm == "candidate")
    halves = "; ".join(
        f"{name}: half at or above {amount(_quantile(values, distribution.probabilities, 0.5), unit)}"
        for _, name, values in series
    )
    return ChartView(
        id=chart_id,
        title=distribution.title,
        desc=halves + ".",
        caption="Height: share of the pairs whose score falls into the step."
        + (" The outline is the noise floor: production against itself." if "replica" in masses else ""),
        x_ticks=tuple(TickView(at=across(tick), label=f"{tick:g}") for tick in ticks),
        y_ticks=tuple(TickView(at=up(top * part), label=f"{100 * top * part:.0f}%") for part in (0, 0.5, 1)),
        lines=lines,
        bars=bars,
        bars_label=label,
        x_title=distribution.title,
        **_BOX,
    )


def _scores_top(values: Sequence[float]) -> float:
    """Scores that end near one are drawn up to one."""
    return 1.0 if 0.3 < max(values) <= 1 else max(values)


_BOX = {
    "width": CHART_WIDTH,
    "height": CHART_HEIGHT,
    "left": LEFT,
    "right": CHART_WIDTH - RIGHT,
    "top": TOP,
    "bottom": CHART_HEIGHT - BOTTOM,
}


def _axis_title(title: str, unit: Unit, *, log: bool) -> str:
    return f"{title}, logarithmic" if log else title if unit is not Unit.COUNT else ""


def axis_label(value: float, unit: Unit) -> str:
    """As short as an axis needs it."""
    if unit is Unit.MILLISECONDS:
        return f"{value / 1000:g} s" if value >= 1000 else f"{value:g} ms"
    return format_value(value, unit, trim=True) if unit is Unit.USD else f"{value:,.10g}"


def value_tick(value: float, unit: Unit) -> str:
    """A value beside an axis, as short as it can be said."""
    if unit in {Unit.SHARE, Unit.POINTS}:
        return f"{100 * value:,.6g}{'%' if unit is Unit.SHARE else ''}"
    return f"{value:,.6g}x" if unit is Unit.RATIO else axis_label(value, unit)


def _unit(name: str) -> Unit:
    return Unit(name) if name in {unit.value for unit in Unit} else Unit.COUNT


def finite(value: float | None) -> float | None:
    """The number, or ``None`` for one that has no place on a line."""
    return value if value is not None and math.isfinite(value) else None


def scale(
    low: float, high: float, start: float, end: float, *, pad: float = 0.08, log: bool = False
) -> Callable[[float], float]:
    """A function from values to coordinates, one decimal, the range widened by ``pad`` on both sides."""
    bend: Callable[[float], float] = math.log10 if log else float
    lower, upper = bend(low), bend(high)
    if upper == lower:
        # One value alone stands in the middle.
        lower, upper = lower - (abs(lower) or 1), upper + (abs(upper) or 1)
    margin = (upper - lower) * pad
    lower, upper = lower - margin, upper + margin
    return lambda value: round(start + (end - start) * (bend(value) - lower) / (upper - lower), 1)


def round_ticks(low: float, high: float) -> list[float]:
    """Four to seven round numbers that enclose the range; the one number of an empty range."""
    return _ticks(low, high)


def _height(probability: float) -> float:
    bottom = CHART_HEIGHT - BOTTOM
    return round(bottom - (bottom - TOP) * probability, 1)


def _path(
    values: Sequence[float], probabilities: Sequence[float], across: Callable[[float], float], floor: float | None
) -> str:
    step = max(1, math.ceil(len(values) / _MAX_POINTS))
    chosen = [*range(0, len(values), step)]
    if chosen and chosen[-1] != len(values) - 1:
        chosen.append(len(values) - 1)
    points = [
        (across(values[i] if floor is None else max(values[i], floor)), _height(probabilities[i]))
        for i in chosen
        if math.isfinite(values[i])
    ]
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in points)


def _steps(
    masses: Sequence[float], edges: Sequence[float], across: Callable[[float], float], up: Callable[[float], float]
) -> str:
    points = [f"{across(edges[0]):g},{up(0):g}"]
    for left, right, mass in zip(edges, edges[1:], masses, strict=False):
        points += [f"{across(left):g},{up(mass):g}", f"{across(right):g},{up(mass):g}"]
    return "M" + "L".join([*points, f"{across(edges[-1]):g},{up(0):g}"])


def _cumulative(values: Sequence[float], probabilities: Sequence[float], x: float, *, inclusive: bool) -> float:
    """Share of values below (or up to) ``x``, linear between the quantiles given."""
    after = (bisect_right if inclusive else bisect_left)(values, x)
    if after == 0:
        return 0.0
    if after == len(values):
        return 1.0
    left, right = values[after - 1], values[after]
    if not math.isfinite(right) or right <= left:
        return probabilities[after - 1]
    part = (x - left) / (right - left)
    return probabilities[after - 1] + part * (probabilities[after] - probabilities[after - 1])


def _masses(values: Sequence[float], probabilities: Sequence[float], edges: Sequence[float]) -> list[float]:
    ordered = sorted(value for value in values if not math.isnan(value))
    last = len(edges) - 1
    marks = [
        _cumulative(ordered, probabilities[: len(ordered)], edge, inclusive=index == last)
        for index, edge in enumerate(edges)
    ]
    return [max(0.0, high - low) for low, high in pairwise(marks)]


def _quantile(values: Sequence[float], probabilities: Sequence[float], wanted: float) -> float:
    nearest = min(range(len(values)), key=lambda index: abs(probabilities[index] - wanted))
    return values[nearest]


def _nice_top(share: float) -> float:
    return next(top for top in (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0) if share <= top + 1e-9)


def _ticks(low: float, high: float) -> list[float]:
    """Four to seven round numbers that enclose the range."""
    if high <= low:
        return [low]
    raw = (high - low) / 4
    power: float = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if raw <= power * factor * 1.0001)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten inside the range with 2 and 5 between them when there is room; at least the two ends."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    inside: list[float] = []
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [factor * 10.0**power for power in powers for factor in factors]
        first = max((tick for tick in ticks if tick <= low * 1.0001), default=ticks[0])
        last = min((tick for tick in ticks if tick >= high * 0.9999), default=ticks[-1])
        inside = [tick for tick in ticks if first <= tick <= last]
        if len(inside) <= 6:
            return inside
    return inside[:: math.ceil(len(inside) / 6)]
