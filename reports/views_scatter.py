"""Geometry of candidates in two dimensions: numbers in, coordinates out, and labels that do not lie on each other."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.domain.estimate import Unit
from reports.views_charts import TickView, axis_label, finite, log_ticks, round_ticks, scale
from reports.views_side_by_side import PointView, ScatterView

WIDTH, HEIGHT = 460, 320
LEFT, RIGHT, TOP, BOTTOM = 58, 20, 30, 46
LETTER_WIDTH, LINE = 8.8, 17
"""Of a label in user units, at the size it has on a phone, where it is largest beside the drawing."""
_MARK = 7
"""Half of the room that a point takes."""
_CAP = 4
_LOG_FROM = 8.0
"""Ratio of the largest to the smallest value from which on the axis is logarithmic."""
_REACH = 3.0
"""Ends of intervals further away than so many times the spread of the values do not widen the picture."""
_RINGS = (11.0, 20.0, 34.0, 50.0, 70.0, 95.0)
_DIRECTIONS = ((1, 0), (-1, 0), (0.75, -0.75), (0.75, 0.75), (-0.75, -0.75), (-0.75, 0.75), (0, -1), (0, 1))

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """One candidate, or production, before it is drawn."""

    name: str
    """Who it is."""
    label: str
    """What is to be written beside it."""
    kind: str
    """``production``, ``frontier`` or ``outdone``."""
    x: float
    """Value from left to right."""
    y: float
    """Value from bottom to top."""
    x_ends: tuple[float | None, float | None] = (None, None)
    """Interval; ``None`` or infinite where nothing bounds it."""
    y_ends: tuple[float | None, float | None] = (None, None)
    """The same for the other value."""
    has_interval: bool = True
    """Whether unbounded ends are drawn up to the edge; else there is no interval at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """What one axis counts."""

    title: str
    """Its metric."""
    unit: Unit
    """What it is counted in."""


def scatter(
    places: Sequence[Place],
    frontier: Sequence[str],
    *,
    id: str,
    title: str,
    desc: str,
    along: Axis,
    up: Axis,
    missing: str,
) -> ScatterView:
    """The places as a drawing; ``frontier`` names those on it from left to right.

    Raises:
        ValueError: there is no place to draw.
    """
    if not places:
        raise ValueError("a picture needs at least one place")
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    x_ticks, across, log = _axis(places, lambda p: (p.x, *p.x_ends), LEFT, right)
    y_ticks, height, _ = _axis(places, lambda p: (p.y, *p.y_ends), bottom, TOP, may_log=False)
    at = [(across(place.x), height(place.y)) for place in places]
    lines = [_whiskers(place, spot, across, height) for place, spot in zip(places, at, strict=True)]
    spots = {place.name: spot for place, spot in zip(places, at, strict=True)}
    corners = [spots[name] for name in frontier if name in spots]
    crossed = [*(segment for found in lines for segment in found), *_segments(corners, right)]
    labels = label_boxes(at, [place.label for place in places], crossed)
    views = tuple(
        PointView(
            name=place.name,
            kind=place.kind,
            x=spot[0],
            y=spot[1],
            whiskers=_path(found, spot),
            label=place.label if box is not None else "",
            label_x=0.0 if box is None else box[0],
            label_y=0.0 if box is None else round(box[3] - 4, 1),
            leader="" if box is None else _leader(spot, box),
        )
        for place, spot, found, box in zip(places, at, lines, labels, strict=True)
    )
    return ScatterView(
        id=id,
        title=title,
        desc=desc,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=right,
        top=TOP,
        bottom=bottom,
        x_ticks=tuple(TickView(at=across(tick), label=_tick(tick, along.unit)) for tick in x_ticks),
        y_ticks=tuple(TickView(at=height(tick), label=_tick(tick, up.unit)) for tick in y_ticks),
        x_title=f"{along.title}{', logarithmic' if log else ''} (lower is better)",
        y_title=f"{up.title} (higher is better)",
        frontier=_steps(corners, right),
        points=views,
        has_production=any(place.kind == "production" for place in places),
        missing=missing,
    )


def _tick(value: float, unit: Unit) -> str:
    """As short as an axis needs it."""
    if unit is Unit.USD and value < 1000:
        return f"${value:.6g}"
    return f"{100 * value:.6g}%" if unit is Unit.SHARE else axis_label(value, unit)


def label_boxes(
    at: Sequence[tuple[float, float]], labels: Sequence[str], lines: Sequence[Box] = ()
) -> list[Box | None]:
    """A box for every label, as near to its point as there is room; none overlaps another, or any point.

    ``None`` where there is no room left at all. Lines are crossed only where that spares a long way.
    """
    marks = [(x - _MARK, y - _MARK, x + _MARK, y + _MARK) for x, y in at]
    found: dict[int, Box] = {}
    # From top to bottom, so that neighbours make room for each other in one direction.
    for index in sorted(range(len(at)), key=lambda i: (at[i][1], at[i][0], i)):
        taken = [*marks, *found.values()]
        best = min(
            (
                (cost + 8 * sum(_overlap(box, line) for line in lines), order, box)
                for order, (cost, box) in enumerate(_around(at[index], LETTER_WIDTH * len(labels[index])))
                if _inside(box) and not any(_overlap(box, other) for other in taken)
            ),
            default=None,
        )
        if best is not None:
            found[index] = best[2]
    return [found.get(index) for index in range(len(at))]


