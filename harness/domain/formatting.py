"""A number as a reader sees it: one place, so that report, console and reasons agree."""

import math
from collections.abc import Mapping

from harness.domain.estimate import Estimate, Unit

UNKNOWN = "unknown"
_DECIMALS: Mapping[Unit, int] = {Unit.SHARE: 2, Unit.POINTS: 2, Unit.RATIO: 2, Unit.SCORE: 3, Unit.CHARACTERS: 1}
_SUFFIX: Mapping[Unit, str] = {
    Unit.SHARE: "%",
    Unit.POINTS: " points",
    Unit.RATIO: "x",
    Unit.CHARACTERS: " characters",
}


def format_value(number: float | None, unit: Unit, *, trim: bool = False) -> str:
    """One value with its unit: ``15.73%``, ``-0.44 points``, ``1.20x``, ``1,234 ms``, ``$0.0012``, ``0.951``.

    Differences (points, characters) always carry their sign. ``trim`` drops zeros at the end, as thresholds read best.
    """
    if number is None or math.isnan(number):
        return UNKNOWN
    if math.isinf(number):
        return "infinite" if number > 0 else "minus infinite"
    return _finite(number, unit, trim=trim)


def format_interval(low: float | None, high: float | None, unit: Unit) -> str:
    """``1.01x to 1.10x``; an open end reads ``no lower limit`` or ``no upper limit``."""
    start = "no lower limit" if low is None or math.isinf(low) else format_value(low, unit)
    end = "no upper limit" if high is None or math.isinf(high) else format_value(high, unit)
    return f"{start} to {end}"


def format_estimate(item: Estimate, unit: Unit) -> str:
    """``15.73% (95% interval 13.53% to 17.93%)``, or the value alone when there is no interval.

    An interval that holds at more than one look says so, with the confidence of each of its ends:
    ``15.73% (13.10% to 18.36%, each end with 97.5% confidence at any look)``.
    """
    text = format_value(item.value, unit)
    if item.value is None or (item.low is None and item.high is None):
        return text
    span = format_interval(item.low, item.high, unit)
    if item.looks == "one":
        return f"{text} ({item.level * 100:.4g}% interval {span})"
    return f"{text} ({span}, each end with {format_confidence(item)})"


def format_confidence(item: Estimate) -> str:
    """How sure each end of the interval is: ``97.5% confidence at any look``."""
    at = {"any": " at any look", "planned": " at this look"}.get(item.looks, "")
    return f"{100 * (1 + item.level) / 2:.4g}% confidence{at}"


def format_usd(number: float) -> str:
    """Dollars with cents, and as many digits as a small amount needs to show two that count."""
    sign, amount = ("-" if number < 0 else ""), abs(number)
    if amount >= 1000:
        return f"{sign}${amount:,.0f}"
    if amount >= 1 or amount == 0:
        return f"{sign}${amount:.2f}"
    places = min(max(1 - math.floor(math.log10(amount)), 2), 8)
    return f"{sign}${amount:.{places}f}"


def _finite(number: float, unit: Unit, *, trim: bool) -> str:
    if unit is Unit.USD:
        return format_usd(number)
    if unit is Unit.MILLISECONDS:
        return _milliseconds(number, trim=trim)
    if unit in {Unit.TOKENS, Unit.COUNT}:
        return _count(number) + (" tokens" if unit is Unit.TOKENS else "")
    shown = 100 * number if unit in {Unit.SHARE, Unit.POINTS} else number
    signed = unit in {Unit.POINTS, Unit.CHARACTERS}
    return _digits(shown, unit, trim=trim, signed=signed) + _SUFFIX.get(unit, "")


def _digits(number: float, unit: Unit, *, trim: bool, signed: bool = False) -> str:
    places = _DECIMALS.get(unit, 2)
    text = f"{number:,.{places}f}"
    if trim:
        # A threshold keeps every digit it was written with: 0.0005 is not 0.00.
        text = f"{number:,.10f}".rstrip("0").rstrip(".")
    if float(text.replace(",", "")) == 0:
        return text.removeprefix("-")
    return f"+{text}" if signed and number > 0 else text


def _milliseconds(number: float, *, trim: bool) -> str:
    if abs(number) >= 10_000:
        text = f"{number / 1000:,.1f}"
        return f"{text.removesuffix('.0') if trim else text} s"
    return f"{number:,.1f} ms" if abs(number) < 10 and not (trim and number == int(number)) else f"{number:,.0f} ms"


def _count(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 or number == int(number) else f"{number:,.1f}"
