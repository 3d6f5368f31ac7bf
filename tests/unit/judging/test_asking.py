"""The ladder: the best way a provider supports, one retry, one repair, everything on the bill."""

import json
import math
from dataclasses import replace

import pytest

import prompts
from harness.domain.judgment import UnscoredReason
from harness.domain.model import BudgetExhausted, ModelSpec, Price, TokenLogprob
from harness.domain.observation import Completion, ErrorKind, ToolCall, Usage
from harness.judging import JudgeContext, asking
from harness.judging.asking import STRUCTURED, Question, Rung, RungMemory, ask, judge_model
from harness.judging.reply import Menu
from harness.testing import FakeEmbedder, ScriptedModelClient, model_error, reply

MENU = Menu(key="verdict", choices=("A", "B", "TIE"), tokens={"A": "A", "B": "B", "C": "TIE"})
ALL = (Rung.LABEL, *STRUCTURED)
MODEL = judge_model(ModelSpec(model="openai/judge"))
QUESTION = Question(
    prompt=prompts.load("pairwise/v1"),
    menu=MENU,
    trusted={"criteria": "Be right."},
    untrusted={"conversation": "Hi", "answer_a": "one", "answer_b": "two"},
    identity=("e1", "candidate", "production_first"),
)
OWN = '{"reason": "B is right.", "verdict": "B"}'


def bad_request(message: str):
    return model_error(ErrorKind.BAD_REQUEST, message, cost_usd=None)


def label(top: dict[str, float], *written: str):
    *before, token = written or ("A",)
    logs = {text: math.log(share) for text, share in top.items()}
    position = TokenLogprob(token=token, logprob=logs.get(token, -20.0), top=logs)
    leading = tuple(TokenLogprob(token=text, logprob=0.0) for text in before)
    return reply(token, logprobs=(*leading, position), completion=Completion(text=token, finish_reason="length"))


async def put(script, rungs=STRUCTURED, *, memory=None, max_tokens=100, min_mass=0.5):
    client = ScriptedModelClient(script)
    ctx = JudgeContext(judge="j", fingerprint="f", models=client, embedder=FakeEmbedder())
    memory = memory or RungMemory()
    answer = await ask(QUESTION, ctx, MODEL, rungs, memory=memory, max_tokens=max_tokens, min_mass=min_mass)
    return answer, client


