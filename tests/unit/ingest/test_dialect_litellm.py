"""LiteLLM spend rows and logging payloads, held against values worked out by hand."""

from datetime import UTC, datetime

import orjson
import pytest

from harness.domain.observation import ErrorKind, Status, Usage
from harness.ingest.records import Ending

START = datetime(2025, 1, 24, 9, 20, 46, tzinfo=UTC)


@pytest.fixture
def spend(sample, by_id):
    return by_id(sample("litellm_spend.jsonl"))


def test_every_row_has_its_ending(sample, endings):
    assert endings(sample("litellm_spend.jsonl")) == [
        (1, "exchange", "ok"),
        (2, "exchange", "from-proxy"),
        (3, "exchange", "failed"),
        (4, "skipped", "no_prompt_stored"),
        (5, "exchange", "cached"),
        (6, "skipped", "not_a_chat_call"),
        (7, "exchange", "claude"),
    ]


def test_a_row_with_its_prompt_is_complete(spend):
    exchange = spend["ok"]
    assert exchange.request.model == "azure/gpt-4o-eu"
    assert exchange.request.messages == ({"role": "user", "content": "Hi"},)
    assert (exchange.timestamp, exchange.session, exchange.user, exchange.tags) == (START, "s-9", "cust-1", ("blue",))
    assert exchange.metadata == {
        "model_group": "gpt-4o", "custom_llm_provider": "openai", "team_id": "red", "call_type": "acompletion",
    }  # fmt: skip
    production = exchange.production
    assert production.completion.text == "Hello"
    assert (production.latency_ms, production.ttft_ms, production.cost_usd) == (1500.0, 250.0, 0.0002)
    assert production.usage == Usage(tokens_in=10, tokens_out=20)
    assert production.cache_hit is False


def test_the_received_body_stands_in_for_the_messages(spend):
    exchange = spend["from-proxy"]
    assert exchange.request.messages == ({"role": "user", "content": "From proxy"},)
    assert exchange.request.params == {"temperature": 0.5}
    assert [tool["function"]["name"] for tool in exchange.request.tools] == ["f"]
    assert exchange.production.latency_ms == 1400.0
    assert exchange.production.ttft_ms is None  # completionStartTime equals endTime: not streamed


def test_zeros_of_a_failure_are_unknown(spend):
    production = spend["failed"].production
    assert (production.status, production.error.kind) == (Status.FAILED, ErrorKind.RATE_LIMIT)
    assert (production.error.http_status, production.error.code, production.error.message) == (
        429,
        "RateLimitError",
        "Too many",
    )
    assert (production.usage, production.cost_usd, production.completion) == (Usage(), None, None)


def test_a_cache_hit_is_marked(spend):
    assert spend["cached"].production.cache_hit is True
    assert spend["cached"].production.ttft_ms is None


def test_vendor_bodies_are_read_by_call_type(spend):
    exchange = spend["claude"]
    assert exchange.request.messages == ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"})
    assert exchange.request.params == {"max_tokens": 7}
    assert (exchange.production.completion.text, exchange.production.completion.finish_reason) == ("Hello", "end_turn")


def test_a_hidden_prompt_names_the_switch_and_keeps_the_facts(sample):
    record = sample("litellm_spend.jsonl")[3]
    assert "store_prompts_in_spend_logs: true" in record.message
    assert dict(record.facts) == {
        "id": "hidden", "model": "azure/gpt-4o-eu", "latency_ms": 1500.0, "tokens_in": 10, "tokens_out": 20,
        "cost_usd": 0.0002, "timestamp": START, "session": None,
    }  # fmt: skip


def test_the_csv_dump_reads_the_same(sample, by_id):
    exchange = by_id(sample("litellm_spend.csv"))["ok"]
    assert exchange.request.messages == ({"role": "user", "content": 'Line\nbreak, "quoted"'},)
    assert (exchange.production.latency_ms, exchange.production.usage.tokens_out) == (1500.0, 20)


