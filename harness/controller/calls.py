"""One HTTP call: bounded in time and size, without redirects, and with an address that no error tells."""

import errno
import os
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from queue import Empty, SimpleQueue
from urllib.parse import urlsplit

from harness.errors import HarnessError

_CHUNK = 65_536


class CallError(HarnessError):
    """There was no answer; the message says why, and neither whom nor with what was asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What came back, whatever its status says."""

    status: int
    body: bytes = field(repr=False)
    cut: bool = False
    """Whether there was more than was to be read."""

    @property
    def ok(self) -> bool:
        """Whether the call did what it was to do; a redirect did not."""
        return 200 <= self.status < 300


def call(
    method: str,
    address: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    timeout_s: float,
    max_bytes: int,
) -> Reply:
    """Call an address, from looking its name up to the last byte within ``timeout_s`` seconds.

    A call that took too long may still have its effect, and even afterwards.

    Raises:
        CallError: there was no HTTP answer in time.
    """
    outcome: SimpleQueue[Reply | str] = SimpleQueue()
    deadline = time.monotonic() + timeout_s

    def ask() -> None:
        try:
            outcome.put(_exchange(method, address, headers, body, deadline, max_bytes))
        except Exception as error:  # noqa: BLE001  their texts hold addresses and keys, so none leaves this thread
            outcome.put(_reason(error))

    # Nothing else bounds the look-up of a name, and an answer that comes byte by byte. What is left behind ends by the
    # time limit of its socket.
    threading.Thread(target=ask, name="call", daemon=True).start()
    try:
        found = outcome.get(timeout=timeout_s)
    except Empty:
        found = _TOO_LATE
    if isinstance(found, Reply):
        return found
    raise CallError(f"no answer within {timeout_s:g} s" if found == _TOO_LATE else found)


_TOO_LATE = "too late"


def _exchange(
    method: str, address: str, headers: Mapping[str, str], body: bytes | None, deadline: float, max_bytes: int
) -> Reply:
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise _NoAddressError
    request = urllib.request.Request(address, data=body, method=method)  # noqa: S310  http and https alone, see above
    for name, value in headers.items():
        request.add_header(name, value)
    with _opener().open(request, timeout=max(deadline - time.monotonic(), 0.001)) as response:
        read, size = [], 0
        while size <= max_bytes and (part := _next(response, deadline)):
            read.append(part)
            size += len(part)
        return Reply(status=response.status, body=b"".join(read)[:max_bytes], cut=size > max_bytes)


def _next(response: HTTPResponse, deadline: float) -> bytes:
    if time.monotonic() > deadline:
        raise TimeoutError
    return response.read1(_CHUNK)


def _opener() -> urllib.request.OpenerDirector:
    """The proxies of the environment, and neither redirects nor files: only what is named here is done."""
    opener = urllib.request.OpenerDirector()
    opener.addheaders = [("User-Agent", "shadow-harness")]
    for handler in (urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
        opener.add_handler(handler())
    return opener


class _NoAddressError(ValueError):
    pass


_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (TimeoutError, _TOO_LATE),
    (socket.gaierror, "its name is not known"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    (ssl.SSLError, "no TLS connection"),
    (ConnectionRefusedError, "connection refused"),
    (ConnectionError, "the connection broke off"),
    (HTTPException, "no HTTP answer"),
    (_NoAddressError, "no http or https address without credentials"),
    (ValueError, "it cannot be sent: an address or a header is malformed"),
)


def _reason(error: BaseException) -> str:
    """Why there is no answer, in words of our own."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        return _reason(error.reason)
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    if isinstance(error, OSError) and error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno)
    return f"it failed ({type(error).__name__})"
