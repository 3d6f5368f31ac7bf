"""Whether a stream that its reader closed had come to its end all the same.

The official clients stop reading at the closing event and close the connection before its last, empty chunk.
"""

import re
import zlib
from collections.abc import Mapping

import orjson

_LARGEST = 64 << 20
_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LAST_TYPES = frozenset({"message_stop", "response.completed", "response.incomplete", "response.failed", "error"})


def whole(body: bytes, headers: Mapping[str, str]) -> bytes | None:
    """The body without its content coding when nothing that matters is missing, else ``None``."""
    decoded = _decoded(body, headers.get("content-encoding", ""))
    if decoded is None:
        return None
    if "event-stream" in headers.get("content-type", ""):
        return decoded if _has_closing_event(decoded) else None
    try:
        orjson.loads(decoded)
    except orjson.JSONDecodeError:
        return None
    return decoded


def _decoded(body: bytes, coding: str) -> bytes | None:
    coding = coding.strip().lower()
    if coding in {"", "identity"}:
        return body
    try:
        if coding in {"gzip", "x-gzip", "deflate"}:
            return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, _LARGEST)
        if coding == "zstd":
            import zstandard

            return bytes(zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj().decompress(body))
    except Exception:  # noqa: BLE001  whatever is wrong with it, its end was not seen
        return None
    return None


def _has_closing_event(text: bytes) -> bool:
    blocks = [block for block in _BLANK_LINE.split(text) if block.strip() and not block.lstrip().startswith(b":")]
    if not blocks:
        return False
    lines = [line.strip() for line in blocks[-1].splitlines()]
    data = b"".join(line[5:].strip() for line in lines if line.startswith(b"data:"))
    if data.startswith(b"[DONE]"):
        return True
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    if not isinstance(event, dict):
        return False
    if event.get("type") in _LAST_TYPES:
        return True
    choices = event.get("choices")
    if choices == [] and event.get("usage"):
        return True
    # Many applications stop at the finish reason; what would follow is the usage.
    return isinstance(choices, list) and len(choices) == 1 and bool(choices[0].get("finish_reason"))
