"""A real gateway in its own processes, production that does what a test tells it, and clients at the level of bytes."""

import asyncio
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.spool import counters
from harness.spool.reader import COUNTERS, SpoolReader
from harness.spool.record import Captured

CHAT = "/v1/chat/completions"
HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding"}
ENDINGS = ("spooled", *(f"dropped.{reason}" for reason in counters.MirrorDrop))


def until(
    condition: Callable[[], Any], deadline_s: float = 60.0, what: str | Callable[[], str] = "", every_s: float = 0.005
) -> Any:
    """The first truthy value of a condition; an assertion error when there is none in time."""
    end = time.monotonic() + deadline_s
    while not (found := condition()):
        if time.monotonic() >= end:
            raise AssertionError(f"waited {deadline_s:g} s in vain {what() if callable(what) else what}")
        time.sleep(every_s)
    return found


# Production


class Asked:
    """One request as production got it, and the means to answer it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self.reader = reader
        self.writer = writer
        self.head = head
        line, *rest = head[:-4].split(b"\r\n")
        self.method, self.target, _ = line.split(b" ", 2)
        self.headers = [(name.lower(), value.strip()) for name, value in (one.split(b":", 1) for one in rest)]

    def header(self, name: bytes) -> bytes | None:
        """The value of a header."""
        return dict(self.headers).get(name)

    async def body(self) -> bytes:
        """The whole body, out of its framing."""
        if self.header(b"transfer-encoding") == b"chunked":
            pieces = []
            while size := int(await self.reader.readuntil(b"\n"), 16):
                pieces.append(await self.reader.readexactly(size))
                await self.reader.readexactly(2)
            assert await self.reader.readuntil(b"\n") == b"\r\n"
            return b"".join(pieces)
        return await self.reader.readexactly(int(self.header(b"content-length") or 0))

    async def send(self, *pieces: bytes) -> None:
        """Write bytes as they are."""
        self.writer.write(b"".join(pieces))
        await self.writer.drain()

    async def chunk(self, *pieces: bytes) -> None:
        """Write pieces in chunked framing; an empty one ends the body."""
        await self.send(*(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces))

    async def answer(self, body: bytes, *headers: bytes, status: bytes = b"200 OK") -> None:
        """A whole answer with a length."""
        lines = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers]
        await self.send(b"\r\n".join(lines), b"\r\n\r\n", body)

    async def stream(self, *pieces: bytes, status: bytes = b"200 OK") -> None:
        """A whole chunked answer."""
        await self.send(b"HTTP/1.1 " + status + b"\r\ncontent-type: text/event-stream\r\n")
        await self.send(b"transfer-encoding: chunked\r\n\r\n")
        await self.chunk(*pieces, b"")

    async def gone(self) -> float:
        """Wait until the asker has closed the connection; when that was."""
        with suppress(ConnectionError):
            while await self.reader.read(1 << 16):
                pass
        return time.monotonic()

    def close(self) -> None:
        """End the connection in the ordinary way."""
        self.writer.close()

    def reset(self) -> None:
        """End the connection with a reset."""
        sock = self.writer.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def when(event: threading.Event) -> None:
    """Wait in a handler until a test says so."""
    while not event.is_set():  # noqa: ASYNC110  set by another thread
        await asyncio.sleep(0.002)


Handler = Callable[[Asked], Awaitable[None]]


async def echo(asked: Asked) -> None:
    """Answers with the request's body."""
    await asked.answer(await asked.body(), b"content-type: application/json")


