"""Notices clients that leave while they are waiting for their answer."""

import asyncio
from time import perf_counter
from typing import Any

from starlette.types import Receive

_WATCH_S = 0.05
"""Answers that take longer are watched for clients that leave; a task for each of the others would cost more."""


class Watch:
    """Cancels the answering of a request whose client has gone, once it has taken a moment."""

    __slots__ = ("_answering", "_receive", "_task", "_young", "begun", "gone")

    def __init__(
        self, receive: Receive, answering: "asyncio.Task[Any] | None", young: "dict[Watch, None]", now: float
    ) -> None:
        self.gone = False
        self.begun = now
        self._answering = answering
        self._receive = receive
        self._task: asyncio.Task[None] | None = None
        self._young = young
        young[self] = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """The moment has passed."""
        self._task = loop.create_task(self._run())

    async def _run(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._answering is not None and not self._answering.done():
            self.gone = True
            self._answering.cancel()

    def stop(self) -> None:
        """The request is answered."""
        self._young.pop(self, None)
        if self._task is not None:
            self._task.cancel()


class Watches:
    """Those of all requests of a process: one timer for all, since one for each costs more than most of them need."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._young: dict[Watch, None] = {}
        """Not yet watched, oldest first."""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, receive: Receive, answering: "asyncio.Task[Any] | None") -> Watch:
        """Look after a request."""
        if self._timer is None:
            self._timer = self._loop.call_later(_WATCH_S, self._look)
        return Watch(receive, answering, self._young, perf_counter())

    def _look(self) -> None:
        oldest = perf_counter() - _WATCH_S
        while self._young and (first := next(iter(self._young))).begun <= oldest:
            del self._young[first]
            first.start(self._loop)
        self._timer = self._loop.call_later(_WATCH_S, self._look) if self._young else None
