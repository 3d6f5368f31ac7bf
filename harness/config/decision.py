"""The rule that turns estimates into GO, NO_GO or INCONCLUSIVE."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.config.base import Section
from harness.domain.decision import Bound, Criterion


class CriterionSection(Section):
    """One go/no-go rule: a metric and exactly one bound."""

    metric: str
    below: float | None = None
    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    required: bool = True

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if sum(getattr(self, bound.value) is not None for bound in Bound) != 1:
            raise ValueError(f"criterion {self.metric!r} needs exactly one of below, above, at_least, at_most")
        return self

    def criterion(self) -> Criterion:
        """The rule as the domain sees it."""
        bound = next(bound for bound in Bound if getattr(self, bound.value) is not None)
        return Criterion(metric=self.metric, bound=bound, threshold=getattr(self, bound.value), required=self.required)


Profile = Literal["non_inferiority", "superiority"]
PROFILES: Mapping[Profile, tuple[CriterionSection, ...]] = {
    "non_inferiority": (
        CriterionSection(metric="latency_p95_ratio", below=1.2),
        CriterionSection(metric="error_rate_difference", below=0.005),
        CriterionSection(metric="win_rate", above=0.48),
        CriterionSection(metric="similarity_from_floor", above=-0.01),
    ),
    "superiority": (
        CriterionSection(metric="latency_p95_ratio", below=1.2),
        CriterionSection(metric="error_rate_difference", below=0.0),
        CriterionSection(metric="win_rate", above=0.5),
        CriterionSection(metric="similarity", above=0.95),
        CriterionSection(metric="coverage", above=10_000),
    ),
}
"""As good as production within margins, which an equal candidate can show; or better than production."""


class DecisionSection(Section):
    """The rule that turns estimates into GO, NO_GO or INCONCLUSIVE."""

    profile: Profile = "non_inferiority"
    criteria: list[CriterionSection] | None = None
    """The rules; those of the profile when absent."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Chance of a wrong GO for a candidate family, over all looks and all attempts."""
    looks: Literal["any", "planned", "one"] = "any"
    """How often the evidence may be looked at: whenever one likes, at ``planned_looks`` up to ``horizon``, or once."""
    horizon: Annotated[int, Field(ge=100)] = 10_000
    """Most pairs the experiment is meant to take: bounds are tightest on the way there."""
    planned_looks: Annotated[int, Field(ge=1, le=50)] = 5
    look_every: Annotated[int, Field(ge=1)] = 500
    """Requests between two looks of a running experiment."""
    spend_across_attempts: bool = True
    """Whether every further attempt of a candidate family gets a smaller part of alpha."""
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Confidence level of the two-sided intervals of figures that decide nothing, and of best sets."""
    cluster_by: str | None = None
    """Unit of independent evidence: session, user, metadata.<key>; by default the session, else the exchange."""
    min_slice: Annotated[int, Field(ge=2)] = 200
    """Fewest pairs for which a slice is tested."""
    slice_false_discoveries: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Expected share of false alarms among the slices that are flagged."""

    @property
    def rules(self) -> tuple[CriterionSection, ...]:
        """The criteria in force."""
        return PROFILES[self.profile] if self.criteria is None else tuple(self.criteria)
