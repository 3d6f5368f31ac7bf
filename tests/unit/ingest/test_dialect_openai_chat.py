"""Chat JSON lines of any vendor's bodies, held against values worked out by hand."""

from datetime import UTC, datetime

import pytest

from harness.domain.observation import ErrorKind, Status, ToolCall, Usage
from harness.ingest.records import Ending

PROMPT = {"role": "user", "content": "x"}


@pytest.fixture
def found(sample, by_id):
    return by_id(sample("openai_chat.jsonl"))


def test_every_line_has_its_ending(sample, endings):
    assert endings(sample("openai_chat.jsonl")) == [
        (1, "exchange", "plain"),
        (2, "exchange", "tools"),
        (3, "exchange", "conversation"),
        (4, "exchange", "failed"),
        (5, "exchange", "refused"),
        (6, "exchange", "anthropic"),
        (7, "exchange", "responses"),
        (8, "exchange", "stream"),
        (9, "exchange", "text"),
        (10, "skipped", "not_a_chat_call"),
        (11, "skipped", "no_result"),
        (12, "skipped", "no_request"),
        (13, "duplicate", "duplicate"),
    ]


def test_a_plain_call_keeps_everything(found):
    exchange = found["plain"]
    assert exchange.request.model == "openai/gpt-4o"
    assert exchange.request.messages == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Capital of France?"},
    )
    assert exchange.request.params == {"temperature": 0.2, "max_tokens": 50}
    assert exchange.timestamp == datetime(2024, 3, 28, 19, 6, 28, 500_000, tzinfo=UTC)
    assert (exchange.session, exchange.user, exchange.tags) == ("s-1", "u-7", ())
    assert exchange.metadata == {"team": "geo", "app": "atlas", "region": "eu", "trace_id": "t-1"}
    assert (exchange.source.file, exchange.source.line, len(exchange.source.sha256)) == ("openai_chat.jsonl", 1, 64)
    production = exchange.production
    assert (production.arm, production.status) == ("production", Status.COMPLETED)
    assert (production.completion.text, production.completion.finish_reason) == ("Paris.", "stop")
    assert production.completion.model == "gpt-4o-2024-08-06"
    assert (production.latency_ms, production.ttft_ms, production.cost_usd) == (812.5, 120.0, 0.0012)
    assert production.usage == Usage(tokens_in=12, tokens_out=3)


def test_tool_calls_are_decoded_when_they_are_json(found):
    exchange = found["tools"]
    assert exchange.production.completion.text is None
    assert exchange.production.completion.tool_calls == (
        ToolCall(id="c1", name="weather", arguments={"city": "Paris"}),
        ToolCall(id=None, name="weather", arguments='{"city": "Lo'),
    )
    assert [tool["function"]["name"] for tool in exchange.request.tools] == ["weather"]
    assert exchange.request.messages[0]["content"][1] == {
        "type": "image_url",
        "image_url": {"url": "https://example.com/a.png"},
    }
    assert exchange.tags == ("a", "b")
    assert exchange.timestamp == datetime(2024, 3, 28, 19, 6, 29, tzinfo=UTC)


def test_a_conversation_without_a_response_gives_up_its_last_turn(found):
    exchange = found["conversation"]
    assert [message["content"] for message in exchange.request.messages] == ["Hi", "Hello!", "Bye"]
    assert exchange.production.completion.text == "See you."
    assert exchange.production.latency_ms is None
    assert exchange.production.usage == Usage()


def test_a_recorded_failure_is_a_failed_observation(found):
    production = found["failed"].production
    assert (production.status, production.completion, production.latency_ms) == (Status.FAILED, None, 30.0)
    assert (production.error.kind, production.error.code) == (ErrorKind.RATE_LIMIT, "rate_limit_error")
    assert (production.error.http_status, production.error.message) == (429, "slow down")
    assert production.usage == Usage()


def test_a_refusal_is_an_answer(found):
    completion = found["refused"].production.completion
    assert (completion.text, completion.refusal, completion.is_empty) == (None, "I cannot help with that.", False)


