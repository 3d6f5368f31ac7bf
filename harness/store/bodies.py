"""Large text as stored: JSON, compressed with Zstandard."""

import json
import threading
from collections.abc import Callable
from typing import Any

import orjson
import zstandard

_local = threading.local()


def encode(value: Any) -> bytes:
    """A JSON value as compressed bytes."""
    data = dumps(value)
    try:
        compressor = _local.compressor
    except AttributeError:
        # A compressor is not thread safe, and making one costs more than compressing a short answer.
        compressor = _local.compressor = zstandard.ZstdCompressor(level=1)
    return bytes(compressor.compress(data))


def decode(body: bytes) -> Any:
    """The JSON value that :func:`encode` was given."""
    return loads(unpack(body))


def unpack(body: bytes) -> bytes:
    """The JSON text of the value that :func:`encode` was given: one line."""
    return unpacker()(body)


def unpacker() -> Callable[[bytes], bytes]:
    """:func:`unpack` for many bodies in the calling thread."""
    try:
        decompressor = _local.decompressor
    except AttributeError:
        decompressor = _local.decompressor = zstandard.ZstdDecompressor()
    unpack: Callable[[bytes], bytes] = decompressor.decompress
    return unpack


def dumps(value: Any) -> bytes:
    """JSON as bytes; what orjson refuses (lone surrogates, integers over 64 bits) goes the slow way."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        return json.dumps(value, default=str, separators=(",", ":")).encode()


def loads(data: bytes | str) -> Any:
    """The value of :func:`dumps`."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data)
