"""How close the two answers' meanings are, by cosine similarity of embeddings."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.domain.estimate import Metric
from harness.domain.judgment import Judgment, UnscoredReason
from harness.domain.metrics import SIMILARITY
from harness.domain.pair import Pair
from harness.judging import answers
from harness.judging.protocol import JudgeContext


@dataclass(frozen=True, kw_only=True)
class SimilarityJudge:
    """Cosine similarity of the whole answers, -1 to 1; nothing is cut, the embedder reads long texts in windows.

    A refusal's text is its answer. Text against nothing but tool calls is 0: the two have nothing in common to
    measure. Two answers of tool calls alone are for the judges ``exact`` and ``structure``.
    """

    name: ClassVar[str] = "similarity"
    version: ClassVar[str] = "1"
    metric: ClassVar[Metric] = SIMILARITY
    embeds: ClassVar[bool] = True
    batch_size: ClassVar[int] = 256
    """Enough to sort by length; a few seconds on two cores, so that Ctrl-C is heard between batches."""

    async def judge(self, pair: Pair, ctx: JudgeContext) -> Sequence[Judgment]:
        """One Judgment."""
        return await self.judge_many([pair], ctx)

    async def judge_many(self, pairs: Sequence[Pair], ctx: JudgeContext) -> Sequence[Judgment]:
        """One Judgment per pair; all texts that have to be embedded go to the embedder together."""
        judgments: list[Judgment] = []
        open_pairs: list[tuple[Pair, str, str]] = []
        for pair in pairs:
            production = answers.text_of(pair.production.completion)
            candidate = answers.text_of(pair.candidate.completion)
            if not pair.is_comparable:
                judgments.append(ctx.unscored(pair, UnscoredReason.NOT_COMPARABLE))
            elif production is None and candidate is None:
                judgments.append(ctx.unscored(pair, UnscoredReason.NOT_APPLICABLE, explanation="only tool calls"))
            elif production is None or candidate is None:
                side = "candidate" if candidate is None else "production"
                note = f"{side} answered with tool calls alone, the other side with text"
                judgments.append(ctx.scored(pair, value=0.0, explanation=note))
            elif production == candidate:
                judgments.append(ctx.scored(pair, value=1.0))
            else:
                open_pairs.append((pair, production, candidate))
        if open_pairs:
            judgments += await self._embedded(open_pairs, ctx)
        return judgments

    async def _embedded(self, pairs: Sequence[tuple[Pair, str, str]], ctx: JudgeContext) -> list[Judgment]:
        left, right = [item[1] for item in pairs], [item[2] for item in pairs]
        scores = await asyncio.to_thread(ctx.embedder.similarity, left, right)
        # Rounding makes the cosine of near-equal vectors exceed one by some 1e-7.
        return [
            ctx.scored(pair, value=min(max(float(score), -1.0), 1.0))
            for (pair, _, _), score in zip(pairs, scores, strict=True)
        ]
