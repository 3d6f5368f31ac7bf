"""Finding, unpacking and cutting export files, clean and damaged."""

import gzip
import random
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import orjson
import pytest
import zstandard

from harness.errors import InputError
from harness.ingest import files, splitting
from harness.ingest.records import Item


def line(number: int = 1, text: str = "hi") -> bytes:
    return orjson.dumps({"id": f"c{number}", "messages": [{"role": "user", "content": text}]})


def read(path: Path | str) -> list[Item]:
    meter = files.Meter()
    return [item for file in files.expand([str(path)]) for item in files.read(file, meter)]


def outcome(items: list[Item]) -> list[tuple[int | None, str | None]]:
    """Line, and the problem, ``empty`` or ``None``."""
    return [(item.line, item.problem or (None if item.value is not None else "empty")) for item in items]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (line(1) + b"\n" + line(2) + b"\n", [(1, None), (2, None)]),
        (b"\xef\xbb\xbf" + line() + b"\n", [(1, None)]),
        (line(1) + b"\r\n" + line(2) + b"\r\n", [(1, None), (2, None)]),
        (line(1) + b"\n\n \r\n" + line(2), [(1, None), (2, "empty"), (3, "empty"), (4, None)]),
        (line(1) + b"\n" + line(2)[:-9], [(1, None), (2, "truncated")]),
        (line(1)[:-9] + b"\n" + line(2), [(1, "bad_json"), (2, None)]),
        (line(1) + b'\n{"text": "caf\xe9"}\n' + line(3), [(1, None), (2, "bad_utf8"), (3, None)]),
        (line(1) + b'\n{"x": NaN}\n{"x": -Infinity}\n', [(1, None), (2, "bad_number"), (3, "bad_number")]),
        (line(1) + b'\n{"text": "\\ud83d"}\n', [(1, None), (2, "lone_surrogate")]),
        (line(1) + b'\n[1, 2]\n"text"\n', [(1, None), (2, "not_an_object"), (3, "not_an_object")]),
        (line(1, "a\u2028b\u2029c\x85d\x0ce") + b"\n" + line(2), [(1, None), (2, None)]),
        (b"", []),
    ],
    ids=[
        "plain", "byte order mark", "crlf", "empty lines", "truncated", "bad line", "not utf-8", "nan",
        "half a surrogate", "no objects", "line separators in text", "empty file",
    ],
)  # fmt: skip
def test_every_line_is_accounted_for(tmp_path, content, expected):
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    assert outcome(read(path)) == expected


