"""Soft verdicts: the probability of every choice, from the token the model was about to write."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.domain.model import TokenLogprob
from harness.judging.reply import Choice, Menu


@dataclass(frozen=True, kw_only=True, slots=True)
class Distribution:
    """Probabilities over a menu."""

    shares: Mapping[Choice, float] = field(default_factory=dict)
    """Probability of every choice, normalised to sum to one; empty when no choice had any."""
    mass: float
    """Probability the model gave to the menu as a whole, 0 to 1; the rest went to other tokens."""


def distribution(tokens: Sequence[TokenLogprob], menu: Menu) -> Distribution | None:
    """The distribution at the first token that is not white space; ``None`` without probabilities.

    A token counts for a choice when it is exactly the asked-for label, white space aside; tokens that merely begin
    with it do not, because they may be the beginning of any word.
    """
    position = next((token for token in tokens if token.token.strip()), None)
    if position is None:
        return None
    alternatives = dict(position.top) or {position.token: position.logprob}
    alternatives.setdefault(position.token, position.logprob)
    masses = dict.fromkeys(menu.choices, 0.0)
    for token, logprob in alternatives.items():
        choice = menu.tokens.get(token.strip())
        if choice is not None and not math.isnan(logprob):
            masses[choice] += math.exp(min(logprob, 0.0))
    mass = math.fsum(masses.values())
    shares = {choice: share / mass for choice, share in masses.items()} if mass > 0 else {}
    return Distribution(shares=shares, mass=min(mass, 1.0))
