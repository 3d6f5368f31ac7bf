"""A worker process of the local engine: makes the attempts it is told to, and ends with its driver.

Several may be wanted at once. The first one then loads the libraries, which takes seconds, and forks the others.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness.engine.frames import CALL, ERROR, READY, REPLY, Link, error_fields, packed
from harness.models.litellm_client import LitellmClient, library


class _Serving:
    """Calls in flight in this process."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._client = LitellmClient()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.ended = asyncio.Event()
        self.link = Link(self._received, self.ended.set)

    def _received(self, message: Any) -> None:
        if message[0] == CALL:
            number = message[1]
            self._tasks[number] = self._group.create_task(self._call(*message[1:]))
        elif (task := self._tasks.get(message[1])) is not None:
            task.cancel()

    async def _call(self, number: int, request: Any, model: Any, deadline_s: float) -> None:
        try:
            reply = await self._client.complete(request, model, deadline_s=deadline_s)
            answer: tuple[int, int, Any] = (REPLY, number, reply)
        except Exception as error:  # noqa: BLE001  whatever it is, whoever asked has to hear of it
            answer = (ERROR, number, error_fields(error))
        finally:
            del self._tasks[number]
        self.link.send(packed(answer))


async def _serve(sock: socket.socket) -> None:
    async with asyncio.TaskGroup() as group:
        serving = _Serving(group)
        await asyncio.get_running_loop().create_connection(lambda: serving.link, sock=sock)
        serving.link.send(packed((READY, os.getpid())))
        await serving.ended.wait()
        # The driver has gone or wants no more: nobody is left to hear of what is in flight.
        os._exit(0)


def _forked(sockets: Sequence[int]) -> int:
    """Become one process for each socket; returns the one of this process."""
    own, *others = sockets
    if not others:
        return own
    # A thread may hold a lock, and no process forked meanwhile would ever see it released: there must be none.
    gc.unfreeze()  # what was loaded is found again
    for pool in [found for found in gc.get_objects() if isinstance(found, ThreadPoolExecutor)]:
        pool.shutdown()
        ThreadPoolExecutor.__init__(pool, pool._max_workers, pool._thread_name_prefix or "")
    gc.collect()
    gc.freeze()  # what is never collected is never written to, and stays one copy in memory
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are reaped by the system
    while others:
        theirs = others.pop()
        if os.fork() == 0:
            # Whoever keeps another's socket keeps its end from being noticed.
            for other in (own, *others):
                os.close(other)
            return theirs
        os.close(theirs)
    return own


def main() -> None:
    """Serve on the sockets whose descriptors are the arguments, each in a process of its own."""
    # Ctrl-C and a service manager's SIGTERM go to every process; when the driver ends, the socket says so.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    library()
    asyncio.run(_serve(socket.socket(fileno=_forked([int(each) for each in sys.argv[1:]]))))


if __name__ == "__main__":
    main()
