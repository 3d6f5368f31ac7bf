"""Geometry of the ramp: who was given how much and when, as steps over time; numbers in, coordinates out."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from harness.domain.rollout import EventKind, RolloutStatus
from harness.domain.rollout_report import Entry, RolloutReport, Stretch
from reports.text import one_line
from reports.views_charts import TickView, scale

_TOP, _PLOT, _GAP, _LANE, _AXIS = 8.0, 170.0, 12.0, 22.0, 40.0
"""What stands above one another: room, plot, room, two lanes of events, the axis."""
_MARK = 14.0
"""Width of a mark."""
LETTER = 0.66
"""Width of a letter in bold, of its size, with room for wide ones."""
_ROOM = 6.0
"""Between two names."""
_APART = 9.0
"""Least distance of two marks."""
_KEPT = frozenset({"check", "cross", "flag"})
"""Marks that no later one replaces."""
_TAIL = 0.05
"""Of the time before an end, drawn after it so that the drop can be seen."""
_LABEL = 26
"""Characters of a phase's name in words."""
_MINUTE, _HOUR, _DAY = 60.0, 3_600.0, 86_400.0
_STEPS = (
    *(n * _MINUTE for n in (1, 2, 5, 10, 15, 30)),
    *(n * _HOUR for n in (1, 2, 3, 6, 12)),
    *(n * _DAY for n in (1, 2, 5, 7, 14, 28, 56, 91, 182, 365)),
)
_MARKS = {
    EventKind.STARTED: ("play", "none"),
    EventKind.ADVANCED: ("up", "mark"),
    EventKind.APPROVED: ("check", "good"),
    EventKind.PAUSED: ("pause", "open"),
    EventKind.RESUMED: ("play", "none"),
    EventKind.ROLLED_BACK: ("cross", "bad"),
    EventKind.STOPPED: ("cross", "bad"),
    EventKind.EXPIRED: ("dash", "open"),
    EventKind.COMPLETED: ("flag", "good"),
}
_WORDS = (
    ("play", "none", "started, resumed"),
    ("up", "mark", "advanced"),
    ("check", "good", "approved"),
    ("pause", "open", "paused"),
    ("cross", "bad", "rolled back, stopped"),
    ("dash", "open", "expired"),
    ("flag", "good", "completed"),
)
_PATTERNS = (("hold", "on hold"), ("paused", "paused"))
_SHADES = {RolloutStatus.HOLD: "hold", RolloutStatus.PAUSED: "paused"}


@dataclass(frozen=True, kw_only=True, slots=True)
class BandView:
    """One phase in the picture."""

    x: float
    """Where it begins."""
    width: float
    """How long it is."""
    label: str
    """Its name."""
    label_y: float
    """Base line of the name."""
    shaded: bool
    """Every second one is, so that they can be told apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShadeView:
    """A time in which the rollout stood still."""

    kind: str
    """``hold`` or ``paused``; decides the pattern."""
    x: float
    """Left edge."""
    width: float
    """Width."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkView:
    """One event."""

    icon: str
    """Its shape."""
    tone: str
    """Its colour."""
    x: float
    """Left edge."""
    y: float
    """Upper edge."""
    title: str
    """What happened."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyView:
    """One entry of the legend."""

    kind: str
    """``served``, ``mirrored``, ``shade`` or ``mark``: how it is drawn."""
    name: str
    """The shade's pattern or the mark's shape; may be empty."""
    tone: str
    """The mark's colour; may be empty."""
    word: str
    """What it stands for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneView:
    """A line on which events are marked."""

    label: str
    """Whose events."""
    y: float
    """Base line of the label."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RampView:
    """Shares over time as steps; all numbers are user units of the drawing."""

    id: str
    """Unique id of the drawing within the page."""
    title: str
    """Accessible name."""
    desc: str
    """What can be read off it, in words."""
    width: float
    """Width of the drawing."""
    height: float
    """Height of the drawing."""
    left: float
    """Left edge of the plot."""
    right: float
    """Right edge of the plot."""
    top: float
    """Upper edge of the plot."""
    bottom: float
    """Lower edge of the plot."""
    lane_bottom: float
    """Lower edge of the lanes of events."""
    bands: tuple[BandView, ...]
    """Phases."""
    shades: tuple[ShadeView, ...]
    """Holds and pauses."""
    served: str
    """SVG path of the share that is served by the candidate."""
    area: str
    """SVG path of what is below it."""
    mirrored: str
    """SVG path of the share that is mirrored; empty when none is."""
    marks: tuple[MarkView, ...]
    """Events."""
    lanes: tuple[LaneView, ...]
    """Whose events."""
    x_ticks: tuple[TickView, ...]
    """Time since the start."""
    y_ticks: tuple[TickView, ...]
    """Share."""
    x_title: str
    """What the horizontal axis counts."""
    font: int
    """Size of its text."""
    keys: tuple[KeyView, ...]
    """The legend: only what is in the picture."""


