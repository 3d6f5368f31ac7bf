"""The process beside a gateway that knows the store: it says who serves whom, and ships what the arms answered.

The gateway does without it: requests wait in the spool, and once the lease has passed production serves everybody.
"""

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path

import orjson

from harness.config import Live
from harness.errors import ConfigurationError, HarnessError, InfrastructureError
from harness.ops import logs
from harness.ops.parent import end_with
from harness.rollout import shipping
from harness.rollout.following import Follower
from harness.rollout.shipping import Shipper
from harness.store import Store

_RETRY_S = 1.0
_ORPHAN_S = 1.0
"""How often it is looked whether the gateway is still there, where the kernel does not tell."""
_log = logging.getLogger("harness.rollout")


def run(live: Live, url: str, stop: threading.Event) -> None:
    """Follow and ship until it is time to end.

    Raises:
        ConfigurationError: the live experiment serves no candidate, or the URL is not one of a store.
    """
    if live.canary is None:
        raise ConfigurationError(f"{live.name} has no `canary` section, so there is no rollout to follow")
    store = _opened(url, stop)
    if store is None:
        return
    folder = Path(live.spool.folder)
    # Two agents of one spool may follow, since both write the same; only one may ship.
    with store, Follower(store, folder, live.name, salt=live.salt, lease_s=live.canary.lease_s):
        _log.info("agent started")
        spool = shipping.opened(folder / shipping.FOLDER, stop)
        if spool is not None:
            with spool:
                Shipper(store, spool, stop).run()


def _opened(url: str, stop: threading.Event) -> Store | None:
    """The store, as soon as it can be reached; ``None`` when it was time to end before."""
    told = ""
    while not stop.is_set():
        try:
            return Store.open(url)
        except InfrastructureError as error:
            if str(error) != told:
                told = str(error)
                _log.error("no rollout can be followed: %s", error)
        stop.wait(_RETRY_S)
    return None


def _given(raw: bytes) -> tuple[Live, str]:
    """The live experiment and the store's address, which may hold a password and so is on no command line.

    Raises:
        ConfigurationError: they are not there.
    """
    try:
        given = orjson.loads(raw)
        live = Live.model_validate_json(orjson.dumps(given["live"]))
        url = given["store"]
    except (ValueError, TypeError, KeyError) as error:
        # Not its words: they quote what was given.
        raise ConfigurationError(f"standard input is not what the gateway sends ({type(error).__name__})") from None
    if not isinstance(url, str):
        raise ConfigurationError("standard input names no store")
    return live, url


def _watch(gateway: int, stop: threading.Event) -> None:
    while not stop.wait(_ORPHAN_S):
        if os.getppid() != gateway:
            stop.set()


def main() -> int:
    """Entry point; for the gateway's supervisor to start."""
    parser = argparse.ArgumentParser(prog="harness.rollout.agent")
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args()
    logs.configure()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if not end_with(options.parent):
        return 0
    threading.Thread(target=_watch, args=(options.parent, stop), name="parent", daemon=True).start()
    try:
        run(*_given(sys.stdin.buffer.read()), stop)
    except HarnessError as error:
        _log.error("%s", error)
        return error.exit_code
    except Exception:  # noqa: BLE001  it is told in the log as everything is; the gateway starts another agent
        _log.exception("the agent failed")
        return InfrastructureError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
