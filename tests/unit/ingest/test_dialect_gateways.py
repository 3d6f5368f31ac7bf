"""Helicone, Portkey, Bedrock and Azure logs, held against values worked out by hand."""

from datetime import UTC, datetime

import pytest

from harness.domain.observation import ErrorKind, ToolCall, Usage

START = datetime(2024, 3, 28, 19, 6, 29, tzinfo=UTC)
ASKED = {"role": "user", "content": "Hi"}
CHAT = {"model": "gpt-4o", "messages": [ASKED], "temperature": 0.5}
ANSWER = {"model": "gpt-4o-1", "choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}]}

HELICONE = {
    "request_id": "h1", "request_body": CHAT, "response_body": ANSWER, "request_model": "gpt-4o", "delay_ms": 1500,
    "time_to_first_token": 200, "prompt_tokens": 10, "prompt_cache_read_tokens": 5, "prompt_cache_write_tokens": 1,
    "completion_tokens": 3, "costUSD": 0.002, "request_user_id": "u", "response_status": 200,
    "request_created_at": "2024-03-28T19:06:29Z", "cache_reference_id": "00000000-0000-0000-0000-000000000000",
    "request_properties": {"Helicone-Session-Id": "s", "app": "atlas"},
}  # fmt: skip
PORTKEY = {
    "id": "p1", "ai_org": "openai", "ai_model": "gpt-4o", "request": {"body": CHAT}, "response": {"body": ANSWER},
    "response_time": 1500, "req_units": 10, "res_units": 3, "cost": 0.2, "cost_currency": "USD", "is_success": 1,
    "created_at": "2024-03-28T19:06:29Z", "response_status_code": 200, "cache_status": "MISS", "trace_id": "t",
    "mode": "SINGLE",
    "metadata": {"key": ["_user", "app"], "value": ["u", "atlas"]},
}  # fmt: skip
BEDROCK = {
    "schemaType": "ModelInvocationLog", "timestamp": "2024-03-28T19:06:29Z", "requestId": "b1", "operation": "Converse",
    "modelId": "anthropic.claude-x", "identity": {"arn": "arn:aws:iam::1:user/x"}, "region": "us-east-1",
    "input": {"inputTokenCount": 10, "cacheReadInputTokenCount": 5, "inputBodyJson": {
        "system": [{"text": "Be kind."}], "inferenceConfig": {"maxTokens": 9}, "messages": [
            {"role": "user", "content": [
                {"text": "Hi"}, {"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo="}}}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "f", "input": {"x": 1}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [{"json": {"y": 2}}]}}]}]}},
    "output": {"outputTokenCount": 3, "outputBodyJson": {
        "metrics": {"latencyMs": 1500}, "stopReason": "tool_use", "output": {"message": {"content": [
            {"text": "Hello"}, {"toolUse": {"toolUseId": "t2", "name": "g", "input": {}}}]}}}},
}  # fmt: skip


def only(records):
    (record,) = records
    return record


def test_helicone(records_of):
    exchange = only(records_of(HELICONE)).exchange
    assert (exchange.id, exchange.request.model, exchange.request.messages) == ("h1", "gpt-4o", (ASKED,))
    production = exchange.production
    assert (production.completion.text, production.latency_ms, production.ttft_ms) == ("Hello", 1500.0, 200.0)
    assert production.usage == Usage(tokens_in=16, tokens_out=3, tokens_cached=5)
    assert (production.cost_usd, production.cache_hit, exchange.timestamp) == (0.002, False, START)
    assert (exchange.session, exchange.user, exchange.metadata) == ("s", "u", {"app": "atlas"})


