"""Shared by every test: no network but loopback, and a real local model server."""

import ipaddress
import os
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

# Before any library reads them: no model hub, no price list download, no telemetry.
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "TOKENIZERS_PARALLELISM": "false",
}

from harness.local.server import LocalServer, ServerOptions, local_server


def pytest_configure(config: pytest.Config) -> None:
    """Warnings are errors, except those that other people's code causes and we cannot mend."""
    # litellm declares read-only items in its typed dictionaries, which pydantic mentions once per process.
    config.addinivalue_line("filterwarnings", "ignore:.*ReadOnly. qualifier:UserWarning")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their argument: the workers must collect equal names, and packed bytes may hold the time."""
    return argname if isinstance(val, bytes | bytearray) else None


_FLEETS = "tests/integration/rollout/"
"""Tests of many processes each, which fill a small machine by themselves."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no process is left alone with it at the end.

    Raises:
        UsageError: two tests share an id, of which several processes would run one.
    """
    for item in items:
        if not item.nodeid.endswith(item.name):
            # Schemathesis gives the tests of all operations of a schema one id, and a name to each.
            item._id = type(item._id).parse(f"{item.nodeid.removesuffix(item.originalname)}{item.name}")
    shared = [name for name, n in Counter(item.nodeid for item in items).items() if n > 1]
    if shared:
        raise pytest.UsageError(f"several tests share an id: {', '.join(sorted(shared))}")
    items.sort(key=lambda item: not item.nodeid.startswith(_FLEETS))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """File by file, but the fleets one after the other: two at once would wait for one another beyond their times."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _FLEETS if nodeid.startswith(_FLEETS) else super()._split_scope(nodeid)

    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


class NetworkBlocked(BaseException):
    """A test tried to leave this machine; not an Exception, so that no retry or fallback can hide it."""


def _is_local(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in {None, "", "localhost", "localhost.localdomain"}:
        return True
    try:
        return ipaddress.ip_address(str(host).split("%")[0]).is_loopback
    except ValueError:
        return False


_EVERY_INTERFACE = {"0.0.0.0", "::"}  # noqa: S104  listening on them is not leaving the machine


def _refuse_the_network(event: str, args: tuple[object, ...]) -> None:
    """An audit hook sees connections of every library, whatever they call; sockets of the file system have a path."""
    if event == "socket.getaddrinfo":
        host = args[0]
        if not _is_local(host) and host not in _EVERY_INTERFACE:
            raise NetworkBlocked(f"name lookup of {host!r}: tests may only reach this machine")
    elif event in {"socket.connect", "socket.sendto"}:
        address = args[1]
        if isinstance(address, tuple) and not _is_local(address[0]):
            raise NetworkBlocked(f"connection to {address!r}: tests may only reach this machine")


sys.addaudithook(_refuse_the_network)


@pytest.fixture(scope="session")
def model_server() -> Iterator[LocalServer]:
    """SmolLM2 on a free loopback port, one per test process, started when first asked for."""
    # One thread, because several test processes share the machine.
    with local_server(ServerOptions(parallel=4, context=4096, threads=1)) as server:
        yield server
