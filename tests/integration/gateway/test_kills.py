"""Processes that are killed and told to stop, under load: others serve on, and the counts still add up."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from harness.spool import counters
from harness.spool.reader import COUNTERS, SpoolReader
from tests.gateways import Asked, Broken, Client, gateway, production, until, when, write_live

pytestmark = pytest.mark.timeout(120)


class Load:
    """Clients that ask without a pause, each with its own body, and what became of it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answered = 0
        self.broken = 0
        self.refused = 0
        self.wrong: list[str] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(8)]

    def _work(self, number: int) -> None:
        turn = 0
        while not self._stop.is_set():
            try:
                client = Client(self.port, timeout_s=10)
            except OSError:
                with self._lock:
                    self.refused += 1
                time.sleep(0.01)
                continue
            with client, suppress(OSError, Broken):
                while not self._stop.is_set():
                    turn += 1
                    body = b"%d.%d." % (number, turn) * 20
                    with self._lock:
                        self.broken += 1
                    client.ask(body)
                    head, found = client.answer()
                    with self._lock:
                        self.broken -= 1
                        self.answered += 1
                        if head.status != 200 or found != body:
                            self.wrong.append(f"{head.status} {found[:80]!r}")

    @contextmanager
    def running(self):
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()


def read_everything(folder) -> tuple[int, dict[str, int]]:
    """Records in a spool nobody writes any more, and the counts after the dead have been folded."""
    ids = []
    with SpoolReader(folder) as reader:
        for _ in range(3):
            ids += [record.id for _, record in reader.read(1_000_000)]
            reader.save()
        assert reader.waiting_bytes == 0
    assert len(ids) == len(set(ids))
    assert not list((folder / COUNTERS).glob("*.counts"))
    return len(ids), dict(counters.totals(folder / COUNTERS))


def test_killed_serving_processes_are_replaced_and_nothing_is_miscounted(tmp_path):
    with (
        production() as upstream,
        gateway(tmp_path, upstream.port, gateway={"processes": 2}) as served,
        Load(served.port).running() as load,
    ):
        for _ in range(4):
            before, answered = served.children, load.answered
            os.kill(before[0], signal.SIGKILL)
            # The other one answers at once, and a new one comes.
            until(lambda answered=answered: load.answered > answered + 50)
            until(lambda before=before: len(set(served.children) - {before[0]}) == 2, what="for another process")
        load._stop.set()
        for thread in load._threads:
            thread.join()
        assert served.stop() == 0
    assert load.wrong == []
    # A kill breaks at most what the killed process was doing: one request of each client.
    assert load.broken <= 4 * 8
    records, counts = read_everything(served.spool)
    assert counts["sampled"] == records + sum(number for _, number in counters.dropped(counts))
    assert counts["spooled"] == records
    assert load.answered <= counts["sampled"] <= load.answered + load.broken
    assert records >= load.answered - 4 * 500


def test_a_killed_supervisor_takes_its_processes_along_and_another_one_follows(tmp_path):
    with production() as upstream:
        with gateway(tmp_path, upstream.port, gateway={"processes": 2}) as served:
            children = served.children
            with Load(served.port).running() as load:
                until(lambda: load.answered > 100)
                served.process.kill()
                served.process.wait()
                until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), what="for orphans to end")
        assert load.wrong == []
        # The port is free again at once, as a service manager needs it.
        with (
            gateway(tmp_path, upstream.port, gateway={"port": served.port}) as again,
            Load(again.port).running() as load,
        ):
            until(lambda: load.answered > 100)
    records, counts = read_everything(served.spool)
    assert counts["spooled"] == records
    assert counts["sampled"] == records + sum(number for _, number in counters.dropped(counts))
    assert counts.get("dropped.unflushed", 0) == 0


@contextmanager
def streaming(tmp_path, **sections):
    """A gateway with a stream in flight that ends when it is told to."""
    release = threading.Event()

    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        await asked.chunk(b"first")
        await when(release)
        await asked.chunk(b"last", b"")

    with production() as upstream, gateway(tmp_path, upstream.port, **sections) as served:
        upstream.handler = handler
        with Client(served.port) as client:
            client.ask()
            assert client.head().status == 200
            assert client.chunk() == b"first"
            yield served, client, release
        release.set()


