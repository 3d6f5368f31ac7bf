"""uvicorn's HTTP protocol, held to what a pass-through needs: limits on what clients may take, and honest endings.

uvicorn waits for headers, bodies and readers for ever, speaks chunked to HTTP/1.0 clients, takes the trailers of a
request for headers, and does not tell the request in front of a pipelined one that its client has gone.
"""

import asyncio
import contextlib
import fcntl
import socket
import struct
import sys
import termios
import time
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

HEADER_BYTES = 64 << 10
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_SWEEP_S = 1.0
_RESET = struct.pack("ii", 1, 0)
_LINE = STATUS_LINE | {status: b"HTTP/1.1 %d \r\n" % status for status in range(600, 1000)}


class Cycle(RequestResponseCycle):
    """One request and its answer. What is sent comes from production's parser or from us, and is not checked again."""

    head = b""
    """What waits for the body it is sent with."""

    async def run_asgi(self, app: Any) -> None:
        """Have the request answered; an answer that was begun and not ended is broken off for the client to see."""
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException:  # noqa: BLE001  the application has logged it, and nobody is above
            if not self.response_started:
                await self.send_500_response()
        finally:
            self.on_response = _nothing
            if not self.response_complete and not self.transport.is_closing():
                if self.chunked_encoding is None:
                    # The end of the connection would be a regular end of the answer: only a reset is not.
                    sock = self.transport.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    self.transport.abort()
                else:
                    self.transport.close()

    async def send(self, message: Any) -> None:
        """Pass a part of the answer on, once the client has taken what came before.

        A head that says ``with_body`` waits for the body's first piece, which has to follow at once: two writes cost
        more than one.
        """
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if self.response_started:
            self._send_body(message["body"], more=message.get("more_body", False))
        else:
            self._send_head(message["status"], message["headers"], with_body=message.get("with_body", False))

    def _send_head(self, status: int, headers: list[tuple[bytes, bytes]], *, with_body: bool) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        content, length = [_LINE[status]], None
        if self.default_headers:
            headers = [*self.default_headers, *headers]
        for name, value in headers:
            if len(name) == 14 and name.lower() == b"content-length":
                length = int(value)
            content += (name, b": ", value, b"\r\n")
        if not self.keep_alive:
            content.append(b"connection: close\r\n")
        # `None` stands for a body that ends with the connection, and 0 bytes are expected of answers without one.
        if self.scope["method"] == "HEAD" or status in {204, 304}:
            self.chunked_encoding = False
        elif length is not None:
            self.chunked_encoding, self.expected_content_length = False, length
        elif self.scope["http_version"] == "1.1":
            self.chunked_encoding = True
            content.append(b"transfer-encoding: chunked\r\n")
        content.append(b"\r\n")
        self.head = b"".join(content)
        if not with_body:
            self.transport.write(self.head)
            self.head = b""

    def _send_body(self, body: bytes, *, more: bool) -> None:
        if self.response_complete:
            raise RuntimeError("the answer has been sent")
        head, self.head = self.head, b""
        if self.chunked_encoding:
            content = [head, b"%x\r\n" % len(body), body, b"\r\n"] if body else [head]
            if not more:
                content.append(b"0\r\n\r\n")
            self.transport.write(b"".join(content))
        elif self.scope["method"] != "HEAD" and body:
            if self.chunked_encoding is False:
                self.expected_content_length -= len(body)
                if self.expected_content_length < 0:
                    raise RuntimeError("an answer longer than its length")
            self.transport.write(head + body if head else body)
        elif head:
            self.transport.write(head)
        if more:
            return
        if self.expected_content_length:
            raise RuntimeError("an answer shorter than its length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class GuardedProtocol(HttpToolsProtocol):
    """One connection of a client."""

    waiting_since: float | None
    """Since when the client owes us something: the rest of its headers, or the next piece of its body."""
    unread: int
    """Bytes that waited for the client to read them when it was last looked."""
    unread_since: float
    """Since when that has not become less."""
    idle_since: float | None
    """Since when the client has its answer and has asked for nothing else."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected; it has to begin a request in time."""
        super().connection_made(transport)
        self.waiting_since = self.unread_since = time.monotonic()
        self.unread = 0
        self.idle_since = None
        self._head_bytes = 0
        self._in_head = True
        self._answering: RequestResponseCycle | None = None
        self._framing: bytes | None = None
        self._is_reframing = False

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone; uvicorn tells only the last of several pipelined requests."""
        answering = self._answering
        if answering is not None and answering is not self.cycle and not answering.response_complete:
            answering.disconnected = True
            answering.message_event.set()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """The client has read most of what waited for it."""
        self.unread_since = time.monotonic()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        if not self._in_head and self.waiting_since is not None:
            self.waiting_since = time.monotonic()
        self.idle_since = None
        self._parse(data)
        if self._in_head and self.waiting_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEADER_BYTES and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def _decline(self, rest: bytes) -> None:
        """Go on in HTTP/1.1 with a client that offered another protocol, as Java's does with h2c on every connection.

        The parser has stopped after the headers and cannot be told to go on: another one is told that there was a
        head, so that it takes the rest for the body.
        """
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        if self._framing is not None:
            self._is_reframing = True
            self.parser.feed_data(b"POST / HTTP/1.1\r\n" + self._framing + b"\r\n\r\n")
            self._framing, self._is_reframing = None, False
        if rest:
            self._parse(rest)

    def on_message_begin(self) -> None:
        """A request began; its headers have to be complete in time, however steadily they trickle."""
        if self._is_reframing:
            return
        self._in_head = True
        self._head_bytes = 0
        self.waiting_since = time.monotonic()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The headers are there."""
        if self._is_reframing:
            return
        self._in_head = False
        if self.parser.should_upgrade():
            self._framing = _framing(self.headers)
        super().on_headers_complete()
        # What trails a chunked body comes by the same way, and must not become a header of a request that was let in.
        self.headers = []

    def on_message_complete(self) -> None:
        """The whole request is there: from now on it is for us to act."""
        if self._framing is not None:
            # Only the head of one that offers another protocol.
            return
        self._in_head = True
        self.waiting_since = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer has been sent; the next request, if the client did not wait for it, or none for a while."""
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        # A timer for each answer, to be cancelled by the next request, costs more than a look at all once a second.
        self.idle_since = time.monotonic()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        cycle.__class__ = Cycle
        if app is not self.app:
            # Beyond the limit of connections uvicorn puts an application of its own here, which nobody counts.
            app, cycle.keep_alive = getattr(self.app, "overloaded", app), False
        super()._start_asgi_task(cycle, app)


class Sweep:
    """Ends, once a second, the connections whose clients neither send nor take anything for too long."""

    def __init__(self, connections: set[Any], limit_s: float) -> None:
        self._connections = connections
        self._limit_s = limit_s
        self._every_s = min(_SWEEP_S, limit_s / 4)
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(self._every_s, self._run)

    def _run(self) -> None:
        now = time.monotonic()
        oldest = now - self._limit_s
        for connection in list(self._connections):
            if isinstance(connection, GuardedProtocol):
                self._look(connection, now, oldest)
        self._timer = self._loop.call_later(self._every_s, self._run)

    def _look(self, connection: GuardedProtocol, now: float, oldest: float) -> None:
        idle_since = connection.idle_since
        if idle_since is not None and now - idle_since > connection.timeout_keep_alive:
            connection.transport.close()
        since = connection.waiting_since
        # A body we have not asked for yet is not late.
        if since is not None and since < oldest and not connection.flow.read_paused:
            connection.transport.close()
        unread = _unread(connection.transport)
        if unread == 0 or unread < connection.unread:
            connection.unread_since = now
        elif connection.unread_since < oldest:
            connection.transport.abort()
        connection.unread = unread

    def close(self) -> None:
        """Stop."""
        self._timer.cancel()


def _unread(transport: asyncio.Transport) -> int:
    """Bytes that wait for a client, those in the kernel's buffer included: from there we are told in large steps."""
    size = transport.get_write_buffer_size()
    if size:
        with contextlib.suppress(OSError):
            raw = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
            size += int.from_bytes(raw, sys.byteorder)
    return size


def _framing(headers: list[tuple[bytes, bytes]]) -> bytes | None:
    """The header that says how a body is framed; ``None`` when there is no body."""
    for name, value in headers:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")):
            return name + b": " + value
    return None


def _nothing() -> None:
    """Nobody waits for the end of an answer any more."""
