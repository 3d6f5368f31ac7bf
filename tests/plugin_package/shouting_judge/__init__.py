"""Penalises answers in capital letters; imports only what the extension point promises."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.domain.estimate import Direction, Metric, Unit
from harness.domain.judgment import Judgment, UnscoredReason
from harness.domain.pair import Pair
from harness.judging import JudgeContext


@dataclass(frozen=True, kw_only=True)
class ShoutingJudge:
    """Share of the candidate's letters that are not capitals."""

    name: ClassVar[str] = "shouting"
    version: ClassVar[str] = "1"
    metric: ClassVar[Metric] = Metric(
        name="calmness", title="Calmness", unit=Unit.SHARE, direction=Direction.HIGHER_IS_BETTER
    )

    min_letters: int = 1

    async def judge(self, pair: Pair, ctx: JudgeContext) -> Sequence[Judgment]:
        """Unscored when there are too few letters to tell."""
        completion = pair.candidate.completion
        letters = [letter for letter in (completion.text if completion else None) or "" if letter.isalpha()]
        if len(letters) < self.min_letters:
            return [ctx.unscored(pair, UnscoredReason.NOT_APPLICABLE)]
        return [ctx.scored(pair, value=1 - sum(letter.isupper() for letter in letters) / len(letters))]
