"""Asks the canary process for the candidate's answer, and knows when there is none."""

import asyncio
import hashlib
import logging
import re
from dataclasses import dataclass
from time import perf_counter

from harness.config.live import CanarySection, GatewaySection
from harness.domain import breaking_off
from harness.domain.served import ServedOutcome
from harness.domain.unanswered import OUTCOME_HEADER, REASON_HEADER, TOKEN_HEADER, Reason
from harness.gateway.arms import Arms
from harness.gateway.connection import Connection, RawHeaders, UpstreamFailed
from harness.gateway.upstream import Upstream

_REASONS = {reason.encode(): reason for reason in Reason}
_FAILURES = {"connect": Reason.UNREACHABLE, "cut": Reason.UNREACHABLE, "timeout": Reason.TIMEOUT}
_READY_S = 0.5
_STREAMS = re.compile(rb'"stream"\s*:\s*true')
"""In a body; what stands in a text has its quotes escaped."""
_log = logging.getLogger("harness.gateway")


def token_for(secret: str, candidate: str) -> str:
    """The token for asking one candidate: a process that answers with another one takes no request for it."""
    return hashlib.blake2b(candidate.encode(), key=secret.encode()[:64], digest_size=16).hexdigest()


class NoAnswer(Exception):  # noqa: N818  reads as what happened
    """The candidate gave no answer, and production can still give one."""

    def __init__(self, outcome: ServedOutcome, reason: Reason) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


class BrokenOff(Exception):  # noqa: N818  reads as what happened
    """The rest of an answer is missing."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class CanaryAddress:
    """Where the canary process listens, and what its tokens are made with."""

    port: int
    secret: str


class Canary:
    """The canary process as one serving process reaches it; belongs to one event loop."""

    def __init__(self, section: CanarySection, address: CanaryAddress, arms: Arms) -> None:
        self.arms = arms
        self._section = section
        self._limit = section.max_response_bytes
        self._secret = address.secret
        self._tokens: tuple[str, bytes] = ("", b"")
        self._upstream = Upstream(
            GatewaySection(
                upstream=f"http://127.0.0.1:{address.port}", connect_timeout_s=section.first_byte_s,
                read_timeout_s=section.deadline_s,
            )
        )  # fmt: skip
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def ask(self, path: bytes, headers: RawHeaders, body: bytes) -> "Answer":
        """The candidate's answer, of which the beginning has come; goes back with :meth:`release`.

        Raises:
            NoAnswer: there is none in time.
        """
        mine = self._shown(self.arms.candidate)
        mine += [(name, value) for name, value in headers if name.lower() == b"content-type"]
        section, begun = self._section, perf_counter()
        # What is not streamed begins when it ends.
        limit_s = section.first_byte_s if _STREAMS.search(body) else section.whole_s
        connection: Connection | None = None
        answer: Answer | None = None
        try:
            async with asyncio.timeout(limit_s):
                connection = await self._upstream.ask("POST", path, mine, body)
                found = Answer(connection, self._limit)
                await found.begin()
            if not found.is_stream:
                async with asyncio.timeout(max(section.deadline_s - (perf_counter() - begun), 0.0)):
                    await found.rest()
            answer = found
        except TimeoutError:
            reason = Reason.TIMEOUT if connection is not None and connection.status else Reason.NO_FIRST_BYTE
            raise NoAnswer(ServedOutcome.FELL_BACK, reason) from None
        except UpstreamFailed as failure:
            if failure.kind == "connect":
                # Nobody listens: the next user need not find that out again.
                self._set_ready(False)
            raise NoAnswer(ServedOutcome.FELL_BACK, _FAILURES.get(failure.kind, Reason.INTERNAL)) from None
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
            self._set_ready(await self._answers())
            await asyncio.sleep(_READY_S)

    def _set_ready(self, ready: bool) -> None:
        if ready is not self.arms.is_ready:
            self.arms.is_ready = ready
            _log.info("the candidate can be asked" if ready else "the candidate cannot be asked: production serves")

    def _shown(self, candidate: str) -> RawHeaders:
        known, token = self._tokens
        if known != candidate:
            token = token_for(self._secret, candidate).encode()
            self._tokens = (candidate, token)
        return [(TOKEN_HEADER, token)]

    async def _answers(self) -> bool:
        candidate = self.arms.candidate
        if not candidate:
            return False
        connection: Connection | None = None
        try:
            async with asyncio.timeout(_READY_S * 4):
                connection = await self._upstream.ask("GET", b"/healthz", self._shown(candidate), b"")
                while await connection.chunk():
                    pass
            # It answers nothing but requests for a candidate, and those not without its token.
            return connection.status == 501
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
        self._broken: Reason | None = None
        """Why the rest is missing, once that has been said."""

    async def begin(self) -> None:
        """Read the head, and of a stream the first event.

        Raises:
            NoAnswer: the canary process says so.
                UpstreamFailed: the canary process is gone.
        """
        told = {name.lower(): value for name, value in self.connection.headers}
        if self.connection.status != 200:
            reason = _REASONS.get(told.get(REASON_HEADER, b""), Reason.INTERNAL)
            asked = told.get(OUTCOME_HEADER) == b"not_asked"
            raise NoAnswer(ServedOutcome.NOT_ASKED if asked else ServedOutcome.FELL_BACK, reason)
        self.content_type = told.get(b"content-type", self.content_type)
        self.is_stream = b"event-stream" in self.content_type
        if self.is_stream:
            self._first = await self._next()
            if not self._first:
                raise NoAnswer(ServedOutcome.FELL_BACK, self._broken or Reason.CUT_STREAM)

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
                raise NoAnswer(ServedOutcome.FELL_BACK, Reason.ANSWER_TOO_LARGE)
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
                raise BrokenOff(_FAILURES.get(failure.kind, Reason.INTERNAL)) from None
        self.events += found.count(b"\n\n")
        if not found and self._broken is not None:
            raise BrokenOff(self._broken)
        return found

    async def _next(self) -> bytes:
        while self._broken is None:
            piece = await self.connection.chunk()
            if not piece:
                if self._pending:
                    self._broken = Reason.CUT_STREAM
                break
            buffer = self._pending + piece
            end = buffer.rfind(b"\n\n") + 2
            if end < 2:
                self._pending = buffer
                if len(buffer) > self._limit:
                    self._broken = Reason.ANSWER_TOO_LARGE
                continue
            ready, self._pending = buffer[:end], buffer[end:]
            # Whatever went before is the candidate's, and the client gets it.
            last = ready.rfind(b"\n\n", 0, -2) + 2 if b"\n\n" in ready[:-2] else 0
            said = breaking_off.reason_in(ready[last:])
            if said is not None:
                self._broken = _REASONS.get(said.encode(), Reason.CUT_STREAM)
                ready = ready[:last]
            if ready:
                return ready
        return b""