def test_logging_payloads_measure_seconds_and_hold_raw_streams(sample, by_id):
    found = by_id(sample("litellm_standard.jsonl"))
    one = found["one"]
    assert one.production.completion.text == "Yo"
    assert (one.production.latency_ms, one.production.ttft_ms, one.production.cost_usd) == (1900.0, 500.0, 0.001)
    assert one.request.params == {"temperature": 0}
    assert [tool["function"]["name"] for tool in one.request.tools] == ["f"]
    assert (one.metadata["app"], one.metadata["trace_id"], one.tags) == ("atlas", "tr", ("x",))
    assert "user_api_key_hash" not in one.metadata
    two = found["two"].production
    assert (two.error.kind, two.error.http_status, two.latency_ms) == (ErrorKind.TIMEOUT, 408, 1000.0)
    assert two.error.message == "litellm.Timeout: took too long"
    assert (two.usage, two.cost_usd) == (Usage(), None)


def test_the_response_time_of_a_stream_is_its_first_token(records_of):
    payload = {
        "id": "s", "call_type": "acompletion", "response_cost": 0.1, "model": "m", "status": "success",
        "startTime": 1711652788.0, "completionStartTime": 1711652788.5, "endTime": 1711652791.0, "response_time": 0.5,
        "stream": True, "model_parameters": {}, "messages": [{"role": "user", "content": "Hello"}], "response": "Hi",
    }  # fmt: skip
    (record,) = records_of(payload)
    assert (record.exchange.production.latency_ms, record.exchange.production.ttft_ms) == (3000.0, 500.0)
    (record,) = records_of(payload | {"stream": False})
    assert record.exchange.production.latency_ms == 500.0


@pytest.mark.parametrize(
    ("content", "switch"),
    [
        ("redacted-by-litellm", "turn_off_message_logging"),
        ("Begin ... (litellm_truncated 4711 chars) ... end", "MAX_STRING_LENGTH_PROMPT_IN_DB"),
    ],
)
def test_a_prompt_the_proxy_changed_is_not_replayed(records_of, content, switch):
    row = {"request_id": "r", "spend": 1, "startTime": "2025-01-24T09:20:46Z", "model": "m", "response": "Hello",
           "messages": [{"role": "user", "content": content}]}  # fmt: skip
    (record,) = records_of(row)
    assert record.reason == "no_prompt_stored"
    assert switch in record.message


def spend_row(**fields):
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
    return {
        "request_id": "r", "call_type": "acompletion", "spend": 0.1, "model": "m", "status": "success",
        "startTime": "2025-01-24T09:20:46Z", "endTime": "2025-01-24T09:20:47Z", "metadata": "{}",
        "prompt_tokens": 1, "completion_tokens": 2, "proxy_server_request": "{}",
        "messages": orjson.dumps([{"role": "user", "content": "Hello"}]).decode(),
        "response": orjson.dumps(answer).decode(), **fields,
    }  # fmt: skip


def test_a_zero_duration_gives_way_to_the_times(records_of):
    (record,) = records_of(spend_row(request_duration_ms=0, completionStartTime="2025-01-24T09:20:46Z"))
    assert (record.exchange.production.latency_ms, record.exchange.production.ttft_ms) == (1000.0, None)


@pytest.mark.parametrize(
    "broken",
    [
        {"messages": '[{"role": "user", "content": "Hel'},
        {"messages": '[{"role": "user", "content": "\\ud83d"}]'},
        {"messages": '"[{\\"role\\": \\"user\\", \\"cont'},
        {"response": '{"id": "c", "choices": [{"index": 0, "message": {"content": "He'},
    ],
)
def test_a_column_whose_json_was_cut_is_no_text(records_of, broken):
    (record,) = records_of(spend_row(**broken))
    assert (record.ending, record.reason) == (Ending.REJECTED, "cut_content")


def test_a_text_completion_asks_with_its_prompt(records_of):
    received = '{"model": "m", "prompt": "Once", "max_tokens": 4}'
    (record,) = records_of(spend_row(call_type="atext_completion", messages="{}", proxy_server_request=received))
    assert record.exchange.request.messages == ({"role": "user", "content": "Once"},)
    assert record.exchange.request.params == {"max_tokens": 4}


def test_a_prompt_stored_as_text_is_a_user_message(records_of):
    (record,) = records_of(spend_row(messages='{"broken": '))
    assert record.exchange.request.messages == ({"role": "user", "content": '{"broken": '},)
