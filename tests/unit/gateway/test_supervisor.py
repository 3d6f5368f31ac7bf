"""The supervisor: processes that fail, ports that are taken, and an admin port nobody can block."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.gateways import Client, ask, gateway, production, until, write_live


def serve(path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "harness", "serve", str(path)], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("section", ["gateway", "admin"])
def test_a_port_that_is_taken_is_named_with_its_option(tmp_path, section):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        done = serve(write_live(tmp_path, 9, **{section: {"port": port}}))
    assert done.returncode == 4
    assert f"port {port} is taken; set another one in `{section}.port`" in " ".join(done.stderr.split())


def test_a_host_that_is_not_ours_is_named(tmp_path):
    done = serve(write_live(tmp_path, 9, gateway={"host": "192.0.2.1"}))
    assert done.returncode == 2
    assert "see `gateway.host`" in done.stderr


def test_a_broken_configuration_starts_nothing(tmp_path):
    path = tmp_path / "live.yaml"
    path.write_text("mirror: [")
    done = serve(path)
    assert done.returncode == 2
    assert "not valid YAML" in done.stderr


def read(served, path: str) -> dict:
    with Client(served.admin, timeout_s=10) as client:
        client.ask(b"", method=b"GET", target=path)
        head, body = client.answer()
    return json.loads(body) | {"code": head.status}


def test_readiness_tells_which_process_is_missing_and_the_restart_is_counted(tmp_path):
    with production() as upstream, gateway(tmp_path, upstream.port, gateway={"processes": 2}) as served:
        assert read(served, "/readyz")["ready"] is True
        status = read(served, "/status")
        assert sorted(status["processes"]) == sorted(served.children)
        os.kill(served.children[0], signal.SIGKILL)
        missing = until(lambda: (found := read(served, "/readyz"))["code"] == 503 and found)
        assert missing["reasons"] in [[f"serving process {place} is not running"] for place in range(2)]
        until(lambda: read(served, "/readyz")["ready"])
        assert read(served, "/status")["restarts"] == 1
        assert ask(served.port, b"x")[1] == b"x"


def test_clients_that_do_nothing_cannot_block_the_admin_port(tmp_path):
    """An orchestrator that gets no answer about health would end production's way."""
    with production() as upstream, gateway(tmp_path, upstream.port) as served:
        idle = [Client(served.admin) for _ in range(80)]
        for client in idle[:40]:
            client.send(b"GET /healthz HTTP/1.1\r\nhost:")
        until(lambda: read_or_none(served) == 200, 10)
        for client in idle:
            client.sock.close()


def read_or_none(served) -> int | None:
    try:
        with Client(served.admin, timeout_s=2) as client:
            client.ask(b"", method=b"GET", target="/healthz")
            return client.answer()[0].status
    except OSError:
        return None


def test_a_process_whose_parent_is_not_who_it_should_be_does_not_serve(tmp_path):
    path = write_live(tmp_path, 9)
    command = [sys.executable, "-m", "harness.gateway.process", "--live", str(path), "--fd", "0", "--parent", "0"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=30, check=False)
    assert done.returncode == 0


def test_open_files_are_raised_to_what_the_connections_need(served):
    [child] = served.children
    with open(f"/proc/{child}/limits") as file:  # noqa: PTH123  the kernel's
        line = next(line for line in file if line.startswith("Max open files"))
    soft, hard = line.split()[3:5]
    assert soft == hard or int(soft) >= 2 * 4096
