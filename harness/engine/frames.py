"""Messages between the driver and its worker processes: pickled, length in front, many to one write.

Pickle, because both ends are this program on a socket pair that nobody else can open.
"""

import asyncio
import pickle
import struct
from collections.abc import Callable
from typing import Any

from harness.domain.model import ModelError
from harness.errors import ConfigurationError, HarnessError, InfrastructureError

CALL, CANCEL, READY, REPLY, ERROR = range(5)
"""What a message is, its first item."""

_LENGTH = struct.Struct("!I")
_PLAIN = {kind.__name__: kind for kind in (ConfigurationError, InfrastructureError)}


def packed(message: Any) -> bytes:
    """One message as it travels."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


class Unpacker:
    """Puts messages together again, however the bytes arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """The messages that are complete now."""
        buffer, at, found = self._buffer, 0, []
        buffer += data
        while len(buffer) - at >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(buffer, at)
            end = at + _LENGTH.size + size
            if len(buffer) < end:
                break
            found.append(pickle.loads(memoryview(buffer)[at + _LENGTH.size : end]))  # noqa: S301  our own end
            at = end
        del buffer[:at]
        return found


class Link(asyncio.Protocol):
    """One end of a socket; what is sent within one turn of the loop leaves in one write."""

    def __init__(
        self, received: Callable[[Any], None], lost: Callable[[], None], unpacker: Unpacker | None = None
    ) -> None:
        self._received, self._lost = received, lost
        self._unpacker = unpacker or Unpacker()
        self._waiting: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ours."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  what a stream socket gives
        self._transport = transport
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Hand on whole messages."""
        for message in self._unpacker.feed(data):
            self._received(message)

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end is gone, or this one was closed."""
        self._transport = None
        self._lost()

    @property
    def idle(self) -> bool:
        """Whether nothing is half sent."""
        return self._transport is None or self._transport.get_write_buffer_size() == 0

    def send(self, frame: bytes) -> None:
        """Send with the next turn of the loop."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(frame)

    def close(self) -> None:
        """Close this end; ``lost`` is called."""
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        if self._transport is not None and self._waiting:
            frames, self._waiting = self._waiting, []
            self._transport.write(b"".join(frames))


def error_fields(error: BaseException) -> tuple[str, Any]:
    """An error as plain values: keyword-only constructors do not survive pickling."""
    if isinstance(error, ModelError):
        names = ("latency_ms", "queue_ms", "retry_ms", "attempts", "cost_usd", "retry_after_s", "dropped_params")
        return "ModelError", (error.error, {name: getattr(error, name) for name in names})
    if isinstance(error, HarnessError) and type(error).__name__ in _PLAIN:
        return type(error).__name__, str(error)
    return "other", f"{type(error).__name__}: {error}"


def error_of(fields: tuple[str, Any]) -> Exception:
    """The error again."""
    kind, value = fields
    if kind == "ModelError":
        return ModelError(value[0], **value[1])
    return _PLAIN[kind](value) if kind in _PLAIN else RuntimeError(f"in a worker process: {value}")
