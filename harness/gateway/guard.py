"""uvicorn's HTTP protocol with limits on what a client may take: time for its headers and its body, and their size."""

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_BYTES = 64 << 10
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_SWEEP_S = 1.0


class GuardedProtocol(HttpToolsProtocol):
    """Ends connections whose request does not come on: uvicorn itself waits for headers and bodies for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected; it has to begin a request in time."""
        super().connection_made(transport)
        self.waiting_since: float | None = time.monotonic()
        """Since when the client owes us something: the rest of its headers, or the next piece of its body."""
        self._head_bytes = 0
        self._in_head = True

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        if not self._in_head and self.waiting_since is not None:
            self.waiting_since = time.monotonic()
        super().data_received(data)
        if self._in_head and self.waiting_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEADER_BYTES and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        """A request began; its headers have to be complete in time, however steadily they trickle."""
        self._in_head = True
        self._head_bytes = 0
        self.waiting_since = time.monotonic()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The headers are there."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The whole request is there: from now on it is for us to act."""
        self._in_head = True
        self.waiting_since = None
        super().on_message_complete()


class Sweep:
    """Closes, once a second, the connections whose clients have been silent for too long."""

    def __init__(self, connections: set[Any], limit_s: float) -> None:
        self._connections = connections
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(_SWEEP_S, self._run)

    def _run(self) -> None:
        oldest = time.monotonic() - self._limit_s
        for connection in list(self._connections):
            since = getattr(connection, "waiting_since", None)
            # A body we have not asked for yet is not late.
            if since is not None and since < oldest and not connection.flow.read_paused:
                connection.transport.close()
        self._timer = self._loop.call_later(_SWEEP_S, self._run)

    def close(self) -> None:
        """Stop."""
        self._timer.cancel()