async def test_the_first_structured_rung_is_a_strict_schema_with_the_reason_first():
    answer, client = await put([OWN])
    assert (answer.reading.choice, answer.rung) == ("B", Rung.JSON_SCHEMA)
    request, model = client.calls[0]
    schema = request.params["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert list(schema["schema"]["properties"]) == ["reason", "verdict"]
    assert schema["schema"]["properties"]["verdict"]["enum"] == ["A", "B", "TIE"]
    assert schema["schema"]["additionalProperties"] is False
    assert (model.params["temperature"], model.stream) == (0, False)


async def test_the_ladder_is_descended_on_complaints_and_the_rung_remembered():
    memory = RungMemory()
    script = [
        bad_request("response_format 'json_schema' is not supported"),
        bad_request("this model does not support tools"),
        bad_request("json_object mode is unavailable"),
        "B is right.\nVERDICT: B",
        "VERDICT: A",
    ]
    answer, client = await put(script[:4], memory=memory)
    assert (answer.reading.choice, answer.rung, answer.bill.calls) == ("B", Rung.TEXT, 4)
    assert answer.reading.explanation == "B is right."
    assert client.calls[1][0].tools[0]["function"]["parameters"] == MENU.schema
    assert client.calls[1][0].params["tool_choice"] == {"type": "function", "function": {"name": "submit"}}
    assert client.calls[2][0].params["response_format"] == {"type": "json_object"}
    assert "response_format" not in client.calls[3][0].params
    assert "VERDICT: TIE" in client.calls[3][0].messages[1]["content"]

    answer, client = await put(script[4:], memory=memory)
    assert (answer.reading.choice, len(client.calls)) == ("A", 1)


async def test_the_memory_expires_and_is_kept_per_model(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(asking, "monotonic", lambda: now)
    memory = RungMemory()
    memory.remember(MODEL, Rung.TEXT)
    assert memory.usable(MODEL, STRUCTURED) == (Rung.TEXT,)
    assert memory.usable(replace(MODEL, model="openai/other"), STRUCTURED) == STRUCTURED
    assert memory.usable(replace(MODEL, api_base="http://127.0.0.1:1"), STRUCTURED) == STRUCTURED
    now += 3601
    assert memory.usable(MODEL, STRUCTURED) == STRUCTURED


async def test_a_bad_request_that_is_not_about_the_rung_is_an_error_on_the_rung():
    answer, client = await put([bad_request("the model is overweight")])
    assert (answer.reading.problem, answer.rung) == (UnscoredReason.PROVIDER_ERROR, Rung.JSON_SCHEMA)
    assert "overweight" in answer.reading.note
    assert len(client.calls) == 1


async def test_a_dropped_setting_means_that_the_rung_is_missing():
    call = Completion(text=None, tool_calls=(ToolCall(name="submit", arguments=json.loads(OWN)),), finish_reason="stop")
    answer, _ = await put([reply(OWN, dropped_params=("response_format",)), reply(completion=call)])
    assert (answer.reading.choice, answer.rung, answer.bill.calls) == ("B", Rung.TOOL_CALL, 2)
    assert answer.raw == '[{"name": "submit", "arguments": {"reason": "B is right.", "verdict": "B"}}]'


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (ErrorKind.TIMEOUT, UnscoredReason.TIMEOUT),
        (ErrorKind.CONTENT_FILTER, UnscoredReason.REFUSED),
        (ErrorKind.CONTEXT_WINDOW, UnscoredReason.TOO_LONG),
        (ErrorKind.SERVER_ERROR, UnscoredReason.PROVIDER_ERROR),
        (ErrorKind.AUTHENTICATION, UnscoredReason.PROVIDER_ERROR),
        (ErrorKind.EMPTY_OUTPUT, UnscoredReason.PARSE_FAILED),
    ],
)
async def test_failed_calls_are_unscored_by_kind_and_what_they_cost_is_kept(kind, reason):
    for rungs in (STRUCTURED, (Rung.LABEL,)):
        answer, _ = await put([model_error(kind, cost_usd=0.5, attempts=3)], rungs)
        assert answer.reading.problem is reason
        assert (answer.bill.cost_usd, answer.bill.attempts) == (0.5, 3)


async def test_an_empty_purse_is_not_a_verdict():
    class Broke:
        async def complete(self, request, model, *, deadline_s):
            raise BudgetExhausted("judges", 1.0, 1.0)

    ctx = JudgeContext(judge="j", fingerprint="f", models=Broke(), embedder=FakeEmbedder())
    with pytest.raises(BudgetExhausted):
        await ask(QUESTION, ctx, MODEL, STRUCTURED, memory=RungMemory(), max_tokens=100, min_mass=0.5)


CUT = reply(completion=Completion(text='{"reason": "B is', finish_reason="length"))
ALL_REASONING = model_error(ErrorKind.EMPTY_OUTPUT, "no text")
ALL_REASONING.error = replace(ALL_REASONING.error, code="length")


@pytest.mark.parametrize("cut", [CUT, ALL_REASONING], ids=["cut mid-word", "only hidden reasoning"])
async def test_a_reply_that_was_cut_off_gets_twice_the_room_once(cut):
    answer, client = await put([cut, OWN])
    assert answer.reading.choice == "B"
    assert [request.params["max_tokens"] for request, _ in client.calls] == [100, 200]

    answer, client = await put([cut, cut])
    assert answer.reading.problem is UnscoredReason.TRUNCATED
    assert len(client.calls) == 2


