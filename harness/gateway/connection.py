"""One HTTP/1.1 connection to production, at the level of bytes.

A general HTTP client decodes header values, sorts out cookies, redirects and content codings, and hands over the body
in pieces of its own making. A pass-through wants none of that done, and would pay for it with most of its time
(docs/adr/0010). The parsing is llhttp's, through httptools.
"""

import asyncio
import ctypes
import select
import time
from collections import deque
from typing import cast

import httptools

RawHeaders = list[tuple[bytes, bytes]]
_PAUSE_BYTES = 1 << 18
"""So much of an answer may wait for a slow client before production is asked to wait too."""


class _PollFd(ctypes.Structure):
    """The system's `struct pollfd`."""

    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


# Python's own poll lets another thread run meanwhile, which takes up to half a millisecond to come back; this one asks
# and returns.
_poll = ctypes.PyDLL(None).poll
_poll.argtypes = (ctypes.POINTER(_PollFd), ctypes.c_ulong, ctypes.c_int)


class UpstreamFailed(Exception):  # noqa: N818  reads as what happened
    """Production could not be asked, or its answer broke off.

    ``kind`` is ``connect``, ``timeout``, ``cut``, ``protocol``, or ``closing`` when we ended it; ``unsent`` says that
    it cannot have seen the request.
    """

    def __init__(self, kind: str, message: str, *, unsent: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.unsent = unsent


class Connection(asyncio.Protocol):
    """Carries one request after the other; every wait in here ends when the connection does."""

    __slots__ = (
        "_body_free",
        "_buffered",
        "_chunks",
        "_head_only",
        "_keep",
        "_loop",
        "_parser",
        "_paused",
        "_pollfd",
        "_ready",
        "_started",
        "_strayed",
        "_transport",
        "_writable",
        "complete",
        "error",
        "headers",
        "heard_at",
        "idle_since",
        "is_busy",
        "is_owing",
        "received",
        "reused",
        "status",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._pollfd = _PollFd()
        self._parser = httptools.HttpResponseParser(self)
        self._ready: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False
        self._keep = False
        self._started = False
        self._strayed = False
        self._head_only = False
        self._body_free = False
        self.reused = False
        self.is_busy = False
        self.is_owing = False
        """Whether a part of the request's body has still to be sent; what comes next on the wire belongs to it."""
        self.heard_at = 0.0
        """When something was last sent or received; of a busy connection, its silence begins here."""
        self.idle_since = 0.0
        self.status = 0
        self.headers: RawHeaders = []
        self.complete = False
        self.received = False
        """Whether a byte of this request's answer has come."""
        self.error: UpstreamFailed | None = None

    # What a request does

    def send(self, buffers: list[bytes], *, head_only: bool) -> None:
        """Begin a request with its head, and its body if that is at hand."""
        self.is_busy = True
        self.received = self.complete = self._started = self._strayed = self.is_owing = False
        self._head_only = head_only
        self.status, self.headers = 0, []
        self._chunks.clear()
        self._buffered = 0
        self.heard_at = time.monotonic()
        self.write(buffers)

    def write(self, buffers: list[bytes]) -> None:
        """Send more of the request."""
        assert self._transport is not None  # noqa: S101  connections are handed out connected
        self.heard_at = time.monotonic()
        if len(buffers) == 1:
            self._transport.write(buffers[0])
        else:
            self._transport.writelines(buffers)

    async def writable(self) -> None:
        """Return when production takes more of the request, or its answer or end has come."""
        while self._writable is not None and not self._started and self.error is None:
            await asyncio.shield(self._writable)

    async def answered(self) -> None:
        """Return when the head of the answer has come.

        Raises:
            UpstreamFailed: it will not.
        """
        while not self._started:
            if self.error is not None:
                raise self.error
            self._ready = self._loop.create_future()
            await self._ready

    async def chunk(self) -> bytes:
        """What has come of the body since; empty at its end.

        Raises:
            UpstreamFailed: the answer broke off.
        """
        while not self._chunks:
            if self.complete:
                return b""
            if self.error is not None:
                raise self.error
            self._ready = self._loop.create_future()
            await self._ready
        chunks = self._chunks
        found = chunks.popleft() if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._buffered = 0
        if self._paused:
            self._resume()
        return found

    def whole(self) -> bytes | None:
        """The body, when all of it is here already."""
        if not self.complete:
            return None
        if self._paused:
            self._resume()
        chunks = self._chunks
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    @property
    def is_reusable(self) -> bool:
        """Whether another request may follow."""
        return self.complete and self._keep and not self.is_owing and self.is_open

    @property
    def is_open(self) -> bool:
        """Whether the connection still stands, as far as we were told."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_quiet(self) -> bool:
        """Whether an idle connection has nothing to tell: its end may have come, and wait to be read."""
        return self.is_open and not _poll(self._pollfd, 1, 0)

    @property
    def waits_for_us(self) -> bool:
        """Whether it is not production's turn: a slow client has to take what has come, or to send more."""
        return self._paused or (self.is_owing and not self._started and self._writable is None)

    def abort(self, error: UpstreamFailed | None = None) -> None:
        """End the connection, and whoever waits for it."""
        if error is not None and self.error is None:
            self.error = error
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast("asyncio.Transport", transport)
        self._pollfd = _PollFd(transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLHUP, 0)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: the end of a body without a length, or of everything."""
        if self._started and not self.complete and self._body_free and exc is None:
            self.complete = True
        elif not self.complete and self.error is None:
            what = "closed the connection" if exc is None else f"reset the connection ({type(exc).__name__})"
            when = "before answering" if not self._started else "in the middle of its answer"
            self.error = UpstreamFailed("cut", f"production {what} {when}")
        self._keep = False
        self._transport = None
        self._wake()
        self._free()

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer."""
        self.heard_at = time.monotonic()
        if not self.is_busy:
            # Nobody asked: a provider that says something between two answers is not to be trusted with a third.
            self.abort(UpstreamFailed("protocol", "production sent something nobody asked for"))
            return
        self.received = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.abort(UpstreamFailed("protocol", "production wants another protocol"))
        except httptools.HttpParserError as error:
            self._keep = False
            if not self.complete:
                self.abort(UpstreamFailed("protocol", f"production's answer is no HTTP ({error})"))
        if self._buffered > _PAUSE_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def pause_writing(self) -> None:
        """The request outruns the network."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """The network has caught up."""
        self._free()

    # What the parser tells

    def on_message_begin(self) -> None:
        """An answer, an interim one before it, or one that nobody asked for."""
        if self._started:
            # What follows the answer must neither be taken for a part of it nor for the next one.
            self._keep, self._strayed = False, True
        else:
            self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of it, or of what trails its body, which nobody waits for any more."""
        if not self._started:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is there."""
        status = self._parser.get_status_code()
        if status < 200 or self._strayed:
            return
        self.status = status
        self._keep = self._parser.should_keep_alive()
        self._started = True
        self._body_free = status not in {204, 304}
        for name, value in self.headers:
            low = name.lower()
            if low == b"content-length":
                self._body_free = False
            elif low == b"transfer-encoding":
                self._body_free = False
                if value.lower() != b"chunked":
                    raise ValueError("a transfer coding other than chunked")
        if self._head_only:
            # The parser cannot be told that no body follows, so it cannot be used again.
            self.complete, self._keep = True, False
        self._free()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if not self.complete:
            self._chunks.append(body)
            self._buffered += len(body)

    def on_message_complete(self) -> None:
        """The answer has ended."""
        if self._started:
            self.complete = True

    # Waiting

    def _resume(self) -> None:
        self._paused = False
        self.heard_at = time.monotonic()
        if self._transport is not None:
            self._transport.resume_reading()

    def _wake(self) -> None:
        ready, self._ready = self._ready, None
        if ready is not None and not ready.done():
            ready.set_result(None)

    def _free(self) -> None:
        if self._writable is not None:
            if not self._writable.done():
                self._writable.set_result(None)
            self._writable = None