def test_helicone_failures_and_missing_bodies(records_of):
    cut = {key: value for key, value in HELICONE.items() if not key.endswith("_body")}
    records = records_of(
        HELICONE | {"request_id": "h2", "response_status": -3, "response_body": None},
        HELICONE
        | {"request_id": "h3", "response_status": 429, "response_body": {"error": {"type": "x", "message": "slow"}}},
        cut | {"signed_body_url": "https://example.com/body"},
    )
    assert [record.exchange.production.error.kind for record in records[:2]] == [ErrorKind.OTHER, ErrorKind.RATE_LIMIT]
    assert records[2].reason == "no_content_recorded"
    assert "--include-body" in records[2].message


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"metadata": [{"key": "_user", "value": "u"}, {"key": "app", "value": "atlas"}]},
        {"metadata": {"_user": "u", "app": "atlas"}},
        {"request": None, "response": None, "request.body": CHAT, "response.body": ANSWER},
    ],
)
def test_portkey(records_of, shape):
    exchange = only(records_of(PORTKEY | shape)).exchange
    assert (exchange.request.messages, exchange.request.params) == ((ASKED,), {"temperature": 0.5})
    production = exchange.production
    assert (production.completion.text, production.latency_ms) == ("Hello", 1500.0)
    assert production.cost_usd == pytest.approx(0.002)
    assert production.usage == Usage(tokens_in=10, tokens_out=3)
    assert (exchange.user, exchange.metadata["app"], exchange.timestamp) == ("u", "atlas", START)


def test_portkey_failures_cache_hits_and_missing_columns(records_of):
    failed = {"response_status_code": 503, "is_success": 0, "response": {"body": {"error": {"message": "down"}}}}
    records = records_of(
        PORTKEY | failed,
        PORTKEY | {"id": "p2", "cache_status": "SEMANTIC HIT", "cost_currency": "EUR"},
        {key: value for key, value in PORTKEY.items() if key != "request"},
    )
    assert records[0].exchange.production.error.kind is ErrorKind.OVERLOADED
    assert (records[1].exchange.production.cache_hit, records[1].exchange.production.cost_usd) == (True, None)
    assert records[2].reason == "no_content_recorded"


def test_bedrock_converse(records_of):
    exchange = only(records_of(BEDROCK)).exchange
    call = {"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    assert exchange.request.messages == (
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [
            {"type": "text", "text": "Hi"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t", "content": '{"y":2}'},
    )  # fmt: skip
    assert (exchange.request.model, exchange.request.params) == ("anthropic.claude-x", {"max_tokens": 9})
    production = exchange.production
    assert (production.completion.text, production.completion.finish_reason) == ("Hello", "tool_use")
    assert production.completion.tool_calls == (ToolCall(id="t2", name="g", arguments={}),)
    assert production.usage == Usage(tokens_in=15, tokens_out=3, tokens_cached=5)
    assert (production.latency_ms, exchange.timestamp) == (1500.0, START)
    assert not any("arn" in value for value in exchange.metadata.values())


def test_bedrock_invocations_hold_vendor_bodies_and_event_lists(records_of, endings):
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [ASKED]}
    events = [
        {"type": "message_start", "message": {"model": "claude-x", "usage": {"input_tokens": 4}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        "[DONE]",
    ]
    stream = BEDROCK | {"operation": "InvokeModelWithResponseStream", "input": {"inputBodyJson": body},
                        "output": {"outputBodyJson": events}}  # fmt: skip
    far = BEDROCK | {"requestId": "b2", "output": {"outputBodyS3Path": "s3://bucket/body.json.gz"}}
    embedding = BEDROCK | {
        "requestId": "b3",
        "operation": "InvokeModel",
        "input": {"inputBodyJson": {"inputText": "x"}},
    }
    failed = BEDROCK | {"requestId": "b4", "errorCode": "ThrottlingException", "output": {}}
    records = records_of(stream, far, embedding, failed)
    assert endings(records) == [
        (1, "exchange", "b1"), (2, "skipped", "no_content_recorded"), (3, "skipped", "not_a_chat_call"),
        (4, "exchange", "b4"),
    ]  # fmt: skip
    assert records[0].exchange.production.completion.text == "Hello"
    assert records[0].exchange.request.params == {"max_tokens": 9}
    assert "s3://bucket/body.json.gz" in records[1].message
    assert records[3].exchange.production.error.kind is ErrorKind.RATE_LIMIT


def test_azure_diagnostics_hold_no_text(records_of):
    record = only(
        records_of({"category": "RequestResponse", "durationMs": -3, "correlationId": "z",
                    "properties": '{"modelDeploymentName": "prod", "requestTime": 638496360001234567}'})
    )  # fmt: skip
    assert (record.reason, record.facts["model"], record.facts["latency_ms"]) == ("no_content_recorded", "prod", None)
    assert "gateway" in record.message
