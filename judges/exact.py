"""Whether both answers are the same after normalisation."""

import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from harness.domain.estimate import Metric
from harness.domain.judgment import Judgment, UnscoredReason
from harness.domain.metrics import EXACT_MATCH
from harness.domain.observation import Completion
from harness.domain.pair import Pair
from harness.judging import answers
from harness.judging.protocol import JudgeContext

_ASCII_PUNCTUATION = frozenset(string.punctuation)


@dataclass(frozen=True, kw_only=True)
class ExactJudge:
    """1.0 when both answers are the same, else 0.0.

    Answers that are JSON on both sides are compared as JSON; tool calls by name and arguments. Normalisation touches
    text only, never what is inside JSON or arguments.
    """

    name: ClassVar[str] = "exact"
    version: ClassVar[str] = "1"
    metric: ClassVar[Metric] = EXACT_MATCH

    unicode: bool = True
    """Compare in Unicode normal form C."""
    whitespace: bool = True
    """Any run of white space is one space; none at the ends."""
    ignore_case: bool = False
    ignore_punctuation: bool = False
    json: bool = True
    """Compare two JSON objects or lists by content: layout and order of keys do not matter."""
    ignore_call_order: bool = False
    """Tool calls may come in any order."""

    async def judge(self, pair: Pair, ctx: JudgeContext) -> Sequence[Judgment]:
        """One Judgment, with which part differs in ``details``."""
        production, candidate = pair.production.completion, pair.candidate.completion
        if not pair.is_comparable or production is None or candidate is None:
            return [ctx.unscored(pair, UnscoredReason.NOT_COMPARABLE)]
        same_text = self._same_text(answers.text_of(production), answers.text_of(candidate))
        same_calls = self._calls(production) == self._calls(candidate)
        differs = [part for part, same in (("text", same_text), ("tool_calls", same_calls)) if not same]
        return [ctx.scored(pair, value=float(not differs), details={"differs": differs})]

    def _same_text(self, production: str | None, candidate: str | None) -> bool:
        if production is None or candidate is None:
            return production == candidate
        if self._normalised(production) == self._normalised(candidate):
            return True
        return self.json and _same_json(production, candidate)

    def _normalised(self, text: str) -> str:
        if self.unicode:
            text = unicodedata.normalize("NFC", text)
        if self.ignore_case:
            text = text.casefold()
        if self.ignore_punctuation:
            # ASCII symbols such as + and $ count as punctuation, as string.punctuation has it.
            text = "".join(c for c in text if c not in _ASCII_PUNCTUATION and unicodedata.category(c)[0] != "P")
        return " ".join(text.split()) if self.whitespace else text

    def _calls(self, completion: Completion) -> Any:
        keys = [answers.call_key(call) for call in completion.tool_calls]
        return Counter(keys) if self.ignore_call_order else keys


def _same_json(production: str, candidate: str) -> bool:
    if production.lstrip()[:1] not in {"{", "["}:
        return False
    try:
        left, right = answers.parse(production), answers.parse(candidate)
        return bool(answers.canonical(left) == answers.canonical(right))
    except (answers.NotJson, RecursionError):
        return False
