"""Laws of the spool's files: nothing is lost but what is damaged, nothing is made up, nothing comes twice."""

import dataclasses
import fcntl
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ConfigurationError
from harness.spool import record
from harness.spool.reader import SpoolReader
from harness.spool.record import Captured
from harness.spool.writer import MARK_BYTES, append, mark_of

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Every save waits for the disk; here the disk is not what is tested."""

names = st.text(min_size=1, max_size=8)
latin = st.text(st.characters(max_codepoint=255), max_size=12)
plain = st.binary(max_size=60)
# Bodies that look like the spool's own bytes, whole records among them: clients may send what they like.
nested = plain.map(
    lambda body: b"".join(
        record.encode(Captured(id="forged", at_ns=1, method="POST", path="/", status=1, request=body))
    )
)
bodies = st.one_of(plain, nested, st.just(record.MAGIC), st.just(record.MAGIC * 9))
captured = st.builds(
    Captured,
    id=names,
    at_ns=st.integers(0, 2**62),
    method=st.just("POST"),
    path=names,
    status=st.integers(0, 999),
    latency_ms=st.none() | st.floats(0, 1e6),
    ttft_ms=st.none() | st.floats(0, 1e6),
    error=st.none() | names,
    request_headers=st.dictionaries(latin, latin, max_size=3),
    response_headers=st.dictionaries(latin, latin, max_size=3),
    rate=st.floats(0, 1),
    salt_id=st.text("0123456789abcdef", max_size=8),
    session=st.none() | names,
    user=st.none() | names,
    request=bodies,
    response=bodies,
)
batches = st.lists(captured, max_size=8).map(
    lambda found: [dataclasses.replace(one, id=f"{number}-{one.id}") for number, one in enumerate(found)]
)


def read(folder: Path, limit: int = 1_000) -> list[Captured]:
    with SpoolReader(folder) as reader:
        found = [one for _, one in reader.read(limit)]
        reader.save()
    return found


@EXAMPLES
@given(batches, st.data())
def test_a_record_survives_any_split_of_its_bodies(records, data):
    for one in records:
        cut = data.draw(st.integers(0, len(one.request)))
        whole = b"".join(record.encode(one))
        meta = record.encode(one)[1]
        assert b"".join(record.frame(meta, [one.request[:cut], one.request[cut:]], [one.response])) == whole
        assert record.decode(b"junk" + whole + b"junk", 4) == one
        assert record.length_at(whole) == len(whole)


@EXAMPLES
@given(batches, st.integers(1, 4))
def test_what_is_written_is_read_once_and_in_order(records, files):
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        folder = Path(name)
        for number in range(files):
            append(folder, "w", records[number::files], number)
        expected = [one for number in range(files) for one in records[number::files]]
        assert read(folder) == expected
        assert read(folder) == []
        assert not list(folder.glob("*.spool"))


@EXAMPLES
@given(batches.filter(bool), st.data())
def test_a_torn_end_loses_the_record_it_tears_and_no_other(records, data):
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        folder = Path(name)
        path = append(folder, "w", records)
        whole = path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        ends = [len(b"".join(record.encode(one))) + MARK_BYTES for one in records]
        kept = sum(sum(ends[: place + 1]) <= cut for place in range(len(ends)))
        assert read(folder) == records[:kept]
        assert not list(folder.glob("*.spool"))


@EXAMPLES
@given(batches.filter(bool), st.data())
def test_a_flipped_byte_loses_the_record_it_is_in_and_no_other(records, data):
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        folder = Path(name)
        path = append(folder, "w", records)
        whole = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(whole)
        hit = begin = 0
        for place, one in enumerate(records):
            begin += len(b"".join(record.encode(one))) + MARK_BYTES
            if at < begin:
                hit = place
                break
        assert read(folder) == records[:hit] + records[hit + 1 :]


@EXAMPLES
@given(batches, st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=30)), max_size=4))
def test_whatever_is_done_to_a_file_no_record_is_made_up(records, edits):
    """Bytes overwritten, inserted and cut at several places."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        folder = Path(name)
        path = append(folder, "w", records)
        whole = path.read_bytes()
        for at, new in edits:
            whole = whole[:at] + new + whole[at + len(new) // 2 :]
        path.write_bytes(whole)
        found = read(folder)
        assert [one for one in found if one not in records] == []
        assert len({one.id for one in found}) == len(found)


@EXAMPLES
@given(batches, st.lists(st.integers(1, 3), max_size=12), st.lists(st.booleans(), min_size=12, max_size=12))
def test_a_reader_that_stops_anywhere_goes_on_where_it_saved(records, steps, saves):
    """Whatever was saved never comes again; whatever was not saved does."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        folder = Path(name)
        append(folder, "a", records[::2])
        append(folder, "b", records[1::2])
        order = records[::2] + records[1::2]
        done = 0
        for step, keep in zip(steps, saves, strict=False):
            with SpoolReader(folder) as reader:
                found = [one for _, one in reader.read(step)]
                assert found == order[done : done + step]
                if keep:
                    reader.save()
                    done += len(found)
        assert read(folder) == order[done:]
        assert read(folder) == []


@EXAMPLES
@given(batches, st.data())
def test_a_file_that_grows_is_read_as_far_as_it_is_whole(records, data):
    """The writer lives and the file arrives in pieces of any size."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        folder = Path(name)
        path = append(folder, "w", records)
        whole = path.read_bytes()
        cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
        path.write_bytes(b"")
        found = []
        with SpoolReader(folder) as reader, path.open("ab", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
                file.write(whole[begin:end])
                found += [one for _, one in reader.read(1_000)]
                reader.save()
            assert found == records
            assert path.exists()
            assert reader.position.damaged_bytes == 0
        assert read(folder) == []
        assert not path.exists()


def test_a_record_inside_a_torn_record_is_not_one(tmp_path):
    """The writer is killed while it writes a body that holds a whole, valid record."""
    forged = Captured(id="forged", at_ns=1, method="POST", path="/v1/messages", status=200, response=b"I am better")
    inner = b"".join(record.encode(forged))
    victim = Captured(id="v", at_ns=1, method="POST", path="/", status=200, request=inner + b"x" * 100)
    path = append(tmp_path, "w", [victim])
    path.write_bytes(path.read_bytes()[:-50])
    assert inner in path.read_bytes()

    assert read(tmp_path) == []


def test_marks_differ_from_file_to_file_and_are_read_off_the_name(tmp_path):
    one, other = append(tmp_path, "w", [], 0), append(tmp_path, "w", [], 1)
    assert mark_of(one) != mark_of(other)
    assert mark_of(tmp_path / "w.00000000.spool") is None
    assert mark_of(tmp_path / f"{os.urandom(8).hex()}.spool") is None


def test_files_that_are_no_spool_files_are_left_alone(tmp_path):
    for name in ("notes.spool", "w.00000000.spool", "w.00000001.zz.spool", "position.txt"):
        (tmp_path / name).write_bytes(b"x" * 100)
    assert read(tmp_path) == []
    assert len(list(tmp_path.glob("*.spool"))) == 3


def test_a_second_reader_is_refused_with_the_next_step(tmp_path):
    with SpoolReader(tmp_path), pytest.raises(ConfigurationError, match="stop that one first"):
        SpoolReader(tmp_path)
    SpoolReader(tmp_path).__exit__(None, None, None)


def test_a_damaged_position_says_what_to_do(tmp_path):
    (tmp_path / "position.json").write_text('{"offsets": ')
    with pytest.raises(ConfigurationError, match="when it is removed, the spool is read again"):
        SpoolReader(tmp_path)


def test_positions_do_not_grow_with_the_files_that_were_read(tmp_path):
    for number in range(20):
        append(tmp_path, "w", [Captured(id=str(number), at_ns=1, method="POST", path="/", status=200)], number)
        assert len(read(tmp_path)) == 1
    with SpoolReader(tmp_path) as reader:
        assert reader.position.offsets == {}
        assert reader.position.records == 20


def test_lengths_no_record_can_have_are_damage():
    header = record._HEADER.pack(record.MAGIC, 10, record.LARGEST_PART + 1, 0)
    assert record.length_at(header + bytes(100)) is None
    assert record.decode(header + bytes(100)) is None


@pytest.mark.parametrize("meta", [b"", b"[]", b"{", b'{"id": "x"}', b"null", b"\xff"])
def test_a_checksum_does_not_make_meta_of_anything_else(meta):
    assert record.decode(b"".join(record.frame(meta, (), ()))) is None


def test_fields_of_a_later_version_are_left_out():
    meta = b'{"id":"1","at_ns":1,"method":"POST","path":"/","status":200,"colour":"red","request":"never"}'
    found = record.decode(b"".join(record.frame(meta, (b"q",), ())))
    assert found is not None
    assert (found.id, found.request) == ("1", b"q")
