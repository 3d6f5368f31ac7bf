"""How much longer the candidate's answer is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.domain.estimate import Metric
from harness.domain.judgment import Judgment, UnscoredReason
from harness.domain.metrics import LENGTH_DIFFERENCE
from harness.domain.observation import Completion
from harness.domain.pair import Pair
from harness.judging import answers
from harness.judging.protocol import JudgeContext


@dataclass(frozen=True, kw_only=True)
class LengthJudge:
    """Characters (Unicode code points) of the candidate's answer minus production's, both before redaction."""

    name: ClassVar[str] = "length"
    version: ClassVar[str] = "2"
    metric: ClassVar[Metric] = LENGTH_DIFFERENCE

    async def judge(self, pair: Pair, ctx: JudgeContext) -> Sequence[Judgment]:
        """One Judgment; ``details`` has both lengths and their ratio. A side without text is not measured."""
        if not pair.is_comparable:
            return [ctx.unscored(pair, UnscoredReason.NOT_COMPARABLE)]
        production, candidate = _chars(pair.production.completion), _chars(pair.candidate.completion)
        if production is None or candidate is None:
            return [ctx.unscored(pair, UnscoredReason.NOT_APPLICABLE, explanation="a side has only tool calls")]
        details = {"production": production, "candidate": candidate, "ratio": candidate / production}
        return [ctx.scored(pair, value=float(candidate - production), details=details)]


def _chars(completion: Completion | None) -> int | None:
    return completion.chars if completion is not None and answers.text_of(completion) is not None else None
