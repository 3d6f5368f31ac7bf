"""A part of the traffic, held against the criteria alone."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class SlicePlan:
    """How slices are held against the criteria, fixed before anybody looked."""

    min_pairs: int
    """Fewest pairs for which a slice is tested."""
    false_discoveries: float
    """Expected share of false alarms among the slices that are flagged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceTest:
    """Whether one slice is on the wrong side of one criterion."""

    attribute: str
    value: str
    metric: str
    n: int
    """Pairs of the slice with a value."""
    estimate: float
    evidence: float
    """E-value against "the slice meets the criterion", or, for one look, the adjusted p-value."""
    flagged: bool
    """Whether it stays on the wrong side when all slices that were tested are considered together."""
