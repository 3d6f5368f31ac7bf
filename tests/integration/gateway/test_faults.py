"""The shadow side is broken in every way we know; production's bytes, errors and times stay what they are."""

import os
import resource
import shutil
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.gateways import ENDINGS, Asked, Client, Gateway, gateway, until

pytestmark = pytest.mark.timeout(120)

ANSWER = b'{"choices": [{"message": {"content": "' + b"x" * 400 + b'"}}]}'
EVENTS = [b'data: {"n": %d}\n\n' % number for number in range(5)]


async def production_answers(asked: Asked) -> None:
    body = await asked.body()
    if b"stream" in body:
        await asked.stream(*EVENTS)
    elif b"fail" in body:
        await asked.answer(b'{"error": "slow down"}', b"retry-after: 1", status=b"429 Too Many Requests")
    elif b"cut" in body:
        asked.close()
    else:
        await asked.answer(ANSWER, b"content-type: application/json")


REQUESTS = [b'{"x": 1}', b'{"x": "stream"}', b'{"x": "fail"}', b'{"x": 2}' + b" " * 5_000]


@pytest.fixture(autouse=True)
def _answers(upstream):
    upstream.handler = production_answers


@pytest.fixture(scope="module")
def healthy(upstream, tmp_path_factory):
    with gateway(tmp_path_factory.mktemp("healthy"), upstream.port) as running:
        yield running


_NO_WAIT_S = 0.1
"""Above what a busy machine adds to the median of some requests, below the waits that are provoked here."""


def ask_both(broken: Gateway, healthy: Gateway, turns: int = 60) -> None:
    """The same requests to both, in turn: equal answers, and times that only differ by noise."""
    times: dict[int, list[float]] = {broken.port: [], healthy.port: []}
    with Client(broken.port) as one, Client(healthy.port) as other:
        for _ in range(turns):
            for body in REQUESTS:
                answers = []
                for client, port in ((one, broken.port), (other, healthy.port)):
                    begin = time.perf_counter()
                    client.ask(body)
                    head, found = client.answer()
                    times[port].append(time.perf_counter() - begin)
                    answers.append((head.status, head.end_to_end, found))
                assert answers[0] == answers[1]
    medians = {port: statistics.median(found) for port, found in times.items()}
    # Nobody waits for the shadow side. What it adds is for the benchmark to measure: this machine has more to do.
    assert medians[broken.port] < medians[healthy.port] + _NO_WAIT_S


def grown(served: Gateway, during: Callable[[], None]) -> dict[str, int]:
    before = served.settled()
    during()
    after = served.settled()
    return {name: after[name] - before[name] for name in after if after[name] != before[name]}


def sampled_ends(counts: dict[str, int]) -> dict[str, int]:
    """How often each ending of a sampled request occurred."""
    return {name.removeprefix("dropped."): counts[name] for name in ENDINGS if name in counts}


def test_no_worker_reads_the_spool(healthy, upstream, tmp_path):
    with gateway(tmp_path, upstream.port) as served:
        assert sampled_ends(grown(served, lambda: ask_both(served, healthy))) == {"spooled": 240}


def test_the_spool_is_full(healthy, upstream, tmp_path):
    with gateway(tmp_path, upstream.port, spool={"max_bytes": 20_000}) as served:
        ends = sampled_ends(grown(served, lambda: ask_both(served, healthy)))
        assert ends.keys() == {"spooled", "spool_full"}
        assert sum(ends.values()) == 240
        assert sum(path.stat().st_size for path in served.spool.glob("*.spool")) <= 20_000


@contextmanager
def small_disk(folder: Path, kilobytes: int):
    """A file system of its own in a folder."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(filler: Path) -> None:
    """Write until there is no room for another byte."""
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(1_000)):
            pass


def test_the_disk_is_full_and_has_room_again(healthy, upstream, tmp_path):
    with small_disk(tmp_path / "spool", 128), gateway(tmp_path, upstream.port) as served:
        filler = tmp_path / "spool" / "filler"
        fill(filler)
        ends = sampled_ends(grown(served, lambda: ask_both(served, healthy)))
        assert ends.get("disk_failed", 0) > 200
        assert sum(ends.values()) == 240
        before = served.settled()["spooled"]
        filler.unlink()

        def is_back() -> bool:
            ask_both(served, healthy, 1)
            return served.settled()["spooled"] > before

        until(is_back)
        counts = served.settled()
        assert len(served.records()) == counts["spooled"]


def test_a_process_that_starts_on_a_full_disk_serves_and_counts_as_soon_as_it_can(healthy, upstream, tmp_path):
    with small_disk(tmp_path / "spool", 256):
        filler = tmp_path / "spool" / "filler"
        fill(filler)
        with gateway(tmp_path, upstream.port) as served:
            ask_both(served, healthy, 10)
            assert not list(served.spool.glob("counters/*.counts"))
            filler.unlink()
            until(lambda: list(served.spool.glob("counters/*.counts")))
            until(lambda: served.settled()["requests"] >= 40)

            def is_back() -> bool:
                ask_both(served, healthy, 1)
                # In all, not since the question before: the little room there is may be taken by the first that fit.
                return served.settled()["spooled"] > 0

            until(is_back)


def test_files_may_not_grow(healthy, upstream, tmp_path):
    """As a full disk, for those who may not mount one; the log is a file too."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))  # noqa: E731
    with gateway(tmp_path, upstream.port, prepare=limit) as served:
        ends = sampled_ends(grown(served, lambda: ask_both(served, healthy)))
        assert ends.keys() == {"spooled", "disk_failed"}
        assert sum(ends.values()) == 240
        counts = served.settled()
        assert len(served.records()) == counts["spooled"]


