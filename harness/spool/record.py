"""One spooled production request with production's answer, as bytes on disk."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

MAGIC = b"SHS1"
_HEADER = struct.Struct("<4sIII")
_CHECK = struct.Struct("<I")
OVERHEAD = _HEADER.size + _CHECK.size
"""Bytes a record takes besides its three parts."""
LARGEST_PART = 1 << 30
"""A length above this in a header is damage, whatever the checksum would say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Captured:
    """What the gateway saw of one request. Bodies are as they were on the wire, content coding included."""

    id: str
    """Unique among all gateways of an experiment; the exchange's id in the store."""
    at_ns: int
    """When the request arrived, nanoseconds since the epoch."""
    method: str
    path: str
    """Without the query, which may hold a key."""
    status: int
    """Production's HTTP status; 0 when there was no answer at all, and ``error`` says why."""
    latency_ms: float | None = None
    """From sending the request to the last byte of the answer."""
    ttft_ms: float | None = None
    """To the first byte of the answer's body."""
    error: str | None = None
    request_headers: Mapping[str, str] = field(default_factory=dict)
    """Those of a short list that hold no credentials, names in lower case."""
    response_headers: Mapping[str, str] = field(default_factory=dict)
    rate: float = 1.0
    """Probability with which this request was sampled."""
    salt_id: str = ""
    """Names the salt without telling it, so that the sample can be recomputed in an audit."""
    session: str | None = None
    user: str | None = None
    served: Mapping[str, Any] = field(default_factory=dict)
    """For a conversation of a rollout's arms: the fields of :class:`~harness.domain.served.Served` that stand nowhere
    else; empty for everybody else's."""
    request: bytes = b""
    response: bytes = b""


def encode(record: Captured) -> list[bytes]:
    """The record as buffers to write one after the other."""
    meta = orjson.dumps(
        {name: getattr(record, name) for name in _META if getattr(record, name) not in (None, {}, "")},
        option=orjson.OPT_NON_STR_KEYS,
    )
    return frame(meta, (record.request,), (record.response,))


def frame(meta: bytes, request: Sequence[bytes], response: Sequence[bytes]) -> list[bytes]:
    """A record from its parts; the bodies may be in pieces, which are not copied."""
    header = _HEADER.pack(MAGIC, len(meta), sum(map(len, request)), sum(map(len, response)))
    check = zlib.crc32(meta, zlib.crc32(header))
    for pieces in (request, response):
        for piece in pieces:
            check = zlib.crc32(piece, check)
    return [header, meta, *request, *response, _CHECK.pack(check)]


def length_at(buffer: bytes, offset: int = 0) -> int | None:
    """Length of the record that begins here by its header; ``None`` when no whole, plausible header does."""
    if len(buffer) - offset < _HEADER.size:
        return None
    magic, *parts = _HEADER.unpack_from(buffer, offset)
    if magic != MAGIC or any(part > LARGEST_PART for part in parts):
        return None
    return OVERHEAD + int(sum(parts))


def decode(buffer: bytes, offset: int = 0) -> Captured | None:
    """The record that begins here; ``None`` when it is damaged or not all there."""
    length = length_at(buffer, offset)
    if length is None or offset + length > len(buffer):
        return None
    end = offset + length - _CHECK.size
    if zlib.crc32(memoryview(buffer)[offset:end]) != _CHECK.unpack_from(buffer, end)[0]:
        return None
    _, meta, request, response = _HEADER.unpack_from(buffer, offset)
    begin = offset + _HEADER.size
    try:
        values = orjson.loads(buffer[begin : begin + meta])
        begin += meta
        return Captured(
            **{name: value for name, value in values.items() if name in _META},
            request=bytes(buffer[begin : begin + request]),
            response=bytes(buffer[begin + request : begin + request + response]),
        )
    except (TypeError, AttributeError, orjson.JSONDecodeError):
        return None


_META = tuple(name for name in Captured.__dataclass_fields__ if name not in {"request", "response"})
