"""Bounds what one call may read, and refuses to be sent elsewhere; for calls beside live traffic.

The libraries between us and the wire have no such settings, so their transport is wrapped; calls without a guard pass
it as before.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import httpx

_MARK = "_harness_guarded"
Handle = Callable[[Any, "httpx.Request"], Awaitable["httpx.Response"]]


@dataclass(slots=True)
class ResponseGuard:
    """What one call may read, and whether it tried to read more."""

    max_bytes: int
    seen: int = 0
    exceeded: bool = False


CURRENT: ContextVar[ResponseGuard | None] = ContextVar("response_guard", default=None)

DETOUR: ContextVar["Callable[[httpx.Request], httpx.Response] | None"] = ContextVar("detour", default=None)
"""Answers in the network's place: for requests that are sent in another way than by themselves."""


def install(transport: Any) -> None:
    """Have a class of httpx transports look at the guard of the call; a second time changes nothing."""
    if not getattr(transport.handle_async_request, _MARK, False):
        transport.handle_async_request = guarded(transport.handle_async_request)


def guarded(handle: Handle) -> Handle:
    """A transport's ``handle_async_request`` within the current guard."""

    @wraps(handle)
    async def within(self: Any, request: "httpx.Request") -> "httpx.Response":
        detour = DETOUR.get()
        if detour is not None:
            return detour(request)
        guard = CURRENT.get()
        if guard is None:
            return await handle(self, request)
        # What is not compressed cannot come to more than was read.
        request.headers["accept-encoding"] = "identity"
        response = await handle(self, request)
        if 300 <= response.status_code < 400:
            return await _refused(response, request)
        _count(response, guard)
        return response

    setattr(within, _MARK, True)
    return within


async def _refused(response: "httpx.Response", request: "httpx.Request") -> "httpx.Response":
    """The same answer without an address to follow: a request may not end up where nobody configured it to."""
    import httpx

    await response.aclose()
    message = f"the address answers with a redirect ({response.status_code}), which is not followed"
    return httpx.Response(response.status_code, json={"error": {"message": message}}, request=request)


def _count(response: "httpx.Response", guard: ResponseGuard) -> None:
    import httpx

    coded = response.headers.get("content-encoding", "identity").lower() != "identity"
    inner = cast("httpx.AsyncByteStream", response.stream)

    class Counted(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            if coded:
                raise httpx.DecodingError("the answer has a content coding that was not asked for")
            async for chunk in inner:
                guard.seen += len(chunk)
                if guard.seen > guard.max_bytes:
                    guard.exceeded = True
                    raise httpx.ReadError(f"the answer is larger than {guard.max_bytes} bytes")
                yield chunk

        async def aclose(self) -> None:
            await inner.aclose()

    response.stream = Counted()
