"""A server on loopback that answers as a test wants, also badly."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Respond = Callable[[BaseHTTPRequestHandler, Asked], None]


@dataclass
class Loopback:
    respond: Respond
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def answering(status: int, body: bytes = b"", **headers: str) -> Respond:
    def respond(handler: BaseHTTPRequestHandler, _: Asked) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return respond


def silent(handler: BaseHTTPRequestHandler, _: Asked) -> None:
    time.sleep(3)


def closing(handler: BaseHTTPRequestHandler, _: Asked) -> None:
    handler.connection.close()


def garbage(handler: BaseHTTPRequestHandler, _: Asked) -> None:
    handler.wfile.write(b"\x00\xff this is no HTTP\r\n\r\n")


def dripping(handler: BaseHTTPRequestHandler, _: Asked) -> None:
    """A byte every now and then: no single wait is long."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nx-header: ")
    for _ in range(30):
        handler.wfile.write(b"a")
        handler.wfile.flush()
        time.sleep(0.1)


def dripping_body(handler: BaseHTTPRequestHandler, _: Asked) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    for _ in range(30):
        handler.wfile.write(b"a")
        handler.wfile.flush()
        time.sleep(0.1)


def endless(handler: BaseHTTPRequestHandler, _: Asked) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(10_000):
        handler.wfile.write(b"x" * 65_536)


@contextmanager
def serving(respond: Respond) -> Iterator[Loopback]:
    server = Loopback(respond)

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            server.asked.append(asked)
            with suppress(OSError):
                server.respond(self, asked)

        do_GET = do_POST = do_PATCH = _any  # noqa: N815  http.server's names

        def log_message(self, *_: object) -> None:
            pass

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.port = http.server_port
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        # Not server_close: it would wait for answers that a test has given up.
        http.socket.close()
        thread.join()
