from dataclasses import replace

import pytest

from harness.config import Redaction
from harness.domain.judgment import UnscoredReason
from harness.domain.observation import Completion, ToolCall
from harness.domain.pair import Pair
from harness.ingest.redaction import Redactor
from harness.judging.protocol import JudgeContext
from harness.testing import FakeEmbedder, ScriptedModelClient, exchange, model_error, observation, pair
from judges.length import LengthJudge

CTX = JudgeContext(judge="length", fingerprint="f", models=ScriptedModelClient([]), embedder=FakeEmbedder())


@pytest.mark.parametrize(
    ("production", "candidate", "value", "ratio"),
    [("abcd", "ab", -2.0, 0.5), ("ab", "äöüß日本", 4.0, 3.0), ("same", "size", 0.0, 1.0)],
)
async def test_characters_of_the_candidate_minus_productions(production, candidate, value, ratio):
    (judgment,) = await LengthJudge().judge(pair(production, candidate), CTX)
    assert judgment.value == value
    assert judgment.details == {"production": len(production), "candidate": len(candidate), "ratio": ratio}


async def test_a_side_without_text_is_not_measured_as_zero():
    both = pair()
    tools = Completion(text=None, tool_calls=(ToolCall(name="get", arguments={}),))
    (judgment,) = await LengthJudge().judge(replace(both, candidate=replace(both.candidate, completion=tools)), CTX)
    assert (judgment.value, judgment.reason) == (None, UnscoredReason.NOT_APPLICABLE)


async def test_a_failed_side_is_not_comparable():
    failed = replace(pair(), candidate=observation(arm="candidate", error=model_error().error))
    (judgment,) = await LengthJudge().judge(failed, CTX)
    assert judgment.reason is UnscoredReason.NOT_COMPARABLE


async def test_lengths_are_those_before_redaction():
    redactor = Redactor(Redaction())
    text = "Write to someone.with.a.long.name@example.com."
    exchanged = redactor.exchange(exchange(text))
    assert exchanged.production.completion.text != text

    (judgment,) = await LengthJudge().judge(Pair(exchange=exchanged, candidate=observation(text, arm="candidate")), CTX)

    assert judgment.value == 0
    assert redactor.exchange(exchanged) == exchanged
