"""The reader as a whole: detection, mixed and damaged files, progress, warnings."""

import tracemalloc

import orjson
import pytest

from harness.errors import InputError
from harness.ingest.reader import ExportReader
from harness.ingest.records import Ending

CHAT = {"model": "m", "messages": [{"role": "user", "content": "x"}], "response": "y"}


def chat(number, **fields):
    return CHAT | {"id": f"c{number}"} | fields


def write(path, *lines):
    path.write_bytes(b"".join((line if isinstance(line, bytes) else orjson.dumps(line)) + b"\n" for line in lines))
    return str(path)


def test_a_dirty_file_keeps_every_sound_line(tmp_path, endings):
    source = write(
        tmp_path / "log.jsonl",
        b"\xef\xbb\xbf" + orjson.dumps(chat(1)),
        b"not json",
        orjson.dumps(chat(2)) + b"\r",
        b"",
        orjson.dumps(chat(3, response="a\u2028b")),
        b'{"id": "\xff"}',
        b'{"id": NaN}',
        b'{"id": "\\ud83d"}',
        orjson.dumps(chat(4))[:-10],
    )
    reader = ExportReader([source])
    records = list(reader)
    assert endings(records) == [
        (1, "exchange", "c1"),
        (2, "rejected", "bad_json"),
        (3, "exchange", "c2"),
        (4, "ignored", None),
        (5, "exchange", "c3"),
        (6, "rejected", "bad_utf8"),
        (7, "rejected", "bad_number"),
        (8, "rejected", "lone_surrogate"),
        (9, "rejected", "bad_json"),
    ]
    assert records[4].exchange.production.completion.text == "a\u2028b"
    assert records[1].raw == b"not json"
    assert all(record.message.startswith(f"log.jsonl:{record.line}: ") for record in records if record.raw is not None)
    assert reader.bytes_read == reader.bytes_total == (tmp_path / "log.jsonl").stat().st_size


def test_a_record_of_another_dialect_is_rejected_alone(tmp_path, endings):
    spend = {"request_id": "r", "spend": 1, "startTime": "2025-01-24 09:20:46"}
    source = write(tmp_path / "log.jsonl", chat(1), spend, {"unrelated": True}, chat(2))
    reader = ExportReader([source])
    assert endings(list(reader)) == [
        (1, "exchange", "c1"),
        (2, "rejected", "other_dialect"),
        (3, "rejected", "other_dialect"),
        (4, "exchange", "c2"),
    ]
    assert reader.dialects == {"log.jsonl": "openai_chat (detected)"}


def test_detection_looks_past_a_bad_first_line(tmp_path, endings):
    assert endings(list(ExportReader([write(tmp_path / "log.jsonl", b"oops", b"", chat(1))]))) == [
        (1, "rejected", "bad_json"), (2, "ignored", None), (3, "exchange", "c1"),
    ]  # fmt: skip


def test_a_configured_dialect_is_not_second_guessed(tmp_path):
    reader = ExportReader([write(tmp_path / "log.jsonl", chat(1))], dialect="openai_chat")
    assert [record.ending for record in reader] == [Ending.EXCHANGE]
    assert reader.dialects == {"log.jsonl": "openai_chat (configured)"}


def test_files_of_different_dialects_may_be_read_together(sample):
    records = sample("wildchat.jsonl", "langfuse_api.json")
    assert [record.exchange.id for record in records] == ["h1#1", "g"]


def test_an_unknown_format_prints_its_keys(tmp_path):
    with pytest.raises(InputError, match=r"log\.jsonl.*Keys seen: question, reply.*dialect: mapping"):
        list(ExportReader([write(tmp_path / "log.jsonl", {"question": 1, "reply": 2})]))


def test_an_unknown_dialect_lists_the_known_ones():
    with pytest.raises(InputError, match=r"no dialect 'nope'.*anthropic_batch.*openai_chat.*otel_genai"):
        ExportReader(["x"], dialect="nope")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="nothing\\.jsonl"):
        ExportReader([str(tmp_path / "nothing.jsonl")])


