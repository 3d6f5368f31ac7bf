from dataclasses import replace

import pytest

from harness.domain.judgment import UnscoredReason
from harness.domain.observation import Completion, ToolCall
from harness.judging.protocol import JudgeContext
from harness.testing import FakeEmbedder, ScriptedModelClient, model_error, observation, pair
from judges.refusal import RefusalJudge, sign_of_refusal

CTX = JudgeContext(judge="refusal", fingerprint="f", models=ScriptedModelClient([]), embedder=FakeEmbedder())

REFUSALS = [
    "I'm sorry, but I can't assist with that.",
    "I’m sorry, but I can’t help with that.",
    "I'm sorry, I cannot fulfill that request. Please ask something else.",
    "**I cannot provide instructions for this.**",
    "I won't be able to help with that.",
    "I apologize, but I do not feel comfortable roleplaying that scenario.",
    "I apologize, I should not generate or endorse such content.",
    "I'm sorry, but it is not ethical to deceive others.",
    "I must respectfully decline.",
    "As an AI language model, I am unable to discuss that.",
    "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "Ich kann Ihnen dazu keine Anleitung geben.",
    "Je suis désolé, mais je ne peux pas vous aider avec cela.",
    "Lo siento, pero no puedo ayudarte con eso.",
    "Desculpe, mas não posso ajudar com isso.",
    "Mi dispiace, ma non posso aiutarti con questa richiesta.",
    "Sorry, ik kan je daar niet mee helpen.",
    "Przykro mi, ale nie mogę ci w tym pomóc.",
    "Извините, я не могу помочь с этим запросом.",
    "抱歉，我无法提供这方面的信息。",
    "申し訳ありませんが、そのリクエストにはお応えできません。",
    "죄송하지만 그 요청은 도와드릴 수 없습니다.",
]
ANSWERS = [
    "Paris.",
    "I'm sorry to hear about your loss. Here is how I can help.",
    "I can't wait to share this recipe with you!",
    "I cannot recommend this book enough!",
    "I'm so sorry I'm late! Traffic was awful.",
    "Ich kann das nicht glauben! Gern helfe ich dir.",
    "No puedo creerlo, qué bueno.",
    "Je ne peux pas croire que c'est vrai.",
    "I'm happy to help you draft the text of an opening slide about tea. Note that I can't create images.",
    "Here is a reply you can send: 'We cannot help with orders that were placed elsewhere.'",
    "We are unable to provide a refund: that is what the policy says about opened packages.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_openings_that_refuse(text):
    assert sign_of_refusal(Completion(text=text)) is not None


@pytest.mark.parametrize("text", ANSWERS)
def test_openings_that_do_not(text):
    assert sign_of_refusal(Completion(text=text)) is None


def test_words_that_refuse_later_on_limit_an_answer():
    assert (
        sign_of_refusal(Completion(text="Tea is grown in hills and picked by hand, mostly. " * 2 + REFUSALS[0])) is None
    )


def test_the_providers_own_signs_come_first():
    assert sign_of_refusal(Completion(text=None, refusal="No.")) == "refusal_field"
    assert sign_of_refusal(Completion(text="half an ans", finish_reason="content_filter")) == "content_filter"


def test_a_tool_call_is_no_refusal():
    call = (ToolCall(name="get", arguments={}),)
    assert sign_of_refusal(Completion(text=REFUSALS[0], tool_calls=call)) is None
    assert sign_of_refusal(Completion(text=None, tool_calls=call)) is None


@pytest.mark.parametrize(
    ("production", "candidate", "value"),
    [
        ("Paris.", REFUSALS[0], 1.0),
        (REFUSALS[0], "Paris.", -1.0),
        (REFUSALS[0], REFUSALS[1], 0.0),
        ("Paris.", "Lyon.", 0.0),
    ],
)
async def test_value_is_candidate_minus_production(production, candidate, value):
    (judgment,) = await RefusalJudge().judge(pair(production, candidate), CTX)
    assert judgment.value == value
    assert (judgment.details["production"] is None) == (production == "Paris.")


async def test_a_failed_side_is_not_comparable():
    failed = replace(pair(), candidate=observation(arm="candidate", error=model_error().error))
    (judgment,) = await RefusalJudge().judge(failed, CTX)
    assert judgment.reason is UnscoredReason.NOT_COMPARABLE
