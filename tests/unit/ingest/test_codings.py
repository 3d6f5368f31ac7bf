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


def test_an_empty_body_is_empty_in_any_coding():
    assert codings.decoded(b"", "gzip") == b""
