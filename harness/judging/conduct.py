"""What one judge did on one arm, as columns: what the checks of its health read."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from harness.domain.health import HealthCheck
from harness.stats.evidence import Bools, Floats, Ints, LabelColumn, ScoreColumn

_MENU = (0.0, 0.5, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Conduct:
    """One judge's scores on one arm, one row per sampled exchange, and what they can be held against."""

    judge: str
    scores: ScoreColumn
    clusters: Ints
    preference: bool = True
    """Whether a score is the candidate's share of preference, 0 to 1; of other scores little can be checked."""
    soft: bool | None = None
    """Whether verdicts are token probabilities rather than words; told from the scores when ``None``."""
    unscored: Mapping[str, int] = field(default_factory=dict)
    """Pairs without a value, by UnscoredReason."""
    candidate_chars: Floats | None = None
    production_chars: Floats | None = None
    identical: Bools | None = None
    """Rows whose two answers are the same: a tie by right, which no model is asked about."""
    similarity: Floats | None = None
    """How alike the two answers are, 1 the same; ``None`` without a similarity judge."""
    replica: ScoreColumn | None = None
    """Its scores of production asked again against production's recorded answers, on the same rows."""
    people: LabelColumn | None = None
    models: Sequence[str] = ()
    """The models it asks."""
    answering: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Who answers to the names of their models."""
    further: Sequence[HealthCheck] = ()
    """Checks that were made elsewhere, such as ``canaries`` and ``injection``."""
    level: float = 0.95

    @cached_property
    def different(self) -> Bools:
        """Scored rows whose answers are not the same."""
        scored = np.isfinite(self.scores.value)
        return scored if self.identical is None else scored & ~self.identical

    @cached_property
    def in_both(self) -> Bools:
        """Rows of different answers that were read in both orders."""
        both = np.isfinite(self.scores.production_first) & np.isfinite(self.scores.candidate_first)
        return both & self.different

    @property
    def is_averaged(self) -> bool:
        """Whether most scores are means over both orders."""
        return bool(2 * self.in_both.sum() >= self.different.sum())

    @cached_property
    def first_slot(self) -> Floats:
        """Share of a row's two verdicts that went to the answer shown first, ties as a half; NaN without both."""
        firsts = (1 - self.scores.production_first, self.scores.candidate_first)
        return np.where(self.in_both, (verdicts(firsts[0]) + verdicts(firsts[1])) / 2, np.nan)

    @cached_property
    def contradicts(self) -> Floats:
        """1 where the two orders have opposite winners, 0 where not; NaN without both."""
        product = (self.scores.production_first - 0.5) * (self.scores.candidate_first - 0.5)
        return np.where(self.in_both, product < 0, np.nan)

    @cached_property
    def is_soft(self) -> bool:
        """Whether verdicts are token probabilities; words are worth exactly 0, 0.5 or 1."""
        if self.soft is not None:
            return self.soft
        read = np.concatenate([self.scores.production_first, self.scores.candidate_first])
        if not np.isfinite(read).any():
            read = self.scores.value
        decisive = read[np.isfinite(read) & (read != 0.5)]
        return bool(decisive.size and np.mean(~np.isin(decisive, _MENU)) > 0.5)

    @cached_property
    def counts_shares(self) -> bool:
        """Whether token probabilities count as they are, and not as the verdict they come to."""
        value = self.scores.value[np.isfinite(self.scores.value)]
        return self.is_soft and not bool(np.all(4 * value == np.round(4 * value)))


def verdicts(shares: Floats) -> Floats:
    """Shares of preference as the likeliest verdict: 0, 0.5 or 1; NaN stays."""
    return np.asarray((np.sign(np.round(shares - 0.5, 9)) + 1) / 2, dtype=np.float64)


def family(model: str) -> str:
    """The vendor's line a model name belongs to: ``gpt`` for ``openai/gpt-4o-mini``, ``claude`` for Claude models."""
    return re.split(r"[-_.:@\d]", model.rpartition("/")[2].lower(), maxsplit=1)[0]
