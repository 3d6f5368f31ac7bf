"""Whether a judge can be believed: what was checked, what came of it, and how to mend it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.domain.estimate import Estimate


class HealthState(StrEnum):
    """What one check of a judge says."""

    PASS = "pass"  # noqa: S105  a state, not a password
    WARN = "warn"
    """Worth knowing; does not keep the judge from contributing to a GO."""
    FAIL = "fail"
    """The judge cannot contribute to a GO."""
    UNKNOWN = "unknown"
    """Too little data to say, or not measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthCheck:
    """One check of one judge."""

    name: str
    """``canaries``, ``injection``, ``position``, ``flips``, ``signal``, ``unscored``, ``people``, ``self_agreement``,
    ``length``, ``family``."""
    title: str
    state: HealthState
    sentence: str
    """What was seen, in one plain sentence with the numbers."""
    remedy: str = ""
    """What to do about it; empty when nothing is wrong."""
    estimate: Estimate | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FlipBand:
    """How often a judge contradicts itself on pairs of a certain likeness."""

    band: str
    """Similarity of the two answers, in words."""
    pairs: int
    """Pairs read in both orders."""
    flips: int
    first_slot: float | None
    """How often the answer shown first was preferred, ties as a half."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeHealth:
    """Everything known about how far one judge can be believed on one arm."""

    judge: str
    checks: tuple[HealthCheck, ...]
    bands: tuple[FlipBand, ...] = ()
    """Flips by similarity band, most different answers first; empty without a similarity judge."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Further numbers by name, for machines."""

    @property
    def usable(self) -> bool:
        """Whether the judge may contribute to a GO."""
        return not self.failed

    @property
    def failed(self) -> tuple[HealthCheck, ...]:
        """The checks that condemn it."""
        return tuple(check for check in self.checks if check.state is HealthState.FAIL)
