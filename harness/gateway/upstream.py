"""Connections to production, kept open between requests. No redirects, cookies, retries or decompression."""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from urllib.parse import urlsplit

from harness.config.live import GatewaySection
from harness.gateway.connection import Connection, RawHeaders, UpstreamFailed

HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
    b"trailer", b"transfer-encoding", b"upgrade", b"expect",
})  # fmt: skip
"""Headers that are about one connection and never passed on (RFC 9110, section 7.6.1)."""
_NOT_SENT = HOP_BY_HOP | {b"host", b"content-length"}
_IDLE_S = 15.0
"""Connections idle this long are not used again: providers close theirs later, so few requests meet a closing one."""
_SWEEP_S = 1.0
_NOTHING: frozenset[bytes] = frozenset()
_USUAL = frozenset({b"keep-alive", b"close"})
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


class Upstream:
    """Production as the gateway reaches it; belongs to one event loop."""

    def __init__(self, section: GatewaySection) -> None:
        parts = urlsplit(section.upstream)
        self.host = parts.hostname or ""
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self.prefix = parts.path.rstrip("/").encode("ascii")
        self._host_line = b"host: " + parts.netloc.encode("idna" if not parts.netloc.isascii() else "ascii") + b"\r\n"
        self._connect_timeout_s = section.connect_timeout_s
        self._read_timeout_s = section.read_timeout_s
        self._loop = asyncio.get_running_loop()
        self._idle: deque[Connection] = deque()
        self._busy: set[Connection] = set()
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)

    def ask(
        self,
        method: str,
        target: bytes,
        headers: RawHeaders,
        body: bytes | AsyncIterator[bytes],
        *,
        length: int | None = None,
    ) -> Awaitable[Connection]:
        """Send a request and return its connection once the head of the answer is there.

        ``target`` is path and query as the client sent them, and names of headers are in lower case. A body that is an
        iterator is sent as it comes, with the given length or in chunks. The connection goes back with
        :meth:`release`, whatever happened.

        Raises:
            UpstreamFailed: there is no answer.
        """
        lines = [method.encode("ascii"), b" ", self.prefix, target, b" HTTP/1.1\r\n", self._host_line]
        options = _NOTHING
        for name, value in headers:
            if name not in _NOT_SENT:
                lines += (name, b": ", value, b"\r\n")
            elif name == b"connection":
                options |= _options(value)
        if options:
            headers = [header for header in headers if header[0] not in options | _NOT_SENT]
            return self.ask(method, target, headers, body, length=length)
        size = len(body) if isinstance(body, bytes) else length
        if size is None:
            lines.append(b"transfer-encoding: chunked\r\n\r\n")
        elif size or method in {"POST", "PUT", "PATCH"}:
            lines.append(b"content-length: %d\r\n\r\n" % size)
        else:
            lines.append(b"\r\n")
        if isinstance(body, bytes):
            return self._ask_whole(method, lines, body)
        return self._ask_in_pieces(method, b"".join(lines), body, chunked=size is None)

    async def _ask_in_pieces(
        self, method: str, head: bytes, body: AsyncIterator[bytes], *, chunked: bool
    ) -> Connection:
        """Send a body as it comes, and stop as soon as production answers: it may not want the rest."""
        connection = self._kept() or await self._connect()
        connection.send([head], head_only=method == "HEAD")
        connection.is_owing = True
        sending = self._loop.create_task(_stream(connection, body, chunked=chunked))
        answering = self._loop.create_task(connection.answered())
        try:
            await asyncio.wait({sending, answering}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                await sending
            await answering
        except BaseException:
            self.release(connection)
            raise
        finally:
            # Waited for, because the client's messages can have one reader only.
            for task in (sending, answering):
                task.cancel()
            await asyncio.wait({sending, answering})
            if not sending.cancelled():
                sending.exception()
        return connection

    async def _ask_whole(self, method: str, lines: list[bytes], body: bytes) -> Connection:
        head = b"".join(lines)
        buffers = [head, body] if len(body) > 16_384 else [head + body]
        while True:
            connection = self._kept() or await self._connect()
            try:
                connection.send(buffers, head_only=method == "HEAD")
                await connection.answered()
            except UpstreamFailed:
                self.release(connection)
                # Production closed a connection that had been idle, just as it was used again.
                if connection.reused and not connection.received and method in _IDEMPOTENT:
                    continue
                raise
            except BaseException:
                self.release(connection)
                raise
            return connection

    def release(self, connection: Connection) -> None:
        """Take a connection back; one whose answer was not read to its end is closed, which tells production."""
        self._busy.discard(connection)
        connection.is_busy = False
        if connection.is_reusable:
            connection.reused = True
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.abort()

    async def close(self) -> None:
        """Close everything."""
        self._sweeper.cancel()
        for connection in (*self._idle, *self._busy):
            connection.abort(UpstreamFailed("closing", "the gateway is shutting down"))
        self._idle.clear()

    def _kept(self) -> Connection | None:
        oldest = time.monotonic() - _IDLE_S
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_since > oldest and connection.is_quiet:
                self._busy.add(connection)
                return connection
            connection.abort()
        return None

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self._loop),
                    self.host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self.host if self._tls else None,
                )
        except TimeoutError:
            limit = self._connect_timeout_s
            raise UpstreamFailed("connect", f"no connection to {self.host} within {limit:g} s", unsent=True) from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise UpstreamFailed("connect", f"no connection to {self.host} ({reason})", unsent=True) from None
        self._busy.add(connection)
        return connection

    def _sweep(self) -> None:
        """End answers that have been silent for too long, and connections nobody needs any more."""
        now = time.monotonic()
        for connection in [
            one for one in self._busy if now - one.heard_at > self._read_timeout_s and not one.waits_for_us
        ]:
            connection.abort(UpstreamFailed("timeout", f"production was silent for {self._read_timeout_s:g} s"))
        while self._idle and (now - self._idle[0].idle_since > _IDLE_S or not self._idle[0].is_open):
            self._idle.popleft().abort()
        self._sweeper = self._loop.call_later(min(_SWEEP_S, self._read_timeout_s / 4), self._sweep)


def passed_on(headers: RawHeaders) -> RawHeaders:
    """Production's headers without those that are about its connection to us."""
    options = _NOTHING
    passed = []
    for header in headers:
        low = header[0].lower()
        if low not in HOP_BY_HOP:
            passed.append(header)
        elif low == b"connection":
            options |= _options(header[1])
    return [header for header in passed if header[0].lower() not in options] if options else passed


def _options(connection: bytes) -> frozenset[bytes]:
    """The headers that one named ``connection`` says are about this connection alone."""
    low = connection.lower()
    return _NOTHING if low in _USUAL else frozenset(option.strip() for option in low.split(b","))


async def _stream(connection: Connection, body: AsyncIterator[bytes], *, chunked: bool) -> None:
    """Send a body as it comes; stops early when production has answered or gone, which is for the caller to see."""
    async for piece in body:
        if connection.error is not None or connection.status:
            return
        if piece:
            connection.write([b"%x\r\n" % len(piece), piece, b"\r\n"] if chunked else [piece])
            await connection.writable()
    if connection.error is None and not connection.status:
        if chunked:
            connection.write([b"0\r\n\r\n"])
        connection.is_owing = False
