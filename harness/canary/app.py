"""The ASGI application: one candidate behind the three APIs, for the gateway alone."""

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator
from typing import Protocol

import orjson
from starlette.types import Receive, Scope, Send

from harness.canary.request import Shape
from harness.canary.unfit import Unfit
from harness.domain import breaking_off
from harness.domain.json import Json
from harness.domain.unanswered import OUTCOME_HEADER, REASON_HEADER, TOKEN_HEADER, Reason

_log = logging.getLogger("harness.canary")


class Asks(Protocol):
    """Who asks the candidate."""

    async def ask(self, shape: Shape, body: dict[str, Json]) -> bytes | AsyncIterator[bytes]:
        """The whole answer, or the events of a stream."""
        ...


class _Left(Exception):  # noqa: N818  reads as what happened
    """The client went away in the middle of its request."""


class Canary:
    """Answers with the candidate, or says by status and headers that production has to.

    A stream whose rest is missing ends with a comment that says so (:mod:`harness.domain.breaking_off`): what the
    client is told is the gateway's to write. ``deadline_s`` runs from the whole request to the last byte of the answer.
    """

    def __init__(self, asking: Asks, *, token: str, deadline_s: float, max_request_bytes: int) -> None:
        self._asking = asking
        self._token = token.encode()
        self._deadline_s = deadline_s
        self._limit = max_request_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        if not hmac.compare_digest(dict(scope["headers"]).get(TOKEN_HEADER, b""), self._token):
            await _head(send, 403, b"text/plain", 0)
            await send({"type": "http.response.body", "body": b""})
            return
        path = scope["path"]
        # The messages of an assistant's thread live at production.
        shape = next((one for one in Shape if path.endswith(one) and "/threads/" not in path), None)
        if shape is None or scope["method"] != "POST":
            await _unanswered(send, Reason.UNSUPPORTED_SURFACE)
            return
        try:
            body = await self._body(receive)
        except _Left:
            return
        except Unfit as unfit:
            await _unanswered(send, unfit.reason)
            return
        answering = asyncio.ensure_future(self._answer(shape, body, send))
        watching = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # A client that left needs no answer: the candidate's call ends with the task that made it.
            for task in (answering, watching):
                task.cancel()
            await asyncio.wait({answering, watching})
        if not answering.cancelled():
            answering.result()

    async def _body(self, receive: Receive) -> dict[str, Json]:
        pieces, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise _Left
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > self._limit:
                raise Unfit(Reason.REQUEST_TOO_LARGE)
            more = message.get("more_body", False)
        try:
            body = orjson.loads(b"".join(pieces))
        except orjson.JSONDecodeError:
            raise Unfit(Reason.UNREADABLE_REQUEST) from None
        if not isinstance(body, dict):
            raise Unfit(Reason.UNREADABLE_REQUEST)
        return body

    async def _answer(self, shape: Shape, body: dict[str, Json], send: Send) -> None:
        sent, events = 0, None
        try:
            async with asyncio.timeout(self._deadline_s):
                answer = await self._asking.ask(shape, body)
                if isinstance(answer, bytes):
                    await _head(send, 200, b"application/json", len(answer))
                    await send({"type": "http.response.body", "body": answer})
                    return
                events = answer
                async for event in events:
                    # Until there is something to send, production can still answer.
                    if not sent:
                        await _head(send, 200, b"text/event-stream")
                    sent += 1
                    await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        except Unfit as unfit:
            reason = unfit.reason
        except TimeoutError:
            reason = Reason.TIMEOUT
        except Exception as error:  # noqa: BLE001  users get an answer whatever happens here
            # Its message may quote a prompt or a key.
            _log.error("the canary itself failed: %s", type(error).__name__)
            reason = Reason.INTERNAL
        finally:
            if events is not None and hasattr(events, "aclose"):
                await events.aclose()
        if not reason.is_not_asked:
            fields = {"reason": reason, "surface": shape.surface, "events": sent}
            _log.warning("the candidate gave no answer", extra={"fields": fields})
        if sent:
            await send({"type": "http.response.body", "body": breaking_off.comment(reason)})
        else:
            await _unanswered(send, reason)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _head(send: Send, status: int, kind: bytes, length: int | None = None, *more: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", kind), *more]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _unanswered(send: Send, reason: Reason) -> None:
    outcome = b"not_asked" if reason.is_not_asked else b"failed"
    told = ((OUTCOME_HEADER, outcome), (REASON_HEADER, reason.encode()))
    await _head(send, 501 if reason.is_not_asked else 503, b"text/plain", 0, *told)
    await send({"type": "http.response.body", "body": b""})
