"""Starts the serving processes, keeps them running, and answers on the admin port for all of them."""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.config import Live
from harness.errors import ConfigurationError
from harness.gateway import state, watch
from harness.gateway.beside import Beside
from harness.gateway.followed import Followed
from harness.ops.admin import Operated, admin_app, token_from
from harness.ops.alerts import Notifier, sender_from
from harness.ops.metrics import Histogram, Reading
from harness.ops.server import AdminServer
from harness.spool import assignment, control
from harness.spool.reader import SpoolReader

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_STEADY_S = 10.0
"""A process that lived this long did not fail at its start."""
_LOOK_S = 5.0
"""How often the counts are looked at for what needs a person."""
_FOLLOW_S = 0.2
_MARGIN_S = 3.0
"""How much longer than their own limit processes may take to end."""
_log = logging.getLogger("harness.gateway")


class Supervisor:
    """One gateway: its serving processes share one listening socket, so that none of them is needed by name."""

    def __init__(self, live: Live, path: Path, *, store: str | None = None) -> None:
        """Nothing runs before :meth:`run`; ``store`` is where a rollout is followed from, with a `canary` section."""
        self._beside = Beside(live, store) if live.canary is not None and store is not None else None
        self._live = live
        self._path = path
        self._followed = Followed(live, path)
        self._folder = Path(live.spool.folder)
        self._children: dict[int, asyncio.subprocess.Process | None] = {}
        self._stopping = asyncio.Event()
        self._restarts = 0
        self._forced = False
        self._interrupted = False

    async def run(self, sock: socket.socket, admin: socket.socket) -> bool:
        """Serve until a signal; returns whether all requests in flight could be answered."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        server = self._admin_server()
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve(sockets=[admin]))
            for place in range(self._live.gateway.processes):
                group.create_task(self._keep(place, sock))
            group.create_task(self._watch())
            group.create_task(self._follow())
            if self._beside is not None:
                group.create_task(self._beside.run(self._stopping))
            await self._stopping.wait()
            sock.close()
            server.should_exit = True
            await serving
        return not self._forced

    @property
    def was_interrupted(self) -> bool:
        """Whether it was Ctrl-C that ended it."""
        return self._interrupted

    def _stop(self, number: int) -> None:
        self._interrupted = self._interrupted or number == signal.SIGINT
        self._stopping.set()
        for child in self._children.values():
            if child is not None:
                _tell_to_stop(child)

    async def _keep(self, place: int, sock: socket.socket) -> None:
        pause = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            begin = time.monotonic()
            try:
                child = self._children[place] = await self._spawn(sock)
            except OSError:
                _log.exception("no serving process can be started; trying again")
            else:
                _log.info("serving process started", extra={"fields": {"child": child.pid}})
                code = await self._ended(child)
                self._children[place] = None
                if self._stopping.is_set():
                    # One that dies of the signal had not begun to serve.
                    self._forced = self._forced or code not in {0, -signal.SIGTERM}
                    return
                fields = {"child": child.pid, "code": code}
                _log.error("serving process ended; another one follows", extra={"fields": fields})
            self._restarts += 1
            pause = _FIRST_PAUSE_S if time.monotonic() - begin > _STEADY_S else min(2 * pause, _LONGEST_PAUSE_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

    async def _spawn(self, sock: socket.socket) -> asyncio.subprocess.Process:
        """Start a process with the configuration we started with: what has become of the file must not stop it."""
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "harness.gateway.process", "--live", str(self._path),
            "--fd", str(sock.fileno()), "--parent", str(os.getpid()),
            pass_fds=(sock.fileno(),), stdin=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert child.stdin is not None  # noqa: S101  a pipe was asked for
        with suppress(ConnectionError):
            address = None if self._beside is None else asdict(self._beside.address)
            child.stdin.write(json.dumps({"live": self._live.model_dump(mode="json"), "canary": address}).encode())
            await child.stdin.drain()
        child.stdin.close()
        if self._stopping.is_set():
            _tell_to_stop(child)
        return child

    async def _ended(self, child: asyncio.subprocess.Process) -> int:
        """The exit code; a process that does not end in time after it was told to is killed."""
        waiting = asyncio.ensure_future(child.wait())
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not waiting.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._live.gateway.drain_s + _MARGIN_S):
                    await asyncio.shield(waiting)
        if not waiting.done():
            with suppress(ProcessLookupError):
                child.kill()
        return await waiting

    async def _follow(self) -> None:
        """Know what the serving processes sample by, for whoever asks on the admin port."""
        while not self._stopping.is_set():
            try:
                await asyncio.to_thread(self._followed.look)
            except Exception:  # noqa: BLE001  whatever is on disk must not end the gateway
                _log.exception("the configuration could not be looked at")
            with suppress(TimeoutError):
                async with asyncio.timeout(_FOLLOW_S):
                    await self._stopping.wait()

    async def _watch(self) -> None:
        """Look at the counts every few seconds and tell people what needs them."""
        settings = self._live.alerts
        notifier = Notifier(
            name=f"{self._live.name} gateway",
            repeat_s=settings.repeat_s,
            memory=self._folder / "alerts-gateway.json",
            send=sender_from(settings.urls_env),
            gone_s=settings.over_after_s,
        )
        every = min(_LOOK_S, settings.nothing_mirrored_s / 4)
        looks: list[watch.Look] = []
        restarts: list[int] = []
        while not self._stopping.is_set():
            try:
                looks.append(await asyncio.to_thread(watch.look, self._folder))
                restarts.append(self._restarts)
                while len(looks) > 2 and looks[-1].at - looks[1].at >= settings.nothing_mirrored_s:
                    del looks[0], restarts[0]
                await asyncio.to_thread(self._expire)
                if len(looks) > 1:
                    again = restarts[-1] - restarts[0]
                    problem = self._followed.problem
                    found = await asyncio.to_thread(watch.alerts, self._live, problem, looks, again)
                    notifier.update([*found, *(self._beside.alerts() if self._beside is not None else ())])
            except Exception:  # noqa: BLE001  whatever a broken disk raises: production is served all the same
                _log.exception("the counts could not be looked at")
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await self._stopping.wait()
        await asyncio.to_thread(notifier.close, 2.0)

    def _expire(self) -> None:
        """Keep the spool's age limit when no worker does."""
        age = state.oldest_age_s(self._folder)
        limit = self._live.spool.max_age_s
        if age is None or age <= limit:
            return
        # A worker holds the spool, and leaves out what is too old by itself.
        with suppress(ConfigurationError), SpoolReader(self._folder) as reader:
            if expired := reader.expire(limit):
                _log.warning(
                    "%d records were removed unread: they had waited for longer than `spool.max_age_s`", expired
                )

    # The admin port

    def _admin_server(self) -> AdminServer:
        token = token_from(self._live.admin.token_env)
        if token is None:
            _log.warning("%s is not set: nothing can be changed on the admin port", self._live.admin.token_env)
        app = admin_app(
            Operated(
                name="gateway",
                not_ready=self._not_ready,
                readings=self._readings,
                status=self._status,
                set_mirror=lambda wanted: control.switch(self._folder, mirror=wanted),
                token=token,
            )
        )
        return AdminServer(app)

    def _not_ready(self) -> Sequence[str]:
        missing = [place for place in range(self._live.gateway.processes) if not self._is_up(place)]
        return [f"serving process {place} is not running" for place in missing]

    def _is_up(self, place: int) -> bool:
        child = self._children.get(place)
        return child is not None and child.returncode is None

    def _readings(self) -> Sequence[Reading | Histogram]:
        up = sum(self._is_up(place) for place in range(self._live.gateway.processes))
        return [
            Reading.of("gateway_processes", "Serving processes that run", up),
            Reading.of("gateway_restarts", "Serving processes started again", self._restarts, kind="counter"),
            *self._beside_readings(),
            *state.readings(self._folder, enabled=self._followed.live.mirror.enabled),
        ]

    def _beside_readings(self) -> Sequence[Reading]:
        beside = self._beside
        if beside is None:
            return ()
        now = time.time()
        found = assignment.read(self._folder, now)
        canary = beside.canary
        return (
            Reading.of("gateway_agent_up", "1 while the rollout's agent runs", float(beside.agent.is_up)),
            Reading.of("gateway_canary_up", "1 while the candidate's process runs",
                       float(canary is not None and canary.is_up)),
            Reading.of("gateway_assignment_share", "Share of the conversations the candidate serves", found.share),
            Reading.of("gateway_assignment_age_seconds", "Since it was known to be true",
                       now - found.written_at if found.written_at else 0.0),
        )  # fmt: skip

    def _status(self) -> Mapping[str, Any]:
        children = [child.pid for child in self._children.values() if child is not None]
        return {
            "processes": children,
            "restarts": self._restarts,
            "assignment": None if self._beside is None else _shown(assignment.read(self._folder, time.time())),
            **state.status(self._followed.live, self._followed.problem),
        }


def _shown(found: assignment.Assignment) -> Mapping[str, Any]:
    """Without the salt, which tells who is served by whom."""
    return {name: value for name, value in asdict(found).items() if name != "salt"}


def _tell_to_stop(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        with suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
