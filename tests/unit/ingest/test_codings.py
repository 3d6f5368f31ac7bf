"""Content codings are undone within bounds."""

import gzip
import zlib

import pytest
import zstandard

from harness.ingest import codings
from harness.ingest.dialects.calls import UnreadableRecord

BODY = b'{"text": "' + b"na\xc3\xafve " * 500 + b'"}'


def deflated(body: bytes, wbits: int) -> bytes:
    machine = zlib.compressobj(wbits=wbits)
    return machine.compress(body) + machine.flush()


@pytest.mark.parametrize(
    ("coding", "coded"),
    [
        (None, BODY),
        ("identity", BODY),
        ("gzip", gzip.compress(BODY, mtime=0)),
        ("GZIP ", gzip.compress(BODY[:100], mtime=0) + gzip.compress(BODY[100:], mtime=0)),
        ("deflate", deflated(BODY, zlib.MAX_WBITS)),
        ("deflate", deflated(BODY, -zlib.MAX_WBITS)),
        ("zstd", zstandard.compress(BODY)),
        ("zstd", zstandard.compress(BODY[:100]) + zstandard.compress(BODY[100:])),
        ("zstd, gzip", gzip.compress(zstandard.compress(BODY), mtime=0)),
    ],
)
def test_what_was_coded_is_read(coding, coded):
    assert codings.decoded(coded, coding) == BODY


@pytest.mark.parametrize(
    ("coding", "coded", "word"),
    [
        ("gzip", BODY, "not in its content coding"),
        ("gzip", gzip.compress(BODY, mtime=0)[:-20], "cut off"),
        ("zstd", b"\x28\xb5\x2f\xfd garbage", "not in its content coding"),
        ("compress", BODY, "not known"),
        ("gzip", gzip.compress(bytes(2 << 20), mtime=0), "more than 1 MiB"),
        ("zstd", zstandard.compress(bytes(2 << 20)), "more than 1 MiB"),
        ("deflate", deflated(bytes(2 << 20), zlib.MAX_WBITS), "more than 1 MiB"),
        (None, bytes(2 << 20), "more than 1 MiB"),
    ],
)
def test_what_cannot_be_undone_says_why(coding, coded, word):
    with pytest.raises(UnreadableRecord, match=word):
        codings.decoded(coded, coding, largest=1 << 20)


def test_brotli_is_read_where_its_library_is(monkeypatch):
    monkeypatch.setattr(codings, "_brotli_library", lambda: None)
    with pytest.raises(UnreadableRecord, match="install `brotli`"):
        codings.decoded(b"\x0b\x02\x80", "br")


class OldBrotli:
    """Each byte stands for 1 KiB; all that is given is undone at once."""

    def __init__(self) -> None:
        self.largest_piece = self.undone = 0

    def Decompressor(self) -> "OldBrotli":  # noqa: N802  as the library names it
        return self

    def process(self, data: bytes) -> bytes:
        self.undone += len(data) << 10
        self.largest_piece = max(self.largest_piece, len(data) << 10)
        return bytes(len(data) << 10)

    def is_finished(self) -> bool:
        return self.undone > 0


class NewBrotli(OldBrotli):
    """Can be told where to stop, and goes on from there."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 0

    def process(self, data: bytes, *, output_buffer_limit: int) -> bytes:
        self.left += len(data) << 10
        piece = min(self.left, output_buffer_limit)
        self.left -= piece
        self.undone += piece
        self.largest_piece = max(self.largest_piece, piece)
        return bytes(piece)

    def can_accept_more_data(self) -> bool:
        return not self.left

    def is_finished(self) -> bool:
        return not self.left


@pytest.mark.parametrize("library", [OldBrotli(), NewBrotli()])
def test_brotli_is_undone_in_pieces_and_not_further_than_it_may(monkeypatch, library):
    monkeypatch.setattr(codings, "_brotli_library", lambda: library)
    assert codings.decoded(b"x" * 5_000, "br") == bytes(5_000 << 10)
    library.undone = library.left = 0
    with pytest.raises(UnreadableRecord, match="more than 2 MiB"):
        codings.decoded(b"x" * 50_000, "br", largest=2 << 20)
    assert library.largest_piece <= 1 << 20
    assert library.undone <= 3 << 20


def test_an_empty_body_is_empty_in_any_coding():
    assert codings.decoded(b"", "gzip") == b""
