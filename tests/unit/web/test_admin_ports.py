"""What is heard on admin ports, from a real server on loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.errors import InfrastructureError, InputError
from harness.web.admin_ports import AdminPort


@contextmanager
def process(body: bytes = b'{"a": 1}', status: int = 200) -> Iterator[tuple[AdminPort, list[tuple[str, str, bytes]]]]:
    seen: list[tuple[str, str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(("GET", self.path, b""))
            self._answer()

        def do_PUT(self) -> None:
            said = self.rfile.read(int(self.headers["content-length"]))
            seen.append(("PUT", f"{self.path} {self.headers['authorization']}", said))
            self._answer()

        def _answer(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield AdminPort(name="worker", host="127.0.0.1", port=server.server_port), seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_it_is_asked_at_most_every_two_seconds():
    now = [0.0]
    with process() as (port, seen):
        port.clock = lambda: now[0]
        assert port.status() == port.status() == {"a": 1}
        assert len(seen) == 1
        now[0] = 2.1
        port.status()
        port.forget()
        port.status()
        assert [path for _, path, _ in seen] == ["/status"] * 3


@pytest.mark.parametrize(
    ("body", "status"), [(b"{}", 500), (b"no json", 200), (b"[1]", 200), (b"\xff\xfe", 200), (b"[" * 100_000, 200)]
)
def test_what_is_no_state_is_not_known(body, status):
    with process(body, status) as (port, _):
        assert port.status() is None


def test_nobody_there_is_not_known_and_a_port_of_the_systems_choice_is_not_asked():
    with process() as (port, _):
        pass
    assert port.status() is None
    assert AdminPort(name="worker", host="127.0.0.1", port=0).status() is None
    with pytest.raises(InfrastructureError, match="does not answer"):
        port.switch_mirror(True, "secret")


def test_the_kill_switch_is_switched_with_the_token():
    with process(b'{"enabled": false}') as (port, seen):
        port.switch_mirror(False, "secret")
    [(method, path, said)] = seen
    assert (method, path, json.loads(said)) == ("PUT", "/mirror Bearer secret", {"enabled": False})


def test_a_refusal_is_told():
    with process(b'{"error": "no"}', 401) as (port, _), pytest.raises(InputError, match="refused \\(401\\)"):
        port.switch_mirror(True, "wrong")
