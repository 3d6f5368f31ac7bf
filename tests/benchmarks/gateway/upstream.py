"""A model that answers at once or after a while: whole answers, or a stream whose events come in turn.

    python -m tests.benchmarks.gateway.upstream --port 9000 [--first-ms 0] [--gap-ms 3]

Serves until it is killed. ``GET /count`` tells how many requests were answered.
"""

import argparse
import asyncio
from typing import Any, ClassVar

import uvloop

from tests.benchmarks.gateway import messages


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Upstream(asyncio.Protocol):
    """One kept-alive connection."""

    answered: ClassVar = 0
    first_s: ClassVar = 0.0
    gap_s: ClassVar = 0.003
    body: ClassVar = messages.answer()
    whole: ClassVar = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )
    chunks: ClassVar = [_chunk(event) for event in messages.events()]
    head: ClassVar = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
        b"transfer-encoding: chunked\r\n\r\n"
    )

    def connection_made(self, transport: Any) -> None:
        self.transport, self.buffer = transport, b""
        self.loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0]) if b"content-length:" in head else 0
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get /count"):
            number = b"%d" % Upstream.answered
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(number), number))
            return
        Upstream.answered += 1
        if self.first_s:
            self.loop.call_later(self.first_s, self._begin, body)
        else:
            self._begin(body)

    def _begin(self, body: bytes) -> None:
        if self.transport.is_closing():
            return
        if b'"stream":true' in body.replace(b" ", b""):
            self.transport.write(self.head + self.chunks[0])
            self.loop.call_later(self.gap_s, self._next, 1)
        else:
            self.transport.write(self.whole)

    def _next(self, number: int) -> None:
        if self.transport.is_closing():
            return
        if number + 1 < len(self.chunks):
            self.transport.write(self.chunks[number])
            self.loop.call_later(self.gap_s, self._next, number + 1)
        else:
            self.transport.write(self.chunks[number] + b"0\r\n\r\n")


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--first-ms", type=float, default=0.0, help="time before the first byte")
    parser.add_argument("--gap-ms", type=float, default=Upstream.gap_s * 1000)
    args = parser.parse_args()
    Upstream.first_s = args.first_ms / 1000
    Upstream.gap_s = args.gap_ms / 1000
    uvloop.run(_serve(args.port))


if __name__ == "__main__":
    main()
