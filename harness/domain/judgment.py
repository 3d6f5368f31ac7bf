"""What one judge concluded about one pair."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.domain.json import Json


class Order(StrEnum):
    """Which answer the judge read first; ``none`` for judges that do not read them in an order."""

    NONE = "none"
    PRODUCTION_FIRST = "production_first"
    CANDIDATE_FIRST = "candidate_first"


class Label(StrEnum):
    """A verdict from the candidate's side."""

    WIN = "win"
    TIE = "tie"
    LOSS = "loss"

    @property
    def share(self) -> float:
        """The candidate's share of the preference: 1, 0.5 or 0."""
        return {"win": 1.0, "tie": 0.5, "loss": 0.0}[self.value]


class JudgmentState(StrEnum):
    """Whether a judgment can be counted. UNSCORED and ERROR are counted apart, never as a tie or a zero."""

    SCORED = "scored"
    UNSCORED = "unscored"
    ERROR = "error"


class UnscoredReason(StrEnum):
    """Why there is no value; the closed set used in the funnel."""

    PARSE_FAILED = "parse_failed"
    OFF_MENU = "off_menu"
    TRUNCATED = "truncated"
    REFUSED = "refused"
    TOO_LONG = "too_long"
    MISSING_ORDER = "missing_order"
    NOT_DRAWN = "not_drawn"
    """The judge reads one order of this pair by design; the other was not asked for and nothing is missing."""
    BUDGET = "budget"
    NOT_APPLICABLE = "not_applicable"
    """The judge has nothing to say about this pair (no schema asked for, no verdict recorded)."""
    NOT_COMPARABLE = "not_comparable"
    """One side has no answer."""
    PROVIDER_ERROR = "provider_error"
    TIMEOUT = "timeout"
    JUDGE_CRASHED = "judge_crashed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgment:
    """What one judge concluded about one pair, with everything needed to trace it."""

    exchange_id: str
    arm: str
    judge: str
    """Name of the judge within the experiment."""
    judge_fingerprint: str
    """Hash of the judge's class, version, configuration, prompt and model."""
    observation_fingerprint: str
    """Fingerprint of the judged Observation: a new answer needs a new judgment."""
    order: Order = Order.NONE
    state: JudgmentState = JudgmentState.SCORED
    reason: UnscoredReason | None = None
    value: float | None = None
    """Score on the judge's own scale; for preferences the candidate's share, 1 win, 0.5 tie, 0 loss."""
    label: Label | None = None
    explanation: str | None = None
    details: Mapping[str, Json] = field(default_factory=dict)
    """Judge-specific numbers and notes, JSON."""
    model: str | None = None
    answered_model: str | None = None
    prompt_sha256: str | None = None
    parser: str | None = None
    """How the reply was read: parser version and rung of the structured-output ladder."""
    raw: str | None = None
    """The judge model's reply, untouched."""
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None
    """Everything spent on this judgment, repairs and failed attempts included."""
    attempts: int = 0
    latency_ms: float | None = None
