"""How requests are sent, where to stop, and who scores the pairs."""

from typing import Annotated, Any

from pydantic import Field

from harness.config.base import Section


class Replay(Section):
    """How requests are sent."""

    concurrency: Annotated[int, Field(gt=0)] = 16
    """Upper bound of calls in flight per provider; the limiter adapts below it."""
    deadline_s: Annotated[float, Field(gt=0)] = 120.0
    """Total time of one attempt, from request to last token."""
    max_attempts: Annotated[int, Field(gt=0)] = 4
    max_retry_wait_s: Annotated[float, Field(ge=0)] = 120.0
    """Total time one request may spend between attempts; a longer Retry-After ends it."""


class Budget(Section):
    """Where to stop. A stopped run keeps a valid sample and goes on when the limit is raised."""

    candidates_usd: Annotated[float, Field(ge=0)] | None = None
    judges_usd: Annotated[float, Field(ge=0)] | None = None
    time_limit_s: Annotated[float, Field(gt=0)] | None = None
    """Time for asking the candidates, and as much again for judging."""
    stop_when_settled: bool = True
    """Ask and judge nothing more for a candidate whose decision stands."""
    stop_when_out_of_reach: bool = True
    """Ask and judge nothing more for a candidate that this sample and budget cannot settle any more."""
    allow_unpriced: bool = False
    """Go on, uncounted, with models whose price is unknown although a budget is set."""


class RetentionSection(Section):
    """How long what is stored about an exchange is kept; for good where nothing is given.

    An exchange's age counts from the request to production. `harness worker` keeps to it, and
    `harness db delete --apply-policy` for runs that nobody is at work on.
    """

    texts_days: Annotated[float, Field(gt=0)] | None = None
    """Then requests, answers and judges' words are deleted; numbers stay, and can be decided on."""
    numbers_days: Annotated[float, Field(gt=0)] | None = None
    """Then everything about the exchange is deleted; decisions that were taken stay."""
    grace_days: Annotated[float, Field(ge=0)] = 1.0
    """How much longer a worker keeps what a candidate has not been asked, or a judge not read."""
    every_s: Annotated[float, Field(gt=0)] = 3_600.0
    """How often a worker looks for what is too old."""

    @property
    def limits(self) -> bool:
        """Whether anything is ever deleted."""
        return self.texts_days is not None or self.numbers_days is not None


class JudgeSection(Section):
    """A judge by registry name; `options` are its own fields."""

    use: str
    name: str | None = None
    options: dict[str, Any] = {}

    @property
    def label(self) -> str:
        """Name within the experiment."""
        return self.name or self.use


DEFAULT_JUDGES = tuple(
    JudgeSection(use=name) for name in ("exact", "similarity", "length", "refusal", "structure", "style")
)
