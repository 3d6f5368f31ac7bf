"""Serves a page on this machine until somebody ends it."""

import asyncio
import errno
import ipaddress
import os
import signal
import socket
import sys
import tempfile
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from types import FrameType
from typing import Protocol

import uvicorn
from starlette.types import ASGIApp

from harness.errors import ConfigurationError, InfrastructureError
from harness.ops.guard import GuardedProtocol, Sweep
from harness.web.guard import LOOPBACK, Access

_PATIENCE_S = 3
"""How long requests that are being answered may take when the end is asked for."""
_CONNECTIONS = 160
_CLIENT_S = 20.0
"""How long a client of a page that goes on may owe its request, or leave unread what it was sent."""


@dataclass(frozen=True, kw_only=True)
class Listening:
    """A socket that is open already, so that the address can be told before the first request is answered."""

    socket: socket.socket
    access: Access
    address: str
    """URL of the page, the token included."""
    open_address: str
    """The same without the token."""
    is_open_to_others: bool
    """Whether other machines can reach it."""


@contextmanager
def listening(host: str, port: int) -> Iterator[Listening]:
    """Listen on an address; port 0 takes a free one.

    Raises:
        ConfigurationError: the address is none of this machine's.
        InfrastructureError: the port is taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        opened = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        if error.errno == errno.EADDRINUSE:
            raise InfrastructureError(f"port {port} is taken; name another with --port, or 0 for a free one") from error
        if error.errno == errno.EACCES:
            raise ConfigurationError(f"port {port} is not for everybody; name one above 1023 with --port") from error
        raise ConfigurationError(f"cannot listen on {host!r} ({reason}); name an address of this machine") from error
    with opened:
        bound = opened.getsockname()
        address = ipaddress.ip_address(bound[0].split("%")[0])
        access = _access(host, bound[1], everywhere=address.is_unspecified)
        shown = socket.gethostname() if address.is_unspecified else host
        netloc = f"[{shown}]" if ":" in shown else shown
        home = f"http://{netloc}:{bound[1]}/"
        yield Listening(
            socket=opened,
            access=access,
            address=f"{home}?token={access.token}",
            open_address=home,
            is_open_to_others=not address.is_loopback,
        )


def serve(app: ASGIApp, where: Listening, on_start: Callable[[], None]) -> None:
    """Answer requests until Ctrl-C or SIGTERM; a second one does not wait for requests that are being answered.

    Nothing is logged but what goes wrong: an access log would hold the token.
    """
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        lifespan="off",
        ws="none",
        loop="asyncio",
        http="h11",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_PATIENCE_S,
    )
    server = _Server(config, on_start)
    asyncio.run(server.serve(sockets=[where.socket]))


class Companion(Protocol):
    """What works in the server's loop beside it."""

    async def run(self) -> None:
        """Work until told to end."""
        ...

    def end(self) -> None:
        """End, and let go of every request that goes on by itself; in the loop's own thread."""
        ...


def serve_beside(app: ASGIApp, where: Listening, on_start: Callable[[], None], companion: Companion) -> bool:
    """Answer requests, some of which go on until somebody ends them; whether it was Ctrl-C that did.

    Clients that neither send nor read for a while are let go, and so are those beyond a number.
    """
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        lifespan="off",
        ws="none",
        loop="asyncio",
        http=GuardedProtocol,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_PATIENCE_S,
    )
    server = _Server(config, on_start, companion)
    asyncio.run(server.serve_beside(where.socket))
    return signal.SIGINT in server.signals


class _Server(uvicorn.Server):
    """Leaves the last word to the command: uvicorn would raise the signal again once it is done."""

    def __init__(
        self, config: uvicorn.Config, on_start: Callable[[], None], companion: Companion | None = None
    ) -> None:
        super().__init__(config)
        self._on_start = on_start
        self._companion = companion
        self._loop: asyncio.AbstractEventLoop | None = None
        self.signals: list[int] = []

    async def serve_beside(self, sock: socket.socket) -> None:
        """Serve, with the companion at work meanwhile."""
        companion = self._companion
        assert companion is not None  # noqa: S101  made with one
        self._loop = asyncio.get_running_loop()
        sweep = Sweep(self.server_state.connections, _CLIENT_S)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(companion.run())
                try:
                    await self.serve(sockets=[sock])
                finally:
                    companion.end()
        finally:
            sweep.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, then tell."""
        await super().startup(sockets=sockets)
        self._on_start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ask for the end; insist at the second time."""
        del frame
        self.signals.append(sig)
        self.force_exit = self.should_exit
        self.should_exit = True
        if self._companion is not None and self._loop is not None:
            # What is told as it comes would otherwise never be answered to its end.
            self._loop.call_soon_threadsafe(self._companion.end)


def _access(host: str, port: int, *, everywhere: bool) -> Access:
    own = {socket.gethostname().lower(), socket.getfqdn().lower()} if everywhere else {host.lower()}
    return Access(port=port, hosts=LOOPBACK | own, any_address=everywhere)


def has_desktop() -> bool:
    """Whether a browser with a window can be expected to open here."""
    if sys.platform in {"darwin", "win32"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextmanager
def opened_in_browser(address: str, folder: Path) -> Iterator[None]:
    """Show the page in the user's browser.

    By way of a file in ``folder`` that only this user can read: a browser's command line is there for everybody on the
    machine to see, and the address holds the token.
    """
    handle, name = tempfile.mkstemp(prefix="open-", suffix=".html", dir=folder)
    file = Path(name)
    try:
        target = escape(address, quote=True)
        page = f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={target}">'
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(page + f'<a href="{target}">Go on</a>')
        webbrowser.open(file.absolute().as_uri())
        yield
    finally:
        file.unlink(missing_ok=True)
