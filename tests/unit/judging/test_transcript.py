"""What a judge model is shown of requests and answers."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.domain.exchange import ChatRequest
from harness.domain.observation import Completion, ToolCall
from harness.judging import transcript

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["role", "content", "tool_calls", "name", "tool_call_id", "function", "text", "type"])
messages = st.lists(st.dictionaries(keys, json_values | st.just("tool"), max_size=5), max_size=4).map(tuple)
tools = st.lists(
    st.dictionaries(st.sampled_from(["function", "name", "parameters", "properties"]), json_values), max_size=3
).map(tuple)


@given(messages, tools)
def test_any_recorded_request_can_be_shown(messages, tools):
    assert isinstance(transcript.conversation(ChatRequest(model="m", messages=messages, tools=tools)), str)


@given(st.text(max_size=300), st.integers(min_value=0, max_value=300), st.floats(min_value=0, max_value=1))
def test_shortening_keeps_both_ends_and_says_what_it_left_out(text, limit, head):
    shown, left_out = transcript.shorten(text, limit, head=head)
    assert left_out == max(0, len(text) - limit)
    if not left_out:
        assert shown == text
    else:
        first = int(limit * head)
        assert shown.startswith(text[:first])
        assert shown.endswith(text[len(text) - (limit - first) :])
        assert f"[... {left_out} characters left out ...]" in shown
        assert len(shown) <= limit + 60


@pytest.mark.parametrize(
    ("completion", "shown"),
    [
        (None, transcript.NO_ANSWER),
        (Completion(text=""), transcript.NO_ANSWER),
        (Completion(text=None, refusal="I cannot."), "I cannot."),
        (Completion(text="Let me see.", tool_calls=(ToolCall(name="f", arguments={"b": 1, "a": "é"}),)),
         'Let me see.\n\n[calls tool f with {"a": "é", "b": 1}]'),
        (Completion(text=None, tool_calls=(ToolCall(name="f", arguments="not json"),)), "[calls tool f with not json]"),
    ],
)  # fmt: skip
def test_an_answer_is_text_refusal_and_calls(completion, shown):
    assert transcript.answer(completion) == shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpt-4o says", "[model] says"),
        ("GPT-4o-mini says", "GPT-4o-mini says"),
        ("my name is Claude.", "my name is [model]."),
        ("I'm Claude-3, made by Anthropic.", "I'm [model], made by [vendor]."),
        ("Claude Debussy, known as Claude", "Claude Debussy, known as [model]"),
        ("trained by OpenAI", "trained by [vendor]"),
        ("OpenAI was founded in 2015", "OpenAI was founded in 2015"),
        ("", ""),
    ],
)
def test_names_are_hidden_where_an_answer_introduces_itself(text, expected):
    assert transcript.without_names(text, {"gpt-4o", "x"})[0] == expected


def test_hiding_names_in_hostile_text_is_quick():
    hostile = "I am claude " * 20_000 + "as gpt-4" + "-" * 100_000 + "I'm claude" + " " * 100_000
    begin = time.process_time()
    transcript.without_names(hostile, {"gpt-4o", "claude-sonnet-4-5"})
    assert time.process_time() - begin < 3.0
