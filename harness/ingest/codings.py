"""Undoing HTTP content codings, bounded: a few kilobytes may stand for gigabytes."""

import importlib
import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from harness.ingest.dialects.calls import UnreadableRecord

LARGEST = 64 << 20
"""Bytes a body may come to."""
_PIECE = 1 << 20
_BROTLI_STEP = 16


def decoded(body: bytes, coding: str | None, *, largest: int = LARGEST) -> bytes:
    """The body without the codings of its ``content-encoding`` header.

    Raises:
        UnreadableRecord: a coding is not known here, the body is not in it, or it comes to more than ``largest`` bytes.
    """
    names = [name.strip().lower() for name in (coding or "").split(",")]
    # Listed in the order in which they were applied.
    for name in reversed([name for name in names if name not in {"", "identity"}]):
        undo = _CODINGS.get(name)
        if undo is None:
            raise UnreadableRecord("content_coding", f"has the content coding {name!r}, which is not known here")
        if not body:
            return body
        try:
            body = undo(body, largest)
        except UnreadableRecord:
            raise
        except Exception as error:  # noqa: BLE001  libraries raise what they like at hostile bytes
            raise UnreadableRecord("content_coding", f"is not in its content coding {name!r} ({error})") from None
    if len(body) > largest:
        raise _too_large(largest)
    return body


def _too_large(largest: int) -> UnreadableRecord:
    return UnreadableRecord("too_large", f"comes to more than {largest >> 20} MiB when its content coding is undone")


def _gzip(body: bytes, largest: int) -> bytes:
    return _inflated(body, largest, wbits=zlib.MAX_WBITS | 16)


def _deflate(body: bytes, largest: int) -> bytes:
    try:
        return _inflated(body, largest, wbits=zlib.MAX_WBITS)
    except zlib.error:
        # Half of the world sends it without the zlib header that the standard asks for.
        return _inflated(body, largest, wbits=-zlib.MAX_WBITS)


def _inflated(body: bytes, largest: int, *, wbits: int) -> bytes:
    pieces: list[bytes] = []
    total = 0
    while body:
        machine = zlib.decompressobj(wbits)
        piece = machine.decompress(body, largest - total + 1)
        total += len(piece)
        if total > largest:
            raise _too_large(largest)
        pieces.append(piece)
        if not machine.eof:
            raise ValueError("it is cut off")
        body = machine.unused_data
    return b"".join(pieces)


def _zstd(body: bytes, largest: int) -> bytes:
    import zstandard

    machine = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    with machine.stream_reader(io.BytesIO(body), read_across_frames=True) as stream:
        found = stream.read(largest + 1)
    if len(found) > largest:
        raise _too_large(largest)
    return bytes(found)


def _brotli(body: bytes, largest: int) -> bytes:
    library = _brotli_library()
    if library is None:
        raise UnreadableRecord("content_coding", "is compressed with brotli; install `brotli` to read it")
    machine = library.Decompressor()
    pieces: list[bytes] = []
    total = 0
    for piece in _brotli_pieces(machine, body):
        total += len(piece)
        if total > largest:
            raise _too_large(largest)
        pieces.append(piece)
    if not machine.is_finished():
        raise ValueError("it is cut off")
    return b"".join(pieces)


def _brotli_pieces(machine: Any, body: bytes) -> Iterator[bytes]:
    if not hasattr(machine, "can_accept_more_data"):
        # Before 1.2 the library cannot be told where to stop, and a few bytes can stand for 16 MiB.
        for start in range(0, len(body), _BROTLI_STEP):
            yield machine.process(body[start : start + _BROTLI_STEP])
        return
    yield machine.process(body, output_buffer_limit=_PIECE)
    while not machine.is_finished() and (piece := machine.process(b"", output_buffer_limit=_PIECE)):
        yield piece


def _brotli_library() -> Any:
    for name in ("brotli", "brotlicffi"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    return None


_CODINGS: Mapping[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "zstd": _zstd,
    "br": _brotli,
}