def is_listening(port: int) -> bool:
    try:
        Client(port).sock.close()
    except ConnectionRefusedError:
        return False
    return True


def test_sigterm_lets_streams_finish_and_exits_with_0(tmp_path):
    with streaming(tmp_path) as (served, client, release):
        served.process.send_signal(signal.SIGTERM)
        until(lambda: not is_listening(served.port), what="for the port to close")
        assert served.process.poll() is None
        release.set()
        assert client.chunk() == b"last"
        assert client.chunk() == b""
        assert client.rest() == b""
        assert served.process.wait(10) == 0
    records, counts = read_everything(served.spool)
    assert (records, counts["sampled"], counts["spooled"]) == (1, 1, 1)


def test_a_stream_that_outlives_the_drain_is_cut_and_the_exit_code_says_so(tmp_path):
    with streaming(tmp_path, gateway={"drain_s": 0.3}) as (served, client, _):
        begin = time.monotonic()
        assert served.stop() == 4
        assert time.monotonic() - begin < 5
        with pytest.raises(Broken):
            client.chunk()
    records, counts = read_everything(served.spool)
    assert (records, counts["sampled"], counts["dropped.closing"]) == (0, 1, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_hurries(tmp_path, number):
    with streaming(tmp_path) as (served, client, _):
        served.process.send_signal(number)
        until(lambda: not is_listening(served.port))
        assert served.process.poll() is None
        assert served.stop(number, 10) == {signal.SIGTERM: 4, signal.SIGINT: 130}[number]
        with pytest.raises((Broken, ConnectionResetError)):
            client.chunk()
    records, counts = read_everything(served.spool)
    assert (records, counts["sampled"], dict(counters.dropped(counts))) == (0, 1, {"closing": 1})
    assert counts["upstream_unreachable"] == 0


def test_a_request_that_waits_when_the_gateway_is_hurried_is_no_failure_of_production(tmp_path):
    asked = threading.Event()

    async def never(request: Asked) -> None:
        await request.body()
        asked.set()
        await request.gone()

    with production() as upstream, gateway(tmp_path, upstream.port) as served:
        upstream.handler = never
        with Client(served.port) as client:
            client.ask()
            assert asked.wait(5)
            served.process.send_signal(signal.SIGTERM)
            until(lambda: not is_listening(served.port))
            assert served.stop(signal.SIGTERM, 10) == 4
    records, counts = read_everything(served.spool)
    assert (records, counts["sampled"], dict(counters.dropped(counts))) == (0, 1, {"closing": 1})
    assert counts["upstream_unreachable"] == 0


@pytest.mark.parametrize("wait_s", [0.0, 0.1, 0.4])
def test_sigterm_during_the_start_ends_it_at_once(tmp_path, wait_s):
    """Before the serving processes handle signals, and while they are being started."""

    def children(pid: int) -> str:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text()

    with production() as upstream:
        path = write_live(tmp_path, upstream.port, gateway={"processes": 2})
        process = subprocess.Popen([sys.executable, "-m", "harness", "serve", path], stderr=subprocess.DEVNULL)
        try:
            until(lambda: children(process.pid))
            time.sleep(wait_s)
            process.terminate()
            assert process.wait(8) == 0
        finally:
            process.kill()
            process.wait()


def test_sigterm_ends_a_gateway_whose_admin_port_is_occupied_by_clients_that_do_nothing(tmp_path):
    with (
        production() as upstream,
        gateway(tmp_path, upstream.port) as served,
        Client(served.admin) as half,
        Client(served.admin),
    ):
        half.send(b"GET /status HTTP/1.1\r\nhost:")
        assert served.stop(deadline_s=10) == 0


def test_a_gateway_under_load_stops_without_breaking_an_answer(tmp_path):
    with (
        production() as upstream,
        gateway(tmp_path, upstream.port, gateway={"processes": 2}) as served,
        Load(served.port).running() as load,
    ):
        until(lambda: load.answered > 200)
        assert served.stop() == 0
    assert load.wrong == []
    records, counts = read_everything(served.spool)
    assert counts["spooled"] == records
    assert counts["sampled"] == counts["spooled"] >= load.answered
