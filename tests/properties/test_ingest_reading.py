"""Laws of reading exports: nothing raises, every line is counted, and nothing is lost on the way through a chat log."""

import itertools
import tempfile
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.domain.observation import ToolCall
from harness.ingest import detect, files, splitting
from harness.ingest.dialects import bodies
from harness.ingest.reader import ExportReader
from harness.ingest.records import Ending

FIRST = orjson.dumps({"id": "first", "model": "m", "messages": [{"role": "user", "content": "x"}], "response": "y"})
KEYS = st.sampled_from([
    "id", "model", "messages", "request", "response", "choices", "message", "content", "role", "tool_calls",
    "function", "arguments", "usage", "input", "output", "error", "custom_id", "body", "params", "result",
    "attributes", "events", "resourceSpans", "resourceLogs", "scopeSpans", "scopeLogs", "spans", "logRecords",
    "spanId", "traceId", "status", "type", "metadata", "tags", "conversations", "conversation", "delta",
    "index", "system", "tools", "name", "parts", "timestamp", "startTime", "spend", "request_id",
    "provided_model_name", "level", "gen_ai.request.model", "span_id", "gen_ai.input.messages",
    "gen_ai.prompt.0.content", "gen_ai.prompt.0.0", "candidates", "contents", "key", "value",
    "system_instruction", "stringValue", "usage_details", "model_parameters", "response_cost",
    "conversation_hash", "observations",
])  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["user", "assistant", "chat", "GENERATION", "text", "tool_use", "error", "data: {", "{}"]),
    st.text(max_size=8),
)  # fmt: skip
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=20,
)
RECORDS = st.dictionaries(KEYS, JSON, min_size=1, max_size=8)
LINES = st.lists(
    st.one_of(st.binary(max_size=40), RECORDS.map(orjson.dumps)).map(lambda raw: raw.replace(b"\n", b" ")), max_size=8
)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def read(content, **options):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        path.write_bytes(content)
        return list(ExportReader([str(path)], **options))


@given(LINES)
@settings(deadline=None, max_examples=60)
def test_every_line_of_any_bytes_ends_exactly_once(lines):
    records = read(b"".join(line + b"\n" for line in [FIRST, *lines]))
    assert [record.line for record in records] == list(range(1, len(lines) + 2))
    assert records[0].ending is Ending.EXCHANGE
    for record in records:
        assert (record.exchange is not None) == (record.ending is Ending.EXCHANGE)
        assert (record.ending in {Ending.EXCHANGE, Ending.IGNORED}) or (record.reason and record.message)


@pytest.mark.parametrize("name", [name for name in detect.known() if name != "mapping"])
@given(records=st.lists(RECORDS, min_size=1, max_size=4))
@settings(deadline=None, max_examples=25)
def test_no_dialect_raises_on_any_record(name, records):
    found = read(b"".join(orjson.dumps(record) + b"\n" for record in records), dialect=name)
    assert {record.line for record in found} <= set(range(1, len(records) + 1))
    for record in found:
        if record.exchange is not None:
            assert record.exchange.request.messages
            assert record.exchange.request.model
            orjson.dumps(record.exchange.request.messages)


@given(
    st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), WORDS), max_size=4),
    WORDS,
    WORDS,
    st.dictionaries(WORDS, st.integers(-(2**53), 2**53), max_size=2),
    st.integers(0, 10_000),
    st.floats(0, 1e6),
)
@settings(deadline=None, max_examples=60)
def test_a_call_survives_a_chat_log(history, prompt, text, arguments, tokens, latency):
    messages = [{"role": role, "content": content} for role, content in history] + [{"role": "user", "content": prompt}]
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": orjson.dumps(arguments).decode()}}
    answer = {"role": "assistant", "content": text, "tool_calls": [call]}
    record = {
        "id": "one", "latency_ms": latency, "request": {"model": "m", "messages": messages, "temperature": 0.5},
        "response": {"model": "m-1", "choices": [{"index": 0, "message": answer, "finish_reason": "tool_calls"}],
                     "usage": {"prompt_tokens": tokens, "completion_tokens": tokens}},
    }  # fmt: skip
    (found,) = read(orjson.dumps(record))
    exchange = found.exchange
    assert list(exchange.request.messages) == messages
    assert exchange.request.params == {"temperature": 0.5}
    assert exchange.production.completion.text == (text or None)
    assert exchange.production.completion.tool_calls == (ToolCall(id="c", name="f", arguments=arguments),)
    assert (exchange.production.usage.tokens_in, exchange.production.usage.tokens_out) == (tokens, tokens)
    assert exchange.production.latency_ms == (latency or None)  # a zero says that nobody measured


def pieces(text, cuts):
    edges = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[start:end] for start, end in itertools.pairwise(edges)]


CUTS = st.lists(st.integers(0, 1_000), max_size=6)


@given(WORDS, st.dictionaries(WORDS, WORDS, max_size=3), CUTS, CUTS, st.booleans())
@settings(deadline=None, max_examples=60)
def test_a_stream_folds_the_same_however_it_was_cut(text, arguments, text_cuts, argument_cuts, as_text):
    raw = orjson.dumps(arguments).decode()
    deltas = [{"content": piece} for piece in pieces(text, text_cuts)]
    deltas.append({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]})
    deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces(raw, argument_cuts)]
    chunks = [{"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    stored = "".join(f"data: {orjson.dumps(chunk).decode()}\n\n" for chunk in chunks) if as_text else chunks
    completion = bodies.answer(stored).completion
    assert completion.text == (text or None)
    assert completion.tool_calls == (ToolCall(id="c", name="f", arguments=arguments),)
    assert completion.finish_reason == "stop"


@given(st.lists(RECORDS, max_size=5), st.sampled_from([b"", b"\n", b" \r\n\t"]), st.integers(1, 40))
@settings(deadline=None, max_examples=40)
def test_a_document_is_cut_into_its_elements_whatever_the_window(records, space, window):
    content = b"[" + (space + b"," + space).join(orjson.dumps(record) for record in records) + space + b"]"
    before = splitting._CHUNK
    splitting._CHUNK = window
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "log.json"
            path.write_bytes(content)
            (file,) = files.expand([str(path)])
            assert [item.value for item in files.read(file, files.Meter())] == records
    finally:
        splitting._CHUNK = before
