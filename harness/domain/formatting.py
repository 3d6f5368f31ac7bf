"""Values and intervals as people read them; the one place that turns a number and its unit into text."""

import math

from harness.domain.estimate import Unit

UNKNOWN = "unknown"


def format_value(value: float | None, unit: Unit) -> str:
    """A number with its unit; ``None`` and NaN are ``unknown``, never zero."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "unbounded" if value > 0 else "unbounded below"
    # A minus sign before a rounded zero would claim a direction the number does not have.
    text = _FORMATS[unit](value)
    return text[1:] if text.startswith("-") and not any(digit in text for digit in "123456789") else text


def format_interval(low: float | None, high: float | None, unit: Unit) -> str:
    """``low to high``; an end that is ``None`` or infinite leaves ``at least``, ``at most`` or ``unbounded``."""
    lower = None if low is None or not math.isfinite(low) else format_value(low, unit)
    upper = None if high is None or not math.isfinite(high) else format_value(high, unit)
    if lower is not None and upper is not None:
        return f"{lower} to {upper}"
    if lower is not None:
        return f"at least {lower}"
    return f"at most {upper}" if upper is not None else "unbounded"


def _milliseconds(value: float) -> str:
    if abs(value) >= 100_000:
        return f"{value / 1000:,.0f} s"
    if abs(value) >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.0f} ms" if abs(value) >= 10 else f"{value:.2g} ms"


def _dollars(value: float) -> str:
    sign, size = ("-" if value < 0 else ""), abs(value)
    if size >= 1000:
        return f"{sign}${size:,.0f}"
    if size >= 0.1 or size == 0:
        return f"{sign}${size:.2f}"
    return f"{sign}${float(f'{size:.2g}'):.8f}".rstrip("0")


def _count(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 100 else f"{value:,.1f}"


_FORMATS = {
    Unit.MILLISECONDS: _milliseconds,
    Unit.RATIO: lambda value: f"{value:.2f}\N{MULTIPLICATION SIGN}",
    Unit.SHARE: lambda value: f"{100 * value:.1f} %",
    Unit.POINTS: lambda value: f"{100 * value:+.1f} pp",
    Unit.USD: _dollars,
    Unit.TOKENS: lambda value: f"{_count(value)} tokens",
    Unit.CHARACTERS: lambda value: f"{_count(value)} characters",
    Unit.SCORE: lambda value: f"{value:.3f}",
    Unit.COUNT: _count,
}
