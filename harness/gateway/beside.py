"""Processes beside the gateway that a rollout needs: the one that answers with the candidate, and the agent.

Production waits for neither of them, and serves everybody while they are not there.
"""

import asyncio
import json
import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.config import Live
from harness.gateway.canary import CanaryAddress, token_for
from harness.ops.alerts import Alert, AlertKind
from harness.ops.listening import refuse, reserve
from harness.spool import assignment

AGENT = "harness.rollout.agent"
CANARY = "harness.canary.process"
_LOOK_S = 0.2
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_STEADY_S = 10.0
_END_S = 15.0
"""How long one that was told to end may take."""
_log = logging.getLogger("harness.gateway")


class Child:
    """One process that is started again for as long as it is wanted."""

    def __init__(
        self, module: str, arguments: tuple[str, ...], told: Mapping[str, Any], sock: socket.socket | None = None
    ) -> None:
        self.restarts = 0
        self.process: asyncio.subprocess.Process | None = None
        self._module = module
        self._arguments = arguments
        self._told = json.dumps(told).encode()
        self._steady_restarts = 0
        """Starts anew up to the last one that lived for a while."""
        self._sock = sock
        self._wanted = asyncio.Event()
        self._wanted.set()

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.returncode is None

    @property
    def is_failing(self) -> bool:
        """Whether it ends again and again."""
        return self.restarts - self._steady_restarts > 1

    async def run(self, after: "Child | None" = None) -> None:
        """Until it is not wanted any more; from when the one before it has ended, whose socket it gets."""
        if after is not None:
            await after.ended()
        pause = _FIRST_PAUSE_S
        while self._wanted.is_set():
            begin = time.monotonic()
            try:
                self.process = await self._spawn()
                code = await self.process.wait()
            except OSError:
                _log.exception("%s cannot be started; trying again", self._module)
                code = -1
            if self._sock is not None:
                # We hold it too, so it would go on listening, for nobody.
                refuse(self._sock)
            if not self._wanted.is_set():
                return
            _log.error("%s ended; another one follows", self._module, extra={"fields": {"code": code}})
            self.restarts += 1
            if time.monotonic() - begin > _STEADY_S:
                self._steady_restarts = self.restarts
            pause = _FIRST_PAUSE_S if time.monotonic() - begin > _STEADY_S else min(2 * pause, _LONGEST_PAUSE_S)
            await asyncio.sleep(pause)

    async def _spawn(self) -> asyncio.subprocess.Process:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", self._module, *self._arguments, "--parent", str(os.getpid()),
            pass_fds=() if self._sock is None else (self._sock.fileno(),), stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        assert child.stdin is not None  # noqa: S101  a pipe was asked for
        with suppress(ConnectionError):
            child.stdin.write(self._told)
            await child.stdin.drain()
        child.stdin.close()
        return child

    def stop(self) -> None:
        """Want it no more."""
        self._wanted.clear()
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.terminate()

    async def ended(self) -> None:
        """Wait for its end, and kill it when that takes too long."""
        process = self.process
        if process is None:
            return
        try:
            async with asyncio.timeout(_END_S):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class Beside:
    """What a gateway with a `canary` section runs besides its serving processes.

    The candidate's process begins with the rollout and not with its first user: it takes seconds to begin.
    """

    def __init__(self, live: Live, store: str) -> None:
        self._live = live
        self._folder = Path(live.spool.folder)
        self._secret = secrets.token_urlsafe(24)
        # Nobody listens on it before the candidate can answer: then connections are refused, and wait for nobody.
        self._sock = reserve()
        self.address = CanaryAddress(port=self._sock.getsockname()[1], secret=self._secret)
        self.agent = Child(AGENT, (), {"live": live.model_dump(mode="json"), "store": store})
        self.canary: Child | None = None
        self.candidate: str | None = None
        """Whom the canary process asks."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep them running until it is time to stop."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.agent.run())
            while not stopping.is_set():
                self._look(group)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await stopping.wait()
            for child in (self.agent, self.canary):
                if child is not None:
                    child.stop()
                    await child.ended()
        self._sock.close()

    def alerts(self) -> Sequence[Alert]:
        """What needs a person."""
        found = []
        if self.agent.is_failing:
            text = "the rollout's agent ends again and again, so production serves everybody; the log says why"
            found.append(Alert(kind=AlertKind.COMPANION_RESTARTS, subject="agent", text=text))
        if self.canary is not None and self.canary.is_failing:
            text = f"{self.candidate} cannot be asked for users, so production serves everybody; the log says why"
            found.append(Alert(kind=AlertKind.COMPANION_RESTARTS, subject="canary", text=text))
        return found

    def _look(self, group: asyncio.TaskGroup) -> None:
        found = assignment.read(self._folder, time.time())
        known = {one.name for one in self._live.candidates}
        # Of an assignment that has run out the process stays: it may be renewed, and asks nobody by itself.
        if not found.candidate or found.candidate == self.candidate or found.candidate not in known:
            return
        before = self.canary
        if before is not None:
            before.stop()
        self.candidate = found.candidate
        self.canary = Child(
            CANARY,
            ("--candidate", found.candidate, "--fd", str(self._sock.fileno())),
            {"live": self._live.model_dump(mode="json"), "token": token_for(self._secret, found.candidate)},
            self._sock,
        )
        group.create_task(self.canary.run(before))
