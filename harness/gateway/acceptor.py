"""Takes in new connections several at a time."""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import cast

_BATCH = 16
"""Connections taken in at one turn of the loop; a few, since other serving processes wait at the same socket."""
_REST_S = 0.1
"""Pause after the system refused one, as it does without free file handles."""
_log = logging.getLogger("harness.gateway")


class Acceptor:
    """Accepts on a listening socket, in the place of the event loop's own server.

    uvloop accepts one connection per turn. When a turn answers many requests, clients that have just connected wait
    for as many turns as there are of them: with 256 at once the last ones waited for seconds.
    """

    def __init__(self, sock: socket.socket, make_protocol: Callable[[], asyncio.BaseProtocol]) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._make_protocol = make_protocol
        self._connecting: set[asyncio.Task[object]] = set()
        self._rest: asyncio.TimerHandle | None = None
        self._closed = False
        sock.setblocking(False)
        self._loop.add_reader(sock, self._accept)

    def _accept(self) -> None:
        for _ in range(_BATCH):
            try:
                accepted, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.error("no connection can be taken in: %s", error.strerror)
                self._loop.remove_reader(self._socket)
                self._rest = self._loop.call_later(_REST_S, self._resume)
                return
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = self._loop.create_task(self._connect(accepted))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                cast("Callable[[], asyncio.Protocol]", self._make_protocol), accepted
            )
        except OSError:
            accepted.close()

    def _resume(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._socket, self._accept)

    def close(self) -> None:
        """Take in no more."""
        self._closed = True
        if self._rest is not None:
            self._rest.cancel()
        self._loop.remove_reader(self._socket)

    async def wait_closed(self) -> None:
        """Nothing to wait for: connections are the server's."""
