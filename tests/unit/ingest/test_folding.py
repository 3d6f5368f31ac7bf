"""Streams stored as chunks become the answer the user saw."""

import orjson
import pytest

from harness.ingest import folding
from harness.ingest.dialects import bodies


def chunk(delta=None, *, index=0, finish=None, **fields):
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "gpt-4o",
        "choices": [choice],
    } | fields


CHAT = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hel"}),
    chunk({"content": "lo"}, index=0),
    chunk({"content": "Other"}, index=1),
    chunk(finish="stop"),
    chunk(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 2}),
]
TOOLS = [
    chunk({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g", "arguments": '{"y":'}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"x":'}}]}),
    chunk(
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}, {"index": 1, "function": {"arguments": "2}"}}]}
    ),
    chunk(finish="tool_calls"),
]
ANTHROPIC = [
    {"type": "message_start", "message": {"id": "m1", "model": "claude-x", "content": [], "usage": {
        "input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hi "}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "there"}},
    {"type": "content_block_start", "index": 2, "content_block": {
        "type": "tool_use", "id": "t1", "name": "f", "input": {}}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"x": '}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "1}"}},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
]  # fmt: skip
RESPONSES = [
    {"type": "response.created", "response": {"id": "r1", "object": "response", "model": "gpt-5",
        "status": "in_progress", "output": []}},
    {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "content": []}},
    {"type": "response.output_text.delta", "output_index": 0, "delta": "Par"},
    {"type": "response.output_text.delta", "output_index": 0, "delta": "is"},
]  # fmt: skip
CLOSING = {"type": "response.completed", "response": {"id": "r1", "object": "response", "model": "gpt-5",
           "status": "completed",
           "output": [{"type": "message", "content": [{"type": "output_text", "text": "Paris"}]}],
           "usage": {"input_tokens": 4, "output_tokens": 1}}}  # fmt: skip


def sse(events, *, blank="\n\n", done=True):
    lines = [f"data: {orjson.dumps(event).decode()}" for event in events]
    return blank.join([": keep-alive", *lines, *(["data: [DONE]"] if done else [])])


def short(answer):
    completion = answer.completion
    calls = [(call.id, call.name, call.arguments) for call in completion.tool_calls]
    return (
        completion.text,
        calls,
        completion.finish_reason,
        completion.n_choices,
        answer.usage.tokens_in,
        answer.usage.tokens_out,
    )


@pytest.mark.parametrize(
    "stored", [CHAT, sse(CHAT), sse(CHAT, blank="\n"), [sse([event]) for event in CHAT], orjson.dumps(CHAT).decode()]
)
def test_chat_chunks_fold_however_they_were_stored(stored):
    assert short(bodies.answer(stored)) == ("Hello", [], "stop", 2, 7, 2)


def test_tool_calls_merge_by_index():
    assert short(bodies.answer(TOOLS)) == (
        None,
        [("a", "f", {"x": 1}), ("b", "g", {"y": 2})],
        "tool_calls",
        1,
        None,
        None,
    )


def test_tool_calls_without_index_go_on_with_the_last():
    pieces = [{"id": "a", "function": {"name": "f", "arguments": '{"x"'}}, {"function": {"arguments": ":1}"}},
              {"id": "b", "function": {"name": "g", "arguments": "{}"}}]  # fmt: skip
    folded = bodies.answer([chunk({"tool_calls": [piece]}) for piece in pieces])
    assert [(call.id, call.arguments) for call in folded.completion.tool_calls] == [("a", {"x": 1}), ("b", {})]


def test_anthropic_events_fold_and_count_the_cache():
    events = sse(ANTHROPIC, done=False).replace("data:", "event: x\ndata:")
    for stored in (ANTHROPIC, events):
        assert short(bodies.answer(stored)) == ("Hi there", [("t1", "f", {"x": 1})], "tool_use", 1, 8, 9)


def test_responses_events_take_the_closing_one_or_the_pieces():
    assert short(bodies.answer([*RESPONSES, CLOSING])) == ("Paris", [], "completed", 1, 4, 1)
    assert short(bodies.answer(RESPONSES)) == ("Paris", [], "in_progress", 1, None, None)


def test_gemini_pieces_run_together():
    pieces = [
        {"candidates": [{"content": {"parts": [{"text": text}]}}], "usageMetadata": {"promptTokenCount": 3}}
        for text in ("Par", "is")
    ]
    pieces[-1]["candidates"][0]["finishReason"] = "STOP"
    assert short(bodies.answer(pieces)) == ("Paris", [], "STOP", 1, 3, None)


@pytest.mark.parametrize(
    ("stored", "code"),
    [
        ([*CHAT[:3], {"error": {"type": "server_error", "message": "gone"}}], "server_error"),
        (
            [*ANTHROPIC[:6], {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}],
            "overloaded_error",
        ),
        (
            [*RESPONSES, {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "x"}}}],
            "server_error",
        ),
    ],
)
def test_an_error_event_makes_the_call_failed(stored, code):
    answer = bodies.answer(stored)
    assert answer.completion is None
    assert answer.error.code == code


@pytest.mark.parametrize(
    "stored", [[], "", "data is text", [{"role": "user", "content": "x"}], [{"type": "text", "text": "x"}], 5, None]
)
def test_other_values_are_no_stream(stored):
    assert not folding.is_stream(stored)
