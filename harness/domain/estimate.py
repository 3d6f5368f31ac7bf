"""A named quantity with its uncertainty."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Direction(StrEnum):
    """Which way is good for the candidate."""

    HIGHER_IS_BETTER = "higher_is_better"
    LOWER_IS_BETTER = "lower_is_better"
    NEUTRAL = "neutral"


class Unit(StrEnum):
    """What a value is counted in; decides how it is printed."""

    MILLISECONDS = "ms"
    RATIO = "ratio"
    SHARE = "share"
    """0 to 1, printed in percent."""
    POINTS = "points"
    """A difference of shares, printed in percentage points."""
    USD = "usd"
    TOKENS = "tokens"
    CHARACTERS = "characters"
    SCORE = "score"
    COUNT = "count"


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A named quantity."""

    name: str
    title: str
    unit: Unit
    direction: Direction
    help: str = ""
    """One sentence for a reader who does not know the word."""
    bounds: tuple[float, float] | None = None
    """Lowest and highest value one pair can have; ``None``: 0..1 for shares, -1..1 for points, else unbounded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """The value of a Metric for one candidate, with its interval."""

    metric: str
    value: float | None
    """``None`` when there is no data."""
    low: float | None = None
    """Lower end of the two-sided interval; ``None`` or minus infinity when nothing bounds it."""
    high: float | None = None
    level: float = 0.95
    """Confidence of the interval; each of its ends alone misses with a chance of ``(1 - level) / 2`` at most."""
    looks: str = "one"
    """At how many looks at growing data the interval holds: ``one``, ``any`` number, or the ``planned`` ones."""
    n: int = 0
    """Pairs used."""
    n_clusters: int = 0
    n_effective: float | None = None
    """Independent pairs that would carry the same information; ``None`` where that has no meaning."""
    n_missing: int = 0
    """Pairs that should have had a value and had none."""
    method: str = ""
    """Name of the estimator and interval, as in docs/statistics.md."""
    std_error: float | None = None
    production: float | None = None
    """The same quantity on production's side, where there is one."""
    candidate: float | None = None
    notes: tuple[str, ...] = ()
    extra: Mapping[str, float] = field(default_factory=dict)
