import json
from dataclasses import replace

import pytest

from harness.domain.judgment import JudgmentState, UnscoredReason
from harness.domain.observation import Completion, ToolCall
from harness.judging.protocol import JudgeContext
from harness.testing import FakeEmbedder, ScriptedModelClient, model_error, observation, pair
from judges.exact import ExactJudge

CTX = JudgeContext(judge="exact", fingerprint="f", models=ScriptedModelClient([]), embedder=FakeEmbedder())


async def value(production: str, candidate: str, **options) -> float:
    (judgment,) = await ExactJudge(**options).judge(pair(production, candidate), CTX)
    return judgment.value


@pytest.mark.parametrize(
    ("production", "candidate", "options", "expected"),
    [
        ("Paris.", "Paris.", {}, 1.0),
        ("Paris.", "Paris", {}, 0.0),
        ("Paris.", "Paris", {"ignore_punctuation": True}, 1.0),
        ("10 + 2", "10 2", {"ignore_punctuation": True}, 1.0),
        ("„Ja“, sagte er…", "Ja sagte er", {"ignore_punctuation": True}, 1.0),
        ("Paris is\n\tnice ", " Paris is nice", {}, 1.0),
        ("Paris is\nnice", "Paris is nice", {"whitespace": False}, 0.0),
        ("caf\u00e9", "cafe\u0301", {}, 1.0),
        ("caf\u00e9", "cafe\u0301", {"unicode": False}, 0.0),
        ("PARIS", "paris", {}, 0.0),
        ("STRASSE", "straße", {"ignore_case": True}, 1.0),
        ('{"a": 1, "b": [1, 2]}', '{"b":[1,2],"a":1.0}', {}, 1.0),
        ('{"a": 1, "b": [1, 2]}', '{"b":[1,2],"a":1.0}', {"json": False}, 0.0),
        ('{"a": [1, 2]}', '{"a": [2, 1]}', {}, 0.0),
        ('{"a": true}', '{"a": 1}', {}, 0.0),
        ('{"a": null}', "{}", {}, 0.0),
        ('{"a": "X"}', '{"a":  "x"}', {}, 0.0),
        ('{"a": 1}', '{"a": 1} and more', {}, 0.0),
        ("1", "1.0", {}, 0.0),  # a bare number is text
    ],
)
async def test_answers_are_compared_after_the_normalisation_asked_for(production, candidate, options, expected):
    assert await value(production, candidate, **options) == expected


def calls(*items: tuple[str, object]) -> Completion:
    return Completion(text=None, tool_calls=tuple(ToolCall(name=name, arguments=args, id=name) for name, args in items))


async def tool_value(production: Completion, candidate: Completion, **options) -> float:
    both = pair()
    both = replace(
        both,
        exchange=replace(both.exchange, production=replace(both.production, completion=production)),
        candidate=replace(both.candidate, completion=candidate),
    )
    (judgment,) = await ExactJudge(**options).judge(both, CTX)
    return judgment.value


async def test_tool_calls_are_names_and_arguments_not_ids_or_layout():
    first = calls(("get", {"city": "Paris", "days": 2}))
    assert await tool_value(first, calls(("get", '{"days": 2, "city": "Paris"}'))) == 1.0
    assert await tool_value(first, calls(("get", {"city": "Lyon", "days": 2}))) == 0.0
    assert await tool_value(first, calls(("fetch", {"city": "Paris", "days": 2}))) == 0.0
    assert await tool_value(first, Completion(text="Paris")) == 0.0
    assert await tool_value(calls(("get", "{broken")), calls(("get", "{broken"))) == 1.0


async def test_order_of_calls_matters_unless_it_is_ignored():
    there, back = calls(("a", {}), ("b", {})), calls(("b", {}), ("a", {}))
    assert await tool_value(there, back) == 0.0
    assert await tool_value(there, back, ignore_call_order=True) == 1.0
    assert await tool_value(there, calls(("a", {}), ("a", {})), ignore_call_order=True) == 0.0


async def test_details_name_the_part_that_differs():
    (judgment,) = await ExactJudge().judge(pair("Paris", "Lyon"), CTX)
    assert judgment.details == {"differs": ["text"]}


async def test_a_failed_side_is_not_comparable():
    failed = replace(pair(), candidate=observation(arm="candidate", error=model_error().error))
    (judgment,) = await ExactJudge().judge(failed, CTX)
    assert (judgment.state, judgment.reason) == (JudgmentState.UNSCORED, UnscoredReason.NOT_COMPARABLE)


async def test_deeply_nested_answers_do_not_crash():
    deep = "[" * 900 + "]" * 900
    assert await value(deep, deep + " ") == 1.0
    assert await value(deep, json.dumps([1])) == 0.0
