"""The pass-through: what a client sends goes to production, what production answers goes to the client."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from time import perf_counter
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from harness.domain import breaking_off
from harness.domain.mirror import MirrorDrop
from harness.domain.served import Arm, ServedOutcome
from harness.gateway.arms import Drawn
from harness.gateway.canary import Answer, BrokenOff, Canary, NoAnswer
from harness.gateway.connection import Connection, RawHeaders, UpstreamFailed
from harness.gateway.leaving import Watch, Watches
from harness.gateway.mirror import GatewayMirror, Tap
from harness.gateway.upstream import Upstream, passed_on
from harness.spool.counters import ADDED_BOUNDS_US, INDEX

WHOLE_BYTES = 1 << 20
"""Bodies up to this size are taken in before production is asked; larger ones are passed on as they come."""
_REQUESTS, _GONE = INDEX["requests"], INDEX["client_gone"]
_STATUS = tuple(INDEX[f"status.{hundreds}"] for hundreds in range(6))
_UNREACHABLE, _TIMEOUT = INDEX["upstream_unreachable"], INDEX["upstream_timeout"]
_STARTED, _ANSWERED = INDEX["started"], INDEX["answered"]
_ADDED_SUM, _ADDED = INDEX["added_us.sum"], INDEX[f"added_us.{ADDED_BOUNDS_US[0]}"]
_log = logging.getLogger("harness.gateway")


class _TooLarge(Exception):  # noqa: N818  reads as what happened
    """A request's body passed the limit."""


class _Left(Exception):  # noqa: N818  reads as what happened
    """The client went away in the middle of its request."""


