"""The gateway beside nginx and LiteLLM's proxy: one table from one run on one machine.

    python -m tests.benchmarks.bench_gateway [--quick] [--rounds 5] [--seconds 3] [--no-pin] [--check]

The upstream answers at once and every request is mirrored. Systems take turns in short slices, round by round, since
neighbours on the machine disturb single slices; the table holds medians over the rounds, and what a system adds is
taken from the direct slice of the same round. The load generator and the upstream share one core, the system that is
measured has another one (``--no-pin`` leaves that to the kernel). Between two slices the benchmark waits until the
system is idle, so CPU per request includes what it put off, such as LiteLLM's mirrored calls; then what was mirrored is
counted: records read back from the spool, or requests that reached the candidate. The last column is what other
programs took of the system's core in the meantime; where it is high, only CPU per request and medians mean much.

``make bench-gateway`` installs nginx, wrk and LiteLLM's proxy, and runs this.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from tests.benchmarks.gateway import messages, processes, systems
from tests.benchmarks.gateway.load import percentile

HERE = Path(__file__).parent / "gateway"
SYSTEMS: tuple[type[systems.System], ...] = (
    systems.Direct, systems.Nginx, systems.NginxMirror, systems.LiteLLM, systems.Ours,
)  # fmt: skip
STEADY_RATE = 300


@dataclass(frozen=True, kw_only=True)
class Load:
    """One way to ask."""

    name: str
    connections: int = 1
    stream: bool = False
    rate: int | None = None

    def seconds(self, system: systems.System, seconds: int) -> int:
        """How long a slice takes: so long that also a system with 70 requests a second turns all its connections."""
        if isinstance(system, systems.LiteLLM):
            return max(seconds, self.connections // 25, min(3, self.connections))
        return seconds


LOADS = (
    Load(name="c=1"),
    Load(name="c=32", connections=32),
    Load(name="c=256", connections=256),
    Load(name=f"{STEADY_RATE}/s", rate=STEADY_RATE),
    Load(name="stream c=1", stream=True),
    Load(name="stream c=32", connections=32, stream=True),
)


@dataclass(frozen=True, kw_only=True)
class Slice:
    """What one system did under one load in one round."""

    rate: float
    p50_ms: float
    p99_ms: float
    """Of a stream: until its first event."""
    cpu_us: float | None
    memory_mb: float | None
    mirrored: float | None
    """Share of what reached production."""
    others: float | None
    """Share of the system's core that other programs had meanwhile: how far the slice was disturbed."""
    failed: int


Found = dict[tuple[str, str], list[Slice]]
"""By load and system, one slice a round."""


class Machine:
    """Two cores: one for load generator and upstream, one for the system that is measured."""

    def __init__(self, *, pin: bool) -> None:
        cores = sorted(os.sched_getaffinity(0))
        if pin and len(cores) < 2:
            raise SystemExit("pinning takes two cores; this process may use one, so run with --no-pin")
        self.load_core, self.system_core = (cores[0], cores[1]) if pin else (None, None)
        if pin:
            os.sched_setaffinity(0, {cores[0]})

    @property
    def described(self) -> str:
        """For the head of the table."""
        if self.load_core is None:
            return "not pinned"
        return f"load generator and upstream on core {self.load_core}, every system alone on core {self.system_core}"


def wrk(load: Load, port: int, seconds: int, body: Path) -> tuple[float, float, float, int]:
    """Requests a second, P50 and P99 in ms, and failures of a closed loop without streaming."""
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "60s", "-s", str(HERE / "wrk.lua")]
    out = subprocess.check_output(
        [*command, f"http://127.0.0.1:{port}/v1/chat/completions"],
        env=os.environ | {"BENCH_BODY": str(body)},
        text=True,
    )
    found = json.loads(next(line[6:] for line in out.splitlines() if line.startswith("BENCH ")))
    rate = found["requests"] / found["seconds"]
    return rate, found["p50_us"] / 1000, found["p99_us"] / 1000, found["failed"]


