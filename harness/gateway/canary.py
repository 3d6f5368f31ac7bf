"""Asks the canary process for the candidate's answer, and knows when there is none."""

import asyncio
import logging
from dataclasses import dataclass
from time import perf_counter

from harness.config.live import CanarySection, GatewaySection
from harness.domain import breaking_off
from harness.domain.served import ServedOutcome
from harness.gateway.arms import Arms
from harness.gateway.connection import Connection, RawHeaders, UpstreamFailed
from harness.gateway.upstream import Upstream

TOKEN = b"x-shadow-canary-token"
_SAYS, _REASON = b"x-shadow-canary", b"x-shadow-canary-reason"
_READY_S = 0.5
_log = logging.getLogger("harness.gateway")


class NoAnswer(Exception):  # noqa: N818  reads as what happened
    """The candidate gave no answer, and production can still give one."""

    def __init__(self, outcome: ServedOutcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


class BrokenOff(Exception):  # noqa: N818  reads as what happened
    """The rest of an answer is missing."""


@dataclass(frozen=True, kw_only=True)
class CanaryAddress:
    """Where the canary process listens, and what it wants to be shown."""

    port: int
    token: str


class Canary:
    """The canary process as one serving process reaches it; belongs to one event loop."""

    def __init__(self, section: CanarySection, address: CanaryAddress, arms: Arms) -> None:
        self.arms = arms
        self.first_byte_s = section.first_byte_s
        self.deadline_s = section.deadline_s
        self._limit = section.max_response_bytes
        self._token = address.token.encode()
        self._upstream = Upstream(
            GatewaySection(
                upstream=f"http://127.0.0.1:{address.port}", connect_timeout_s=section.first_byte_s,
                read_timeout_s=section.deadline_s,
            )
        )  # fmt: skip
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def ask(self, target: bytes, headers: RawHeaders, body: bytes) -> "Answer":
        """The candidate's answer, of which the beginning has come; goes back with :meth:`release`.

        Raises:
            NoAnswer: there is none in time.
        """
        mine = [(TOKEN, self._token)]
        mine += [(name, value) for name, value in headers if name.lower() == b"content-type"]
        begun = perf_counter()
        connection: Connection | None = None
        answer: Answer | None = None
        try:
            async with asyncio.timeout(self.first_byte_s):
                connection = await self._upstream.ask("POST", target, mine, body)
                found = Answer(connection, self._limit)
                await found.begin()
            if not found.is_stream:
                async with asyncio.timeout(max(self.deadline_s - (perf_counter() - begun), 0.0)):
                    await found.rest()
            answer = found
        except TimeoutError:
            reason = "timeout" if connection is not None and connection.status else "first_byte"
            raise NoAnswer(ServedOutcome.FELL_BACK, reason) from None
        except UpstreamFailed as failure:
            raise NoAnswer(ServedOutcome.FELL_BACK, f"canary_{failure.kind}") from None
        except BrokenOff:
            raise NoAnswer(ServedOutcome.FELL_BACK, "canary_cut") from None
        finally:
            if connection is not None and answer is None:
                self._upstream.release(connection)
        return answer

    def release(self, answer: "Answer") -> None:
        """It was passed on, or nobody wants the rest."""
        self._upstream.release(answer.connection)

    async def close(self) -> None:
        """Close everything."""
        self._watching.cancel()
        await self._upstream.close()
        self.arms.close()

    async def _watch(self) -> None:
        """Know whether there is somebody to ask, before a user has to find out."""
        while True:
            ready = await self._answers()
            if ready is not self.arms.is_ready:
                self.arms.is_ready = ready
                _log.info("the candidate can be asked" if ready else "the candidate cannot be asked: production serves")
            await asyncio.sleep(_READY_S)

    async def _answers(self) -> bool:
        connection: Connection | None = None
        try:
            async with asyncio.timeout(_READY_S * 4):
                connection = await self._upstream.ask("GET", b"/healthz", [(TOKEN, self._token)], b"")
                while await connection.chunk():
                    pass
            return connection.status in {200, 501}
        except (UpstreamFailed, TimeoutError):
            return False
        finally:
            if connection is not None:
                self._upstream.release(connection)


class Answer:
    """One answer of the candidate, whole or as events; only complete events are given out."""

    def __init__(self, connection: Connection, limit: int) -> None:
        self.connection = connection
        self.events = 0
        """Complete events that were given out."""
        self.is_stream = False
        self.content_type = b"application/json"
        self.body = b""
        """The whole of an answer that is no stream."""
        self._limit = limit
        self._pending = b""
        self._first: bytes | None = None
        self._broken: str | None = None
        """Why the rest is missing, once that has been said."""

    async def begin(self) -> None:
        """Read the head, and of a stream the first event.

        Raises:
            NoAnswer: the canary process says so.
            BrokenOff: the answer ended before it began.
            UpstreamFailed: the canary process is gone.
        """
        told = {name.lower(): value for name, value in self.connection.headers}
        if self.connection.status != 200:
            reason = told.get(_REASON, b"canary_status").decode("latin-1")[:64]
            asked = told.get(_SAYS) == b"not_asked"
            raise NoAnswer(ServedOutcome.NOT_ASKED if asked else ServedOutcome.FELL_BACK, reason)
        self.content_type = told.get(b"content-type", self.content_type)
        self.is_stream = b"event-stream" in self.content_type
        if self.is_stream:
            self._first = await self._next()
            if not self._first:
                raise NoAnswer(ServedOutcome.FELL_BACK, self._broken or "cut_stream")

    async def rest(self) -> None:
        """Read all of an answer that is no stream.

        Raises:
            NoAnswer: it is larger than answers may be.
            UpstreamFailed: it is not all there.
        """
        pieces, size = [], 0
        while piece := await self.connection.chunk():
            size += len(piece)
            if size > self._limit:
                raise NoAnswer(ServedOutcome.FELL_BACK, "answer_too_large")
            pieces.append(piece)
        self.body = b"".join(pieces)

    async def event(self) -> bytes:
        """The next complete events; empty at the end of the answer.

        Raises:
            BrokenOff: the rest is missing.
        """
        if self._first is not None:
            found, self._first = self._first, None
        else:
            try:
                found = await self._next()
            except UpstreamFailed as failure:
                raise BrokenOff(f"canary_{failure.kind}") from None
        self.events += found.count(b"\n\n")
        if not found and self._broken is not None:
            raise BrokenOff(self._broken)
        return found

    async def _next(self) -> bytes:
        while self._broken is None:
            piece = await self.connection.chunk()
            if not piece:
                if self._pending:
                    self._broken = "cut_stream"
                break
            buffer = self._pending + piece
            end = buffer.rfind(b"\n\n") + 2
            if end < 2:
                self._pending = buffer
                if len(buffer) > self._limit:
                    self._broken = "event_too_large"
                continue
            ready, self._pending = buffer[:end], buffer[end:]
            # Whatever went before is the candidate's, and the client gets it.
            last = ready.rfind(b"\n\n", 0, -2) + 2 if b"\n\n" in ready[:-2] else 0
            self._broken = breaking_off.reason_in(ready[last:])
            if self._broken is not None:
                ready = ready[:last]
            if ready:
                return ready
        return b""