def test_anthropic_bodies_become_chat_form(found):
    exchange = found["anthropic"]
    call = {"id": "tu1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    assert exchange.request.messages == (
        {"role": "system", "content": "One.\nTwo."},
        {"role": "user", "content": "Look"},
        {"role": "assistant", "content": [{"type": "text", "text": "Calling."}], "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "tu1", "content": "42"},
        {"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]},
    )  # fmt: skip
    assert exchange.request.params == {"max_tokens": 99, "tool_choice": "required", "stop": ["END"]}
    function = {"name": "f", "description": "d", "parameters": {"type": "object"}}
    assert exchange.request.tools == ({"type": "function", "function": function},)
    assert exchange.production.completion.text == "Forty-two"
    assert exchange.production.completion.finish_reason == "end_turn"
    assert exchange.production.usage == Usage(tokens_in=17, tokens_out=8, tokens_cached=5)


def test_responses_bodies_become_chat_form(found):
    exchange = found["responses"]
    call = {"id": "fc1", "type": "function", "function": {"name": "g", "arguments": '{"a":1}'}}
    assert exchange.request.messages == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [
            {"type": "text", "text": "Add"},
            {"type": "image_url", "image_url": {"url": "https://example.com/b.png"}}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "fc1", "content": "2"},
    )  # fmt: skip
    assert exchange.request.params == {
        "max_tokens": 64,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
    }
    completion = exchange.production.completion
    assert (completion.text, completion.finish_reason) == ("It is two", "max_output_tokens")
    assert completion.tool_calls == (ToolCall(id="fc2", name="g", arguments={}),)
    assert exchange.production.usage == Usage(tokens_in=30, tokens_out=9, tokens_cached=10, tokens_reasoning=4)
    assert exchange.timestamp == datetime(2025, 3, 8, 23, 32, 57, tzinfo=UTC)


def test_streams_fold_and_json_text_stays_text(found):
    assert found["stream"].production.completion.text == "Hey"
    assert found["stream"].production.usage == Usage(tokens_in=1, tokens_out=2)
    assert found["text"].production.completion.text == '{"answer": 42}'
    assert found["text"].request.messages[0]["content"] == '{"is": "text"}'
    assert found["text"].production.latency_ms is None


@pytest.mark.parametrize(
    ("response", "text", "status"),
    [
        ("None", "None", Status.COMPLETED),
        ('{"error": "no such city"}', '{"error": "no such city"}', Status.COMPLETED),
        ('{"message": "ok"}', '{"message": "ok"}', Status.COMPLETED),
        ({"role": "assistant", "content": "Hi"}, "Hi", Status.COMPLETED),
        ({"status_code": 200, "body": {"choices": [{"message": {"content": "Hi"}}]}}, "Hi", Status.COMPLETED),
        ({"choices": [{"index": 1, "message": {"content": "B"}}, {"index": 0, "message": {"content": "A"}}]}, "A",
         Status.COMPLETED),
        ({"choices": [{"index": 0, "text": "old"}]}, "old", Status.COMPLETED),
        ({"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}}]}, "ab",
         Status.COMPLETED),
        ({"status_code": 500, "body": "oops"}, None, Status.FAILED),
        ({"error": {"code": "content_filter", "message": "filtered"}}, None, Status.FAILED),
        ({"candidates": [{"content": {"parts": [{"text": "thought", "thought": True}, {"text": "Hi"}]}}]}, "Hi",
         Status.COMPLETED),
    ],
)  # fmt: skip
def test_responses_come_in_many_shapes(records_of, response, text, status):
    (record,) = records_of({"id": "a", "request": {"model": "m", "messages": [PROMPT]}, "response": response})
    production = record.exchange.production
    assert production.status is status
    assert (production.completion.text if production.completion else None) == text


@pytest.mark.parametrize("key", ["request", "input", "body", "kwargs"])
@pytest.mark.parametrize("answer", ["response", "output", "completion"])
def test_request_and_response_have_several_names(records_of, key, answer):
    (record,) = records_of({key: {"model": "m", "messages": [PROMPT]}, answer: "Hi"})
    assert (record.exchange.request.messages, record.exchange.production.completion.text) == ((PROMPT,), "Hi")


def test_a_record_without_id_gets_the_same_one_every_time(records_of):
    lines = [{"model": "m", "messages": [PROMPT], "response": str(number)} for number in range(3)]
    first, second = ([record.exchange.id for record in records_of(*lines)] for _ in range(2))
    assert first == second
    assert len(set(first)) == 3


def test_a_record_without_any_model_is_skipped(records_of, endings):
    assert endings(records_of({"messages": [PROMPT], "response": "Hi"})) == [(1, "skipped", "no_model")]


def test_keys_and_addresses_never_reach_the_metadata(records_of):
    (record,) = records_of(
        {"model": "m", "messages": [PROMPT], "response": "Hi", "api_key": "sk-1", "client_ip": "10.0.0.1", "route": "a",
         "metadata": {"authorization": "Bearer x", "user_api_key_hash": "h", "plan": "pro"}}
    )  # fmt: skip
    assert record.exchange.metadata == {"route": "a", "plan": "pro"}


def test_gemini_requests_become_chat_form(records_of):
    body = {
        "systemInstruction": {"parts": [{"text": "Be kind."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Weather?"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "w", "args": {"c": "P"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "w", "response": {"t": 20}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "w", "parameters": {"type": "object"}}]}],
        "generationConfig": {"maxOutputTokens": 9, "topP": 0.5},
    }
    answer = {
        "candidates": [{"content": {"parts": [{"text": "Warm."}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 2, "thoughtsTokenCount": 5},
        "modelVersion": "gemini-x-1",
    }
    (record,) = records_of({"model": "gemini-x", "request": body, "response": answer})
    exchange = record.exchange
    call = {"id": "w", "type": "function", "function": {"name": "w", "arguments": '{"c":"P"}'}}
    assert exchange.request.messages == (
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "w", "content": '{"t":20}'},
    )
    assert exchange.request.params == {"max_tokens": 9, "top_p": 0.5}
    assert exchange.production.completion.text == "Warm."
    assert exchange.production.usage == Usage(tokens_in=7, tokens_out=7, tokens_reasoning=5)


def test_calls_of_one_trace_are_different_calls(records_of):
    call = {"trace_id": "t", "model": "m", "messages": [PROMPT], "response": "Hi"}
    records = records_of(call, call)
    assert [str(record.ending) for record in records] == ["exchange", "exchange"]
    assert {record.exchange.metadata["trace_id"] for record in records} == {"t"}


@pytest.mark.parametrize("response", ["", "{}", {}, "[]", "null", None])
def test_what_stands_for_nothing_is_no_result(records_of, response):
    (record,) = records_of({"id": "a", "model": "m", "messages": [PROMPT], "response": response})
    assert (record.ending, record.reason) == (Ending.SKIPPED, "no_result")


def test_usage_in_anthropics_words_adds_what_the_cache_gave(records_of):
    usage = {"input_tokens": 3, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 1, "output_tokens": 2}
    (record,) = records_of({"id": "a", "model": "m", "messages": [PROMPT], "response": "Hi", "usage": usage})
    assert record.exchange.production.usage == Usage(tokens_in=11, tokens_out=2, tokens_cached=7)


def test_a_zero_latency_is_unknown(records_of):
    times = {"latency_ms": 0, "ttft_ms": 0, "start_time": "2025-01-01T00:00:00Z", "end_time": "2025-01-01T00:00:00Z"}
    (record,) = records_of({"id": "a", "model": "m", "messages": [PROMPT], "response": "Hi", **times})
    assert (record.exchange.production.latency_ms, record.exchange.production.ttft_ms) == (None, None)


def test_tool_schemas_written_as_text_are_decoded(records_of):
    tool = {"type": "function", "function": {"name": "f", "parameters": '{"type": "object"}'}}
    (record,) = records_of({"id": "a", "model": "m", "messages": [PROMPT], "tools": [tool], "response": "Hi"})
    assert record.exchange.request.tools[0]["function"]["parameters"] == {"type": "object"}


@pytest.mark.parametrize(
    "odd",
    [
        {"custom_id": "b", "url": "/v1/chat/completions", "body": {"model": "m", "messages": [PROMPT]}},
        {"id": "o", "trace_id": "t", "type": "GENERATION", "level": "DEFAULT", "input": "q", "output": "a"},
        {"request_id": "r", "spend": 0, "startTime": "2025-01-01T00:00:00Z", "messages": [PROMPT], "response": "x"},
    ],
)
def test_a_record_of_another_format_is_not_guessed_at(records_of, odd):
    whole = {"id": "a", "model": "m", "messages": [PROMPT], "response": "Hi"}
    first, second = records_of(whole, odd)
    assert first.exchange.id == "a"
    assert (second.ending, second.reason) == (Ending.REJECTED, "other_dialect")


def test_settings_written_as_text_are_numbers_again(records_of):
    request = {"model": "m", "messages": [PROMPT], "temperature": "0.50", "max_tokens": "100", "stop": "7"}
    (record,) = records_of({"id": "a", "request": request, "response": "Hi"})
    assert repr(record.exchange.request.params) == repr({"temperature": 0.5, "max_tokens": 100, "stop": "7"})


@pytest.mark.parametrize("text", ["data: three rows, see below", "event: tomorrow, data: none", "id: 7\ndata: x"])
def test_an_answer_that_only_begins_like_a_stream_is_text(records_of, text):
    (record,) = records_of({"id": "a", "model": "m", "messages": [PROMPT], "response": text})
    assert record.exchange.production.completion.text == text