def own_generator(load: Load, port: int, seconds: int) -> tuple[float, float, float, int]:
    """The same of streams, where the latency is that of the first event, and of a steady rate."""
    command = [sys.executable, "-m", "tests.benchmarks.gateway.load", "--port", str(port), "--seconds", str(seconds)]
    command += ["--rate", str(load.rate)] if load.rate else ["--connections", str(load.connections)]
    command += ["--stream"] if load.stream else []
    found = json.loads(subprocess.check_output(command, cwd=systems.ROOT, text=True))
    p50, p99 = (percentile(found["first_us"], q) for q in (50, 99))
    if p50 is None or p99 is None:
        raise SystemExit(f"no request was answered under {load.name}: {found}")
    return found["answered"] / seconds, p50 / 1000, p99 / 1000, found["failed"]


def measure(system: systems.System, load: Load, seconds: int, body: Path) -> Slice:
    """One slice."""
    core = system.place.core
    root = system.process.pid if system.process else None
    before = system.mirrored()
    cpu = processes.cpu_seconds(root) if root else 0.0
    reached = systems.answered(system.place.production)
    seconds = load.seconds(system, seconds)
    began, busy = time.monotonic(), processes.busy_seconds(core) if core is not None else 0.0
    if load.stream or load.rate:
        rate, p50, p99, failed = own_generator(load, system.port, seconds)
    else:
        rate, p50, p99, failed = wrk(load, system.port, seconds, body)
    # What the client saw is less: the generator leaves while requests are on their way, and they are worked on, too.
    memory = processes.memory_mb(root) if root else None
    used = 0.0
    if root:
        processes.wait_until_idle(root)
        used = processes.cpu_seconds(root) - cpu
    lasted, busy = time.monotonic() - began, (processes.busy_seconds(core) if core is not None else 0.0) - busy
    reached = systems.answered(system.place.production) - reached
    after = system.mirrored()
    return Slice(
        rate=rate,
        p50_ms=p50,
        p99_ms=p99,
        cpu_us=used / reached * 1e6 if root else None,
        memory_mb=memory,
        mirrored=(after - before) / reached if after is not None and before is not None else None,
        others=max(0.0, busy - used) / lasted if core is not None and root else None,
        failed=failed,
    )


@contextmanager
def upstreams(machine: Machine, folder: Path, *, stream: bool) -> Iterator[tuple[int, int]]:
    """Production and candidate; yields their ports."""
    ports = processes.free_ports(2)
    with ExitStack() as stack:
        for name, port in zip(("production", "candidate"), ports, strict=True):
            if stream:
                command = [sys.executable, "-m", "tests.benchmarks.gateway.upstream", "--port", str(port)]
                log = folder / f"{name}.log"
                process = processes.start(command, core=machine.load_core, log=log, folder=systems.ROOT)
            else:
                process = systems.static_upstream(folder / name, port, core=machine.load_core)
            stack.callback(processes.stop, process)
        yield ports[0], ports[1]


def run(
    kinds: Sequence[type[systems.System]], machine: Machine, folder: Path, *, rounds: int, seconds: int
) -> tuple[Found, dict[str, str]]:
    """All slices, and what was dropped on the way to the spool."""
    found: Found = {}
    notes: dict[str, str] = {}
    body = folder / "body.json"
    body.write_bytes(messages.request(stream=False))
    for stream in (False, True):
        loads = [load for load in LOADS if load.stream == stream]
        sub = folder / ("stream" if stream else "whole")
        sub.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            production, shadow = stack.enter_context(upstreams(machine, sub, stream=stream))
            place = systems.Place(
                folder=sub, core=machine.system_core, production=production, shadow=shadow, stream=stream
            )
            running: list[systems.System] = []
            for kind in kinds:
                said(f"starting {kind.name} for {'streams' if stream else 'whole answers'}")
                running.append(kind(place))
                stack.callback(running[-1].close)
            for system in running:
                measure(system, Load(name="warm-up", connections=32, stream=stream), 1, body)
            for number in range(rounds):
                for load in loads:
                    said(f"round {number + 1} of {rounds}: {load.name}")
                    # Whoever goes first changes, so that a slow drift of the machine hits all.
                    turn = number % len(running)
                    for system in running[turn:] + running[:turn]:
                        if load.rate and isinstance(system, systems.LiteLLM):
                            continue
                        found.setdefault((load.name, system.name), []).append(measure(system, load, seconds, body))
            for system in running:
                if isinstance(system, systems.Ours) and (lost := system.lost()):
                    notes["streams" if stream else "whole answers"] = lost
    return found, notes


