"""OpenTelemetry GenAI: the places where a span's prompt and answer can be, and spans that hold neither."""

import base64
from datetime import UTC, datetime

import orjson
import pytest

from harness.domain.observation import ErrorKind, Status, ToolCall, Usage

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ASKED = ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"})
BASE = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.response.model": "gpt-4o-1",
        "gen_ai.request.temperature": 0.5, "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 4, "gen_ai.conversation.id": "conv"}  # fmt: skip
INPUT = [{"role": "system", "parts": [{"type": "text", "content": "Be kind."}]},
         {"role": "user", "parts": [{"type": "text", "content": "Hi"}]}]  # fmt: skip
OUTPUT = [{"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"}, {"type": "text", "content": "Hello"}],
           "finish_reason": "stop"}]  # fmt: skip


def typed(value):
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [typed(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": pairs(value)}}
    return {"stringValue": value}


def pairs(attributes):
    return [{"key": key, "value": typed(value)} for key, value in attributes.items()]


def span(attributes, *, events=(), span_id=SPAN, **fields):
    return {"traceId": TRACE, "spanId": span_id, "name": "chat", "startTimeUnixNano": "1714039200000000000",
            "endTimeUnixNano": "1714039201734000000", "attributes": pairs(attributes), "events": list(events),
            "status": {}} | fields  # fmt: skip


def traces(*spans):
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": list(spans)}]}]}


def log(name, body, *, time=0, observed=0, span_id=SPAN, **attributes):
    return {"timeUnixNano": str(time), "observedTimeUnixNano": str(observed), "traceId": TRACE, "spanId": span_id,
            "body": typed(body), "attributes": pairs({"event.name": name} | attributes)}  # fmt: skip


def logs(*records):
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": list(records)}]}]}


def event(name, attributes):
    return {"name": name, "timeUnixNano": "1714039200000000001", "attributes": pairs(attributes)}


def dumped(value):
    return orjson.dumps(value).decode()


PLACES = {
    "structured": [traces(span(BASE | {"gen_ai.input.messages": INPUT, "gen_ai.output.messages": OUTPUT}))],
    "structured, as json": [
        traces(span(BASE | {"gen_ai.input.messages": dumped(INPUT), "gen_ai.output.messages": dumped(OUTPUT)}))
    ],
    "instructions apart": [
        traces(span(BASE | {
            "gen_ai.system_instructions": [{"type": "text", "content": "Be kind."}],
            "gen_ai.input.messages": INPUT[1:], "gen_ai.output.messages": OUTPUT}))
    ],
    "details on a span event": [
        traces(span(BASE, events=[event("gen_ai.client.inference.operation.details",
                                        {"gen_ai.input.messages": INPUT, "gen_ai.output.messages": OUTPUT})]))
    ],
    "details in a log record, which comes first": [
        logs({"traceId": TRACE, "spanId": SPAN, "eventName": "gen_ai.client.inference.operation.details",
              "attributes": pairs({"gen_ai.input.messages": INPUT, "gen_ai.output.messages": OUTPUT})}),
        traces(span(BASE)),
    ],
    "log records, out of order": [
        traces(span(BASE)),
        logs(
            log("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": {"content": "Hello"}}, time=9),
            log("gen_ai.user.message", {"content": "Hi"}, observed=5),
            log("gen_ai.system.message", {"content": "Be kind."}, time=1, observed=7),
            log("gen_ai.user.message", {"content": "of another span"}, time=2, span_id="1111111111111111"),
        ),
    ],
    "span events": [
        traces(span(BASE, events=[
            event("gen_ai.content.prompt", {"gen_ai.prompt": dumped(list(ASKED))}),
            event("gen_ai.content.completion", {"gen_ai.completion": dumped(
                [{"role": "assistant", "content": "Hello", "finish_reason": "stop"}])})]))
    ],
    "indexed, in any order": [
        traces(span({
            "gen_ai.completion.0.finish_reason": "stop", "gen_ai.prompt.1.content": "Hi",
            "gen_ai.prompt.0.role": "system", "gen_ai.completion.0.content": "Hello",
            "gen_ai.prompt.1.role": "user", "gen_ai.prompt.0.content": "Be kind.",
            } | BASE))
    ],
    "openinference": [
        traces(span({
            "openinference.span.kind": "LLM", "llm.model_name": "gpt-4o-1", "gen_ai.request.model": "gpt-4o",
            "llm.input_messages.0.message.role": "system", "llm.input_messages.0.message.content": "Be kind.",
            "llm.input_messages.1.message.role": "user", "llm.input_messages.1.message.content": "Hi",
            "llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": "Hello",
            "llm.token_count.prompt": 10, "llm.token_count.completion": 3, "gen_ai.response.finish_reasons": ["stop"],
            "llm.token_count.prompt_details.cache_read": 4, "session.id": "conv",
            "llm.invocation_parameters": '{"temperature": 0.5}'}))
    ],
}  # fmt: skip


@pytest.mark.parametrize("lines", PLACES.values(), ids=PLACES)
def test_content_is_found_wherever_it_is(records_of, by_id, lines):
    exchange = by_id(records_of(*lines))[SPAN]
    assert exchange.request.model == "gpt-4o"
    assert exchange.request.messages == ASKED
    assert exchange.request.params == {"temperature": 0.5}
    production = exchange.production
    assert (production.completion.text, production.completion.finish_reason) == ("Hello", "stop")
    assert production.completion.model == "gpt-4o-1"
    assert production.usage == Usage(tokens_in=10, tokens_out=3, tokens_cached=4)
    assert (production.latency_ms, exchange.session) == (1734.0, "conv")
    assert exchange.timestamp == datetime(2024, 4, 25, 10, tzinfo=UTC)
    assert exchange.metadata["trace_id"] == TRACE


def test_spans_that_are_no_model_call_are_ignored_and_embeddings_skipped(records_of, endings):
    records = records_of(
        traces(
            span({"http.request.method": "POST"}, span_id="a" * 16),
            span({"gen_ai.operation.name": "execute_tool"}, span_id="b" * 16),
            span({"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "m"}, span_id="c" * 16),
            span({"gen_ai.operation.name": "embeddings"}, span_id="d" * 16),
            span(BASE | {"gen_ai.input.messages": INPUT, "gen_ai.output.messages": OUTPUT}),
        )
    )
    assert endings(records) == [
        (1, "ignored", None), (1, "ignored", None), (1, "ignored", None), (1, "skipped", "not_a_chat_call"),
        (1, "exchange", SPAN),
    ]  # fmt: skip


def test_content_that_was_not_captured_names_the_switch(records_of):
    (record,) = records_of(traces(span(BASE)))
    assert record.reason == "no_content_recorded"
    assert "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT" in record.message
    assert record.facts["latency_ms"] == 1734.0


def test_a_failed_span_is_a_failed_call(records_of, by_id):
    failed = span(
        BASE | {"gen_ai.input.messages": INPUT, "error.type": "RateLimitError"},
        status={"code": 2, "message": "Rate limit reached"},
    )
    production = by_id(records_of(traces(failed)))[SPAN].production
    assert (production.status, production.completion, production.usage) == (Status.FAILED, None, Usage())
    assert production.error.kind is ErrorKind.RATE_LIMIT
    assert (production.error.code, production.error.message) == ("RateLimitError", "Rate limit reached")


def test_parts_become_tool_calls_results_and_images(records_of, by_id):
    asked = [
        {"role": "user", "parts": [
            {"type": "text", "content": "Look"},
            {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "iVBORw0KGgo="},
            {"type": "uri", "modality": "image", "uri": "https://example.com/a.png"}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "f", "arguments": {"x": 1}}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": {"ok": True}},
                                   {"type": "tool_call_response", "id": "c2", "result": "early"}]},
    ]  # fmt: skip
    call = {"type": "tool_call", "id": "c3", "name": "g", "arguments": '{"y": 2}'}
    answered = [{"role": "assistant", "parts": [call]},
                {"role": "assistant", "parts": [{"type": "text", "content": "second choice"}]}]  # fmt: skip
    exchange = by_id(
        records_of(traces(span(BASE | {"gen_ai.input.messages": asked, "gen_ai.output.messages": answered})))
    )[SPAN]
    assert exchange.request.messages == (
        {"role": "user", "content": [
            {"type": "text", "text": "Look"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}]},
        {"role": "tool", "tool_call_id": "c1", "content": '{"ok":true}'},
        {"role": "tool", "tool_call_id": "c2", "content": "early"},
    )  # fmt: skip
    completion = exchange.production.completion
    assert (completion.text, completion.n_choices) == (None, 2)
    assert completion.tool_calls == (ToolCall(id="c3", name="g", arguments={"y": 2}),)


def test_indexed_attributes_sort_as_numbers_and_hold_tool_calls(records_of, by_id):
    attributes = dict(BASE)
    for number in range(12):
        attributes[f"gen_ai.prompt.{number}.role"] = "user"
        attributes[f"gen_ai.prompt.{number}.content"] = str(number)
    attributes |= {"gen_ai.completion.0.tool_calls.0.id": "c", "gen_ai.completion.0.tool_calls.0.name": "f",
                   "gen_ai.completion.0.tool_calls.0.arguments": '{"x": 1}'}  # fmt: skip
    exchange = by_id(records_of(traces(span(attributes))))[SPAN]
    assert [message["content"] for message in exchange.request.messages] == [str(number) for number in range(12)]
    assert exchange.production.completion.tool_calls == (ToolCall(id="c", name="f", arguments={"x": 1}),)


def test_tool_messages_of_logs_carry_their_call_id(records_of, by_id):
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    records = records_of(
        traces(span(BASE)),
        logs(
            log("gen_ai.user.message", {"content": "Hi"}, time=1),
            log("gen_ai.assistant.message", {"tool_calls": [call]}, time=2),
            log("gen_ai.tool.message", {"id": "c1", "content": "42"}, time=3),
            log("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": {"content": "Done"}}, time=4),
        ),
    )
    assert by_id(records)[SPAN].request.messages == (
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    )


def test_ids_in_base64_join_with_ids_in_hex(records_of, by_id):
    encoded = log("gen_ai.user.message", {"content": "Hi"}, time=1) | {
        "traceId": base64.b64encode(bytes.fromhex(TRACE)).decode(),
        "spanId": base64.b64encode(bytes.fromhex(SPAN)).decode(),
    }
    choice = log("gen_ai.choice", {"index": 0, "message": {"content": "Hello"}}, time=2)
    assert by_id(records_of(logs(encoded, choice), traces(span(BASE))))[SPAN].production.completion.text == "Hello"


def test_logs_without_their_span_are_told(records_of):
    records = records_of(logs(log("gen_ai.user.message", {"content": "Hi"}), log("gen_ai.choice", {"index": 0})))
    assert [record.reason for record in records] == ["no_request"]
    assert "add the traces" in records[0].message


def test_a_message_list_cut_at_the_attribute_limit_is_rejected_alone(records_of, endings):
    cut = span(
        BASE | {"gen_ai.input.messages": dumped(INPUT)[:-20], "gen_ai.output.messages": OUTPUT}, span_id="e" * 16
    )
    sound = span(BASE | {"gen_ai.input.messages": INPUT, "gen_ai.output.messages": OUTPUT})
    records = records_of(traces(sound), traces(cut))
    assert endings(records) == [(1, "exchange", SPAN), (2, "rejected", "cut_content")]
    assert "LENGTH_LIMIT" in records[1].message


def test_one_cut_span_does_not_cost_its_neighbours_on_the_line(records_of, endings):
    cut = span(BASE | {"gen_ai.input.messages": dumped(INPUT)[:-20]}, span_id="e" * 16)
    sound = span(BASE | {"gen_ai.input.messages": INPUT, "gen_ai.output.messages": OUTPUT})
    assert endings(records_of(traces(cut, sound))) == [(1, "rejected", "cut_content"), (1, "exchange", SPAN)]


def test_a_flat_span_keeps_plain_values_and_unknown_times(records_of, by_id):
    flat = {"span_name": "chat", "trace_id": TRACE, "span_id": SPAN,
            "attributes": BASE | {"gen_ai.input.messages": INPUT, "gen_ai.output.messages": OUTPUT}}  # fmt: skip
    exchange = by_id(records_of(flat))[SPAN]
    assert (exchange.request.messages, exchange.timestamp, exchange.production.latency_ms) == (ASKED, None, None)


def test_the_prompt_may_stand_on_the_span_and_the_answer_in_an_event(records_of):
    details = event("gen_ai.client.inference.operation.details", {"gen_ai.output.messages": OUTPUT})
    (record,) = records_of(traces(span(BASE | {"gen_ai.input.messages": INPUT}, events=[details])))
    assert record.exchange.request.messages == ASKED
    assert record.exchange.production.completion.text == "Hello"


def test_newer_places_win_over_older_ones(records_of):
    older = {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "old", "gen_ai.completion.0.content": "old"}
    details = event(
        "gen_ai.client.inference.operation.details", {"gen_ai.input.messages": INPUT, "gen_ai.output.messages": OUTPUT}
    )
    (record,) = records_of(traces(span(BASE | older, events=[details])))
    assert record.exchange.request.messages == ASKED
    assert record.exchange.production.completion.text == "Hello"


def test_logs_of_a_span_that_holds_its_content_are_no_call_of_their_own(records_of):
    whole = span(BASE | {"gen_ai.input.messages": INPUT, "gen_ai.output.messages": OUTPUT})
    said = logs(log("gen_ai.user.message", {"content": "Hi"}, time=1))
    assert [item.ending for item in records_of(said, traces(whole))] == ["exchange"]


def test_span_events_may_hold_their_body_as_json(records_of):
    def said(name, body):
        return event(name, {"gen_ai.system": "x", "gen_ai.event.content": orjson.dumps(body).decode()})

    events = [
        said("gen_ai.system.message", {"role": "system", "content": "Be kind."}),
        said("gen_ai.user.message", {"role": "user", "content": "Hi"}),
        said("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": {"content": "Hello"}}),
    ]
    (record,) = records_of(traces(span(BASE, events=events)))
    assert [(item["role"], item["content"]) for item in record.exchange.request.messages] == [
        ("system", "Be kind."),
        ("user", "Hi"),
    ]
    assert record.exchange.production.completion.text == "Hello"
