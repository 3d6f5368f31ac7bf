"""Geometry of intervals on one line: numbers in, coordinates out."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.domain.decision import CriterionResult, Outcome
from harness.domain.estimate import Estimate, Metric
from harness.domain.formatting import format_interval, format_value
from reports.deciding import deciding
from reports.metrics import passes_above, rule
from reports.views_charts import finite, scale

STRIP_WIDTH, STRIP_HEIGHT = 240, 44
_EDGE = 12
_LABEL_ROOM = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class StripView:
    """An interval held against its threshold on one line; all numbers are user units of a 240 x 44 drawing."""

    title: str
    """Accessible name."""
    desc: str
    """The same in words, for readers who do not see it."""
    width: int
    """Width of the drawing."""
    height: int
    """Height of the drawing."""
    pass_x: float
    """Left end of the side that passes."""
    pass_width: float
    """Width of the side that passes."""
    threshold: float
    """Where the threshold line stands."""
    threshold_label: str
    """The threshold's value."""
    label_anchor: str
    """SVG text-anchor that keeps the label inside."""
    low: float | None
    """Left end of the interval; ``None`` without interval."""
    high: float | None
    """Right end of the interval."""
    low_open: bool
    """Whether nothing bounds the interval on the left."""
    high_open: bool
    """Whether nothing bounds the interval on the right."""
    value: float | None
    """Where the measured value stands; ``None`` when there is none."""
    wider_low: float | None
    """Left end of the wider bounds that a fail needs; ``None`` where they are not drawn."""
    wider_high: float | None
    """Right end of the wider bounds."""
    noise_x: float | None
    """Left end of what production does to itself; ``None`` without a replica."""
    noise_width: float
    """Width of what production does to itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RateStrip:
    """One win rate on the line that all ways of counting share; numbers are user units of a 240 x 44 drawing."""

    title: str
    """Accessible name."""
    desc: str
    """The same in words, for readers who do not see it."""
    width: int
    """Width of the drawing."""
    height: int
    """Height of the drawing."""
    even: float
    """Where neither side is preferred."""
    even_label: str
    """That place's value; empty where the threshold's label would touch it."""
    even_anchor: str
    """SVG text-anchor of that label."""
    threshold: float | None
    """Where the criterion's threshold stands; ``None`` when no criterion is about this rate."""
    threshold_label: str
    """The threshold's value; empty without one."""
    threshold_anchor: str
    """SVG text-anchor of that label."""
    pass_x: float
    """Left end of the side that passes."""
    pass_width: float
    """Width of the side that passes; 0 without a criterion."""
    low: float | None
    """Left end of the interval; ``None`` without one."""
    high: float | None
    """Right end of the interval."""
    value: float
    """Where the value stands."""


def strip(result: CriterionResult, metric: Metric, noise: Estimate | None) -> StripView | None:
    """The drawing for one criterion, from the bounds that decide.

    ``None`` when nothing was measured or the threshold is not a number.
    """
    estimate, threshold = deciding(result), result.criterion.threshold
    value = finite(estimate.value)
    if value is None or finite(threshold) is None:
        return None
    low, high = finite(estimate.low), finite(estimate.high)
    bounded = low is not None or high is not None
    wider = _wider(result, low, high) if bounded else (None, None)
    band = [finite(noise.low), finite(noise.high)] if noise else []
    marks = [item for item in (value, threshold, low, high, *wider, *band) if item is not None]
    at = scale(min(marks), max(marks), _EDGE, STRIP_WIDTH - _EDGE)
    line = at(threshold)
    above = passes_above(result.criterion)
    interval = format_interval(estimate.low, estimate.high, metric.unit) if bounded else "no interval"
    noise_x, noise_width = _band(band, at)
    return StripView(
        title=f"{metric.title}: interval against threshold",
        desc=(
            f"Measured {format_value(value, metric.unit)}, {interval}; passes {rule(result.criterion, metric)}: "
            f"{result.outcome.value.replace('_', ' ')}."
        ),
        width=STRIP_WIDTH,
        height=STRIP_HEIGHT,
        pass_x=line if above else 0,
        pass_width=round(STRIP_WIDTH - line if above else line, 1),
        threshold=line,
        threshold_label=format_value(threshold, metric.unit, trim=True),
        label_anchor=_anchor(line),
        low=(at(low) if low is not None else 2) if bounded else None,
        high=(at(high) if high is not None else STRIP_WIDTH - 2) if bounded else None,
        low_open=bounded and low is None,
        high_open=bounded and high is None,
        value=at(value),
        wider_low=None if wider[0] is None else at(wider[0]),
        wider_high=None if wider[1] is None else at(wider[1]),
        noise_x=noise_x,
        noise_width=noise_width,
    )


