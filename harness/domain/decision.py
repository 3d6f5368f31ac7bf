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
    UNATTAINABLE = "unattainable"
    """Not even production, asked again, meets it: the rule is wrong, not the candidate."""


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

    @property
    def passes_below(self) -> bool:
        """Whether small values are the good ones."""
        return self.bound in {Bound.BELOW, Bound.AT_MOST}


@dataclass(frozen=True, kw_only=True, slots=True)
class Objection:
    """Why figures that would pass are not believed."""

    kind: str
    """``judge``, ``people``, ``length``, ``slice`` or ``unscored``."""
    sentence: str
    """What speaks against them, in one plain sentence with the numbers."""
    remedy: str = ""
    """What to do about it."""
    metric: str | None = None
    """The criterion it concerns; ``None`` when it concerns the decision as a whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CriterionResult:
    """A Criterion held against its Estimate."""

    criterion: Criterion
    estimate: Estimate
    """With the bounds a PASS needs."""
    outcome: Outcome
    reason: str
    """One plain sentence with the numbers."""
    n_needed: int | None = None
    """Pairs in all that would probably settle it; ``None`` when settled or not projectable."""
    strict: Estimate | None = None
    """With the bounds a FAIL needs: one of K criteria fails by chance no more often than one alone."""
    objection: Objection | None = None
    """What keeps the criterion from deciding although its bounds would."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """How sure a decision has to be, fixed before anybody looked."""

    profile: str
    looks: str
    """``any``, ``planned`` or ``one``."""
    alpha: float
    """Chance of a wrong GO for the candidate's family, over all looks and attempts."""
    attempt: int = 1
    """Which attempt of its family this is."""
    attempt_alpha: float | None = None
    """What this attempt may spend of it; all when ``None``."""
    horizon: int | None = None
    planned_look: int | None = None
    """Which of the planned looks was the last one reached, from 1; 0 when none was."""
    planned_looks: int | None = None
    n_look: int | None = None
    """Sampled requests the decision rests on, where later ones do not count yet."""

    @property
    def pass_alpha(self) -> float:
        """One-sided chance of a wrong PASS of one criterion."""
        return self.alpha if self.attempt_alpha is None else self.attempt_alpha


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
    objections: tuple[Objection, ...] = ()
    """What keeps the decision from GO although every criterion passes."""
    terms: Terms | None = None
