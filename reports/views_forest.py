"""Slices of the traffic as a forest plot: one interval per slice, all on one line with the threshold."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reports.views import Badge
from reports.views_charts import finite, scale

FOREST_WIDTH, ROW_HEIGHT = 300, 28
_EDGE = 10
_LABEL_ROOM = 44
_LEAST_MARK, _MOST_MARK = 5.0, 11.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ForestMark:
    """One interval on the line all rows share; numbers are user units of a 300 x 28 drawing."""

    value: float
    """Where the measured value stands."""
    half: float
    """Half the side of the mark, whose area grows with the number of pairs."""
    low: float | None
    """Left end of the interval; ``None`` without an interval."""
    high: float | None
    """Right end of the interval."""
    low_open: bool
    """Whether the interval goes on beyond the left edge."""
    high_open: bool
    """Whether the interval goes on beyond the right edge."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ForestRow:
    """One slice."""

    name: str
    """Attribute and value."""
    sample: str
    """How many pairs."""
    value: str
    """What was measured."""
    interval: str
    """From what to what; empty without an interval."""
    said: str
    """How it stands to the rule, in words."""
    badge: Badge | None
    """Whether it is flagged."""
    tone: str
    """``bad`` for a flagged slice, ``open`` for one on the wrong side, ``good`` for the others."""
    mark: ForestMark
    """The drawing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ForestView:
    """Every slice held against one criterion, where the candidate loses first."""

    title: str
    """The metric."""
    rule: str
    """The criterion in words."""
    summary: str
    """How many slices are on which side."""
    width: int
    """Width of every row's drawing."""
    height: int
    """Height of every row's drawing."""
    pass_x: float
    """Left end of the side that passes."""
    pass_width: float
    """Width of the side that passes."""
    threshold: float
    """Where the threshold stands in every row."""
    threshold_label: str
    """The threshold's value."""
    label_anchor: str
    """SVG text-anchor that keeps the label inside."""
    rows: tuple[ForestRow, ...]
    """All traffic first where it is known, then the slices, those where the candidate loses first."""
    note: str
    """What was left out and how to read it."""
    is_open: bool
    """Whether it is unfolded at first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A value with its interval, in the metric's own unit, and what it rests on."""

    value: float
    """Measured."""
    low: float | None
    """Lower end; ``None`` or infinite when nothing bounds it."""
    high: float | None
    """Upper end."""
    n: int
    """Pairs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ForestLine:
    """The line all rows share."""

    at: Callable[[float], float]
    """From a value to a coordinate."""
    threshold: float
    """Where the threshold stands."""
    anchor: str
    """SVG text-anchor of its label."""
    most: int
    """Most pairs of any row, which has the largest mark."""


def line_of(items: Sequence[Interval], threshold: float) -> ForestLine:
    """A line wide enough for every value and for the threshold.

    Intervals of small slices can be so wide that nothing else could be told apart: ends further out than twice the
    spread of all values are cut off and drawn as going on.
    """
    values = [threshold, *(item.value for item in items)]
    least, most = min(values), max(values)
    room = 2 * (most - least) or abs(threshold) or 1.0
    ends = [end for item in items for end in (finite(item.low), finite(item.high)) if end is not None]
    low = min([least, *(max(end, least - room) for end in ends)])
    high = max([most, *(min(end, most + room) for end in ends)])
    at = scale(low, high, _EDGE, FOREST_WIDTH - _EDGE, pad=0.03)
    line = at(threshold)
    anchor = "start" if line < _LABEL_ROOM else "end" if line > FOREST_WIDTH - _LABEL_ROOM else "middle"
    return ForestLine(at=at, threshold=line, anchor=anchor, most=max((item.n for item in items), default=1))


def mark_of(item: Interval, line: ForestLine) -> ForestMark:
    """The row's drawing."""
    low, high = finite(item.low), finite(item.high)
    bounded = low is not None or high is not None
    left = line.at(low) if low is not None else -math.inf
    right = line.at(high) if high is not None else math.inf
    share = math.sqrt(max(item.n, 0) / line.most) if line.most else 0.0
    return ForestMark(
        value=line.at(item.value),
        half=round((_LEAST_MARK + (_MOST_MARK - _LEAST_MARK) * share) / 2, 1),
        low=max(left, 2.0) if bounded else None,
        high=min(right, FOREST_WIDTH - 2.0) if bounded else None,
        low_open=bounded and left < 2.0,
        high_open=bounded and right > FOREST_WIDTH - 2.0,
    )
