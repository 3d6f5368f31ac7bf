from dataclasses import replace

import pytest

from harness.domain.exchange import ChatRequest
from harness.domain.judgment import Judgment, UnscoredReason
from harness.domain.observation import Completion, ToolCall
from harness.judging.protocol import JudgeContext
from harness.testing import FakeEmbedder, ScriptedModelClient, model_error, observation, pair
from judges.structure import StructureJudge

CTX = JudgeContext(judge="structure", fingerprint="f", models=ScriptedModelClient([]), embedder=FakeEmbedder())
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer", "minimum": 0}},
    "required": ["city"],
    "additionalProperties": False,
}
OBJECT = {"type": "json_object"}


def answer(text: str | None = None, *calls: tuple[str, object]) -> Completion:
    return Completion(text=text, tool_calls=tuple(ToolCall(name=name, arguments=args) for name, args in calls))


async def judged(production: Completion | str, candidate: Completion | str, response_format=None) -> Judgment:
    production, candidate = (answer(item) if isinstance(item, str) else item for item in (production, candidate))
    params = {} if response_format is None else {"response_format": response_format}
    both = pair(request=ChatRequest(model="m", messages=({"role": "user", "content": "?"},), params=params))
    both = replace(
        both,
        exchange=replace(both.exchange, production=replace(both.production, completion=production)),
        candidate=replace(both.candidate, completion=candidate),
    )
    (judgment,) = await StructureJudge().judge(both, CTX)
    return judgment


def schema_format(schema: object) -> dict:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


@pytest.mark.parametrize(
    ("candidate", "value", "difference"),
    [
        ('{"city": "Paris"}', 1.0, None),
        (' {"city": "Paris"}\n', 1.0, None),
        ('```json\n{"city": "Paris"}\n```', 0.0, "is not JSON"),
        ("[1, 2]", 0.0, "is JSON, but list instead of an object"),
        ('{"city": NaN}', 0.0, "is not JSON"),
        ("Paris", 0.0, "is not JSON"),
    ],
)
async def test_a_json_object_was_asked_for(candidate, value, difference):
    judgment = await judged("no JSON either", candidate, OBJECT)
    assert (judgment.value, judgment.details["check"], judgment.details["production_valid"]) == (
        value,
        "json_object",
        False,
    )
    assert [text.startswith(difference) for text in judgment.details["differences"]] == ([True] if difference else [])


@pytest.mark.parametrize(
    ("candidate", "value", "difference"),
    [
        ('{"city": "Paris", "people": 2}', 1.0, None),
        ('{"people": 2}', 0.0, "$: 'city' is a required property"),
        ('{"city": "Paris", "people": -1}', 0.0, "$.people: -1 is less than the minimum of 0"),
        ("Paris", 0.0, "is not JSON: "),
    ],
)
async def test_a_schema_was_asked_for(candidate, value, difference):
    judgment = await judged('{"city": "Lyon"}', candidate, schema_format(SCHEMA))
    assert (judgment.value, judgment.details["check"], judgment.details["production_valid"]) == (
        value,
        "json_schema",
        True,
    )
    assert [text[: len(difference or "")] for text in judgment.details["differences"]] == (
        [difference] if difference else []
    )


@pytest.mark.parametrize(
    ("schema", "note"),
    [
        ({"type": "nonsense"}, "the request's schema is invalid: 'nonsense' is not valid"),
        (None, "the request's response_format has no schema"),
        (
            {"$ref": "http://127.0.0.1:9/never.json"},
            "refers to 'http://127.0.0.1:9/never.json', which it does not hold",
        ),
        ({"$ref": "#"}, "refers to itself without end"),
    ],
)
async def test_an_unusable_schema_says_nothing_about_the_candidate(schema, note):
    judgment = await judged("{}", "{}", schema_format(schema))
    assert (judgment.value, judgment.reason) == (None, UnscoredReason.NOT_APPLICABLE)
    assert note in judgment.explanation


async def test_a_tool_call_instead_of_json_is_said():
    judgment = await judged("{}", answer(None, ("get", {})), OBJECT)
    assert judgment.details["differences"] == ["called a tool instead of answering"]


@pytest.mark.parametrize(
    ("calls", "value", "differences"),
    [
        ([("b", {}), ("a", '{"x": 1}')], 1.0, []),
        ([("a", {"x": 1})], 0.0, ["missing: b({})"]),
        ([("a", {"x": 2}), ("b", {})], 0.0, ['missing: a({"x":1})', 'extra: a({"x":2})']),
        ([("a", {"x": 1}), ("b", {}), ("b", {})], 0.0, ["extra: b({})"]),
        ([], 0.0, ['missing: a({"x":1})', "missing: b({})"]),
    ],
)
async def test_the_same_tools_with_the_same_arguments(calls, value, differences):
    production = answer(None, ("a", {"x": 1}), ("b", {}))
    judgment = await judged(production, answer("text" if not calls else None, *calls))
    assert (judgment.value, judgment.details["check"]) == (value, "tool_calls")
    assert judgment.details["differences"] == differences


@pytest.mark.parametrize(
    ("production", "candidate", "value", "differences"),
    [
        ('{"a": 1, "b": 2}', '{"b": 0, "a": 9}', 1.0, []),
        ('{"a": 1, "b": 2}', '{"a": 1, "c": 2}', 0.0, ["missing key: b", "extra key: c"]),
        ('[{"a": 1}, {"b": 2}]', '[{"a": 5, "b": 3}]', 1.0, []),
        ('[{"a": 1}]', '{"a": 1}', 0.0, ["is dict instead of list"]),
        ('{"a": 1}', "Sure! Here you go", 0.0, None),
    ],
)
async def test_json_that_nobody_demanded_keeps_its_keys(production, candidate, value, differences):
    judgment = await judged(production, candidate)
    assert (judgment.value, judgment.details["check"]) == (value, "same_keys")
    if differences is None:
        assert judgment.details["differences"][0].startswith("is not JSON")
    else:
        assert judgment.details["differences"] == differences


@pytest.mark.parametrize("production", ["Paris.", "[see below] Paris", "{", "42"])
async def test_without_structure_there_is_nothing_to_keep(production):
    judgment = await judged(production, "anything")
    assert (judgment.value, judgment.reason) == (None, UnscoredReason.NOT_APPLICABLE)


async def test_long_differences_are_cut():
    judgment = await judged(answer(None, ("a", {"x": "y" * 5000})), "no call")
    assert len(judgment.details["differences"][0]) == 300


async def test_a_failed_side_is_not_comparable():
    failed = replace(pair(), candidate=observation(arm="candidate", error=model_error().error))
    (judgment,) = await StructureJudge().judge(failed, CTX)
    assert judgment.reason is UnscoredReason.NOT_COMPARABLE
