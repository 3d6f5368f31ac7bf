"""Who may talk to a page: whoever has the token, under a name of this machine, with requests of bounded size.

A page on a loopback address is still within reach of every web site its user visits: by a form it posts, and by a name
of its own that it lets point to 127.0.0.1 (DNS rebinding). Hence the token, the check of the Host header and that of
the Origin.
"""

import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_LIMIT = 64 * 1024
"""Bytes of a request; a form with the longest note takes a fifth of it."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS: dict[str, str] = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Not `no-referrer`, under which browsers say that a form came from nowhere.
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}
LIVE_HEADERS: dict[str, str] = HEADERS | {"content-security-policy": f"{_POLICY}; connect-src 'self'"}
"""Of a page that is told what is new."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a request has to show."""

    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    hosts: frozenset[str] = LOOPBACK
    """Names under which the page may be asked for."""
    any_address: bool = False
    """Whether any literal address will do as well: nobody can let one point elsewhere."""
    reads_freely: bool = False
    """Whether the application itself asks for the token, where it is needed."""

    @property
    def cookie(self) -> str:
        """Name of the token's cookie: cookies know no ports, and two pages must not take each other's."""
        return f"harness_token_{self.port}"

    def has_token(self, text: str | None) -> bool:
        """Whether ``text`` is the token, compared in constant time."""
        return text is not None and hmac.compare_digest(text.encode("utf-8", "replace"), self.token.encode())

    def knows_host(self, header: str | None) -> bool:
        """Whether a Host header names this page."""
        try:
            host = urlsplit(f"//{header or ''}").hostname or ""
        except ValueError:
            return False
        if host in self.hosts:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return address.is_loopback or self.any_address


class Guard:
    """Refuses what :class:`Access` does not allow before the application hears of it."""

    def __init__(self, app: ASGIApp, access: Access, *, headers: Mapping[str, str] = HEADERS) -> None:
        self.app = app
        self.access = access
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; anything but HTTP is not answered."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(dict(self.headers))
            await send(message)

        refusal = self._refusal(HTTPConnection(scope), scope["method"])
        if refusal is not None:
            await refusal(scope, receive, send_guarded)
            return
        body = await _body(receive)
        if body is None:
            await _page(413, "The request is too large.")(scope, receive, send_guarded)
            return
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replayed() -> Message:
            return next(messages, None) or await receive()

        await self.app(scope, replayed, send_guarded)

    def _refusal(self, request: HTTPConnection, method: str) -> Response | None:
        access = self.access
        host = request.headers.get("host")
        if not access.knows_host(host):
            return _page(403, "This page answers only under the address that the command printed.")
        if access.reads_freely:
            if method not in _SAFE and not from_here(request):
                return _page(403, "This request came from another page.")
            return None
        asked = request.query_params.get("token")
        if asked is not None and method in _SAFE and access.has_token(asked):
            # On to the same page without the token, so that it does not stay in the address bar.
            rest = urlencode([pair for pair in parse_qsl(request.url.query) if pair[0] != "token"])
            # One slash: two would lead to another host.
            path = "/" + request.url.path.lstrip("/\\")
            redirect = RedirectResponse(path + (f"?{rest}" if rest else ""), status_code=303)
            redirect.set_cookie(access.cookie, access.token, httponly=True, samesite="lax", path="/")
            return redirect
        if not access.has_token(request.cookies.get(access.cookie)):
            return _page(
                403, "Open the address that the command printed, with the token in it. A restart makes a new one."
            )
        if method not in _SAFE and not from_here(request):
            return _page(403, "This request came from another page.")
        return None


def from_here(request: HTTPConnection) -> bool:
    """Whether a page of ours asks, or the user by hand, and not another site's page."""
    host = request.headers.get("host", "")
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if origin is not None and origin.lower().partition("://")[2] != host.lower():
        return False
    # `none` is the user's own doing, as in sending a form once more.
    return site in {None, "same-origin", "none"}


async def _body(receive: Receive) -> bytes | None:
    """The whole body, or ``None`` when it is over the limit or its sender has gone."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _page(status: int, text: str) -> Response:
    """A page without style: whoever is refused gets nothing else either."""
    html = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Shadow Harness</title><p>{text}</p></html>'
    return HTMLResponse(html, status_code=status)