def test_line_separators_inside_text_survive(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes('{"text": "a\u2028b\x85c"}\n'.encode())
    assert [item.value for item in read(path)] == [{"text": "a\u2028b\x85c"}]


def test_a_line_of_ten_megabytes_is_kept(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(line(1) + b"\n" + line(2, "x" * 10_000_000) + b"\n" + line(3) + b"\n")
    items = read(path)
    assert outcome(items) == [(1, None), (2, None), (3, None)]
    assert len(items[1].value["messages"][0]["content"]) == 10_000_000


@pytest.mark.parametrize("shape", ["lines", "document"])
def test_a_record_above_the_limit_is_rejected_with_its_size(tmp_path, monkeypatch, shape):
    monkeypatch.setattr(splitting, "LINE_LIMIT", 3 << 20)
    monkeypatch.setattr(files, "LINE_LIMIT", 3 << 20)
    big = line(2, "x" * (5 << 20))
    if shape == "lines":
        path = tmp_path / "log.jsonl"
        path.write_bytes(line(1) + b"\n" + big + b"\n" + line(3) + b"\n")
        expected = [(1, None), (2, "too_long"), (3, None)]
    else:
        path = tmp_path / "log.json"
        path.write_bytes(b"[" + line(1) + b"," + big + b"]")
        expected = [(None, None), (None, "too_long")]
    items = read(path)
    assert outcome(items) == expected
    assert "5.0 MB" in items[1].detail or "4.8 MB" in items[1].detail


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_with_a_hint(tmp_path, encoding):
    path = tmp_path / "log.jsonl"
    path.write_bytes(line().decode().encode(encoding))
    with pytest.raises(InputError, match=r"UTF-16.*iconv"):
        read(path)


@pytest.mark.parametrize("name", ["log.jsonl.gz", "log.jsonl", "log.json.gz"])
def test_gzip_is_known_by_content(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(line(1) + b"\n") + gzip.compress(line(2) + b"\n"))
    assert [item.value["id"] for item in read(path)] == ["c1", "c2"]


def test_zstandard_frames_are_read_one_after_the_other(tmp_path):
    path = tmp_path / "log.jsonl.zst"
    packer = zstandard.ZstdCompressor()
    path.write_bytes(packer.compress(line(1) + b"\n") + packer.compress(line(2) + b"\n"))
    assert outcome(read(path)) == [(1, None), (2, None)]


def test_a_cut_gzip_keeps_what_came_before(tmp_path):
    lines = b"\n".join(line(number, str(hash(str(number)))) for number in range(20_000))
    packed = gzip.compress(lines)
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(packed[: len(packed) * 3 // 4])
    items = read(path)
    assert len(items) > 1_000
    assert {item.problem for item in items[:-1]} == {None}
    assert items[-1].problem == "damaged_file"
    assert "export it again" in items[-1].detail


@pytest.mark.parametrize(
    ("name", "content", "ids", "lines"),
    [
        ("a.json", b'[{"id": 1}, {"id": 2}]', [1, 2], [None, None]),
        ("a.json", b'[\n{"id": 1},\n{"id": 2}\n]\n', [1, 2], [None, None]),
        ("a.json", b'{"id": 1}', [1], [None]),
        ("a.json", b'{\n "id": 1,\n "x": [1, {"y": "}]"}]\n}', [1], [None]),
        ("a.json", b'{"meta": {"page": 1}, "data": [{"id": 1}, {"id": 2}]}', [1, 2], [None, None]),
        ("a.json", b'{"requests": [{"id": 1}], "x": 1}', [1], [None]),
        ("a.json", b'{"id": 1}\n{"id": 2}\n', [1, 2], [1, 2]),
        ("a.jsonl", b'[{"id": 1},\n{"id": 2}]', [1, 2], [None, None]),
        ("a.jsonl", b'{\n "id": 1\n}', [1], [None]),
        ("a.json", b"[]", [], []),
    ],
)
def test_documents_are_cut_into_records(tmp_path, name, content, ids, lines):
    path = tmp_path / name
    path.write_bytes(content)
    items = read(path)
    assert [item.value["id"] for item in items] == ids
    assert [item.line for item in items] == lines


def test_envelopes_of_telemetry_keep_their_key(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'{"resourceSpans": [{"scopeSpans": [1]}, {"scopeSpans": [2]}]}')
    assert [item.value for item in read(path)] == [
        {"resourceSpans": [{"scopeSpans": [1]}]},
        {"resourceSpans": [{"scopeSpans": [2]}]},
    ]


def test_one_bad_element_does_not_cost_the_document(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"id": 1}, {"id": NaN}, 7, {"id": 2}, {"id": "cut')
    assert outcome(read(path)) == [
        (None, None), (None, "bad_number"), (None, "not_an_object"), (None, None), (None, "truncated"),
    ]  # fmt: skip


def test_csv_cells_hold_line_breaks_and_quoted_json(tmp_path):
    path = tmp_path / "a.csv"
    nested = b'"[{""role"": ""user"",\n""content"": ""a,b""}]"'
    path.write_bytes(b"\xef\xbb\xbfid,messages,x\r\n1," + nested + b",\r\n2,short\r\n3,\xff,y\r\n4,ok,z")
    items = read(path)
    assert outcome(items) == [(1, None), (2, "short_row"), (3, "bad_utf8"), (4, None)]
    assert items[0].value == {"id": "1", "messages": '[{"role": "user",\n"content": "a,b"}]', "x": None}


def test_csv_cells_may_be_megabytes(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"id;text\n1;{'x' * 3_000_000}\n", encoding="utf-8")
    assert len(read(path)[0].value["text"]) == 3_000_000


@pytest.mark.parametrize("packed", [False, True])
def test_parquet_is_read_with_nested_values(tmp_path, packed):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table(
        {
            "id": ["a", "b"],
            "messages": [[{"role": "user", "content": "hi"}], None],
            "score": [float("nan"), 1.5],
            "usage": pyarrow.array([[("input", 3)], None], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
            "parts": [[{"type": "text", "url": None}], [{"type": "image", "url": "u"}]],
        }
    )
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(table, path)
    if packed:
        path.with_suffix(".parquet.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    items = read(tmp_path)
    assert [item.line for item in items] == [1, 2]
    assert items[0].value == {
        "id": "a", "messages": [{"role": "user", "content": "hi"}], "score": None, "usage": {"input": 3},
        "parts": [{"type": "text"}],
    }  # fmt: skip
    assert items[1].value == {
        "id": "b", "messages": None, "score": 1.5, "usage": None, "parts": [{"type": "image", "url": "u"}],
    }  # fmt: skip


def test_a_broken_parquet_file_is_one_rejection(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 and then nothing of the kind")
    assert [item.problem for item in read(path)] == ["damaged_file"]


def test_folders_globs_and_lists_name_each_file_once(tmp_path):
    for name in ("b/x.jsonl", "a/x.jsonl", "a/y.csv.gz", "a/notes.txt", "a/.hidden.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = files.expand([str(tmp_path), str(tmp_path / "a" / "*.jsonl")])
    assert [file.name for file in found] == ["a/x.jsonl", "y.csv.gz", "b/x.jsonl"]
    assert [file.suffix for file in found] == [".jsonl", ".csv", ".jsonl"]


def test_urls_of_any_file_system_are_read(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe("/exports/one.jsonl", line(1) + b"\n")
    memory.pipe("/exports/two.jsonl.gz", gzip.compress(line(2) + b"\n"))
    (tmp_path / "three.jsonl").write_bytes(line(3))
    for source, ids in [
        ("memory://exports/one.jsonl", ["c1"]),
        ("memory://exports/*", ["c1", "c2"]),
        ("memory://exports", ["c1", "c2"]),
        (f"file://{tmp_path}/three.jsonl", ["c3"]),
    ]:
        assert [item.value["id"] for item in read(source)] == ids
    memory.rm("/exports", recursive=True)


@pytest.mark.parametrize("source", ["nothing-here-*.jsonl", "memory://nowhere/*.jsonl", "nosuchscheme://x/y"])
def test_a_source_that_matches_nothing_is_named(source):
    with pytest.raises(InputError, match=r"nothing-here|nowhere|nosuchscheme"):
        files.expand([source])


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.jsonl.gz", "a.csv"])
def test_memory_follows_the_record_not_the_file(tmp_path, name):
    record = line(1, "word " * 2_000)
    if name == "a.json":
        content = b"[" + b",".join([record] * 3_000) + b"]"
    elif name == "a.csv":
        content = b"id,text\n" + b"1,%s\n" % (b"word " * 2_000) * 3_000
    else:
        content = b"\n".join([record] * 3_000)
    path = tmp_path / name
    path.write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)
    assert len(content) > 29_000_000
    del content
    meter = files.Meter()
    (file,) = files.expand([str(path)])
    tracemalloc.start()
    try:
        count = sum(1 for _ in files.read(file, meter))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 3_000
    assert peak < 12_000_000
    assert meter.count == path.stat().st_size


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_what_stands_before_a_cut_in_a_packed_file_is_kept(tmp_path, pack):
    noise = [line(n, random.Random(n).randbytes(3_000).hex()) for n in range(40)]
    packed = pack(b"\n".join(noise) + b"\n")
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(packed[: len(packed) * 9 // 10])
    items = read(path)
    assert len([item for item in items if item.value is not None]) >= 10
    assert [item.problem is None for item in items] == [True] * (len(items) - 1) + [False]


def test_blank_lines_of_a_table_are_no_data_records(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"\r\nid,text\r\n1,a\r\n\r\n2,b\r\n3\r\n")
    items = [item for item in read(path) if item.line is not None]
    assert outcome(items) == [(1, None), (2, None), (3, "short_row")]
    assert "columns" in items[2].detail


@pytest.mark.parametrize(
    ("name", "content", "values"),
    [
        ("export", b"id,text\n1,a\n", [{"id": "1", "text": "a"}]),
        ("export.txt", b"id\ttext\n1\ta\n", [{"id": "1", "text": "a"}]),
        ("export.csv", b'{"id": "1"}\n{"id": "2"}\n', [{"id": "1"}, {"id": "2"}]),
    ],
)
def test_content_tells_a_table_where_the_name_does_not(tmp_path, name, content, values):
    (tmp_path / name).write_bytes(content)
    assert [item.value for item in read(tmp_path / name)] == values


def test_control_characters_in_texts_are_read(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"text": "a\x0cb"}\n{"text": "\x0c", "n": NaN}\n{"text": "\x0c\\ud83d"}\n')
    items = read(path)
    assert items[0].value == {"text": "a\x0cb"}
    assert [item.problem for item in items] == [None, "bad_number", "bad_json"]


def test_a_last_line_cut_within_a_character_is_cut_off(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(line(1) + b"\n" + '{"text": "€'.encode()[:-1])
    assert outcome(read(path)) == [(1, None), (2, "truncated")]


def test_parquet_times_to_the_nanosecond_become_plain_ones(tmp_path):
    import pyarrow
    from pyarrow import parquet

    nanoseconds = pyarrow.array([1_700_000_000_123_456_789], pyarrow.timestamp("ns", "UTC"))
    parquet.write_table(pyarrow.table({"ts": nanoseconds}), tmp_path / "log.parquet")
    (item,) = read(tmp_path / "log.parquet")
    assert type(item.value["ts"]) is datetime
    assert item.value["ts"] == datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
