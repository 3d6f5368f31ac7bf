"""From estimates to GO, NO_GO or INCONCLUSIVE."""

from dataclasses import dataclass
from enum import StrEnum

from harness.domain.estimate import Estimate


class Outcome(StrEnum):
    """What one Criterion says."""

    PASS = "pass"  # noqa: S105  an outcome, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NO_DATA = "no_data"


class Verdict(StrEnum):
    """What the Decision says."""

    GO = "GO"
    NO_GO = "NO_GO"
    INCONCLUSIVE = "INCONCLUSIVE"

    @property
    def exit_code(self) -> int:
        """Exit code of the command line for this verdict."""
        return {"GO": 0, "NO_GO": 1, "INCONCLUSIVE": 3}[self.value]


class Bound(StrEnum):
    """Side of the threshold the metric has to be on."""

    BELOW = "below"
    ABOVE = "above"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"


@dataclass(frozen=True, kw_only=True, slots=True)
class Criterion:
    """A go/no-go rule on a Metric."""

    metric: str
    bound: Bound
    threshold: float
    required: bool = True
    """An advisory criterion is shown and never decides."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CriterionResult:
    """A Criterion held against its Estimate."""

    criterion: Criterion
    estimate: Estimate
    outcome: Outcome
    reason: str
    """One plain sentence with the numbers."""
    n_needed: int | None = None
    """Pairs in all that would probably settle it; ``None`` when settled or not projectable."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """GO, NO_GO or INCONCLUSIVE for one candidate, with ordered reasons and the sample still needed."""

    arm: str
    verdict: Verdict
    sentence: str
    """One sentence a stakeholder can read alone."""
    reasons: tuple[str, ...]
    """Most decisive first."""
    results: tuple[CriterionResult, ...]
    n_needed: int | None = None
    """Pairs in all that would probably settle every undecided criterion."""
    binding: str | None = None
    """Metric of the criterion that needs most."""