async def test_a_whole_verdict_in_a_reply_that_was_cut_off_does_not_count():
    cut = reply(completion=Completion(text=f"{OWN} On second thought", finish_reason="length"))
    assert (await put([cut, cut]))[0].reading.problem is UnscoredReason.TRUNCATED


async def test_one_repair_turn_shows_the_model_its_own_reply():
    answer, client = await put(["I like B.", OWN])
    assert answer.reading.choice == "B"
    assert answer.details["repaired"] == ["no JSON object with 'verdict'"]
    turns = client.calls[1][0].messages
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user"]
    assert turns[2]["content"] == "I like B."
    assert "could not be read" in turns[3]["content"]

    answer, client = await put(["I like B.", '{"reason": "x", "verdict": "B!"}'])
    assert (answer.reading.problem, len(client.calls)) == (UnscoredReason.OFF_MENU, 2)
    assert answer.raw == '{"reason": "x", "verdict": "B!"}'


async def test_repairs_and_retries_are_all_on_the_bill():
    script = [
        model_error(ErrorKind.BAD_REQUEST, "no json_schema", cost_usd=0.125, attempts=1, latency_ms=5.0),
        reply("?", cost_usd=0.25, usage=Usage(tokens_in=100, tokens_out=1), attempts=2, latency_ms=10.0),
        replace(CUT, cost_usd=0.5, usage=Usage(tokens_in=120, tokens_out=100), latency_ms=20.0),
        reply(OWN, cost_usd=1.0, usage=Usage(tokens_in=120, tokens_out=20), latency_ms=40.0),
    ]
    answer, _ = await put(script, (Rung.JSON_SCHEMA, Rung.JSON_OBJECT))
    bill = answer.bill
    assert (answer.reading.choice, bill.calls, bill.attempts) == ("B", 4, 5)
    assert (bill.cost_usd, bill.tokens_in, bill.tokens_out, bill.latency_ms) == (1.875, 340, 121, 75.0)


async def test_what_is_unknown_stays_unknown_on_the_bill():
    answer, _ = await put([reply("?", cost_usd=None, usage=Usage()), reply(OWN, cost_usd=1.0)])
    assert (answer.bill.cost_usd, answer.bill.tokens_in, answer.bill.tokens_out) == (None, None, None)


async def test_verdicts_that_disagree_are_not_repaired():
    answer, client = await put([f'{{"reason": "quoted", "verdict": "A"}} {OWN}'])
    assert (answer.reading.problem, len(client.calls)) == (UnscoredReason.PARSE_FAILED, 1)


@pytest.mark.parametrize(
    "completion",
    [Completion(text=None, refusal="I cannot."), Completion(text="", finish_reason="content_filter")],
)
async def test_a_refusal_is_not_repaired(completion):
    answer, client = await put([reply(completion=completion)])
    assert (answer.reading.problem, len(client.calls)) == (UnscoredReason.REFUSED, 1)


# Label probabilities


async def test_a_soft_verdict_is_the_share_of_every_label():
    answer, client = await put([label({"A": 0.5, " A": 0.1, "B": 0.2, "C": 0.1, "Answer": 0.1})], ALL)
    assert (answer.rung, answer.reading.choice) == (Rung.LABEL, "A")
    assert answer.distribution.shares == pytest.approx({"A": 0.6 / 0.9, "B": 0.2 / 0.9, "TIE": 0.1 / 0.9})
    assert answer.distribution.mass == pytest.approx(0.9)
    params = client.calls[0][0].params
    assert (params["logprobs"], params["top_logprobs"], params["max_tokens"]) == (True, 20, 4)


async def test_only_the_exact_label_counts_and_white_space_before_it_is_passed_over():
    answer, _ = await put([label({"A": 0.55, "a": 0.2, "Ab": 0.1, "B": 0.15}, "\n", " ", "A")], ALL)
    assert answer.distribution.shares == pytest.approx({"A": 0.55 / 0.7, "B": 0.15 / 0.7, "TIE": 0.0})


