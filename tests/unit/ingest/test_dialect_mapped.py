"""Tables read by the column names of the experiment."""

from datetime import UTC, datetime

import pytest

from harness.config import Mapping_
from harness.domain.observation import ErrorKind, Usage
from harness.errors import ConfigurationError
from harness.ingest.reader import ExportReader

FULL = Mapping_(
    prompt="q", system_prompt="sys", response="a", id="key", model="m.name", default_model="base", latency="lat",
    latency_unit="s", ttft="first", tokens_in="in", tokens_out="out", cost="price", cost_unit="cents", timestamp="when",
    session="conv", user="who", error="err", finish_reason="fin", tools="tools", params="set", tags="labels",
    metadata=["region", "plan"],
)  # fmt: skip


def test_every_column_finds_its_field(records_of):
    row = {
        "q": "Hi", "sys": "Be kind.", "a": "Hello", "key": 7, "m": {"name": "gpt"}, "lat": "1.5", "first": 0.25,
        "in": "10",
        "out": 2.0, "price": 3, "when": "2024-03-28 19:06:29", "conv": "c", "who": "w", "err": None, "fin": "stop",
        "tools": '[{"type": "function", "function": {"name": "f"}}]', "set": '{"temperature": 0.5}', "labels": ["x"],
        "region": "eu", "plan": None,
    }  # fmt: skip
    (record,) = records_of(row, dialect="mapping", mapping=FULL)
    exchange = record.exchange
    assert (exchange.id, exchange.request.model) == ("7", "gpt")
    assert exchange.request.messages == ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"})
    assert exchange.request.params == {"temperature": 0.5}
    assert [tool["function"]["name"] for tool in exchange.request.tools] == ["f"]
    production = exchange.production
    assert (production.completion.text, production.completion.finish_reason) == ("Hello", "stop")
    assert (production.latency_ms, production.ttft_ms, production.cost_usd) == (1500.0, 250.0, 0.03)
    assert production.usage == Usage(tokens_in=10, tokens_out=2)
    assert exchange.timestamp == datetime(2024, 3, 28, 19, 6, 29, tzinfo=UTC)
    assert (exchange.session, exchange.user, exchange.tags, exchange.metadata) == ("c", "w", ("x",), {"region": "eu"})


@pytest.mark.parametrize(("unit", "expected"), [("ms", 1.5), ("s", 1500.0), ("us", 0.0015), ("ns", 0.0000015)])
def test_latency_units(records_of, unit, expected):
    mapping = Mapping_(prompt="q", response="a", latency="t", latency_unit=unit)
    (record,) = records_of({"q": "x", "a": "y", "t": 1.5}, dialect="mapping", mapping=mapping)
    assert record.exchange.production.latency_ms == pytest.approx(expected)


@pytest.mark.parametrize(("answer", "text"), [(True, "true"), (5, "5"), ("", ""), ('{"a": 1}', '{"a": 1}')])
def test_answers_that_are_no_text_keep_their_spelling(records_of, answer, text):
    (record,) = records_of({"q": "x", "a": answer}, dialect="mapping", mapping=Mapping_(prompt="q", response="a"))
    assert record.exchange.production.completion.text == text


def test_missing_columns_skip_the_row(records_of, endings):
    mapping = Mapping_(prompt="q", response="a")
    records = records_of({"a": "y"}, {"q": "x"}, {"q": "x", "a": "y"}, dialect="mapping", mapping=mapping)
    assert [ending[:2] for ending in endings(records)] == [(1, "skipped"), (2, "skipped"), (3, "exchange")]
    assert [record.reason for record in records] == ["no_request", "no_result", None]
    assert "'q'" in records[0].message


def test_an_error_column_makes_the_call_failed(records_of):
    mapping = Mapping_(prompt="q", response="a", error="e")
    (record,) = records_of({"q": "x", "a": None, "e": "Rate limit reached"}, dialect="mapping", mapping=mapping)
    assert record.exchange.production.error.kind is ErrorKind.RATE_LIMIT


def test_chat_columns_may_hold_encoded_messages(records_of):
    mapping = Mapping_(messages="chat", response="a", default_model="m")
    row = {"chat": '[{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]', "a": "y"}
    (record,) = records_of(row, dialect="mapping", mapping=mapping)
    assert [message["content"] for message in record.exchange.request.messages] == ["s", "q"]


def test_a_table_of_numbers_is_skipped_row_by_row(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_bytes(b"TIMESTAMP,ContextTokens\r\n2023-11-16 18:15:46.6805900,374\r\n2023-11-16 18:15:50.9951690,396")
    reader = ExportReader([str(path)], dialect="mapping", mapping=Mapping_(prompt="prompt", response="response"))
    assert [(record.line, record.reason) for record in reader] == [(1, "no_request"), (2, "no_request")]


def test_parquet_rows_map_too(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "t.parquet"
    rows = {"q": ["x"], "a": ["y"], "when": [datetime(2024, 3, 28, 19, 6, 29, tzinfo=UTC)], "lat": [float("nan")]}
    pyarrow.parquet.write_table(pyarrow.table(rows), path)
    mapping = Mapping_(prompt="q", response="a", timestamp="when", latency="lat")
    (record,) = ExportReader([str(path)], dialect="mapping", mapping=mapping)
    assert record.exchange.timestamp == datetime(2024, 3, 28, 19, 6, 29, tzinfo=UTC)
    assert record.exchange.production.latency_ms is None


def test_a_mapping_dialect_without_a_mapping_is_refused():
    with pytest.raises(ConfigurationError, match="mapping"):
        ExportReader(["x"], dialect="mapping")


def test_a_named_column_that_is_missing_is_told(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("q,a\nx,y\nz,w\n", encoding="utf-8")
    reader = ExportReader([str(path)], dialect="mapping", mapping=Mapping_(prompt="q", response="a", latency="lat"))
    assert sum(record.exchange is not None for record in reader) == 2
    assert reader.warnings == ["t.csv: column 'lat' of the mapping is not in every record"]


def test_well_known_column_names_are_guessed_and_the_guess_is_told(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("id,prompt,completion,model,latency_ms,latency\n1,Hi,Hello,m,12,3\n2,,x,m,1,1\n")
    reader = ExportReader([str(path)])
    first, second = reader
    assert first.exchange.request.messages == ({"role": "user", "content": "Hi"},)
    production = first.exchange.production
    assert (first.exchange.id, production.completion.text, production.latency_ms) == ("1", "Hello", 12.0)
    assert (second.ending, second.reason) == ("skipped", "no_request")
    assert reader.dialects == {"table.csv": "mapping (detected)"}
    (warning,) = reader.warnings
    assert "prompt: prompt" in warning
    assert "response: completion" in warning
    assert "latency: latency_ms" in warning