def table(found: Found, kinds: Sequence[type[systems.System]]) -> Iterator[str]:
    """The table, in Markdown."""
    head = ("load", "system", "requests/s", "of rounds", "P50 ms", "P99 ms", "added P50", "added P99", "CPU µs/request",
            "memory MB", "mirrored", "others")  # fmt: skip
    rows = [head, tuple("---" if i < 2 else "--:" for i in range(len(head)))]
    for load in LOADS:
        direct = found[load.name, systems.Direct.name]
        for kind in kinds:
            slices = found.get((load.name, kind.name))
            if slices is None:
                rows.append((load.name, kind.name, f"cannot do {load.rate}/s", *[""] * (len(head) - 3)))
                continue
            rates = [one.rate for one in slices]
            added = ["", ""]
            if kind is not systems.Direct:
                added = [
                    f"{value:.3f}" for value in (added_ms(slices, direct, "p50_ms"), added_ms(slices, direct, "p99_ms"))
                ]
            rows.append((
                load.name, kind.name, f"{median(rates):,.0f}", f"{min(rates):,.0f}-{max(rates):,.0f}",
                written(middle(slices, "p50_ms"), ".3f"), written(middle(slices, "p99_ms"), ".3f"), *added,
                written(middle(slices, "cpu_us"), ",.0f"), written(middle(slices, "memory_mb"), ",.0f"),
                written(middle(slices, "mirrored"), ".1%"), written(middle(slices, "others"), ".0%"),
            ))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        cells = (
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield f"| {' | '.join(cells)} |"


def written(value: float | None, form: str) -> str:
    """A cell; empty without a value."""
    return "" if value is None else format(value, form)


def middle(slices: Sequence[Slice], name: str) -> float | None:
    """Median over the rounds."""
    values = [value for one in slices if (value := getattr(one, name)) is not None]
    return median(values) if values else None


def added_ms(slices: Sequence[Slice], direct: Sequence[Slice], name: str) -> float:
    """Median over the rounds of what a system adds to the direct slice of the same round."""
    return median(getattr(one, name) - getattr(base, name) for one, base in zip(slices, direct, strict=True))


@dataclass(frozen=True, kw_only=True)
class Target:
    """A promise and whether it held."""

    text: str
    value: float | None
    limit: str = ""
    met: Callable[[float], bool] | None = None
    """None for a figure that is only shown."""

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        if self.met is None:
            return ""
        return "met" if self.met(self.value) else "MISSED"


def targets(found: Mapping[tuple[str, str], list[Slice]]) -> list[Target]:
    """What the gateway promises."""
    ours, direct = systems.Ours.name, systems.Direct.name

    def ratio(load: str, upper: str, lower: str, name: str = "rate") -> float | None:
        pairs = zip(found.get((load, upper), ()), found.get((load, lower), ()), strict=False)
        values = [getattr(one, name) / getattr(other, name) for one, other in pairs if getattr(other, name)]
        return median(values) if values else None

    def added(load: str, name: str, system: str = ours) -> float | None:
        return added_ms(slices, found[load, direct], name) if (slices := found.get((load, system))) else None

    def least(name: str) -> float | None:
        shares = [middle(slices, name) for (_, system), slices in found.items() if system == ours]
        return min((share for share in shares if share is not None), default=None)

    steady = f"{STEADY_RATE}/s"
    return [
        Target(text="requests/s of harness serve over LiteLLM's, c=32", value=ratio("c=32", ours, "LiteLLM"),
               limit=">= 80", met=lambda value: value >= 80),
        Target(text="requests/s of nginx over harness serve's, c=32", value=ratio("c=32", "nginx", ours),
               limit="<= 6", met=lambda value: value <= 6),
        Target(text="CPU per request of LiteLLM over harness serve's, c=32",
               value=ratio("c=32", "LiteLLM", ours, "cpu_us")),
        Target(text="CPU per request of harness serve over nginx's, c=32",
               value=ratio("c=32", ours, "nginx", "cpu_us")),
        Target(text="P50 that harness serve adds, c=1, ms", value=added("c=1", "p50_ms"),
               limit="< 0.35", met=lambda value: value < 0.35),
        Target(text="P50 it adds to the first event, stream c=1, ms", value=added("stream c=1", "p50_ms"),
               limit="< 1", met=lambda value: value < 1),
        Target(text=f"P50 it adds at {steady}, ms", value=added(steady, "p50_ms"),
               limit="< 2", met=lambda value: value < 2),
        Target(text=f"P99 it adds at {steady}, ms", value=added(steady, "p99_ms"),
               limit="< 5", met=lambda value: value < 5),
        Target(text="the same of nginx, which tells the machine's own noise", value=added(steady, "p99_ms", "nginx")),
        Target(text="share of requests it captured, worst load", value=least("mirrored"),
               limit=">= 0.999", met=lambda value: value >= 0.999),
    ]  # fmt: skip


def versions(kinds: Sequence[type[systems.System]], machine: Machine) -> Iterator[str]:
    """What is measured with what on what."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in cpus if line.startswith("model name")), platform.machine())
    yield f"{os.cpu_count()} cores of {model}, Linux {platform.release()}, {machine.described}"
    for kind in kinds:
        yield f"{kind.name}: {kind.version()}; mirrors {kind.mirrors}"
    wrk_version = subprocess.run(["wrk", "-v"], text=True, capture_output=True, check=False).stdout.split()[1]
    yield (
        f"upstream: nginx {systems.nginx_version()} with a fixed answer of {len(messages.answer())} bytes to requests "
        f"of {len(messages.request(stream=False))}; streams: uvloop {version('uvloop')}, first event at once, "
        f"{len(messages.events()) - 1} more 3 ms apart"
    )
    yield (
        f"load: wrk {wrk_version}, whose P99 is corrected for coordinated omission; a generator of our own for streams "
        f"and {STEADY_RATE}/s"
    )


def said(text: str) -> None:
    """Progress, apart from the table."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rounds of one second: about three minutes")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="length of a slice; LiteLLM's are longer where it needs that")
    parser.add_argument("--no-pin", action="store_true", help="leave cores to the kernel")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed or not measured")
    parser.add_argument("--only", nargs="+", choices=[kind.name for kind in SYSTEMS[1:]], help="beside direct")
    parser.add_argument("--folder", type=Path, default=systems.ROOT / ".bench" / "gateway")
    args = parser.parse_args()
    kinds = [kind for kind in SYSTEMS if kind is systems.Direct or not args.only or kind.name in args.only]
    rounds, seconds = args.rounds or (2 if args.quick else 5), args.seconds or (1 if args.quick else 3)
    shutil.rmtree(args.folder, ignore_errors=True)
    args.folder.mkdir(parents=True)
    machine = Machine(pin=not args.no_pin)
    begin, load_before = time.monotonic(), os.getloadavg()[0]
    head = list(versions(kinds, machine))
    found, lost = run(kinds, machine, args.folder, rounds=rounds, seconds=seconds)
    print(f"\n{rounds} rounds of {seconds} s slices, {time.monotonic() - begin:.0f} s in all; load average "
          f"{load_before:.1f} before and {os.getloadavg()[0]:.1f} at the end")  # fmt: skip
    print(*(f"- {line}" for line in head), "", *table(found, kinds), "", sep="\n")
    failed = {key: sum(one.failed for one in slices) for key, slices in found.items()}
    for (load, system), number in failed.items():
        if number:
            print(f"{system}, {load}: {number} requests failed")
    for what, reasons in lost.items():
        print(f"{systems.Ours.name}, {what}: {reasons}")
    judged = targets(found)
    for target in judged:
        value = "" if target.value is None else f"{target.value:.3g}"
        print(f"{target.text:<54}{value:>8}  {target.limit:<9} {target.verdict}".rstrip())
    shutil.rmtree(args.folder, ignore_errors=True)
    if args.check and any(target.verdict not in {"met", ""} for target in judged):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