async def test_little_probability_on_the_menu_is_off_menu():
    answer, _ = await put([label({"The": 0.7, "A": 0.2, "B": 0.1}, "The")], ALL)
    assert (answer.reading.problem, answer.reading.choice) == (UnscoredReason.OFF_MENU, None)
    assert answer.details["menu_mass"] == pytest.approx(0.3)
    answer, _ = await put([label({"The": 1.0}, "The")], (Rung.LABEL,), min_mass=0.0)
    assert answer.reading.problem is UnscoredReason.OFF_MENU


@pytest.mark.parametrize(
    "first",
    [
        reply("A"),
        bad_request("logprobs are not supported by this model"),
        model_error(ErrorKind.EMPTY_OUTPUT),
        replace(label({"A": 1.0}), dropped_params=("top_logprobs",)),
    ],
    ids=["none returned", "refused", "reasoning only", "dropped"],
)
async def test_without_probabilities_the_ladder_goes_on_in_words(first):
    memory = RungMemory()
    answer, client = await put([first, OWN], ALL, memory=memory)
    assert (answer.rung, answer.reading.choice, len(client.calls)) == (Rung.JSON_SCHEMA, "B", 2)
    assert memory.usable(MODEL, ALL) == STRUCTURED


async def test_a_model_that_thinks_aloud_is_asked_in_words():
    thinking = label({"<think>": 0.99, "A": 0.01}, "<think>")
    answer, _ = await put([thinking, f"<think>Perhaps {OWN.replace('B', 'A')}?</think>{OWN}"], ALL)
    assert (answer.rung, answer.reading.choice) == (Rung.JSON_SCHEMA, "B")
    answer, _ = await put([thinking], (Rung.LABEL,))
    assert answer.reading.problem is UnscoredReason.OFF_MENU


async def test_a_schema_emulated_by_a_tool_is_read():
    call = ToolCall(name="json_tool_call", arguments=json.loads(OWN))
    answer, _ = await put([reply(completion=Completion(text=None, tool_calls=(call,), finish_reason="stop"))])
    assert (answer.rung, answer.reading.choice) == (Rung.JSON_SCHEMA, "B")


async def test_without_probabilities_soft_alone_is_unscored():
    answer, _ = await put([reply("A")], (Rung.LABEL,))
    assert answer.reading.problem is UnscoredReason.PARSE_FAILED
    assert "mode: auto" in answer.reading.note


async def test_plain_is_one_word_asked_for_once_with_no_settings_of_its_own():
    answer, client = await put(["B"], (Rung.PLAIN,))
    assert (answer.reading.choice, answer.reading.explanation, answer.rung) == ("B", None, Rung.PLAIN)
    request, _ = client.calls[0]
    assert request.messages[-1]["content"].endswith("Reply with one word and nothing else: A, B or TIE.")
    assert (request.params, request.tools) == ({"max_tokens": 100}, ())

    answer, client = await put(["I would say B."], (Rung.PLAIN,))
    assert (answer.reading.problem, len(client.calls)) == (UnscoredReason.OFF_MENU, 1)


async def test_plain_gives_a_model_that_is_cut_off_more_room():
    cut = reply("<think>Well", completion=Completion(text="<think>Well", finish_reason="length"))
    answer, client = await put([cut, "B"], (Rung.PLAIN,))
    assert (answer.reading.choice, client.calls[1][0].params["max_tokens"]) == ("B", 200)


def test_a_judges_model_may_not_set_what_the_judge_sets():
    kept = judge_model(
        ModelSpec(model="m", params={"temperature": None, "seed": 1}, price=Price(input_per_mtok=1, output_per_mtok=2))
    )
    assert kept.params == {"temperature": None, "seed": 1}
    assert kept.price is not None
    with pytest.raises(ValueError, match="max_tokens"):
        judge_model(ModelSpec(model="m", params={"max_tokens": 5}))
    with pytest.raises(ValueError, match="prompt_file"):
        judge_model(ModelSpec(model="m", system_prompt="You are kind."))
