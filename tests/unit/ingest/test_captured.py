"""What the gateway captured becomes an exchange, or says why not; nothing in it may do worse."""

import gzip
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.domain.exchange import Exchange
from harness.domain.observation import ErrorKind, Status
from harness.ingest.captured import exchange_of
from harness.ingest.dialects.calls import UnreadableRecord
from harness.spool.record import Captured

JSON_TYPE = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream; charset=utf-8"}


def record(request: object, response: object, *, path: str = "/v1/chat/completions", **fields) -> Captured:
    def raw(value: object) -> bytes:
        return value if isinstance(value, bytes) else json.dumps(value).encode()

    defaults = {"id": "r1", "at_ns": 1_700_000_000_500_000_000, "method": "POST", "status": 200,
                "latency_ms": 812.5, "ttft_ms": 90.0, "response_headers": JSON_TYPE}  # fmt: skip
    return Captured(**(defaults | {"path": path, "request": raw(request), "response": raw(response)} | fields))


def events(*items: object, end: bytes = b"") -> bytes:
    return b"".join(b"data: " + json.dumps(item).encode() + b"\n\n" for item in items) + end


CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Capital of France?"}], "temperature": 0.2}
CHAT_ANSWER = {
    "model": "gpt-4o-2024", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Paris."},
                                         "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 3},
}  # fmt: skip
CHAT_STREAM = (
    {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Pa"}}]},
    {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "ris."}}]},
    {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"object": "chat.completion.chunk", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}},
)
MESSAGES = {"model": "claude", "max_tokens": 10, "system": "Be short.", "messages": CHAT["messages"]}
MESSAGES_ANSWER = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Paris."}],
                   "stop_reason": "end_turn", "usage": {"input_tokens": 9, "output_tokens": 3}}  # fmt: skip
MESSAGES_STREAM = (
    {"type": "message_start", "message": {"role": "assistant", "model": "claude", "usage": {"input_tokens": 9}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Paris."}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
    {"type": "message_stop"},
)
RESPONSES = {"model": "gpt-4o", "input": "Capital of France?"}
RESPONSES_ANSWER = {"object": "response", "status": "completed", "usage": {"input_tokens": 9, "output_tokens": 3},
                    "output": [{"type": "message", "role": "assistant",
                                "content": [{"type": "output_text", "text": "Paris."}]}]}  # fmt: skip
RESPONSES_STREAM = (
    {"type": "response.created", "response": {"status": "in_progress", "output": []}},
    {"type": "response.output_text.delta", "output_index": 0, "delta": "Paris."},
    {"type": "response.completed", "response": RESPONSES_ANSWER},
)
COMPLETIONS = {"model": "davinci", "prompt": ["Capital of France?"]}
COMPLETIONS_ANSWER = {"object": "text_completion", "choices": [{"index": 0, "text": "Paris.", "finish_reason": "stop"}],
                      "usage": {"prompt_tokens": 9, "completion_tokens": 3}}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "request_body", "answer", "headers"),
    [
        ("/v1/chat/completions", CHAT, CHAT_ANSWER, JSON_TYPE),
        ("/v1/chat/completions", CHAT, events(*CHAT_STREAM, end=b"data: [DONE]\n\n"), EVENTS),
        ("/v1/chat/completions", CHAT, events(*CHAT_STREAM), EVENTS),
        ("/v1/messages", MESSAGES, MESSAGES_ANSWER, JSON_TYPE),
        ("/v1/messages", MESSAGES, events(*MESSAGES_STREAM), EVENTS),
        ("/v1/responses", RESPONSES, RESPONSES_ANSWER, JSON_TYPE),
        ("/v1/responses", RESPONSES, events(*RESPONSES_STREAM), EVENTS),
        ("/v1/completions", COMPLETIONS, COMPLETIONS_ANSWER, JSON_TYPE),
    ],
)
def test_every_surface_is_read_whole_or_streamed(path, request_body, answer, headers):
    found = exchange_of(record(request_body, answer, path=path, response_headers=headers), "seg#0")

    assert found.request.messages[-1] == {"role": "user", "content": "Capital of France?"}
    assert found.production.status is Status.COMPLETED
    assert found.production.completion.text == "Paris."
    assert (found.production.usage.tokens_in, found.production.usage.tokens_out) == (9, 3)
    assert (found.production.latency_ms, found.production.ttft_ms) == (812.5, 90.0)
    assert found.timestamp == datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC)
    assert found.source.file == "seg#0"


@pytest.mark.parametrize(
    ("path", "request_body", "pieces"),
    [
        ("/v1/chat/completions", CHAT, CHAT_STREAM[:2]),
        ("/v1/messages", MESSAGES, MESSAGES_STREAM[:-1]),
        ("/v1/responses", RESPONSES, RESPONSES_STREAM[:-1]),
    ],
)
def test_a_stream_without_its_end_is_productions_failure(path, request_body, pieces):
    found = exchange_of(record(request_body, events(*pieces), path=path, response_headers=EVENTS), "p")
    assert found.production.status is Status.FAILED
    assert found.production.error.kind is ErrorKind.CUT_STREAM


