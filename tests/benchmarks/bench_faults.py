"""What production's users notice when the shadow side is broken: one table of latencies from one run.

    python -m tests.benchmarks.bench_faults [--rounds 5] [--seconds 3] [--rate 200] [--production-ms 0]
        [--apart] [--only worker]

Every state is a gateway of its own in front of the same upstream, which answers at once, so that the table shows what
the gateway takes and nothing else; ``--production-ms`` gives it the time of a model, so that the table shows what a
user of one would notice. They take turns in short slices at a steady rate, round by round, so that what else happens on
the machine meets all of them alike. The table holds medians over the rounds; the last column is the median of P99 over
that of the gateway with mirroring off in the same round. A second gateway with mirroring off tells how far two of a
kind differ in that column, which is the noise of the machine, and a third, beside which a stranger's program computes,
what a busy core costs whoever keeps it busy. Every request that is not answered as production would have is counted as
wrong.

A worker that asks a candidate 200 times a second fills a core. Where production's side has to share it, clients and
upstream included, the table shows the scheduler; ``--apart`` gives the shadow side a core of its own, as a deployment
may.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from harness.spool.reader import SpoolReader
from tests.benchmarks.gateway import processes, workers
from tests.gateways import ENDINGS, Gateway, gateway, until

ROOT = Path(__file__).resolve().parents[2]
SLOW_S = 0.3


@dataclass(frozen=True, kw_only=True)
class State:
    """One way the shadow side can be."""

    name: str
    rate: float = 1
    reader: bool = False
    """Whether somebody reads the spool, as the worker does."""
    spool_bytes: int = 1 << 30
    disk_kb: int | None = None
    """The spool is alone on a disk of this size, which is full."""
    slow: bool = False
    """Every write takes a while."""
    candidate: str | None = None
    """How the candidate of a real worker behaves; without one there is no worker."""
    store_locked: bool = False
    crash_loop: bool = False
    busy: bool = False
    """A program that has nothing to do with us computes beside it, as low in priority as a worker."""


STATES = (
    State(name="mirroring off", rate=0),
    State(name="mirroring off, again", rate=0),
    State(name="off, a stranger computes", rate=0, busy=True),
    State(name="mirroring on", reader=True),
    State(name="worker stopped"),
    State(name="spool full", spool_bytes=100_000),
    State(name="disk full", disk_kb=256),
    State(name=f"disk takes {SLOW_S * 1000:g} ms a write", slow=True),
    State(name="worker, candidate answers", candidate="answers"),
    State(name="worker, candidate hangs", candidate="hangs"),
    State(name="worker, candidate answers 500", candidate="500"),
    State(name="worker, candidate answers 429", candidate="429"),
    State(name="worker, candidate never ends", candidate="endless"),
    State(name="worker, store down", candidate="answers", store_locked=True),
    State(name="worker killed every second", candidate="answers", crash_loop=True),
)


@contextmanager
def disk(folder: Path, kilobytes: int) -> Iterator[bool]:
    """A small file system in a folder; says no where that takes rights we do not have."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    mounted = shutil.which("mount") is not None and not subprocess.run(command, capture_output=True).returncode  # noqa: PLW1510
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def reading(spool: Path) -> Iterator[None]:
    """Read and remove what is spooled, twice a second."""
    stop = threading.Event()

    def run() -> None:
        with SpoolReader(spool) as reader:
            while not stop.wait(0.5):
                for _ in reader.read(100_000):
                    pass
                reader.save()

    def apart() -> None:
        if workers.CORES:
            os.sched_setaffinity(0, workers.CORES)
        run()

    thread = threading.Thread(target=apart)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@dataclass(kw_only=True)
class Measured:
    """The gateway of one state, and the worker beside it."""

    gateway: Gateway
    worker: workers.Worker | None = None
    busy: bool = False

    def slice(self, seconds: float, rate: float) -> tuple[float, float, int]:
        """One turn of it."""
        with (
            self.worker.at_work() if self.worker is not None else nullcontext(),
            workers.stranger() if self.busy else nullcontext(),
        ):
            return measure(self.gateway.port, seconds, rate)


