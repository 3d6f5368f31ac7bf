"""Listening, and serving the admin port beside whatever else a process does."""

import asyncio
import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from harness.errors import ConfigurationError, InfrastructureError
from harness.ops.guard import GuardedProtocol, Sweep

_CONNECTIONS = 64
_CLIENT_S = 5.0
"""How long a client of the admin port may take for its request."""
_STOP_S = 1


class AdminServer(uvicorn.Server):
    """Leaves the signals to the process it is part of, and is not to be blocked by clients that do nothing."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app, http=GuardedProtocol, access_log=False, log_config=None, lifespan="off", ws="none",
                server_header=False, limit_concurrency=_CONNECTIONS, timeout_graceful_shutdown=_STOP_S,
            )
        )  # fmt: skip

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop."""
        sweep = Sweep(self.server_state.connections, _CLIENT_S)
        try:
            await super().serve(sockets)
        finally:
            sweep.close()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing to capture."""
        yield


@contextmanager
def serving(app: ASGIApp, sock: socket.socket) -> Iterator[None]:
    """Serve in a thread with an event loop of its own, so that answers do not wait for the process's work."""
    server = AdminServer(app)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])), name="admin", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(_STOP_S + 2.0)


def bind(host: str, port: int, what: str, section: str) -> socket.socket:
    """A listening socket; ``section`` of the live experiment says where it listens.

    Raises:
        InfrastructureError: the port is taken.
        ConfigurationError: it cannot be listened on at all.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        sock = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        if error.errno == errno.EADDRINUSE:
            raise InfrastructureError(f"{what}: port {port} is taken; set another one in `{section}.port`") from error
        raise ConfigurationError(f"{what}: cannot listen on {host}:{port} ({reason}); see `{section}.host`") from error
    sock.setblocking(False)
    return sock


def shown(sock: socket.socket) -> str:
    """The address a socket listens on, as a URL."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
