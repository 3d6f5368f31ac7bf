"""The canary's process: how it begins, ends and is replaced, and what becomes of the calls it has made."""

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest

from harness.config import parse_live
from harness.ops.listening import reserve
from tests.canary_process import BODIES, CHAT, SAYS, TOKEN, TOKEN_HEADER, canary, listens, start
from tests.gateways import production, until, when
from tests.integration.gateway.test_clients import STREAMS


@pytest.fixture(scope="module")
def upstream():
    with production() as found:
        yield found


@pytest.fixture(scope="module")
def leaving(upstream, tmp_path_factory):
    with canary(tmp_path_factory.mktemp("canary"), "openai/cheap", f"http://127.0.0.1:{upstream.port}/v1") as running:
        yield running


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_leaves_cancels_the_candidates_call(leaving, upstream, streamed):
    ended = []

    async def silent(asked):
        await asked.body()
        if streamed:
            await asked.send(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            await asked.chunk(STREAMS[CHAT][0])
        ended.append(await asked.gone())

    upstream.handler = silent
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            leaving.base + CHAT, json=BODIES[CHAT] | {"stream": streamed}, timeout=1, headers=TOKEN_HEADER
        )  # fmt: skip
    # The deadline would have ended it after two minutes.
    until(lambda: ended, 30)


def test_what_is_in_flight_comes_to_its_end_and_the_next_process_takes_over(tmp_path, upstream):
    begun, end = threading.Event(), threading.Event()

    async def slow(asked):
        await asked.body()
        begun.set()
        await when(end)
        await asked.answer(json.dumps(SAYS).encode(), b"content-type: application/json")

    upstream.handler = slow
    base = f"http://127.0.0.1:{upstream.port}/v1"
    with reserve() as sock, ThreadPoolExecutor() as pool:
        assert not listens(sock)
        first = start(tmp_path, sock, "openai/cheap", base)
        until(lambda: listens(sock), 120)
        answer = pool.submit(first.post, CHAT, BODIES[CHAT])
        assert begun.wait(10)
        first.process.terminate()
        # Nobody may be left waiting for a process that is ending.
        until(lambda: not listens(sock), 5)
        end.set()
        assert answer.result().status_code == 200
        assert first.process.wait(10) == 0
        second = start(tmp_path, sock, "openai/cheap", base)
        until(lambda: listens(sock), 120)
        assert second.base == first.base
        assert second.post(CHAT, BODIES[CHAT]).status_code == 200
        second.process.terminate()
        assert second.process.wait(10) == 0


def test_it_ends_with_its_parent(tmp_path):
    with reserve() as sock:
        orphan = start(tmp_path, sock, "openai/cheap", "http://127.0.0.1:9/v1", parent=1)
        assert orphan.process.wait(120) == 0
        assert not listens(sock)
        # A parent that starts one and is killed.
        program = (
            "import subprocess, sys, time, os\n"
            "child = subprocess.Popen([*sys.argv[1:], '--parent', str(os.getpid())], stdin=0, close_fds=False)\n"
            "print(child.pid, flush=True)\ntime.sleep(60)\n"
        )
        live = parse_live({
            "name": "exp", "gateway": {"upstream": "http://127.0.0.1:9"}, "mirror": {"rate": 1}, "canary": {},
            "candidates": [{"name": "cheap", "model": "openai/cheap", "api_base": "http://127.0.0.1:9/v1"}],
        })  # fmt: skip
        given = tmp_path / "given"
        given.write_text(json.dumps({"live": live.model_dump(mode="json"), "token": TOKEN}))
        with given.open() as stdin:
            parent = subprocess.Popen(
                [sys.executable, "-c", program, sys.executable, "-m", "harness.canary.process", "--candidate", "cheap",
                 "--fd", str(sock.fileno())],
                pass_fds=[sock.fileno()], stdin=stdin, stdout=subprocess.PIPE,
            )  # fmt: skip
        pid = int(parent.stdout.readline())
        until(lambda: listens(sock), 120)
        parent.kill()
        parent.wait()
        try:
            until(lambda: not listens(sock), 10)
            until(lambda: _gone(pid), 10)
        finally:
            parent.stdout.close()
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123  gone in the middle of it
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "live, token"),
        ({"live": {}, "token": TOKEN}, "live.name"),
        ("secret-" + TOKEN, "all of it"),
    ],
)
def test_a_wrong_configuration_is_told_without_its_secrets(tmp_path, given, said):
    with reserve() as sock:
        wrong = start(tmp_path, sock, "openai/cheap", "http://127.0.0.1:9/v1", given=given)
        assert wrong.process.wait(120) == 2
    log = wrong.log.read_text()
    assert said in log
    assert TOKEN not in log