def ramps(report: RolloutReport) -> tuple[RampView, ...]:
    """The picture for a wide page and for a narrow one; empty when no time has passed."""
    stretches = _with_tail(report)
    if not stretches or stretches[-1].end <= stretches[0].begin:
        return ()
    return (
        _ramp(report, stretches, "ramp-wide", width=880.0, font=12, ticks=8),
        _ramp(report, stretches, "ramp-narrow", width=420.0, font=15, ticks=4),
    )


def _with_tail(report: RolloutReport) -> list[Stretch]:
    """What was, and a little of what has been since the end: the drop has to be seen, months after it need not."""
    found = list(report.stretches)
    last = found[-1]
    if not last.status.is_over:
        return found
    ran = (last.begin - found[0].begin).total_seconds()
    end = last.begin + timedelta(seconds=max(_TAIL * ran, 1.0))
    found[-1] = replace(last, end=end)
    return found


def _ramp(
    report: RolloutReport, stretches: Sequence[Stretch], drawing_id: str, *, width: float, font: int, ticks: int
) -> RampView:
    start = stretches[0].begin
    span = (stretches[-1].end - start).total_seconds()
    letter = LETTER * font
    left, right = 6.5 * font, width - 8.0
    names = _phases_of(stretches)
    labels = [(begin, one_line(name, int(width / 30))) for name, begin, _ in names]

    def x_of(edge: float) -> Callable[[datetime], float]:
        at = scale(0.0, span, left, edge, pad=0.0)
        return lambda moment: at(min(max((moment - start).total_seconds(), 0.0), span))

    # The name of a phase that has just begun needs room to its right.
    over = max(x_of(right)(begin) + letter * len(label) - right for begin, label in labels)
    right -= max(over, 0.0)
    across = x_of(right)
    rows = _rows([(across(begin), letter * len(label)) for begin, label in labels])
    line = font + 4.0
    top = _TOP + line * (max(rows, default=0) + 1) + 2
    bottom = top + _PLOT

    def up(share: float) -> float:
        return round(bottom - _PLOT * min(max(share, 0.0), 1.0), 1)

    bands = tuple(
        BandView(
            x=across(begin),
            width=round(across(end) - across(begin), 1),
            label=label,
            label_y=round(top - 6 - line * row, 1),
            shaded=index % 2 == 1,
        )
        for index, ((_, begin, end), (_, label), row) in enumerate(zip(names, labels, rows, strict=True))
    )
    shades, marks = _shades(stretches, across), _marks(report.entries, across, bottom)
    mirrored = _mirrored(stretches, across, up)
    served = _steps([(across(s.begin), across(s.end), up(s.served_share)) for s in stretches])
    return RampView(
        id=drawing_id,
        title="Shares over time",
        desc=_in_words(report, names, stretches),
        width=width,
        lane_bottom=round(bottom + _GAP + 2 * _LANE, 1),
        height=round(bottom + _GAP + 2 * _LANE + _AXIS, 1),
        left=round(left, 1),
        right=round(right, 1),
        top=round(top, 1),
        bottom=round(bottom, 1),
        bands=bands,
        shades=shades,
        served=f"M{served}",
        area=f"M{across(start):g},{bottom:g}L{served}V{bottom:g}Z",
        mirrored=mirrored,
        marks=marks,
        lanes=(
            LaneView(label="people", y=round(bottom + _GAP + 0.5 * _LANE + 5, 1)),
            LaneView(label="controller", y=round(bottom + _GAP + 1.5 * _LANE + 5, 1)),
        ),
        x_ticks=_time_ticks(span, ticks, lambda s: across(start + timedelta(seconds=s))),
        y_ticks=tuple(TickView(at=up(share), label=f"{100 * share:.0f}%") for share in (0, 0.25, 0.5, 0.75, 1)),
        x_title="since the start",
        font=font,
        keys=_keys(shades, marks, mirrored=bool(mirrored)),
    )


def _keys(shades: Sequence[ShadeView], marks: Sequence[MarkView], *, mirrored: bool) -> tuple[KeyView, ...]:
    drawn = {mark.icon for mark in marks}
    patterns = {shade.kind for shade in shades}
    return (
        KeyView(kind="served", name="", tone="", word="conversations served by the candidate"),
        *((KeyView(kind="mirrored", name="", tone="", word="requests mirrored to it"),) if mirrored else ()),
        *(KeyView(kind="shade", name=name, tone="", word=word) for name, word in _PATTERNS if name in patterns),
        *(KeyView(kind="mark", name=icon, tone=tone, word=word) for icon, tone, word in _WORDS if icon in drawn),
    )


