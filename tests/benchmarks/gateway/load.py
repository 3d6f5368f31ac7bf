"""A load generator for what wrk cannot do: the time to the first event of a stream, and a steady rate.

    python -m tests.benchmarks.gateway.load --port 8080 --seconds 3 [--connections 1] [--stream] [--rate 300]

Without ``--rate`` every connection sends its next request when it has its answer. With it requests are due at even
times whatever happened before, one in ``--stream-every`` is streamed, and latencies count from when they were due, so a
stall is charged to every request that waited (being up to 2 ms late is the timer's doing and is not charged).

Prints one line of JSON; latencies are in microseconds, and ``first`` is when the first event or the whole answer was
there. An answer that is not the upstream's counts as failed.
"""

import argparse
import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from statistics import quantiles
from typing import Any

import uvloop

from tests.benchmarks.gateway import messages

Done = Callable[["Connection", float, float, bool], None]
_TIMER_S = 0.002
_PATH = "/v1/chat/completions"


def encoded(*, stream: bool) -> bytes:
    """The request as it goes over the wire."""
    body = messages.request(stream=stream)
    return (
        f"POST {_PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer none\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


class Connection(asyncio.Protocol):
    """One connection with at most one request on its way."""

    def __init__(self, done: Done) -> None:
        self._done = done
        self._wire = {stream: encoded(stream=stream) for stream in (False, True)}
        self.is_open = False

    def connection_made(self, transport: Any) -> None:
        self._transport, self.is_open, self._is_busy = transport, True, False

    def ask(self, *, stream: bool) -> None:
        """Send a request; ``done`` is called when it has its answer."""
        self._is_busy, self._head, self._received, self._body_at = True, b"", bytearray(), 0
        self._first, self._length = 0.0, -1
        self._transport.write(self._wire[stream])

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._received += data
        if not self._body_at:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            self._body_at, self._head = end + 4, bytes(self._received[: end + 4]).lower()
            if b"content-length:" in self._head:
                self._length = int(self._head.split(b"content-length:")[1].split(b"\r\n")[0])
        size = len(self._received) - self._body_at
        if not self._first and size > 0:
            self._first = now
        if size == self._length or (self._length < 0 and self._received.endswith(b"\r\n0\r\n\r\n")):
            self._is_busy = False
            self._done(self, self._first, now, self._is_right())

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._is_busy:
            self._is_busy = False
            now = time.perf_counter()
            self._done(self, now, now, False)

    def _is_right(self) -> bool:
        if not self._head.startswith(b"http/1.1 200"):
            return False
        body = bytes(self._received[self._body_at :])
        try:
            return messages.text_of(body if self._length >= 0 else _unchunked(body)) == messages.ANSWER
        except (ValueError, KeyError, IndexError):
            return False


def _unchunked(body: bytes) -> bytes:
    parts, at = [], 0
    while size := int(body[at : (end := body.index(b"\r\n", at))], 16):
        parts.append(body[end + 2 : end + 2 + size])
        at = end + 4 + size
    return b"".join(parts)


class Tally:
    """What was measured."""

    def __init__(self) -> None:
        self.first: list[float] = []
        self.total: list[float] = []
        self.failed = 0

    def add(self, since: float, first: float, now: float, *, right: bool) -> None:
        if right:
            self.first.append((first - since) * 1e6)
            self.total.append((now - since) * 1e6)
        else:
            self.failed += 1

    def figures(self) -> dict[str, Any]:
        return {
            "answered": len(self.total),
            "failed": self.failed,
            **{f"{name}_p{q}": percentile(found, q) for name, found in vars(self).items() if name != "failed"
               for q in (50, 99)},
            "first_us": [round(value) for value in self.first],
        }  # fmt: skip


def percentile(values: list[float], q: int) -> float | None:
    """The q-th percentile, or None of nothing."""
    return quantiles(values, n=100, method="inclusive")[q - 1] if len(values) > 1 else next(iter(values), None)


async def closed(port: int, *, seconds: float, connections: int, stream: bool) -> Tally:
    """Every connection asks again as soon as it has its answer."""
    loop = asyncio.get_running_loop()
    tally, left = Tally(), asyncio.Event()
    since: dict[Connection, float] = {}

    def ask(connection: Connection) -> None:
        since[connection] = time.perf_counter()
        connection.ask(stream=stream)

    def done(connection: Connection, first: float, now: float, right: bool) -> None:
        tally.add(since.pop(connection), first, now, right=right)
        if now < until and connection.is_open:
            ask(connection)
        elif not since:
            left.set()

    opened = [await loop.create_connection(lambda: Connection(done), "127.0.0.1", port) for _ in range(connections)]
    until = time.perf_counter() + seconds
    for _, connection in opened:
        ask(connection)
    await asyncio.wait_for(left.wait(), seconds + 120)
    return tally


class _Pool:
    """As many connections as a steady rate takes."""

    def __init__(self, port: int, tally: Tally, group: asyncio.TaskGroup) -> None:
        self._port, self._tally, self._group = port, tally, group
        self._idle: deque[Connection] = deque()
        self.since: dict[Connection, float] = {}
        """What is on its way, and from when it counts."""

    def ask(self, due: float, *, stream: bool) -> None:
        # The one used last, so that no more connections stay in use than the rate needs.
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                self._send(connection, due, stream)
                return
        self._group.create_task(self._fresh(due, stream))

    async def _fresh(self, due: float, stream: bool) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: Connection(self._done), "127.0.0.1", self._port)
        except OSError:
            self._tally.failed += 1
        else:
            self._send(connection, due, stream)

    def _send(self, connection: Connection, due: float, stream: bool) -> None:
        now = time.perf_counter()
        self.since[connection] = due if now - due > _TIMER_S else now
        connection.ask(stream=stream)

    def _done(self, connection: Connection, first: float, now: float, right: bool) -> None:
        self._tally.add(self.since.pop(connection), first, now, right=right)
        if connection.is_open:
            self._idle.append(connection)


async def steady(port: int, *, seconds: float, rate: float, stream_every: int) -> Tally:
    """Requests at even times, whether or not earlier ones are answered."""
    tally, begin = Tally(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        pool = _Pool(port, tally, group)
        for number in range(int(seconds * rate)):
            due = begin + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            pool.ask(due, stream=stream_every > 0 and number % stream_every == stream_every - 1)
    for _ in range(3_000):
        if not pool.since:
            break
        await asyncio.sleep(0.01)
    tally.failed += len(pool.since)
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--rate", type=float)
    parser.add_argument("--stream-every", type=int, default=0)
    args = parser.parse_args()
    if args.rate:
        run = steady(args.port, seconds=args.seconds, rate=args.rate, stream_every=args.stream_every)
    else:
        run = closed(args.port, seconds=args.seconds, connections=args.connections, stream=args.stream)
    print(json.dumps(uvloop.run(run).figures()))


if __name__ == "__main__":
    main()
