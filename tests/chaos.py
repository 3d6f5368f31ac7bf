"""Traffic through a gateway whose processes and whose worker are killed again and again; then all counts are compared.

The acceptance test runs it with some hundred requests, ``make bench-chaos`` with 20,000.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HARNESS = Path(sys.executable).parent / "harness"
ENVIRONMENT = os.environ | {"OPENAI_API_KEY": "unused", "HARNESS_ADMIN_TOKEN": "chaos"}
_CLIENTS = 32


@dataclass(kw_only=True)
class Outcome:
    """What came of it."""

    requests: int
    answered: int
    broken: int
    """Attempts that a killed process took along; each was sent again."""
    refused: int
    """Attempts that met no gateway at all."""
    gateway_kills: int
    worker_kills: int
    funnel: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    stored: list[str] = field(default_factory=list)
    """What was asked in the exchanges in the store, one per row."""
    asked: dict[str, int] = field(default_factory=dict)
    """How often the candidate was asked each question."""
    observations: int = 0
    seconds: float = 0.0


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextmanager
def model_server(log: Path) -> Iterator[int]:
    """A model server in a process of its own; ``log`` gets what it is asked."""
    process = subprocess.Popen([sys.executable, HERE / "upstream.py", log, "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def run(folder: Path, *, requests: int, rate: float, seed: int = 0, kill_every_s: float = 1.0) -> Outcome:
    """Send the traffic at ``rate`` requests a second, kill, restart, drain, and collect the counts."""
    production_log, candidate_log = folder / "production.jsonl", folder / "candidate.jsonl"
    with model_server(production_log) as production, model_server(candidate_log) as candidate:
        live = folder / "live.yaml"
        port = free_port()
        live.write_text(
            f"""
