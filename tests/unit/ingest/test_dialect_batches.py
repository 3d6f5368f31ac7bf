"""Batches: requests and results in different files and different orders."""

import itertools
from datetime import UTC, datetime

import pytest

from harness.domain.observation import ErrorKind, Status, ToolCall, Usage

OPENAI = ("openai_batch_input.jsonl", "openai_batch_output.jsonl", "openai_batch_errors.jsonl")
ANTHROPIC = ("anthropic_batch_requests.json", "anthropic_batch_results.jsonl")


@pytest.mark.parametrize("names", itertools.permutations(OPENAI))
def test_openai_files_join_in_any_order(sample, endings, by_id, names):
    records = sample(*names)
    assert sorted(endings(records), key=str) == sorted(
        [
            (1, "exchange", "a"),
            (2, "exchange", "b"),
            (3, "skipped", "expired"),
            (4, "exchange", "d"),
            (5, "skipped", "not_a_chat_call"),
            (6, "skipped", "no_result"),
            (3, "duplicate", "duplicate"),
            (4, "skipped", "no_request"),
        ],
        key=str,
    )
    found = by_id(records)
    assert {item.source.file for item in found.values()} == {"openai_batch_input.jsonl"}
    assert found["a"].production.completion.text == "A."
    assert found["a"].timestamp == datetime(2024, 3, 28, 19, 6, 29, tzinfo=UTC)
    assert found["a"].request.params == {"max_tokens": 5}
    assert found["a"].production.latency_ms is None
    assert found["b"].production.status is Status.FAILED
    assert found["b"].production.error.kind is ErrorKind.BAD_REQUEST
    assert (found["b"].production.error.http_status, found["b"].production.error.message) == (400, "bad schema")
    assert found["d"].request.messages == ({"role": "user", "content": "D?"},)
    assert found["d"].production.completion.text == "D."
    assert found["d"].production.usage == Usage(tokens_in=2, tokens_out=1)


def test_a_missing_half_names_the_file_to_add(sample):
    (only_results,) = {record.message for record in sample(OPENAI[2]) if "'b'" in record.message}
    assert "input file" in only_results
    assert {record.reason for record in sample(OPENAI[1])} == {"no_request", "duplicate"}
    assert {record.reason for record in sample(OPENAI[0])} == {"no_result", "not_a_chat_call"}
    assert all("output" in record.message for record in sample(OPENAI[0]) if record.reason == "no_result")


@pytest.mark.parametrize("names", itertools.permutations(ANTHROPIC))
def test_anthropic_files_join_in_any_order(sample, endings, by_id, names):
    records = sample(*names)
    assert endings(records) == [
        (1, "exchange", "two"),
        (2, "exchange", "one"),
        (3, "skipped", "expired"),
        (None, "skipped", "no_result"),
        (4, "skipped", "no_request"),
    ]
    found = by_id(records)
    assert found["two"].production.error.kind is ErrorKind.OVERLOADED
    assert found["two"].production.error.code == "overloaded_error"
    one = found["one"]
    assert one.request.messages == ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "one?"})
    assert one.production.completion.text == "1"
    assert one.production.completion.tool_calls == (ToolCall(id="t", name="f", arguments={"k": True}),)
    assert (one.timestamp, one.production.usage) == (None, Usage(tokens_in=4, tokens_out=2))


def test_a_result_without_custom_id_is_rejected(records_of, endings):
    ok = {
        "custom_id": "a",
        "url": "/v1/chat/completions",
        "body": {"model": "m", "messages": [{"role": "user", "content": "x"}]},
    }
    records = records_of(ok, ok | {"custom_id": None})
    assert endings(records) == [(2, "rejected", "no_custom_id"), (1, "skipped", "no_result")]
    assert records[0].message.startswith("log.jsonl:2: ")


def test_a_whole_anthropic_batch_may_stand_on_one_line(records_of):
    params = {"model": "c", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}
    batch = {"requests": [{"custom_id": "a", "params": params}, {"custom_id": "b", "params": params}]}
    message = {"type": "message", "content": [{"type": "text", "text": "Hi"}]}
    result = {"custom_id": "b", "result": {"type": "succeeded", "message": message}}
    answered, waiting = records_of(batch, result)
    assert (answered.exchange.id, answered.exchange.production.completion.text) == ("b", "Hi")
    assert (waiting.line, waiting.reason) == (1, "no_result")