def test_a_file_of_rejects_only_is_no_error_of_the_reader(tmp_path, endings):
    assert endings(list(ExportReader([write(tmp_path / "log.jsonl", b"a", b"b")]))) == [
        (1, "rejected", "bad_json"), (2, "rejected", "bad_json"),
    ]  # fmt: skip


def test_reading_a_file_twice_adds_nothing(tmp_path, endings):
    for name in ("a.jsonl", "b.jsonl"):
        write(tmp_path / name, chat(1), chat(2))
    assert endings(list(ExportReader([str(tmp_path)]))) == [
        (1, "exchange", "c1"), (2, "exchange", "c2"), (1, "duplicate", "duplicate"), (2, "duplicate", "duplicate"),
    ]  # fmt: skip


def test_suspicious_units_and_naive_times_are_told_once(tmp_path):
    lines = [chat(number, latency_ms=0.8, timestamp="2024-01-01 10:00:00") for number in range(9)]
    reader = ExportReader([write(tmp_path / "log.jsonl", *lines)])
    list(reader)
    assert len(reader.warnings) == 2
    assert "taken as UTC" in reader.warnings[0]
    assert "latency_unit" in reader.warnings[1]


def test_a_rejected_line_is_kept_up_to_its_first_mebibyte(tmp_path):
    (record,) = ExportReader([write(tmp_path / "log.jsonl", b"x" * 3_000_000)])
    assert len(record.raw) == 1 << 20


def test_reading_takes_constant_memory(tmp_path):
    path = tmp_path / "log.jsonl"
    with path.open("wb") as stream:
        for number in range(3_000):
            stream.write(orjson.dumps(chat(number, response="word " * 2_000)) + b"\n")
    assert path.stat().st_size > 29_000_000
    tracemalloc.start()
    try:
        count = sum(1 for record in ExportReader([str(path)]) if record.exchange is not None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 3_000
    assert peak < 8_000_000


def test_joining_takes_constant_memory(tmp_path):
    body = {"model": "m", "messages": [{"role": "user", "content": "word " * 2_000}]}
    for number in range(1_000):
        with (tmp_path / "in.jsonl").open("ab") as stream:
            stream.write(orjson.dumps({"custom_id": f"c{number}", "url": "/v1/chat/completions", "body": body}) + b"\n")
        answer = {"status_code": 200, "body": {"choices": [{"message": {"content": "word " * 2_000}}]}}
        with (tmp_path / "out.jsonl").open("ab") as stream:
            stream.write(orjson.dumps({"custom_id": f"c{999 - number}", "response": answer}) + b"\n")
    tracemalloc.start()
    try:
        count = sum(1 for record in ExportReader([str(tmp_path)]) if record.exchange is not None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 1_000
    assert peak < 8_000_000


def test_equal_records_of_a_document_are_different_calls_with_stable_ids(tmp_path):
    path = tmp_path / "log.json"
    path.write_bytes(orjson.dumps([CHAT, CHAT, {"messages": []}]))
    first, second = (list(ExportReader([str(path)])) for _ in range(2))
    assert [str(record.ending) for record in first] == ["exchange", "exchange", "skipped"]
    ids = [record.exchange.id for record in first[:2]]
    assert len(set(ids)) == 2
    assert [record.exchange.id for record in second[:2]] == ids
    assert first[2].message.startswith("log.json (record 3): ")


def test_of_several_files_an_unusable_one_costs_only_its_records(tmp_path):
    good = {"id": "a", "model": "m", "messages": [{"role": "user", "content": "x"}], "response": "y"}
    (tmp_path / "a.jsonl").write_bytes(orjson.dumps(good))
    (tmp_path / "manifest.json").write_bytes(b'{"rows": 1, "written": "2025-01-01"}')
    (tmp_path / "z.jsonl").write_bytes(orjson.dumps(good | {"id": "z"}).decode().encode("utf-16"))
    records = list(ExportReader([str(tmp_path)]))
    assert [(item.file, str(item.ending), item.reason) for item in records] == [
        ("a.jsonl", "exchange", None),
        ("manifest.json", "rejected", "unusable_file"),
        ("z.jsonl", "rejected", "unusable_file"),
    ]
    assert "Keys seen: rows, written" in records[1].message
    assert "iconv" in records[2].message