def _around(spot: tuple[float, float], width: float) -> list[tuple[float, Box]]:
    """Boxes to try with what they cost: round the point first, then anywhere."""
    x, y = spot
    tried = []
    for ring in _RINGS:
        for rank, (dx, dy) in enumerate(_DIRECTIONS):
            left = x + dx * ring if dx > 0 else x + dx * ring - width if dx < 0 else x - width / 2
            middle = y + dy * (ring + LINE / 2 - 4)
            tried.append((ring + rank / 2, _box(left, middle, width)))
    for row in range(TOP, HEIGHT - BOTTOM, LINE):
        for column in range(LEFT, WIDTH, 24):
            cost = 150 + math.hypot(column - x, row - y)
            tried.append((cost, _box(column, row + LINE / 2, width)))
    return tried


def _box(left: float, middle: float, width: float) -> Box:
    return round(left, 1), round(middle - LINE / 2, 1), round(left + width, 1), round(middle + LINE / 2, 1)


def _inside(box: Box) -> bool:
    return box[0] >= LEFT + 2 and box[2] <= WIDTH - 2 and box[1] >= TOP - 6 and box[3] <= HEIGHT - BOTTOM - 1


def _overlap(one: Box, two: Box) -> bool:
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]


def _leader(spot: tuple[float, float], box: Box) -> str:
    """From the edge of the mark to the nearest place on the box, where the box stands apart."""
    x, y = min(max(spot[0], box[0]), box[2]), min(max(spot[1], box[1]), box[3])
    way = math.hypot(x - spot[0], y - spot[1])
    if way < 15:
        return ""
    start = (spot[0] + (x - spot[0]) * _MARK / way, spot[1] + (y - spot[1]) * _MARK / way)
    return f"M{start[0]:.1f} {start[1]:.1f}L{x:.1f} {y:.1f}"


def _axis(
    places: Sequence[Place],
    numbers: Callable[[Place], Sequence[float | None]],
    start: float,
    end: float,
    *,
    may_log: bool = True,
) -> tuple[list[float], Callable[[float], float], bool]:
    values = [float(numbers(place)[0] or 0.0) for place in places]
    low, high = min(values), max(values)
    log = may_log and low > 0 and high / low >= _LOG_FROM
    room = _REACH * (high - low) if high > low else abs(high) or 1.0
    ends = [known for place in places for end in numbers(place)[1:] if (known := finite(end)) is not None]
    near = [e for e in ends if (low / 2 <= e <= 2 * high if log else low - room <= e <= high + room)]
    low, high = min([low, *near]), max([high, *near])
    if high <= low:
        low, high = low - (abs(low) or 1.0) / 10, high + (abs(high) or 1.0) / 10
    ticks = log_ticks(low, high) if log else round_ticks(low, high)
    return ticks, scale(min(low, ticks[0]), max(high, ticks[-1]), start, end, pad=0.03, log=log), log


def _whiskers(
    place: Place, spot: tuple[float, float], across: Callable[[float], float], height: Callable[[float], float]
) -> list[Box]:
    """Both intervals as thin boxes, cut to the picture."""
    found = []
    x, y = spot
    if place.has_interval and place.x_ends != (None, None):
        low, high = (_place(end, across, place.x > 0) for end in place.x_ends)
        left, right = (
            max(low if low is not None else LEFT, LEFT),
            min(high if high is not None else WIDTH - RIGHT, WIDTH - RIGHT),
        )
        found.append((left, y, right, y))
    if place.has_interval and place.y_ends != (None, None):
        low, high = (_place(end, height, False) for end in place.y_ends)
        top, bottom = (
            max(high if high is not None else TOP, TOP),
            min(low if low is not None else HEIGHT - BOTTOM, HEIGHT - BOTTOM),
        )
        found.append((x, top, x, bottom))
    return found


def _place(end: float | None, at: Callable[[float], float], positive: bool) -> float | None:
    number = finite(end)
    if number is None or (positive and number <= 0):
        return None
    return at(number)


def _path(lines: Sequence[Box], spot: tuple[float, float]) -> str:
    """Lines with an end across wherever they end inside the picture."""
    path = []
    for left, top, right, bottom in lines:
        path.append(f"M{left:g} {top:g}L{right:g} {bottom:g}")
        if top == bottom:
            path += [f"M{x:g} {top - _CAP:g}V{top + _CAP:g}" for x in (left, right) if LEFT < x < WIDTH - RIGHT]
        else:
            path += [f"M{left - _CAP:g} {y:g}H{left + _CAP:g}" for y in (top, bottom) if TOP < y < HEIGHT - BOTTOM]
    return "".join(path)


def _segments(corners: Sequence[tuple[float, float]], right: float) -> list[Box]:
    """The frontier's line as thin boxes: level from each corner to below the next one, and up to that."""
    ends = [*(x for x, _ in corners[1:]), right]
    found = [(x, y, end, y) for (x, y), end in zip(corners, ends, strict=False)]
    feet = [HEIGHT - BOTTOM, *(y for _, y in corners)]
    return found + [(x, y, x, foot) for (x, y), foot in zip(corners, feet, strict=False)]


def _steps(spots: Sequence[tuple[float, float]], right: float) -> str:
    """Up at every point and level from one to the next: below and to the right of it everything is outdone."""
    if not spots:
        return ""
    path = [f"M{spots[0][0]:g} {HEIGHT - BOTTOM:g}V{spots[0][1]:g}"]
    for x, y in spots[1:]:
        path.append(f"H{x:g}V{y:g}")
    return "".join(path) + f"H{right:g}"
