"""How much longer the candidate's answer is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.domain.estimate import Metric
from harness.domain.judgment import Judgment, UnscoredReason
from harness.domain.metrics import LENGTH_DIFFERENCE
from harness.domain.pair import Pair
from harness.judging import answers
from harness.judging.protocol import JudgeContext


@dataclass(frozen=True, kw_only=True)
class LengthJudge:
    """Characters (Unicode code points) of the candidate's answer minus production's."""

    name: ClassVar[str] = "length"
    version: ClassVar[str] = "1"
    metric: ClassVar[Metric] = LENGTH_DIFFERENCE

    async def judge(self, pair: Pair, ctx: JudgeContext) -> Sequence[Judgment]:
        """One Judgment; ``details`` has both lengths and their ratio. A side without text is not measured."""
        if not pair.is_comparable:
            return [ctx.unscored(pair, UnscoredReason.NOT_COMPARABLE)]
        production = answers.text_of(pair.production.completion)
        candidate = answers.text_of(pair.candidate.completion)
        if production is None or candidate is None:
            return [ctx.unscored(pair, UnscoredReason.NOT_APPLICABLE, explanation="a side has only tool calls")]
        details = {
            "production": len(production),
            "candidate": len(candidate),
            "ratio": len(candidate) / len(production),
        }
        return [ctx.scored(pair, value=float(len(candidate) - len(production)), details=details)]
