"""A worker process of the local engine: makes the attempts it is told to, and ends with its driver."""

import asyncio
import os
import signal
import socket
import sys
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
        serving.link.send(packed((READY,)))
        await serving.ended.wait()
        # The driver has gone or wants no more: nobody is left to hear of what is in flight.
        os._exit(0)


def main() -> None:
    """Serve on the socket whose descriptor is the first argument."""
    # Ctrl-C and a service manager's SIGTERM go to every process; when the driver ends, the socket says so.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sock = socket.socket(fileno=int(sys.argv[1]))
    library()
    asyncio.run(_serve(sock))


if __name__ == "__main__":
    main()
