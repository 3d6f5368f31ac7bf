"""What the report counts, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservationCounts:
    """How the sampled requests ended in one arm, and what asking them cost."""

    sampled: int
    """Exchanges of the run."""
    completed: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    """By ErrorKind."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """By reason."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """By reason."""
    comparable: int = 0
    """Production and the arm both completed."""
    cost_usd: float | None = None
    """Spent on this arm's calls, replaced calls included; ``None`` when no price is known."""
    unpriced: int = 0
    """Completed calls of ours whose cost is unknown."""
    dropped_params: Mapping[str, int] = field(default_factory=dict)
    """Parameter to the number of requests that lost it."""
    answered_models: Mapping[str, int] = field(default_factory=dict)
    """By the provider's own name of the model that answered."""

    @property
    def asked(self) -> int:
        """Exchanges with an Observation of this arm, whatever its status."""
        endings = (self.failed, self.dropped, self.skipped)
        return self.completed + sum(sum(kinds.values()) for kinds in endings)


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgmentCounts:
    """What one judge made of one arm's pairs."""

    pairs: int = 0
    """Pairs with at least one judgment."""
    judgments: int = 0
    """Orders count apart."""
    scored: int = 0
    """Pairs with a value in at least one order."""
    missing_order: int = 0
    """Scored pairs that lack a value in one of the orders asked for."""
    states: Mapping[str, int] = field(default_factory=dict)
    """Judgments by JudgmentState."""
    unscored: Mapping[str, int] = field(default_factory=dict)
    """Pairs without any value, by UnscoredReason."""
    wins: int | None = None
    """Pairs with more winning than losing orders; ``None`` for judges without labels."""
    ties: int | None = None
    losses: int | None = None
    flips: int | None = None
    """Pairs whose two orders gave opposite winners."""
    both_orders: int | None = None
    """Pairs with a label in both orders."""
    first_slot_share: float | None = None
    """How often the answer shown first was preferred, ties as a half, over pairs labelled in both orders."""
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float | None = None
    """Spent on these judgments, replaced ones included; ``None`` when no price is known."""
    unpriced: int = 0
    """Judgments that called a model at a cost that is unknown."""
