"""What of a pair a judge model gets to see: the request and both answers as text, of bounded size, without names."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.domain.json import Json
from harness.domain.pair import Pair
from harness.judging import transcript

_CONVERSATION_HEAD = 0.25
"""The system prompt leads a conversation and the question ends it: most of the room belongs to the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A pair as text for a judge model."""

    conversation: str
    production: str
    candidate: str
    cut: bool
    """Whether an answer had to be shortened."""
    details: Mapping[str, Json] = field(default_factory=dict)
    """What was left out or replaced, for the Judgment."""


def show(pair: Pair, *, max_conversation: int, max_answer: int, hide_names: bool) -> Shown:
    """Both sides by the same rule: the same limit, the same replacements; limits in characters."""
    conversation, left_out = transcript.shorten(
        transcript.conversation(pair.request), max_conversation, head=_CONVERSATION_HEAD
    )
    sides = {}
    cut = {"conversation": left_out} if left_out else {}
    hidden = {}
    names = transcript.model_names(pair) if hide_names else set()
    for side, observation in (("production", pair.production), ("candidate", pair.candidate)):
        text = transcript.answer(observation.completion)
        if hide_names:
            text, n = transcript.without_names(text, names)
            if n:
                hidden[side] = n
        sides[side], left_out = transcript.shorten(text, max_answer)
        if left_out:
            cut[side] = left_out
    details: dict[str, Json] = {}
    if cut:
        details["characters_left_out"] = cut
    if hidden:
        details["names_hidden"] = hidden
    return Shown(
        conversation=conversation,
        production=sides["production"],
        candidate=sides["candidate"],
        cut=bool({"production", "candidate"} & set(cut)),
        details=details,
    )
