"""The canary's process: one candidate of a live experiment, served on loopback or a unix socket."""

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Generator
from pathlib import Path

import uvicorn

from harness.canary.app import Canary
from harness.canary.asking import Asking
from harness.config import Live
from harness.config.live import load_live
from harness.errors import ConfigurationError
from harness.models.litellm_client import check
from harness.ops import logs


class _Server(uvicorn.Server):
    """uvicorn's server, which ends quietly on a signal; requests in flight may come to their end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle SIGTERM and SIGINT; uvicorn would send them to itself once more at the end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield


def run(live: Live, name: str, sock: socket.socket) -> None:
    """Serve the candidate called ``name`` until told to stop.

    Raises:
        ConfigurationError: there is no such candidate, or it cannot be asked.
    """
    known = {one.name: one for one in live.candidates}
    if name not in known:
        raise ConfigurationError(f"no candidate {name!r}; there are: {', '.join(known)}")
    spec = known[name].spec()
    check(spec)
    deadline = live.worker.deadline_s
    app = Canary(
        Asking(spec, deadline_s=deadline), deadline_s=deadline, max_request_bytes=live.mirror.max_request_bytes
    )
    config = uvicorn.Config(
        app, ws="none", lifespan="off", access_log=False, log_config=None, server_header=False, proxy_headers=False,
        timeout_graceful_shutdown=live.gateway.drain_s,  # type: ignore[arg-type]  # parts of a second are waited for too
    )  # fmt: skip
    asyncio.run(_Server(config).serve(sockets=[sock]))


def main() -> int:
    """Entry point; the listening socket comes by descriptor, so that who starts us knows where it listens."""
    parser = argparse.ArgumentParser(prog="harness.canary.process")
    parser.add_argument("--live", type=Path, required=True)
    parser.add_argument("--candidate", required=True)
    parser.add_argument("--fd", type=int, required=True)
    options = parser.parse_args()
    logs.configure()
    run(load_live(options.live), options.candidate, socket.socket(fileno=options.fd))
    return 0


if __name__ == "__main__":
    sys.exit(main())
