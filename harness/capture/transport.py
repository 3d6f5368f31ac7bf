"""Listens to an HTTP transport of httpx or of its successor: the lowest place where every attempt comes by whole."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import cache
from typing import Any

from harness.capture.attempt import Attempt, Ending
from harness.capture.capturing import Capture
from harness.spool.headers import of_response

Origin = tuple[str, str, int | None]
_MARK = "_shadow_listener"


class Listener:
    """Everything that is captured of one transport: by origin, since a transport may be shared by several clients."""

    def __init__(self) -> None:
        self.captures: dict[Origin, Capture] = {}

    def begin(self, request: Any) -> tuple[Capture, Attempt] | None:
        """Start to capture a request, if it is one for us."""
        capture = self.captures.get(origin(request.url))
        if capture is None:
            return None
        try:
            # A body that can only be read once is not ours to read; no call that can be compared has one.
            body = getattr(request, "_content", b"")
            attempt = capture.begin(request.method, request.url.path, request.headers.raw, body)
        except Exception:  # noqa: BLE001  ours, whatever it is
            capture.fault()
            return None
        return None if attempt is None else (capture, attempt)


def listen(transport: Any, where: Origin, capture: Capture, *, asynchronous: bool) -> None:
    """Capture what this transport sends to an origin; the transport stays the object it is."""
    listener: Listener | None = getattr(transport, _MARK, None)
    if listener is None:
        listener = Listener()
        if asynchronous:
            heard_async = _asynchronous(transport.handle_async_request, listener)
            transport.handle_async_request = heard_async
        else:
            transport.handle_request = _synchronous(transport.handle_request, listener)
        setattr(transport, _MARK, listener)
    listener.captures[where] = capture


def origin(url: Any) -> Origin:
    """Scheme, host and port of an address; ``None`` for the scheme's own port."""
    return url.scheme, url.host, url.port


def _synchronous(send: Callable[[Any], Any], listener: Listener) -> Callable[[Any], Any]:
    def handle_request(request: Any) -> Any:
        begun = listener.begin(request)
        if begun is None:
            return send(request)
        try:
            response = send(request)
        except BaseException as error:
            _failed(*begun, error)
            raise
        _answered(*begun, response, _teed)
        return response

    return handle_request


def _asynchronous(send: Callable[[Any], Awaitable[Any]], listener: Listener) -> Callable[[Any], Awaitable[Any]]:
    async def handle_async_request(request: Any) -> Any:
        begun = listener.begin(request)
        if begun is None:
            return await send(request)
        try:
            response = await send(request)
        except BaseException as error:
            _failed(*begun, error)
            raise
        _answered(*begun, response, _teed_async)
        return response

    return handle_async_request


def _answered(capture: Capture, attempt: Attempt, response: Any, tee: Callable[..., Any]) -> None:
    try:
        attempt.status = response.status_code
        if not attempt.kept:
            capture.end(attempt, Ending.WHOLE)
            return
        attempt.response_headers = of_response(response.headers.raw)
        if response.is_closed and hasattr(response, "_content"):
            # A transport that had the whole answer at hand, such as a cache or a test.
            for chunk in response.stream:
                attempt.add(chunk)
            capture.end(attempt, Ending.WHOLE)
            return
        response.stream = tee(response.stream, capture, attempt)
    except Exception:  # noqa: BLE001  ours, whatever it is
        capture.fault()
        capture.lose(attempt)


def _failed(capture: Capture, attempt: Attempt, error: BaseException) -> None:
    try:
        kind = kind_of(error)
        if kind is None:
            capture.end(attempt, Ending.LEFT)
        else:
            # Not its message, which may quote an address with a key in it.
            ending = Ending.CUT if attempt.status else Ending.FAILED
            capture.end(attempt, ending, error=f"{kind}: {type(error).__name__}")
    except Exception:  # noqa: BLE001  ours, whatever it is
        capture.fault()


def kind_of(error: BaseException) -> str | None:
    """What of production failed, in the gateway's words; ``None`` when it was the caller who gave up."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if not isinstance(error, Exception) or "PoolTimeout" in names:
        # The pool is the application's own: production has not seen the request.
        return None
    if "TimeoutException" in names:
        return "timeout"
    if names & {"ConnectError", "ProxyError", "UnsupportedProtocol"}:
        return "connect"
    return "protocol" if "ProtocolError" in names else "cut"


class _Tee:
    """An answer's body on its way to the caller; what passes is kept, when and as it passes."""

    def __init__(self, body: Any, capture: Capture, attempt: Attempt) -> None:
        self._body = body
        self._capture = capture
        self._attempt = attempt

    def _end(self, ending: Ending) -> None:
        try:
            self._capture.end(self._attempt, ending)
        except Exception:  # noqa: BLE001  ours, whatever it is
            self._capture.fault()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_body"], name)

    def __del__(self) -> None:
        self._capture.lose(self._attempt)


class _Teed(_Tee):
    def __iter__(self) -> Iterator[bytes]:
        add = self._attempt.add
        try:
            for chunk in self._body:
                add(chunk)
                yield chunk
        except BaseException as error:
            _failed(self._capture, self._attempt, error)
            raise
        self._end(Ending.WHOLE)

    def close(self) -> None:
        try:
            self._body.close()
        finally:
            self._end(Ending.LEFT)


class _TeedAsync(_Tee):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        add = self._attempt.add
        try:
            async for chunk in self._body:
                add(chunk)
                yield chunk
        except BaseException as error:
            _failed(self._capture, self._attempt, error)
            raise
        self._end(Ending.WHOLE)

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            self._end(Ending.LEFT)


def _teed(body: Any, capture: Capture, attempt: Attempt) -> Any:
    return _kind(_Teed, _base(body, "SyncByteStream"))(body, capture, attempt)


def _teed_async(body: Any, capture: Capture, attempt: Attempt) -> Any:
    return _kind(_TeedAsync, _base(body, "AsyncByteStream"))(body, capture, attempt)


def _base(body: Any, name: str) -> type:
    """The library's own class of streams, which its client insists on."""
    return next(kind for kind in type(body).__mro__ if kind.__name__ == name)


@cache
def _kind(tee: type[_Tee], base: type) -> Callable[..., Any]:
    return type(tee.__name__, (tee, base), {})