def _wider(result: CriterionResult, low: float | None, high: float | None) -> tuple[float | None, float | None]:
    """Finite ends of the bounds a fail needs, where an open criterion has narrower ones for a pass."""
    if result.strict is None or result.outcome is not Outcome.INCONCLUSIVE or result.objection is not None:
        return None, None
    ends = finite(result.strict.low), finite(result.strict.high)
    return (
        ends[0] if ends[0] is not None and low is not None and ends[0] < low else None,
        ends[1] if ends[1] is not None and high is not None and ends[1] > high else None,
    )


def _band(ends: Sequence[float | None], at: Callable[[float], float]) -> tuple[float | None, float]:
    if len(ends) != 2 or ends[0] is None or ends[1] is None:
        return None, 0.0
    return at(ends[0]), max(1.0, round(at(ends[1]) - at(ends[0]), 1))


def _anchor(line: float) -> str:
    """SVG text-anchor that keeps a label at ``line`` inside the drawing."""
    return "start" if line < _LABEL_ROOM else "end" if line > STRIP_WIDTH - _LABEL_ROOM else "middle"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """A rate to be drawn: where 0 stands for no preference."""

    title: str
    """Its name."""
    value: float
    """Distance from the place where neither side is preferred."""
    low: float | None
    """Lower end of the interval, as such a distance."""
    high: float | None
    """Upper end of the interval, as such a distance."""
    text: str
    """Value and interval in words."""
    even_label: str
    """What stands at the place where neither side is preferred."""
    threshold: float | None = None
    """A criterion's threshold as such a distance; ``None`` without one."""
    threshold_label: str = ""
    """The threshold's value."""
    above: bool = True
    """Whether the upper side passes."""


def rate_strips(rates: Sequence[Rate]) -> tuple[RateStrip, ...]:
    """One drawing per rate, all on the same line: rates of one judge are read against each other."""
    ends = [0.0]
    for rate in rates:
        ends += [x for x in (rate.value, rate.low, rate.high, rate.threshold) if x is not None and math.isfinite(x)]
    at = scale(min(ends), max(ends), _EDGE, STRIP_WIDTH - _EDGE)
    return tuple(_rate_strip(rate, at) for rate in rates)


def _rate_strip(rate: Rate, at: Callable[[float], float]) -> RateStrip:
    even, low, high = at(0.0), finite(rate.low), finite(rate.high)
    line = None if rate.threshold is None else at(rate.threshold)
    width = 0.0 if line is None else STRIP_WIDTH - line if rate.above else line
    near = line is not None and abs(line - even) < _LABEL_ROOM
    return RateStrip(
        title=f"{rate.title} against no preference",
        desc=rate.text,
        width=STRIP_WIDTH,
        height=STRIP_HEIGHT,
        even=even,
        even_label="" if near else rate.even_label,
        even_anchor=_anchor(even),
        threshold=line,
        threshold_label=rate.threshold_label if line is not None else "",
        threshold_anchor=_anchor(line if line is not None else even),
        pass_x=line if line is not None and rate.above else 0,
        pass_width=round(width, 1),
        low=None if low is None else at(low),
        high=None if high is None else at(high),
        value=at(rate.value),
    )
