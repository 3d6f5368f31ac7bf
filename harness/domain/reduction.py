"""What was deleted from a run: for its age, because a user asked, or by the experiment's own policy."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from harness.domain.json import Json


class Reduced(StrEnum):
    """What a reduction took away."""

    TEXTS = "texts"
    """Requests, answers and judges' words; every number stays."""
    EXCHANGES = "exchanges"
    """Everything about the exchanges: numbers, texts, judgments and labels."""


class Why(StrEnum):
    """Why it was taken away."""

    AGE = "age"
    USER = "user"
    POLICY = "policy"


_BECAUSE = {
    Why.AGE: "because of their age",
    Why.USER: "because users asked for it",
    Why.POLICY: "by the experiment's retention",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reduction:
    """Everything of one kind that was deleted from a run for one reason; never for whom."""

    run_id: str
    what: Reduced
    reason: Why
    first_at: datetime
    last_at: datetime
    older_than: datetime | None = None
    """Exchanges from before then went; ``None`` where age was not the reason."""
    n_exchanges: int = 0
    candidates_usd: float = 0.0
    """What the deleted calls had cost; it stays spent. Judges likewise, US dollars."""
    judges_usd: float = 0.0

    @property
    def sentence(self) -> str:
        """What a reader has to know."""
        n = f"{self.n_exchanges:,} exchange{'s' if self.n_exchanges != 1 else ''}"
        first, last = (moment.date().isoformat() for moment in (self.first_at, self.last_at))
        when = f"on {first}" if first == last else f"between {first} and {last}"
        if self.what is Reduced.TEXTS:
            return (
                f"The texts of {n} were deleted {when} {_BECAUSE[self.reason]}: "
                "their numbers count here, and they can be neither shown, asked nor judged again."
            )
        return (
            f"{n} were deleted {when} {_BECAUSE[self.reason]}: nothing here counts them, "
            "and an earlier decision on this run may have."
        )

    @property
    def record(self) -> dict[str, Json]:
        """As a decision keeps it."""
        return {
            "what": self.what.value,
            "reason": self.reason.value,
            "n_exchanges": self.n_exchanges,
            "last_at": self.last_at.isoformat(),
        }
