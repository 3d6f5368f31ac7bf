"""What one look at a candidate said, kept so that its sequence can be drawn."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class LookPoint:
    """One criterion at one look."""

    arm: str
    """The candidate."""
    metric: str
    """Of the criterion."""
    at: datetime
    """When somebody looked."""
    value: float | None
    """The estimate; ``None`` when there was no data."""
    low: float | None
    """Lower bound that a PASS needs; ``None`` when nothing bounds it."""
    high: float | None
    """Upper bound that a PASS needs."""
    strict_low: float | None = None
    """Lower bound that a FAIL needs; ``None`` where it has none of its own."""
    strict_high: float | None = None
    """Upper bound that a FAIL needs."""
    n: int = 0
    """Pairs used."""
    outcome: str
    """Of the criterion, a word of :class:`harness.domain.decision.Outcome`."""
    verdict: str
    """Of the whole decision, a word of :class:`harness.domain.decision.Verdict`."""