class Gateway:
    """The ASGI application of one gateway process."""

    def __init__(
        self,
        upstream: Upstream,
        mirror: GatewayMirror,
        counts: memoryview,
        *,
        max_request_bytes: int,
        canary: Canary | None = None,
    ) -> None:
        self._canary = canary
        self._upstream = upstream
        self._mirror = mirror
        self._counts = counts
        self._limit = max_request_bytes
        self._too_large = f"a request may have at most {max_request_bytes:,} bytes"
        self._dotted = bool(upstream.prefix)
        self._watches = Watches()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request."""
        return self._serve(scope, receive, send)

    async def overloaded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request because too many clients are connected."""
        self._counts[_REQUESTS] += 1
        await self._refuse(send, 503, "too many connections; see `gateway.max_connections`")

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        begin = perf_counter()
        counts, headers = self._counts, scope["headers"]
        counts[_REQUESTS] += 1
        counts[_STARTED] += 1
        tap: Tap | None = None
        try:
            length = _length(headers)
            path = scope["raw_path"]
            refusal = self._refusal(path, length)
            if refusal is not None:
                await self._refuse(send, *refusal)
                return
            tap = self._mirror.open(scope["method"], path, headers)
            body = await self._body(receive, length, tap)
            passage = _Passage(self, scope, receive, send, tap, begin)
            canary = self._canary
            # What is too large to be taken in whole is production's: it is passed on while it comes.
            if canary is not None and isinstance(body, bytes):
                passage.drawn = canary.arms.draw(scope["method"], path, headers, body, tap)
            await passage.run(body, length)
        except _Left:
            counts[_GONE] += 1
            if tap is not None:
                tap.drop(MirrorDrop.CLIENT_DISCONNECTED)
        except asyncio.CancelledError:
            if tap is not None:
                tap.drop(MirrorDrop.CLOSING)
            raise
        except _TooLarge:
            if tap is not None:
                tap.drop(MirrorDrop.REQUEST_TOO_LARGE)
            await self._refuse(send, 413, self._too_large)
        except UpstreamFailed:
            # Logged; the server breaks the connection off, which is how the client learns of it.
            raise
        except Exception:
            _log.exception("a request failed in the gateway itself")
            raise
        finally:
            counts[_ANSWERED] += 1
            if tap is not None:
                # Only something unforeseen leaves a tap open; then its request is accounted for all the same.
                tap.drop(MirrorDrop.CAPTURE_FAILED)

    def _refusal(self, path: bytes, length: int | None) -> tuple[int, str] | None:
        if length is not None and length > self._limit:
            return 413, self._too_large
        if path[:1] != b"/" or (self._dotted and _leaves(path)):
            return 400, "the path leaves the place production's address names"
        return None

    async def _body(self, receive: Receive, length: int | None, tap: Tap | None) -> bytes | AsyncIterator[bytes]:
        """The request's body: whole when it is small, else as it comes."""
        message = await receive()
        first = _piece(message)
        if message.get("more_body"):
            if length is None or length > WHOLE_BYTES:
                return self._pieces(first, receive, tap)
            first = await _rest(first, receive)
        if tap is not None:
            tap.request(first)
        return first

    async def _pieces(self, first: bytes, receive: Receive, tap: Tap | None) -> AsyncIterator[bytes]:
        size, more, piece = 0, True, first
        while True:
            size += len(piece)
            if size > self._limit:
                raise _TooLarge
            if tap is not None:
                tap.request(piece)
            yield piece
            if not more:
                return
            message = await receive()
            piece, more = _piece(message), bool(message.get("more_body"))

    async def _refuse(self, send: Send, status: int, text: str) -> None:
        self._counts[_STATUS[status // 100]] += 1
        await _answer(send, status, text, "gateway_refused")


class _Passage:
    """One request's way to production and back."""

    __slots__ = (
        "_added", "_asked_at", "_begin", "_counts", "_gateway", "_receive", "_refused", "_scope", "_send", "_tap",
        "_watch", "drawn",
    )  # fmt: skip

    def __init__(
        self, gateway: Gateway, scope: Scope, receive: Receive, send: Send, tap: Tap | None, begin: float
    ) -> None:
        self._gateway = gateway
        self._counts = gateway._counts
        self._scope = scope
        self._receive = receive
        self._send = send
        self._tap = tap
        self._begin = begin
        self._added = 0.0
        self._watch: Watch | None = None
        self.drawn: Drawn | None = None
        """The arm of a rollout the request belongs to."""
        self._asked_at = 0.0
        """When the request of an arm was first given to somebody."""
        self._refused: NoAnswer | None = None
        """Why the candidate did not answer."""

    async def run(self, body: bytes | AsyncIterator[bytes], length: int | None) -> None:
        """Ask, answer, and let go of the connection whatever happens."""
        scope, upstream = self._scope, self._gateway._upstream
        query = scope["query_string"]
        target = scope["raw_path"] + b"?" + query if query else scope["raw_path"]
        if isinstance(body, bytes):
            self._watch = self._watching()
            if self.drawn is not None and await self._by_candidate(body):
                return
        else:
            body = self._then_watch(body, asyncio.current_task())
        sent = perf_counter()
        self._added = sent - self._begin
        connection: Connection | None = None
        try:
            connection = await upstream.ask(scope["method"], target, scope["headers"], body, length=length)
            if self._watch is None:
                # Production answered before it had the whole request, of which nobody else has a copy.
                self._watch = self._watching()
                if self._tap is not None:
                    self._tap.drop(MirrorDrop.PRODUCTION_FAILED)
            await self._pass_on(connection, sent)
        except UpstreamFailed as failure:
            await self._failed(failure, connection, sent)
        except asyncio.CancelledError:
            if self._watch is None or not self._watch.gone:
                raise
            self._left()
        finally:
            if self._watch is not None:
                self._watch.stop()
            if connection is not None:
                upstream.release(connection)

    # A rollout's arms

    async def _by_candidate(self, body: bytes) -> bool:
        """Whether the candidate answered, or the client left; else production has to."""
        self._asked_at = perf_counter()
        canary, drawn, watch = self._gateway._canary, self.drawn, self._watch
        if canary is None or drawn is None or drawn.arm is not Arm.CANDIDATE or watch is None:
            return False
        answer: Answer | None = None
        try:
            # Without the query, which may hold a key.
            answer = await canary.ask(self._scope["raw_path"], self._scope["headers"], body)
            await self._pass_on_candidate(answer, drawn)
        except NoAnswer as refused:
            self._refused = refused
            _log.warning("production answers for the candidate: %s", refused.reason)
            return False
        except asyncio.CancelledError:
            if not watch.gone:
                raise
            self._left()
        finally:
            if answer is not None:
                canary.release(answer)
            if self._refused is None:
                watch.stop()
        return True

    async def _pass_on_candidate(self, answer: Answer, drawn: Drawn) -> None:
        send, tap = self._send, self._tap
        headers = [(b"content-type", answer.content_type)]
        ttft = perf_counter() - self._asked_at
        if not answer.is_stream:
            headers.append((b"content-length", str(len(answer.body)).encode()))
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": answer.body})
            if tap is not None:
                tap.response(answer.body)
            self._candidate_ended(drawn, ServedOutcome.SERVED, headers, ttft)
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            while events := await answer.event():
                await send({"type": "http.response.body", "body": events, "more_body": True})
                if tap is not None:
                    tap.response(events)
        except BrokenOff as broken:
            reason = broken.reason
            _log.warning("the candidate's answer broke off: %s", reason)
            last = breaking_off.event(drawn.surface, reason, answer.events)
            await send({"type": "http.response.body", "body": last})
            self._candidate_ended(drawn, ServedOutcome.BROKE_OFF, headers, ttft, reason)
            return
        await send({"type": "http.response.body", "body": b""})
        self._candidate_ended(drawn, ServedOutcome.SERVED, headers, ttft)

    def _candidate_ended(
        self, drawn: Drawn, outcome: ServedOutcome, headers: RawHeaders, ttft: float, reason: str | None = None
    ) -> None:
        self._counts[_STATUS[2]] += 1
        latency, tap = perf_counter() - self._asked_at, self._tap
        drawn.ended(outcome, 200, latency_s=latency, ttft_s=ttft, reason=reason, tap=tap)
        if tap is None:
            return
        if outcome is ServedOutcome.BROKE_OFF:
            tap.drop(MirrorDrop.PRODUCTION_CUT)
        else:
            tap.finish(200, self._scope["headers"], headers, latency_s=latency, ttft_s=ttft)

    def _production_ended(self, outcome: ServedOutcome, status: int, ttft_at: float | None = None) -> None:
        """Note what production answered to a request of an arm, in the candidate's place where that gave no answer."""
        drawn, refused = self.drawn, self._refused
        if drawn is None:
            return
        reason = None
        if refused is not None:
            reason = refused.reason
            outcome = refused.outcome if outcome is ServedOutcome.SERVED else outcome
        latency, ttft = perf_counter() - self._asked_at, None if ttft_at is None else ttft_at - self._asked_at
        drawn.ended(outcome, status, latency_s=latency, ttft_s=ttft, reason=reason, tap=self._tap)

    def _watching(self) -> Watch:
        return self._gateway._watches.begin(self._receive, asyncio.current_task())

    async def _then_watch(
        self, body: AsyncIterator[bytes], answering: "asyncio.Task[Any] | None"
    ) -> AsyncIterator[bytes]:
        """A client's messages have one reader at a time: first whoever takes its request, then the watch.

        It is read in a task that only sends; the one that answers is the one to cancel.
        """
        async for piece in body:
            yield piece
        self._watch = self._gateway._watches.begin(self._receive, answering)

    async def _pass_on(self, connection: Connection, sent: float) -> None:
        send, tap = self._send, self._tap
        head = perf_counter()
        ttft: float | None = None
        body = connection.whole()
        await send(
            {
                "type": "http.response.start",
                "status": connection.status,
                "headers": passed_on(connection.headers),
                "with_body": body is not None,
            }
        )
        if body is not None:
            ttft = head - sent
            await send({"type": "http.response.body", "body": body})
            done = head
        else:
            done, ttft = await self._stream(connection, sent)
        self._counts[_STATUS[connection.status // 100] if connection.status < 600 else _STATUS[5]] += 1
        if self.drawn is not None:
            self._production_ended(ServedOutcome.SERVED, connection.status, None if ttft is None else sent + ttft)
        if tap is not None:
            if body:
                tap.response(body)
            tap.finish(
                connection.status, self._scope["headers"], connection.headers, latency_s=done - sent, ttft_s=ttft
            )
        self._added += perf_counter() - done
        self._observe(self._added)

    async def _stream(self, connection: Connection, sent: float) -> tuple[float, float | None]:
        send, tap = self._send, self._tap
        ttft: float | None = None
        while True:
            piece = await connection.chunk()
            now = perf_counter()
            if not piece:
                await send({"type": "http.response.body", "body": b""})
                return now, ttft
            if ttft is None:
                ttft = now - sent
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            if tap is not None:
                tap.response(piece)

    async def _failed(self, failure: UpstreamFailed, connection: Connection | None, sent: float) -> None:
        timed_out, closing = failure.kind == "timeout", failure.kind == "closing"
        if closing:
            # Ours, not production's.
            if self._tap is not None:
                self._tap.drop(MirrorDrop.CLOSING)
        else:
            self._counts[_TIMEOUT if timed_out else _UNREACHABLE] += 1
            _log.warning("production failed (%s): %s", failure.kind, failure)
        if closing:
            # Ours too: it says nothing about either arm.
            self._production_ended(ServedOutcome.CLIENT_GONE, 0)
        self._production_ended(ServedOutcome.SERVED if connection is None else ServedOutcome.BROKE_OFF, 0)
        if connection is not None:
            # The client has a part of the answer: only a broken connection tells it that the rest is missing.
            if self._tap is not None:
                self._tap.drop(MirrorDrop.PRODUCTION_CUT)
            raise failure
        self._counts[_STATUS[5]] += 1
        if self._tap is not None:
            self._tap.finish(
                0, self._scope["headers"], [], latency_s=perf_counter() - sent, error=f"{failure.kind}: {failure}"
            )
        await _answer(self._send, 504 if timed_out else 502, str(failure), f"upstream_{failure.kind}")

    def _left(self) -> None:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        self._counts[_GONE] += 1
        self._production_ended(ServedOutcome.CLIENT_GONE, 0)
        if self._tap is not None:
            self._tap.drop(MirrorDrop.CLIENT_DISCONNECTED)

    def _observe(self, seconds: float) -> None:
        microseconds = int(seconds * 1e6)
        self._counts[_ADDED_SUM] += microseconds
        bucket = _ADDED
        for bound in ADDED_BOUNDS_US:
            if microseconds <= bound:
                break
            bucket += 1
        self._counts[bucket] += 1


def _piece(message: Message) -> bytes:
    if message["type"] != "http.request":
        raise _Left
    return bytes(message.get("body", b""))


async def _rest(first: bytes, receive: Receive) -> bytes:
    pieces = [first]
    while True:
        message = await receive()
        pieces.append(_piece(message))
        if not message.get("more_body"):
            return b"".join(pieces)


def _length(headers: RawHeaders) -> int | None:
    for name, value in headers:
        if name == b"content-length":
            with suppress(ValueError):
                return int(value)
    return None


def _leaves(raw_path: bytes) -> bool:
    """Whether a path has a segment that goes up, in any spelling; some servers leave out what follows a semicolon."""
    if b".." not in raw_path and b"%" not in raw_path:
        return False
    plain = raw_path.lower().replace(b"\\", b"/")
    for spelling, byte in ((b"%2e", b"."), (b"%2f", b"/"), (b"%5c", b"/"), (b"%3b", b";")):
        plain = plain.replace(spelling, byte)
    return any(segment.split(b";")[0] == b".." for segment in plain.split(b"/"))


async def _answer(send: Send, status: int, text: str, code: str) -> None:
    """An answer of our own, in the shape the official clients understand."""
    error: dict[str, Any] = {"message": f"shadow gateway: {text}", "type": code, "param": None, "code": code}
    body = json.dumps({"type": "error", "error": error}).encode()
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"x-shadow-gateway-error", code.encode()),
                (b"date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode()),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