def start(stack: ExitStack, state: State, folder: Path, upstream: int) -> Measured | None:
    """The gateway of one state; ``None`` where the state cannot be made."""
    folder.mkdir()
    environment = {}
    if state.slow:
        patch = (
            f"import os, time\n_writev = os.writev\nos.writev = lambda *how: (time.sleep({SLOW_S}), _writev(*how))[1]\n"
        )
        (folder / "sitecustomize.py").write_text(patch)
        environment["PYTHONPATH"] = str(folder)
    if state.disk_kb is not None and not stack.enter_context(disk(folder / "spool", state.disk_kb)):
        return None
    more = {}
    if state.candidate is not None:
        port = stack.enter_context(workers.candidate(state.candidate))
        model = {"name": "cheap", "model": "openai/cheap", "api_base": f"http://127.0.0.1:{port}/v1"}
        more = {"candidates": [model], "judges": ["exact"], "worker_admin": {"port": 0}}
    found = stack.enter_context(
        gateway(
            folder, upstream, mirror={"rate": state.rate}, spool={"max_bytes": state.spool_bytes}, env=environment,
            **more,
        )
    )  # fmt: skip
    if state.disk_kb is not None:
        with suppress(OSError), (found.spool / "filler").open("wb", buffering=0) as file:
            while file.write(bytes(1_000)):
                pass
    if state.reader:
        stack.enter_context(reading(found.spool))
    worker = None
    if state.candidate is not None:
        worker = workers.Worker(found.path, locks_store=state.store_locked, crashes=state.crash_loop)
        stack.callback(worker.close)
    return Measured(gateway=found, worker=worker, busy=state.busy)


def measure(port: int, seconds: float, rate: float) -> tuple[float, float, int]:
    """P50 and P99 in milliseconds, of streams up to the first event, and how many answers were wrong."""
    command = [sys.executable, "-m", "tests.benchmarks.gateway.load", "--port", str(port), "--seconds", str(seconds)]
    found = json.loads(subprocess.check_output([*command, "--rate", str(rate), "--stream-every", "4"], cwd=ROOT))
    return found["first_p50"] / 1000, found["first_p99"] / 1000, found["failed"]


def table(found: dict[str, list[tuple[float, float, int]]], ends: Callable[[str], str]) -> Iterator[str]:
    """The lines of the table."""
    yield f"{'shadow side':<28} {'P50 ms':>8} {'P99 ms':>8} {'wrong':>6} {'P99 / off':>10}  sampled requests"
    off = found[STATES[0].name]
    for name, slices in found.items():
        p50, p99 = (median(one[place] for one in slices) for place in (0, 1))
        ratio = median(one[1] / base[1] for one, base in zip(slices, off, strict=True))
        wrong = sum(one[2] for one in slices)
        yield f"{name:<28} {p50:>8.2f} {p99:>8.2f} {wrong:>6} {ratio:>10.2f}  {ends(name)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--production-ms", type=float, default=0.0, help="how long production takes to its first byte")
    parser.add_argument("--only", default="", help="states whose names this expression finds, and mirroring off")
    parser.add_argument("--apart", action="store_true", help="the shadow side on a core of its own")
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if args.apart:
        if len(cores) < 2:
            parser.error("--apart needs two cores")
        workers.CORES.append(cores.pop())
        os.sched_setaffinity(0, cores)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        [port] = processes.free_ports(1)
        command = [sys.executable, "-m", "tests.benchmarks.gateway.upstream", "--port", str(port), "--gap-ms", "1"]
        command += ["--first-ms", str(args.production_ms)]
        upstream = processes.start(command, core=None, log=folder / "upstream.log", folder=ROOT)
        stack.callback(processes.stop, upstream)
        gateways: dict[str, Measured] = {}
        for number, state in enumerate(STATES):
            if not re.search(args.only, state.name) and number > 1:
                continue
            if (started := start(stack, state, folder / str(number), port)) is not None:
                gateways[state.name] = started
            else:
                print(f"{state.name}: left out, it takes the right to mount", file=sys.stderr)
        found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in gateways}
        for name, one in gateways.items():
            until(lambda one=one: measure(one.gateway.port, 0.5, 50)[2] == 0, 30, f"for {name}")
        for _ in range(args.rounds):
            for name, one in gateways.items():
                found[name].append(one.slice(args.seconds, args.rate))

        def ends(name: str) -> str:
            time.sleep(SLOW_S)
            counts = gateways[name].gateway.settled()
            kinds = [
                f"{counts[end]:,} {end.removeprefix('dropped.').replace('_', ' ')}" for end in ENDINGS if counts[end]
            ]
            return ", ".join(kinds) or "none"

        sides = f"{len(cores)} cores" + (", one more for the shadow side" if args.apart else "")
        sides += f", production takes {args.production_ms:g} ms"
        print(f"{args.rate:g} requests a second, one in four streamed, {args.rounds} x {args.seconds:g} s, {sides}")
        for line in table(found, ends):
            print(line)


if __name__ == "__main__":
    main()