name: chaos
gateway: {{upstream: "http://127.0.0.1:{production}", port: {port}, processes: 2}}
admin: {{port: {free_port()}}}
worker_admin: {{port: {free_port()}}}
mirror: {{rate: 1}}
candidates: [{{name: cheap, model: openai/cheap, api_base: "http://127.0.0.1:{candidate}/v1", stream: false}}]
judges: [exact]
worker: {{look_every_s: 2}}
"""
        )
        outcome = asyncio.run(
            _Chaos(folder, live, port, requests, _CLIENTS / rate, random.Random(seed), kill_every_s).run()
        )
    outcome.asked = _tally(candidate_log)
    return outcome


class _Chaos:
    def __init__(
        self,
        folder: Path,
        live: Path,
        port: int,
        requests: int,
        pause_s: float,
        rng: random.Random,
        kill_every_s: float,
    ) -> None:
        self.folder, self.live, self.port, self.rng = folder, live, port, rng
        self.kill_every_s = kill_every_s
        self.pause_s = pause_s
        self.todo = iter(range(requests))
        self.outcome = Outcome(requests=requests, answered=0, broken=0, refused=0, gateway_kills=0, worker_kills=0)
        self.done = asyncio.Event()
        self.worker: asyncio.subprocess.Process | None = None

    async def run(self) -> Outcome:
        begin = time.monotonic()
        gateway = await self._start("serve")
        try:
            await self._until_up()
            async with asyncio.TaskGroup() as group:
                beside = [group.create_task(self._kill_gateways(gateway.pid)), group.create_task(self._work())]
                async with asyncio.TaskGroup() as clients:
                    for _ in range(_CLIENTS):
                        clients.create_task(self._client())
                self.done.set()
                for task in beside:
                    task.cancel()
            gateway.send_signal(signal.SIGTERM)
            assert await gateway.wait() == 0
        finally:
            if gateway.returncode is None:
                gateway.kill()
            if self.worker is not None and self.worker.returncode is None:
                self.worker.kill()
                await self.worker.wait()
        last = await self._start("worker", "--drain", "--quiet")
        assert await last.wait() == 0
        self._collect()
        self.outcome.seconds = time.monotonic() - begin
        return self.outcome

    async def _start(self, command: str, *options: str) -> asyncio.subprocess.Process:
        log = (self.folder / f"{command}.log").open("ab")
        return await asyncio.create_subprocess_exec(
            HARNESS, command, self.live, *options, cwd=self.folder, env=ENVIRONMENT, stdout=log, stderr=log
        )

    async def _until_up(self) -> None:
        for _ in range(300):
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await asyncio.sleep(0.1)
        raise AssertionError((self.folder / "serve.log").read_text())

    async def _client(self) -> None:
        """Sends one request after the other over one connection; what broke is sent again, as any client does."""
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        for number in self.todo:
            while True:
                try:
                    if reader is None or writer is None:
                        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    self.outcome.refused += 1
                    await asyncio.sleep(0.05)
                    continue
                try:
                    status = await _ask(reader, writer, number, streamed=number % 3 == 0)
                except (OSError, asyncio.IncompleteReadError):
                    self.outcome.broken += 1
                    writer.close()
                    reader = writer = None
                    continue
                assert status == 200, status
                self.outcome.answered += 1
                await asyncio.sleep(2 * self.pause_s * self.rng.random())
                break
        if writer is not None:
            writer.close()

    async def _kill_gateways(self, supervisor: int) -> None:
        while True:
            await asyncio.sleep(self.kill_every_s * self.rng.uniform(0.5, 1.5))
            # One of them stays: what is shown is that a gateway that lost a process loses no request.
            serving = [pid for pid in children(supervisor) if self._serves(pid)]
            if len(serving) > 1:
                with suppress(ProcessLookupError):
                    os.kill(self.rng.choice(serving), signal.SIGKILL)
                    self.outcome.gateway_kills += 1

    def _serves(self, pid: int) -> bool:
        return any((self.folder / "spool" / "counters").glob(f"*-{pid}-*.counts"))

    async def _work(self) -> None:
        while True:
            self.worker = await self._start("worker", "--quiet")
            # Long enough to get something done, so that it is killed in the middle of it.
            await asyncio.sleep(6 + 4 * self.rng.random())
            if self.worker.returncode is None:
                self.worker.kill()
                self.outcome.worker_kills += 1
            await self.worker.wait()

    def _collect(self) -> None:
        from harness.spool import counters
        from harness.spool.reader import COUNTERS
        from harness.store import Store

        self.outcome.counts = dict(counters.totals(self.folder / "spool" / COUNTERS))
        printed = subprocess.run(
            [HARNESS, "live", "status", self.live, "--json"],
            cwd=self.folder, env=ENVIRONMENT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert printed.returncode == 0, printed.stderr
        self.outcome.funnel = json.loads(printed.stdout)
        with Store.open(f"sqlite:///{self.folder / 'runs' / 'harness.db'}") as store:
            self.outcome.stored = [str(one.request.messages[-1]["content"]) for one in store.exchanges("chaos")]
            arm = next(iter(self.outcome.funnel["arms"]))
            self.outcome.observations = int(arm["completed"])


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, *, streamed: bool) -> int:
    body = json.dumps(
        {"model": "m", "stream": streamed, "messages": [{"role": "user", "content": f"question {number}"}]}
    ).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    lines = answer.lower().split(b"\r\n")
    length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length")), None)
    if length is not None:
        await reader.readexactly(length)
    else:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    return int(lines[0].split()[1])


def _tally(log: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for line in log.read_text().splitlines():
        question = json.loads(line)
        counts[question] = counts.get(question, 0) + 1
    return counts


def main() -> None:
    """Print what came of a large run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="harness-chaos-") as folder:
        found = run(Path(folder), requests=options.requests, rate=options.rate, seed=options.seed)
    lost = found.counts["dropped.unflushed"]
    asked_twice = sum(count - 1 for count in found.asked.values())
    rows = [
        ("requests answered", f"{found.answered:,} of {found.requests:,}"),
        ("attempts broken by a kill, sent again", f"{found.broken:,}"),
        ("attempts that met no gateway", f"{found.refused:,}"),
        ("kill -9 of serving processes", found.gateway_kills),
        ("kill -9 of the worker", found.worker_kills),
        ("sampled", f"{found.counts['sampled']:,}"),
        ("in the store, each once", f"{len(found.stored):,}"),
        ("lost unflushed, counted", f"{lost:,}"),
        ("candidate calls repeated because the worker was killed", f"{asked_twice:,}"),
        ("sums that differ", len(found.funnel["problems"])),
        ("seconds", f"{found.seconds:.0f}"),
    ]
    for name, value in rows:
        print(f"{name:58} {value:>14}")


if __name__ == "__main__":
    main()
