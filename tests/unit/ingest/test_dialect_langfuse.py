"""Langfuse exports of three kinds, held against values worked out by hand."""

from datetime import UTC, datetime

import orjson
import pytest

from harness.domain.observation import ErrorKind, ToolCall, Usage

START = datetime(2024, 3, 28, 19, 6, 29, tzinfo=UTC)


def test_every_observation_has_its_ending(sample, endings):
    assert endings(sample("langfuse_v2.jsonl")) == [
        (1, "exchange", "g1"),
        (2, "exchange", "g2"),
        (3, "exchange", "g3"),
        (4, "skipped", "no_content_recorded"),
        (5, "ignored", None),
    ]


def test_an_observation_of_the_newer_table_stands_alone(sample, by_id):
    found = by_id(sample("langfuse_v2.jsonl"))
    one = found["g1"]
    assert one.request.messages == ({"role": "user", "content": "Hi"},)
    assert one.request.params == {"temperature": 0.5, "max_tokens": 100}
    assert [tool["function"]["name"] for tool in one.request.tools] == ["f"]
    assert one.production.completion.text is None
    assert one.production.completion.tool_calls == (ToolCall(id="c", name="f", arguments={}),)
    assert (one.production.latency_ms, one.production.ttft_ms, one.production.cost_usd) == (1750.0, 400.0, 0.002)
    assert one.production.usage == Usage(tokens_in=15, tokens_out=3, tokens_cached=5)
    assert (one.timestamp, one.session, one.user) == (START, "s1", "u1")
    assert one.metadata == {"route": "a", "environment": "prod", "trace_id": "tr1"}
    two = found["g2"]
    assert two.request.messages == ({"role": "user", "content": "Plain question"},)
    assert two.production.completion.text == "Plain answer"
    assert (two.production.latency_ms, two.production.cost_usd) == (2000.0, None)
    assert (two.session, two.user, two.production.usage) == (None, None, Usage())
    assert found["g3"].production.error.kind is ErrorKind.CONNECTION
    assert found["g3"].production.error.message == "Connection error."


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_older_tables_join_observations_with_traces(sample, by_id, order):
    names = ("langfuse_legacy_observations.jsonl", "langfuse_legacy_traces.jsonl")
    found = by_id(sample(*(names[place] for place in order)))
    one, two = found["g1"], found["g2"]
    assert (one.session, one.user, one.tags, one.production.completion.text) == ("s7", "u7", ("t",), "Hello")
    assert one.production.usage == Usage(tokens_in=4, tokens_out=1)
    assert (two.session, two.user) == (None, None)


def test_the_api_speaks_camel_case(sample, by_id):
    one = by_id(sample("langfuse_api.json"))["g"]
    assert one.request.params == {"temperature": 1}
    assert (one.production.completion.text, one.production.latency_ms, one.production.ttft_ms) == (
        "Hello",
        1000.0,
        250.0,
    )
    assert one.production.cost_usd == 0.5
    assert one.production.usage == Usage(tokens_in=4, tokens_out=1)
    assert one.timestamp == START


def test_a_trace_of_the_api_brings_its_observations(records_of, by_id):
    generation = {
        "id": "g",
        "type": "GENERATION",
        "traceId": "t",
        "model": "m",
        "input": "Q",
        "output": "A",
        "usageDetails": {},
    }
    trace = {"id": "t", "sessionId": "s", "userId": "u", "tags": ["x"], "timestamp": "2024-03-28T19:06:29Z",
             "observations": [generation, {"id": "e", "type": "EVENT"}]}  # fmt: skip
    records = records_of(trace)
    one = by_id(records)["g"]
    assert (one.session, one.user, one.tags) == ("s", "u", ("x",))
    assert [str(record.ending) for record in records] == ["exchange", "ignored"]


def span(**own):
    attributes = {
        "langfuse.observation.type": "generation", "langfuse.observation.model.name": "m", "session.id": "s",
        "langfuse.observation.input": orjson.dumps([{"role": "user", "content": "Hi"}]).decode(),
        "langfuse.observation.output": orjson.dumps({"role": "assistant", "content": "Hello"}).decode(),
        "langfuse.observation.completion_start_time": '"2024-03-28T19:06:29.250Z"',
        "langfuse.observation.metadata.route": "a",
    }  # fmt: skip
    return {"span_id": "00f067aa0ba902b7", "start_time": "2024-03-28T19:06:29Z", "end_time": "2024-03-28T19:06:30Z",
            "attributes": attributes | {f"langfuse.observation.{key}": item for key, item in own.items()}}  # fmt: skip


def test_span_attributes_are_read_like_a_row(records_of, by_id):
    one = by_id(records_of(span()))["00f067aa0ba902b7"]
    assert one.request.messages == ({"role": "user", "content": "Hi"},)
    assert (one.production.completion.text, one.production.latency_ms, one.production.ttft_ms) == (
        "Hello",
        1000.0,
        250.0,
    )
    assert (one.session, one.metadata["route"]) == ("s", "a")


def test_span_attributes_inside_otlp_are_read_too(records_of, by_id):
    flat = span()
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in flat["attributes"].items()]
    nested = {"spanId": "00f067aa0ba902b7", "traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "attributes": attributes,
              "startTimeUnixNano": "1711652789000000000", "endTimeUnixNano": "1711652790000000000"}  # fmt: skip
    one = by_id(records_of({"resourceSpans": [{"scopeSpans": [{"spans": [nested]}]}]}))["00f067aa0ba902b7"]
    assert (one.production.completion.text, one.production.latency_ms) == ("Hello", 1000.0)


def test_an_input_cut_at_the_attribute_limit_is_rejected(records_of, endings):
    records = records_of(span(), span(input='[{"role": "user", "content": "Hi th'))
    assert endings(records)[1] == (2, "rejected", "cut_content")
    assert "limit" in records[1].message


def test_a_prompt_that_is_json_stays_as_written(records_of):
    row = {"id": "g", "type": "GENERATION", "session_id": None, "level": "DEFAULT", "provided_model_name": "m",
           "input": '{"city":  "Paris"}', "output": '{"temperature":  20}'}  # fmt: skip
    (record,) = records_of(row)
    assert record.exchange.request.messages == ({"role": "user", "content": '{"city":  "Paris"}'},)
    assert record.exchange.production.completion.text == '{"temperature":  20}'


def test_an_embedding_is_no_chat_call(records_of):
    row = {
        "id": "e",
        "trace_id": "t",
        "type": "EMBEDDING",
        "provided_model_name": "m",
        "level": "DEFAULT",
        "input": "x",
    }
    (record,) = records_of(row)
    assert (record.ending, record.reason) == ("skipped", "not_a_chat_call")


def test_zeros_are_unknown_and_a_cut_input_is_no_prompt(records_of):
    row = {
        "id": "a", "trace_id": "t", "type": "GENERATION", "provided_model_name": "m", "level": "DEFAULT",
        "session_id": "", "start_time": "2025-01-01 10:00:00", "end_time": "2025-01-01 10:00:02", "latency": 0,
        "time_to_first_token": 0, "total_cost": 0, "usage_details": "{}", "input": "Hi", "output": "Hello",
    }  # fmt: skip
    whole, cut = records_of(row, row | {"id": "b", "input": '[{"role": "user", "content": "Hel'})
    production = whole.exchange.production
    assert (production.latency_ms, production.ttft_ms, production.cost_usd) == (2000.0, None, None)
    assert (cut.ending, cut.reason) == ("rejected", "cut_content")