def test_the_spool_is_removed_while_it_is_written(healthy, upstream, tmp_path):
    with gateway(tmp_path, upstream.port) as served:
        ask_both(served, healthy, 10)
        shutil.rmtree(served.spool)
        ask_both(served, healthy, 10)
        # Everything comes back by itself, counts from before included.
        asked = [80]

        def is_back() -> bool:
            ask_both(served, healthy, 1)
            asked[0] += 4
            return any(served.spool.glob("*.spool"))

        until(is_back)
        until(lambda: served.settled()["requests"] == asked[0])
        before = served.settled()["spooled"]
        ask_both(served, healthy, 10)
        until(lambda: served.settled()["spooled"] == before + 40)


@pytest.mark.parametrize("what", ["spool", "spool/counters"])
def test_a_folder_that_cannot_be_made_at_the_start(healthy, upstream, tmp_path, what):
    """Serving comes first: whoever restarts production's way must not be told that a shadow has no room."""
    blocked = tmp_path / what
    blocked.parent.mkdir(exist_ok=True)
    blocked.write_text("a file where a folder should be")
    with gateway(tmp_path, upstream.port) as served:
        ask_both(served, healthy, 20)
        with Client(served.admin) as client:
            client.ask(b"", method=b"GET", target="/healthz")
            assert client.answer()[0].status == 200
        blocked.unlink()
        until(lambda: served.counts()["requests"] >= 80)
        until(lambda: "spooled" in sampled_ends(grown(served, lambda: ask_both(served, healthy, 1))))
        assert served.stop() == 0


def test_the_switch_holds_rubbish(healthy, upstream, tmp_path):
    with gateway(tmp_path, upstream.port) as served:
        (served.spool / "control.json").write_bytes(os.urandom(100))
        until(lambda: grown(served, lambda: ask_both(served, healthy, 1)).get("not_eligible.kill_switch") == 4)
        ends = grown(served, lambda: ask_both(served, healthy))
        assert ends["not_eligible.kill_switch"] == 240


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def test_nobody_reads_the_log(healthy, upstream, tmp_path):
    """Every production failure is a line; the pipe is full after a few, and the queue after a thousand."""
    read, write = os.pipe()
    log = tmp_path / "gateway.log"

    def read_the_beginning() -> None:
        while b"admin on" not in (log.read_bytes() if log.exists() else b""):
            data = os.read(read, 65_536)
            with log.open("ab") as file:
                file.write(data)

    reader = threading.Thread(target=read_the_beginning)
    reader.start()
    try:
        with gateway(tmp_path, upstream.port, stderr=write) as served:
            reader.join()
            with Client(served.port) as client:
                for _ in range(1_500):
                    client.ask(b'{"x": "cut"}')
                    assert client.answer()[0].status == 502
            ask_both(served, healthy)
            assert served.settled()["upstream_unreachable"] == 1_500
            begin = time.monotonic()
            assert served.stop(deadline_s=20) == 0
            assert time.monotonic() - begin < 10
    finally:
        os.close(read)
        os.close(write)


def test_everybody_who_could_read_the_log_is_gone(healthy, upstream, tmp_path):
    read, write = os.pipe()
    log = tmp_path / "gateway.log"

    def read_the_beginning() -> None:
        while b"admin on" not in (log.read_bytes() if log.exists() else b""):
            data = os.read(read, 65_536)
            with log.open("ab") as file:
                file.write(data)
        os.close(read)

    reader = threading.Thread(target=read_the_beginning)
    reader.start()
    with gateway(tmp_path, upstream.port, stderr=write) as served:
        os.close(write)
        reader.join()
        with Client(served.port) as client:
            for _ in range(100):
                client.ask(b'{"x": "cut"}')
                assert client.answer()[0].status == 502
        ask_both(served, healthy, 20)
        assert served.stop() == 0
