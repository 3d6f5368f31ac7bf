"""The whole way: clients ask the gateway, production answers, the worker asks the candidate, judges and decides."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.upstream import Upstream, in_thread

N = 24


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_live(folder: Path, production: int, gateway: int, candidate: str) -> Path:
    live = {
        "name": "whole",
        "gateway": {"upstream": f"http://127.0.0.1:{production}", "port": gateway},
        "mirror": {"rate": 1.0},
        "admin": {"port": free_port()},
        "worker_admin": {"port": free_port()},
        "worker": {"look_every_s": 0.5, "in_flight": 2, "deadline_s": 20},
        "candidates": [{"name": "new", "model": "openai/new", "api_base": candidate}],
        "judges": ["exact"],
        "decision": {"criteria": [{"metric": "coverage", "at_least": N}]},
    }
    file = folder / "live.yaml"
    file.write_text(yaml.safe_dump(live), encoding="utf-8")
    return file


@contextmanager
def process(file: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "harness", *arguments, str(file)]
    # Nobody reads what it says until it has ended.
    with (file.parent / f"{arguments[0]}.log").open("w") as log:
        running = subprocess.Popen(command, cwd=file.parent, stdout=log, stderr=log, text=True, env=os.environ)
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(timeout=90)


def ask(port: int, number: int, *, stream: bool) -> bytes:
    body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": f"Question {number}?"}]}
    headers = {"content-type": "application/json", "x-conversation-id": f"c{number % 7}"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/v1/chat/completions", body=json.dumps(body), headers=headers)
        return connection.getresponse().read()
    finally:
        connection.close()


def status(file: Path) -> dict:
    command = [sys.executable, "-m", "harness", "live", "status", str(file), "--json"]
    done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def wait_until_up(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("loop", [False, True], ids=["own address", "through the gateway"])
def test_what_clients_asked_is_compared_and_every_count_adds_up(tmp_path, loop):
    """A candidate that is reached through the gateway is not mirrored again."""
    gateway = free_port()
    with in_thread(Upstream()) as production, in_thread(Upstream()) as candidate:
        base = f"http://127.0.0.1:{gateway if loop else candidate.port}/v1"
        file = write_live(tmp_path, production.port, gateway, base)
        with process(file, "serve"), process(file, "worker"):
            wait_until_up(gateway)
            for number in range(N):
                assert b"The capital of France is Paris." in ask(gateway, number, stream=number % 2 == 0)
            deadline = time.monotonic() + 120
            while (found := status(file))["arms"][0]["completed"] < N:
                assert time.monotonic() < deadline, (found, (tmp_path / "worker.log").read_text())
                time.sleep(0.5)
        found = status(file)

    assert found["problems"] == [], found
    assert found["why"] is None
    assert found["requests"] == (2 * N if loop else N)
    assert found["not_eligible"] == ({"internal_request": N} if loop else {})
    assert (found["spooled"], found["read"], found["exchanges"]) == (N, N, N)
    assert found["arms"][0]["comparable"] == N
    assert len(candidate.questions) == (0 if loop else N)
