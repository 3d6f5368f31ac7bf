from dataclasses import dataclass, field, replace

import pytest

from harness.domain.judgment import JudgmentState, UnscoredReason
from harness.domain.observation import Completion, ToolCall
from harness.judging.protocol import BatchJudge, JudgeContext, fingerprint
from harness.testing import FakeEmbedder, ScriptedModelClient, model_error, observation, pair
from judges.similarity import SimilarityJudge


@dataclass
class Recording:
    """Answers with fixed scores and remembers what it was asked."""

    scores: list[float]
    asked: list[tuple[list[str], list[str]]] = field(default_factory=list)
    name: str = "recording/1"

    def similarity(self, left, right):
        self.asked.append((list(left), list(right)))
        return self.scores


def context(embedder=None) -> JudgeContext:
    return JudgeContext(
        judge="similarity", fingerprint="f", models=ScriptedModelClient([]), embedder=embedder or FakeEmbedder()
    )


TOOLS = Completion(text=None, tool_calls=(ToolCall(name="get", arguments={}),))


def with_completions(production: Completion, candidate: Completion):
    both = pair()
    return replace(
        both,
        exchange=replace(both.exchange, production=replace(both.production, completion=production)),
        candidate=replace(both.candidate, completion=candidate),
    )


async def test_texts_go_to_the_embedder_in_one_batch_and_whole():
    embedder = Recording([0.25, 0.75])
    long = "word " * 5000
    pairs = [pair("a", long, id="e1"), pair("same", "same", id="e2"), pair("c", "d", id="e3")]
    judgments = await SimilarityJudge().judge_many(pairs, context(embedder))
    assert {j.exchange_id: j.value for j in judgments} == {"e1": 0.25, "e2": 1.0, "e3": 0.75}
    assert embedder.asked == [(["a", "c"], [long, "d"])]


async def test_equal_answers_need_no_embedder():
    embedder = Recording([])
    (judgment,) = await SimilarityJudge().judge(pair("same", "same"), context(embedder))
    assert (judgment.value, embedder.asked) == (1.0, [])


@pytest.mark.parametrize(("raw", "kept"), [(1.0000002, 1.0), (-1.1, -1.0), (0.5, 0.5)])
async def test_rounding_does_not_leave_the_range(raw, kept):
    (judgment,) = await SimilarityJudge().judge(pair("a", "b"), context(Recording([raw])))
    assert judgment.value == kept


async def test_only_tool_calls_on_both_sides_is_for_other_judges():
    (judgment,) = await SimilarityJudge().judge(with_completions(TOOLS, TOOLS), context())
    assert (judgment.state, judgment.reason) == (JudgmentState.UNSCORED, UnscoredReason.NOT_APPLICABLE)


@pytest.mark.parametrize(
    ("production", "candidate", "side"),
    [(Completion(text="a"), TOOLS, "candidate"), (TOOLS, Completion(text="a"), "production")],
)
async def test_text_against_tool_calls_is_zero(production, candidate, side):
    (judgment,) = await SimilarityJudge().judge(with_completions(production, candidate), context())
    assert judgment.value == 0.0
    assert judgment.explanation.startswith(side)


async def test_a_refusal_is_read_as_the_answer():
    embedder = Recording([0.3])
    both = with_completions(Completion(text="Paris"), Completion(text=None, refusal="I can't help"))
    await SimilarityJudge().judge(both, context(embedder))
    assert embedder.asked == [(["Paris"], ["I can't help"])]


async def test_a_failed_side_is_not_comparable():
    failed = replace(pair(), candidate=observation(arm="candidate", error=model_error().error))
    (judgment,) = await SimilarityJudge().judge(failed, context())
    assert judgment.reason is UnscoredReason.NOT_COMPARABLE


async def test_a_score_too_few_is_an_error_and_not_a_shift():
    with pytest.raises(ValueError, match="shorter"):
        await SimilarityJudge().judge_many([pair("a", "b"), pair("c", "d", id="e2")], context(Recording([0.5])))


def test_another_embedder_is_another_judge():
    judge = SimilarityJudge()
    assert isinstance(judge, BatchJudge)
    assert fingerprint(judge, FakeEmbedder()) != fingerprint(judge, Recording([]))
