"""The canary's process: one candidate of a live experiment, served to the gateway on a socket it was handed."""

import argparse
import asyncio
import contextlib
import logging
import signal
import socket
import sys
import warnings
from collections.abc import Generator
from typing import Annotated, Any

import uvicorn
from pydantic import BaseModel, Field, SecretStr, ValidationError

from harness.canary.app import Canary
from harness.canary.asking import Asking
from harness.config import Live
from harness.errors import ConfigurationError, HarnessError
from harness.models.litellm_client import check
from harness.ops import logs
from harness.ops.listening import refuse
from harness.ops.parent import end_with

_KEEP_ALIVE_S = 75
_log = logging.getLogger("harness.canary")


class _Server(uvicorn.Server):
    """uvicorn's server, which ends quietly on a signal; requests in flight may come to their end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle SIGTERM and SIGINT; uvicorn would send them to itself once more at the end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse connections at once, then let what is in flight come to its end.

        Whoever handed us the socket holds it too, so closing ours would leave it listening: connections would wait for
        a first byte from nobody, and users with them. The next process listens on it again.
        """
        held = [sock.dup() for sock in sockets or ()]
        for server in self.servers:
            server.close()
        for sock in held:
            refuse(sock)
            sock.close()
        await super().shutdown(sockets)


def run(live: Live, name: str, sock: socket.socket, token: str) -> None:
    """Serve the candidate called ``name`` until told to stop; listens only once it can answer.

    Raises:
        ConfigurationError: there is no such candidate, or it cannot be asked.
    """
    section = live.canary
    if section is None:
        raise ConfigurationError("no candidate answers users without a section `canary` in the live experiment")
    known = {one.name: one for one in live.candidates}
    if name not in known:
        raise ConfigurationError(f"no candidate {name!r}; there are: {', '.join(known)}")
    spec = known[name].spec()
    check(spec)
    asking = Asking(spec, deadline_s=section.deadline_s, max_response_bytes=section.max_response_bytes)
    app = Canary(
        asking, token=token, deadline_s=section.deadline_s, max_request_bytes=live.mirror.max_request_bytes
    )  # fmt: skip
    config = uvicorn.Config(
        app, http="httptools", ws="none", lifespan="off", access_log=False, log_config=None, server_header=False,
        date_header=False, proxy_headers=False, timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=live.gateway.drain_s,  # type: ignore[arg-type]  # parts of a second are waited for too
    )  # fmt: skip
    asyncio.run(_serve(asking, _Server(config), sock))


async def _serve(asking: Asking, server: _Server, sock: socket.socket) -> None:
    asyncio.get_running_loop().set_exception_handler(_report)
    try:
        await asking.warm_up()
    except Exception as error:  # noqa: BLE001  then the first request is slow
        _log.warning("could not warm up: %s", type(error).__name__)
    await server.serve(sockets=[sock])


def _report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Name what went wrong in the background of a library; its message may quote a prompt, an answer or a key."""
    error = context.get("exception")
    _log.warning("in the background: %s", context.get("message", "") if error is None else type(error).__name__)


def main() -> int:
    """Entry point; for :mod:`harness.gateway.supervisor` to start.

    The listening socket comes by descriptor, so that who starts us knows where it listens, and configuration and token
    as JSON on standard input: command lines are for everybody on the machine to read.
    """
    parser = argparse.ArgumentParser(prog="harness.canary.process")
    parser.add_argument("--candidate", required=True)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args()
    logs.configure()
    # What libraries log and warn of quotes what they were given.
    logging.getLogger().setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore")
    if not end_with(options.parent):
        return 0
    try:
        given = _given(sys.stdin.buffer.read())
        run(given.live, options.candidate, socket.socket(fileno=options.fd), given.token.get_secret_value())
    except HarnessError as error:
        _log.error("%s", error)
        return error.exit_code
    return 0


class _Given(BaseModel):
    live: Live
    token: Annotated[SecretStr, Field(min_length=16)]


def _given(text: bytes) -> _Given:
    try:
        return _Given.model_validate_json(text)
    except ValidationError as error:
        # Where, but not what was given.
        places = ", ".join(".".join(map(str, one["loc"])) or "all of it" for one in error.errors(include_input=False))
        raise ConfigurationError(f"standard input holds no live experiment and token: {places}") from None


if __name__ == "__main__":
    sys.exit(main())