class Production:
    """Serves in a thread of its own with whatever handler is set."""

    def __init__(self) -> None:
        self.handler: Handler = echo
        self.asked: list[Asked] = []
        self.connections = 0
        self.failures: list[BaseException] = []
        self.port = 0

    async def start(self) -> asyncio.Server:
        """Listen on a free port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 27)
        self.port = server.sockets[0].getsockname()[1]
        self._server, self._loop = server, asyncio.get_running_loop()
        return server

    def leave(self) -> None:
        """Nobody listens any more, and who is connected is sent away with the next request."""

        async def away(asked: Asked) -> None:
            asked.reset()

        self.handler = away
        self._loop.call_soon_threadsafe(self._server.close)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not writer.is_closing():
                asked = Asked(reader, writer, await reader.readuntil(b"\r\n\r\n"))
                self.asked.append(asked)
                await self.handler(asked)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        except Exception as error:  # noqa: BLE001  told to the test
            self.failures.append(error)
        finally:
            with suppress(RuntimeError):
                writer.close()


@contextmanager
def production() -> Iterator[Production]:
    """Production until the block ends."""
    served = Production()
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(served.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def stop() -> None:
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2)

    try:
        yield served
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert served.failures == [], served.failures


# The gateway


@dataclass(kw_only=True)
class Gateway:
    """A gateway that runs."""

    process: "subprocess.Popen[bytes]"
    port: int
    admin: int
    path: Path
    """Of its configuration."""
    log: Path
    settings: dict[str, Any]

    @property
    def spool(self) -> Path:
        """Its spool."""
        return self.path.parent / "spool"

    @property
    def children(self) -> list[int]:
        """Its serving processes."""
        listing = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listing.split()]

    def counts(self) -> Counter[str]:
        """What all its processes have counted."""
        return counters.totals(self.spool / COUNTERS)

    def settled(self) -> Counter[str]:
        """The counts once every request is answered and every sampled one has ended; they have to add up."""

        def at_rest() -> Counter[str] | None:
            counts = self.counts()
            ended = sum(counts[name] for name in ENDINGS)
            return counts if counts["started"] == counts["answered"] and counts["sampled"] == ended else None

        try:
            return until(at_rest, what="for counts that add up")
        except AssertionError as error:
            raise AssertionError(f"{error}: {dict(+self.counts())}") from None

    def records(self) -> list[Captured]:
        """What the spool holds now that was not read before."""
        self.settled()
        with SpoolReader(self.spool) as reader:
            found = [record for _, record in reader.read(1_000_000)]
            reader.save()
        return found

    def configure(self, **sections: Any) -> None:
        """Replace sections of the configuration it started with, as an editor would."""
        draft = self.path.with_suffix(".new")
        draft.write_text(yaml.safe_dump(self.settings | sections))
        draft.replace(self.path)

    def stop(self, number: int = signal.SIGTERM, deadline_s: float = 30.0) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(deadline_s)


def write_live(folder: Path, upstream: int, **sections: Any) -> Path:
    """A configuration in a folder; sections are merged into one that mirrors everything."""
    base: dict[str, Any] = {
        "name": "exp",
        "gateway": {"upstream": f"http://127.0.0.1:{upstream}", "port": 0},
        "admin": {"port": 0},
        "mirror": {"rate": 1},
        "candidates": [{"name": "cheap", "model": "openai/cheap"}],
    }
    for name, section in sections.items():
        base[name] = base[name] | section if isinstance(base.get(name), dict) else section
    path = folder / "live.yaml"
    path.write_text(yaml.safe_dump(base))
    return path


@contextmanager
def gateway(
    folder: Path,
    upstream: int,
    *,
    prepare: Callable[[], None] | None = None,
    stderr: int | None = None,
    env: dict[str, str] | None = None,
    **sections: Any,
) -> Iterator[Gateway]:
    """`harness serve` until the block ends; ``prepare`` runs in its process before it begins."""
    path = write_live(folder, upstream, **sections)
    log, settings = folder / "gateway.log", yaml.safe_load(path.read_text())
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", "serve", str(path)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr or file,
            preexec_fn=prepare,  # noqa: PLW1509  sets limits and nothing else
            env=os.environ | {"HARNESS_ADMIN_TOKEN": "token", "COLUMNS": "400"} | (env or {}),
        )  # fmt: skip
    try:
        ports = until(lambda: _ports(process, log), 30, "for the gateway to start")
        running = Gateway(process=process, port=ports[0], admin=ports[1], path=path, log=log, settings=settings)
        until(lambda: len(running.children) >= sections.get("gateway", {}).get("processes", 1))
        until(lambda: answers(running.port), 30, "for the gateway to serve")
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ports(process: "subprocess.Popen[bytes]", log: Path) -> list[int]:
    text = log.read_text()
    assert process.poll() is None, text
    if not (found := re.search(r"gateway on \S+?:(\d+) for .*admin on \S+?:(\d+)", text, re.DOTALL)):
        return []
    return [int(port) for port in found.groups()]


def answers(port: int) -> bool:
    """Whether a request gets an answer; one that production does not see."""
    try:
        with Client(port) as client:
            client.send(b"BAD\r\n\r\n")
            return client.head().status == 400
    except OSError:
        return False


# Clients


@dataclass(kw_only=True)
class Head:
    """Status line and headers of an answer, names in lower case."""

    status: int
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    version: bytes = b"HTTP/1.1"

    def header(self, name: bytes) -> bytes | None:
        """The value of a header."""
        return dict(self.headers).get(name)

    @property
    def end_to_end(self) -> list[tuple[bytes, bytes]]:
        """Headers that are not about one connection, in a fixed order."""
        return sorted((name, value) for name, value in self.headers if name not in HOP_BY_HOP)


class Broken(Exception):  # noqa: N818  reads as what happened
    """The answer did not come to its end."""


class Client:
    """One connection, at the level of bytes."""

    def __init__(self, port: int, *, timeout_s: float = 20.0, receive_buffer: int | None = None) -> None:
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout_s)
        self.sock.connect(("127.0.0.1", port))
        self._buffer = b""
        self._method = b"GET"

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Bytes as they are."""
        self.sock.sendall(data)

    def ask(self, body: bytes = b"{}", *headers: bytes, method: bytes = b"POST", target: str = CHAT) -> None:
        """A request with a length."""
        self._method = method
        lines = [method + b" " + target.encode() + b" HTTP/1.1", b"host: gateway", b"content-length: %d" % len(body)]
        self.send(b"\r\n".join([*lines, *headers]) + b"\r\n\r\n" + body)

    def more(self) -> bytes:
        """The next bytes."""
        data = self.sock.recv(1 << 16)
        self._buffer += data
        return data

    def head(self) -> Head:
        """The next head."""
        while b"\r\n\r\n" not in self._buffer:
            if not self.more():
                raise Broken(f"the connection ended in {self._buffer[:200]!r}")
        raw, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        line, *rest = raw.split(b"\r\n")
        version, status = line.split(b" ", 2)[:2]
        headers = [(name.lower(), value.strip()) for name, value in (one.split(b":", 1) for one in rest)]
        return Head(status=int(status), headers=headers, version=version)

    def exactly(self, size: int) -> bytes:
        """So many bytes."""
        pieces, have = [self._buffer], len(self._buffer)
        while have < size:
            data = self.sock.recv(1 << 16)
            if not data:
                raise Broken(f"{size - have} bytes are missing")
            pieces.append(data)
            have += len(data)
        whole = b"".join(pieces)
        self._buffer = whole[size:]
        return whole[:size]

    def line(self) -> bytes:
        """Up to the end of the line."""
        while b"\r\n" not in self._buffer:
            if not self.more():
                raise Broken("the connection ended in a line")
        found, self._buffer = self._buffer.split(b"\r\n", 1)
        return found

    def chunk(self) -> bytes:
        """The next chunk of a chunked answer; empty at its end."""
        size = int(self.line(), 16)
        found = self.exactly(size)
        assert self.line() == b""
        return found

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        with suppress(ConnectionResetError):
            while self.more():
                pass
        found, self._buffer = self._buffer, b""
        return found

    def answer(self) -> tuple[Head, bytes]:
        """The next whole answer."""
        head = self.head()
        if self._method == b"HEAD" or head.status in {204, 304}:
            return head, b""
        if head.header(b"transfer-encoding") == b"chunked":
            return head, b"".join(iter(self.chunk, b""))
        length = head.header(b"content-length")
        if length is not None:
            return head, self.exactly(int(length))
        pieces = [self._buffer]
        self._buffer = b""
        while data := self.sock.recv(1 << 16):
            pieces.append(data)
        return head, b"".join(pieces)


def ask(
    port: int, body: bytes = b"{}", *headers: bytes, method: bytes = b"POST", target: str = CHAT
) -> tuple[Head, bytes]:
    """One request on a connection of its own."""
    with Client(port) as client:
        client.ask(body, *headers, method=method, target=target)
        return client.answer()


# Fixtures of one production and one gateway per module


@pytest.fixture(scope="module")
def upstream() -> Iterator[Production]:
    """Production; a test sets its handler."""
    with production() as found:
        yield found


@pytest.fixture(scope="module")
def served(upstream: Production, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that mirrors everything."""
    with gateway(tmp_path_factory.mktemp("gateway"), upstream.port) as running:
        yield running


@pytest.fixture(autouse=True)
def echo_again(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave production as it was found."""
    yield
    if "upstream" in request.fixturenames:
        request.getfixturevalue("upstream").handler = echo
