"""One serving process: its listening socket comes by descriptor, its configuration on standard input."""

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path

import uvicorn
import uvloop

from harness.config import Live
from harness.gateway.acceptor import Acceptor
from harness.gateway.app import Gateway
from harness.gateway.arms import SERVED, Arms
from harness.gateway.canary import Canary, CanaryAddress
from harness.gateway.mirror import GatewayMirror
from harness.gateway.scheduling import prefer_short_slices
from harness.gateway.upstream import Upstream
from harness.ops import logs
from harness.ops.guard import GuardedProtocol, Sweep
from harness.ops.parent import end_with
from harness.spool.counters import CounterFile
from harness.spool.reader import COUNTERS
from harness.spool.writer import SpoolLimits, SpoolWriter

_SWITCH_S = 0.0005
"""The spool's thread gives the interpreter back after this time at the latest: requests must not wait 5 ms for it."""
_GARBAGE = (20_000, 20, 20)
"""So many more containers than were freed before the interpreter looks for cycles: what a request leaves behind has
none, and a pass over everything makes the requests at hand wait for milliseconds."""
_ONE_SIGNAL_S = 0.5
"""A signal to end that comes sooner after the first may be the same one: of a parent that is killed the kernel tells
once for each of its threads, and then nobody hurries us."""
_ORPHANED_S = 0.05
"""After this a parent that was killed is gone."""
_BACKLOG = 2048
_KEEP_ALIVE_S = 75
_OTHER_FILES = 256
_log = logging.getLogger("harness.gateway")


class _Server(uvicorn.Server):
    """uvicorn's server, which ends quietly on a signal and hurries on a second one."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._parent = os.getppid()
        self._told_at = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on the socket we were handed."""
        await self.lifespan.startup()

        def protocol() -> asyncio.Protocol:
            return GuardedProtocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

        # What uvicorn asks of its servers is that they can be closed.
        self.servers = [Acceptor(sock, protocol) for sock in sockets or ()]  # type: ignore[misc]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle SIGTERM and SIGINT; uvicorn would send them to itself once more at the end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        yield

    def _stop(self, *_: object) -> None:
        now = time.monotonic()
        if not self.should_exit:
            self.should_exit, self._told_at = True, now
        elif now - self._told_at > _ONE_SIGNAL_S:
            self.force_exit = True
        else:
            asked_again = threading.Timer(_ORPHANED_S, self._hurry)
            asked_again.daemon = True
            asked_again.start()

    def _hurry(self) -> None:
        self.force_exit = self.force_exit or os.getppid() == self._parent


def run(live: Live, path: Path, sock: socket.socket, name: str, canary: CanaryAddress | None = None) -> bool:
    """Serve until told to stop; returns whether all requests could be answered.

    Without the address of a canary process nobody is served by a candidate.
    """
    sys.setswitchinterval(_SWITCH_S)
    _allow_files(2 * live.gateway.max_connections + _OTHER_FILES)
    spool = Path(live.spool.folder)
    # A disk that refuses files is no reason not to serve: then nothing is mirrored until it takes them.
    counters = CounterFile(spool / COUNTERS, name, required=False)
    limits = SpoolLimits(
        max_bytes=live.spool.max_bytes,
        segment_bytes=live.spool.segment_bytes,
        queue_records=live.spool.queue_records,
        queue_bytes=live.spool.queue_bytes,
        flush_s=live.spool.flush_s,
    )
    writer = SpoolWriter(spool, name, limits, counters)
    mirror = GatewayMirror(live, path, writer, counters, name)
    served: CounterFile | None = None
    arms: Arms | None = None
    if live.canary is not None and canary is not None:
        folder = spool / SERVED
        served = CounterFile(folder / COUNTERS, name, required=False)
        # A record has no bodies: some hundred bytes, of which a day's are kept while nobody fetches them.
        arms = Arms(mirror, SpoolWriter(folder, name, SpoolLimits(flush_s=live.spool.flush_s), served), name)
    try:
        return uvloop.run(_serve(live, mirror, counters, sock, canary, arms))
    finally:
        mirror.close()
        counters.close()
        if served is not None:
            served.close()


async def _serve(
    live: Live,
    mirror: GatewayMirror,
    counters: CounterFile,
    sock: socket.socket,
    address: CanaryAddress | None,
    arms: Arms | None,
) -> bool:
    section = live.gateway
    upstream = Upstream(section)
    canary = None
    if live.canary is not None and address is not None and arms is not None:
        canary = Canary(live.canary, address, arms)
    app = Gateway(upstream, mirror, counters.values, max_request_bytes=section.max_request_bytes, canary=canary)
    config = uvicorn.Config(
        app,
        http=GuardedProtocol,
        interface="asgi3",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=section.drain_s,  # type: ignore[arg-type]  # parts of a second are waited for too
        # uvicorn counts the connection that is asking.
        limit_concurrency=section.max_connections + 1,
        backlog=_BACKLOG,
    )
    server = _Server(config)
    sweep = Sweep(server.server_state.connections, section.client_timeout_s)
    # What was made until now stays; nobody needs to look through it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE)
    try:
        await server.serve(sockets=[sock])
    finally:
        sweep.close()
        clean = not server.server_state.tasks
        await upstream.close()
        if canary is not None:
            await canary.close()
        # Whoever was cut off still counts itself.
        await asyncio.sleep(0)
    return clean


def name_of_process() -> str:
    """A name no other process of this spool has; names sort by the time of their start."""
    # Containers begin in the same millisecond with the same process ids.
    return f"g{time.time_ns() // 1_000_000:011x}-{os.getpid()}-{os.urandom(3).hex()}"


def _allow_files(wanted: int) -> None:
    """Raise the limit of open files as far as it goes; the usual 1,024 are two for each of 512 clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> int:
    """Entry point of the serving processes; for :mod:`harness.gateway.supervisor` to start."""
    parser = argparse.ArgumentParser(prog="harness.gateway.process")
    parser.add_argument("--live", type=Path, required=True, help="where to look for changes")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args()
    logs.configure()
    is_wanted = end_with(options.parent)
    with contextlib.suppress(OSError, AttributeError):
        prefer_short_slices()
    if not is_wanted:
        return 0
    # Not from the file: whatever somebody has made of it since must not keep this process from serving.
    told = json.loads(sys.stdin.buffer.read())
    live = Live.model_validate(told["live"])
    canary = None if told["canary"] is None else CanaryAddress(**told["canary"])
    return 0 if run(live, options.live, socket.socket(fileno=options.fd), name_of_process(), canary) else 4


if __name__ == "__main__":
    sys.exit(main())