def _phases_of(stretches: Sequence[Stretch]) -> list[tuple[str, datetime, datetime]]:
    found: list[tuple[str, datetime, datetime]] = []
    for stretch in stretches:
        if found and found[-1][0] == stretch.phase:
            found[-1] = (stretch.phase, found[-1][1], stretch.end)
        else:
            found.append((stretch.phase, stretch.begin, stretch.end))
    return found


def _rows(labels: Sequence[tuple[float, float]]) -> list[int]:
    """A row for every name, from its place and width, so that no name touches another or a line that leads down.

    From right to left: a name stands above all that begin where it would stand, and leads down to the left of them.
    """
    placed: list[tuple[float, int]] = []
    for x, width in reversed(labels):
        below = [row for begin, row in placed if begin < x + width + _ROOM]
        placed.append((x, max(below, default=-1) + 1))
    return [row for _, row in reversed(placed)]


def _steps(parts: Sequence[tuple[float, float, float]]) -> str:
    """Points of a line of steps; what is too short to be seen is left out unless its height is new."""
    points: list[str] = []
    for begin, end, y in parts:
        for point in (f"{begin:g},{y:g}", f"{end:g},{y:g}"):
            if not points or points[-1] != point:
                points.append(point)
    return "L".join(points)


def _mirrored(stretches: Sequence[Stretch], across: Callable[[datetime], float], up: Callable[[float], float]) -> str:
    """The line ends where the rollout no longer says how much is mirrored."""
    parts: list[list[tuple[float, float, float]]] = [[]]
    for stretch in stretches:
        if stretch.mirror_rate is None:
            parts.append([])
        else:
            parts[-1].append((across(stretch.begin), across(stretch.end), up(stretch.mirror_rate)))
    return "".join(f"M{_steps(part)}" for part in parts if part)


def _shades(stretches: Sequence[Stretch], across: Callable[[datetime], float]) -> tuple[ShadeView, ...]:
    """Neighbours that would touch are drawn as one, so that thousands of holds are still a picture."""
    found: list[ShadeView] = []
    for stretch in stretches:
        kind = _SHADES.get(stretch.status)
        if kind is None:
            continue
        x = across(stretch.begin)
        width = max(round(across(stretch.end) - x, 1), 1.5)
        last = found[-1] if found else None
        if last and last.kind == kind and x <= last.x + last.width + 1:
            found[-1] = ShadeView(kind=kind, x=last.x, width=round(max(x + width - last.x, last.width), 1))
        else:
            found.append(ShadeView(kind=kind, x=x, width=width))
    return tuple(found)


def _marks(entries: Sequence[Entry], across: Callable[[datetime], float], bottom: float) -> tuple[MarkView, ...]:
    """People's and the controller's events; of several that would cover one another the last is shown."""
    lanes: dict[bool, list[MarkView]] = {True: [], False: []}
    for entry in entries:
        by_program = entry.actor == "controller"
        mark = _MARKS.get(entry.kind)
        if mark is None or not entry.changed or (by_program and entry.kind in {EventKind.PAUSED, EventKind.RESUMED}):
            continue
        icon, tone = mark
        x = round(across(entry.at) - _MARK / 2, 1)
        y = round(bottom + _GAP + (_LANE if by_program else 0) + 4, 1)
        lane = lanes[by_program]
        said = f"{entry.number}. {entry.kind.value.replace('_', ' ')} by {one_line(entry.actor, 40)}"
        view = MarkView(icon=icon, tone=tone, x=x, y=y, title=said)
        if lane and x < lane[-1].x + _APART and lane[-1].icon not in _KEPT:
            lane[-1] = view
        else:
            lane.append(view)
    return (*lanes[True], *lanes[False])


def _time_ticks(span: float, most: int, at: Callable[[float], float]) -> tuple[TickView, ...]:
    step = next((step for step in _STEPS if span / step <= most), _STEPS[-1] * math.ceil(span / most / _STEPS[-1]))
    unit, name = (_DAY, "d") if step >= _DAY else (_HOUR, "h") if step >= _HOUR else (_MINUTE, "min")
    return tuple(
        TickView(at=at(index * step), label=f"{index * step / unit:g} {name}" if index else "0")
        for index in range(math.floor(span / step + 1e-9) + 1)
    )


def _in_words(
    report: RolloutReport, names: Sequence[tuple[str, datetime, datetime]], stretches: Sequence[Stretch]
) -> str:
    served = [stretch.served_share for stretch in stretches]
    holds = sum(stretch.status is RolloutStatus.HOLD for stretch in stretches)
    pauses = sum(stretch.status is RolloutStatus.PAUSED for stretch in stretches)
    steps = ", ".join(one_line(name, _LABEL) for name, _, _ in names)
    return (
        f"Phases {steps}. The candidate served at most {100 * max(served):g}% of the conversations, "
        f"and serves {100 * report.served_share:g}% now. {holds} times on hold, {pauses} times paused."
    )
