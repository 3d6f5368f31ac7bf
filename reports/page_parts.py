"""Small view parts several sections share."""

import math
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from harness.domain.decision import Outcome, Verdict
from harness.domain.estimate import Estimate, Unit
from harness.domain.formatting import format_value
from reports.metrics import span
from reports.views import Badge, Cell, Column, Table

NONE = "\N{EN DASH}"
"""Stands where a value does not apply; a value that applies and is missing is ``unknown``."""

VERDICT_BADGES = {
    Verdict.GO: Badge(word="GO", tone="good", icon="check"),
    Verdict.NO_GO: Badge(word="NO_GO", tone="bad", icon="cross"),
    Verdict.INCONCLUSIVE: Badge(word="INCONCLUSIVE", tone="open", icon="question"),
}
OUTCOME_BADGES = {
    Outcome.PASS: Badge(word="pass", tone="good", icon="check"),
    Outcome.FAIL: Badge(word="fail", tone="bad", icon="cross"),
    Outcome.INCONCLUSIVE: Badge(word="inconclusive", tone="open", icon="question"),
    Outcome.NO_DATA: Badge(word="no data", tone="none", icon="dash"),
    Outcome.UNATTAINABLE: Badge(word="unattainable", tone="void", icon="ceiling"),
}
FLAGGED = Badge(word="flagged", tone="bad", icon="flag")
"""On a slice that loses, with the number of slices looked at taken into account."""


def table(
    caption: str,
    columns: Sequence[str],
    rows: Sequence[tuple[Cell, ...]],
    *,
    numeric: Collection[int] = (),
    note: str = "",
) -> Table:
    """A table; ``numeric`` are the columns set flush right."""
    heads = tuple(Column(title=title, numeric=index in numeric) for index, title in enumerate(columns))
    return Table(caption=caption, columns=heads, rows=tuple(rows), note=note)


def interval(estimate: Estimate, unit: Unit) -> str:
    """The interval as text; empty when the estimate has none."""
    if estimate.low is None and estimate.high is None:
        return ""
    return span(estimate.low, estimate.high, unit)


def percent(share: float | None) -> str:
    """A measured share as everywhere on the page: ``71.20%``; ``unknown`` without one."""
    return format_value(share if share is not None and math.isfinite(share) else None, Unit.SHARE)


def e_value(value: float) -> str:
    """An e-value: with digits where they matter, and no more than it is worth where it is overwhelming."""
    if math.isnan(value):
        return NONE
    if value >= 10_000:
        return "over 10,000"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2f}" if value >= 0.01 else "under 0.01"


def dollars(value: float | None) -> str:
    """An amount; ``unknown`` when it is not known, never zero."""
    return format_value(value, Unit.USD)


def when(moment: datetime) -> str:
    """A point in time, to the minute, in UTC."""
    utc = moment.astimezone(UTC) if moment.tzinfo else moment
    return f"{utc:%Y-%m-%d %H:%M} UTC"


def words(name: str) -> str:
    """A reason or kind as words: ``rate_limit`` is ``rate limit``."""
    return name.replace("_", " ")
