"""How much more markdown the candidate's answer has."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.domain.estimate import Metric
from harness.domain.json import Json
from harness.domain.judgment import Judgment, UnscoredReason
from harness.domain.metrics import MARKDOWN_DIFFERENCE
from harness.domain.pair import Pair
from harness.judging import answers
from harness.judging.protocol import JudgeContext

_FENCE = re.compile(r"^[ \t]{0,16}(?:`{3,}+[^`\n]*+|~{3,}+[^\n]*+)$", re.MULTILINE)
"""A line that opens or closes a code block."""
# Anchored, bounded or possessive: a hostile answer of any size costs time in proportion to its length.
_MARKS = {
    "headings": re.compile(r"^ {0,3}#{1,6}(?:[ \t]|$)", re.MULTILINE),
    "list_items": re.compile(r"^[ \t]{0,16}(?:[-*+•]|\d{1,9}[.)])[ \t]", re.MULTILINE),
    "bold": re.compile(r"\*\*(?=[^\s*])[^*\n]++(?<!\s)\*\*|(?<!\w)__(?=[^\s_])[^_\n]++(?<!\s)__(?!\w)"),
    "table_rows": re.compile(r"^[ \t]{0,16}\|[^|\n]++\|", re.MULTILINE),
}


@dataclass(frozen=True, kw_only=True)
class StyleJudge:
    """Marks of markdown per 1,000 characters, the candidate's answer minus production's.

    Marks are headings (``#`` to ``######``), list items, bold spans, table rows and code blocks; what stands in a code
    block is code, not markup. Judges, people too, are swayed by them: this is what such a sway is measured against.
    """

    name: ClassVar[str] = "style"
    version: ClassVar[str] = "1"
    metric: ClassVar[Metric] = MARKDOWN_DIFFERENCE

    async def judge(self, pair: Pair, ctx: JudgeContext) -> Sequence[Judgment]:
        """One Judgment; ``details`` has each side's density and its marks by kind. A side without text has none."""
        if not pair.is_comparable:
            return [ctx.unscored(pair, UnscoredReason.NOT_COMPARABLE)]
        texts = {
            "production": answers.text_of(pair.production.completion),
            "candidate": answers.text_of(pair.candidate.completion),
        }
        density, details = {}, dict[str, Json]()
        for side, text in texts.items():
            if text is None:
                return [ctx.unscored(pair, UnscoredReason.NOT_APPLICABLE, explanation=f"{side} has no text")]
            found = marks(text)
            density[side] = 1000 * sum(found.values()) / len(text)
            details[side] = {"per_1000": round(density[side], 3), **{kind: n for kind, n in found.items() if n}}
        return [ctx.scored(pair, value=density["candidate"] - density["production"], details=details)]


def marks(text: str) -> dict[str, int]:
    """Marks of markdown in a text, by kind."""
    # Every other part lies inside a block; a block that is never closed reaches to the end.
    parts = _FENCE.split(text)
    prose = "\n".join(parts[::2])
    found = {kind: sum(1 for _ in pattern.finditer(prose)) for kind, pattern in _MARKS.items()}
    return {**found, "code_blocks": len(parts) // 2}