def test_a_character_cut_over_two_chunks_is_one_character():
    answer = "Zürich 東京 😀"
    chunk = {"choices": [{"index": 0, "delta": {"content": answer}, "finish_reason": "stop"}]}
    raw = b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"
    found = exchange_of(record(CHAT, raw, response_headers=EVENTS), "p")
    assert found.production.completion.text == answer


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, {"error": {"type": "rate_limit_error", "message": "slow down"}}, ErrorKind.RATE_LIMIT),
        (500, b"<html>oops</html>", ErrorKind.SERVER_ERROR),
        (400, {"error": {"code": "context_length_exceeded", "message": "too long"}}, ErrorKind.CONTEXT_WINDOW),
        (401, b"", ErrorKind.AUTHENTICATION),
    ],
)
def test_an_error_of_production_is_its_failed_observation(status, body, kind):
    production = exchange_of(record(CHAT, body, status=status), "p").production
    assert production.status is Status.FAILED
    assert (production.error.kind, production.error.http_status) == (kind, status)


def test_no_answer_at_all_is_a_failure_too():
    production = exchange_of(record(CHAT, b"", status=0, error="connection refused"), "p").production
    assert production.error.kind is ErrorKind.CONNECTION
    assert production.completion is None


def test_an_error_inside_a_stream_is_a_failure():
    raw = events(CHAT_STREAM[0], {"error": {"type": "overloaded_error", "message": "overloaded"}})
    production = exchange_of(record(CHAT, raw, response_headers=EVENTS), "p").production
    assert production.error.kind is ErrorKind.OVERLOADED


def test_compressed_bodies_are_read_and_a_coded_error_still_tells_its_status():
    coded = record(gzip.compress(json.dumps(CHAT).encode()), gzip.compress(json.dumps(CHAT_ANSWER).encode()),
                   request_headers={"content-encoding": "gzip"},
                   response_headers=JSON_TYPE | {"content-encoding": "gzip"})  # fmt: skip
    assert exchange_of(coded, "p").production.completion.text == "Paris."
    torn = record(CHAT, b"\x1f\x8b torn", status=503, response_headers={"content-encoding": "gzip"})
    assert exchange_of(torn, "p").production.error.kind is ErrorKind.OVERLOADED


@pytest.mark.parametrize(
    ("fields", "body", "session", "user"),
    [
        ({"session": "s1", "user": "u1"}, {"user": "other"}, "s1", "u1"),
        ({}, {"metadata": {"session_id": "s2", "user_id": "u2"}}, "s2", "u2"),
        ({}, {"metadata": {"conversation_id": 7}, "user": "u3"}, "7", "u3"),
        ({}, {"safety_identifier": "u4"}, None, "u4"),
        ({}, {"metadata": "text", "user": {"no": "name"}}, None, None),
    ],
)
def test_session_and_user_come_from_headers_or_else_from_the_body(fields, body, session, user):
    found = exchange_of(record(CHAT | body, CHAT_ANSWER, **fields), "p")
    assert (found.session, found.user) == (session, user)


def test_metadata_has_the_surface_the_rate_and_the_headers_that_were_asked_for():
    headers = {"x-team": "search", "x-other": "no"}
    found = exchange_of(record(CHAT, CHAT_ANSWER, rate=0.05, request_headers=headers), "p", metadata_headers=["x-team"])
    assert found.metadata == {"surface": "chat", "rate": "0.05", "transport": "whole", "x-team": "search"}


@pytest.mark.parametrize(
    ("request_body", "answer", "path", "word"),
    [
        (b"no json", CHAT_ANSWER, "/v1/chat/completions", "no JSON"),
        ([1, 2], CHAT_ANSWER, "/v1/chat/completions", "no JSON object"),
        ({"model": "m"}, CHAT_ANSWER, "/v1/chat/completions", "no chat request"),
        (CHAT, {"unexpected": True}, "/v1/chat/completions", "no answer"),
        (CHAT, b"", "/v1/chat/completions", "no JSON"),
        (RESPONSES | {"previous_response_id": "resp_1"}, RESPONSES_ANSWER, "/v1/responses", "only the provider has"),
        (RESPONSES, {"object": "response", "status": "queued", "output": []}, "/v1/responses", "background"),
        (CHAT, CHAT_ANSWER, "/v1/embeddings", "no answer|not a call"),
        (b"[" * 100_000, CHAT_ANSWER, "/v1/chat/completions", "no JSON"),
        ({"model": "m", "prompt": ["one", "two"]}, COMPLETIONS_ANSWER, "/v1/completions", "no completions request"),
    ],
)
def test_what_cannot_be_compared_says_why(request_body, answer, path, word):
    with pytest.raises(UnreadableRecord, match=word):
        exchange_of(record(request_body, answer, path=path), "p")


KEYS = [
    "messages", "role", "content", "choices", "message", "delta", "type", "tools", "index", "error", "tool_calls",
    "function", "usage", "metadata", "output", "input", "stop_reason", "model",
]  # fmt: skip
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    request=JSONS,
    answer=JSONS,
    path=st.sampled_from(["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/completions"]),
    streamed=st.booleans(),
    status=st.sampled_from([0, 200, 400, 500]),
)
def test_hostile_bodies_cost_their_record_and_nothing_else(request, answer, path, streamed, status):
    body = events(answer, answer) if streamed else answer
    headers = EVENTS if streamed else JSON_TYPE
    try:
        found = exchange_of(record(request, body, path=path, status=status, response_headers=headers), "p")
    except UnreadableRecord:
        return
    assert isinstance(found, Exchange)
