"""The ASGI application: one candidate behind the three APIs, for the gateway alone."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Protocol

import orjson
from starlette.types import Receive, Scope, Send

from harness.canary.asking import Shape, Unfit, broken
from harness.domain.json import Json

_log = logging.getLogger("harness.canary")


class Asks(Protocol):
    """Who asks the candidate."""

    async def ask(self, shape: Shape, body: dict[str, Json]) -> bytes | AsyncIterator[bytes]:
        """The whole answer, or the events of a stream."""
        ...


class _Left(Exception):  # noqa: N818  reads as what happened
    """The client went away in the middle of its request."""


class Canary:
    """Answers with the candidate, or says by status and header that production has to.

    ``deadline_s`` runs from the whole request to the last byte of the answer.
    """

    def __init__(self, asking: Asks, *, deadline_s: float, max_request_bytes: int) -> None:
        self._asking = asking
        self._deadline_s = deadline_s
        self._limit = max_request_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        # The messages of an assistant's thread live at production.
        shape = next((one for one in Shape if path.endswith(one) and "/threads/" not in path), None)
        if shape is None or scope["method"] != "POST":
            await _failed(send, 501, "not_served")
            return
        try:
            body = await self._body(receive)
        except _Left:
            return
        except Unfit as unfit:
            await _failed(send, 503, unfit.reason)
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
                raise Unfit("request_too_large")
            more = message.get("more_body", False)
        try:
            body = orjson.loads(b"".join(pieces))
        except orjson.JSONDecodeError:
            raise Unfit("unreadable_request") from None
        if not isinstance(body, dict):
            raise Unfit("unreadable_request")
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
            reason = "timeout"
        except Exception as error:  # noqa: BLE001  users get an answer whatever happens here
            _log.error("the canary itself failed: %s", type(error).__name__)
            reason = "internal"
        finally:
            if events is not None and hasattr(events, "aclose"):
                await events.aclose()
        _log.warning("the candidate failed", extra={"fields": {"reason": reason, "api": shape.name, "events": sent}})
        if sent:
            await send({"type": "http.response.body", "body": broken(shape, reason, sent)})
        else:
            await _failed(send, 503, reason)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _head(send: Send, status: int, kind: bytes, length: int | None = None, *more: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", kind), *more]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _failed(send: Send, status: int, reason: str) -> None:
    body = orjson.dumps({"error": {"message": f"shadow canary: {reason}", "type": "canary_failed", "code": reason}})
    told = ((b"x-shadow-canary", b"failed"), (b"x-shadow-canary-reason", reason.encode()))
    await _head(send, status, b"application/json", len(body), *told)
    await send({"type": "http.response.body", "body": body})
