"""Does the gateway leak? A steady rate for some minutes, and what the gateway's processes hold after each leg of it.

    python -m tests.benchmarks.soak_gateway [--minutes 2] [--rate 300] [--check]

One request in four is streamed, every request is captured, and the spool is read and emptied as the worker would. Each
leg is a client of its own that opens its connections anew, so handles that outlive their client add up. Slopes are of
the last three quarters, when caches and pools are full. Promises: no request fails, everything is captured, memory
grows by less than 5 % over these three quarters, and a while after the last request no more files are open than before
the first one. In between their number moves with the connections to production that are kept for the next burst.

With ``--minutes 60`` it is the long version; it ends by itself.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.benchmarks.gateway import processes, systems
from tests.benchmarks.gateway.load import percentile

STREAM_EVERY = 4
_REST_S = 120
"""How long handles may take to be given back; idle connections to production are kept for less."""


@dataclass(frozen=True, kw_only=True)
class Leg:
    """What was seen at the end of a leg."""

    minute: float
    answered: int
    failed: int
    captured: int
    p50_ms: float
    p99_ms: float
    """Until the first event or the whole answer."""
    memory_mb: float
    files: int


def legs(system: systems.System, *, minutes: float, rate: float) -> Iterator[Leg]:
    """One leg after another until the time is over."""
    assert system.process is not None
    length = max(5.0, min(60.0, minutes * 60 / 24))
    begin, captured = time.monotonic(), system.mirrored() or 0
    while time.monotonic() < begin + minutes * 60:
        command = [sys.executable, "-m", "tests.benchmarks.gateway.load", "--port", str(system.port)]
        command += ["--seconds", str(length), "--rate", str(rate), "--stream-every", str(STREAM_EVERY)]
        found = json.loads(subprocess.check_output(command, cwd=systems.ROOT, text=True))
        time.sleep(0.5)
        before, captured = captured, system.mirrored() or 0
        yield Leg(
            minute=(time.monotonic() - begin) / 60,
            answered=found["answered"],
            failed=found["failed"],
            captured=captured - before,
            p50_ms=(percentile(found["first_us"], 50) or 0) / 1000,
            p99_ms=(percentile(found["first_us"], 99) or 0) / 1000,
            memory_mb=processes.memory_mb(system.process.pid),
            files=processes.open_files(system.process.pid),
        )


def slope(seen: Sequence[Leg], name: str) -> tuple[float, float]:
    """Growth per minute with two standard errors, by least squares."""
    minutes, values = (np.array([getattr(leg, key) for leg in seen], float) for key in ("minute", name))
    if len(seen) < 3:
        return 0.0, float("inf")
    centred = minutes - minutes.mean()
    spread = float(centred @ centred)
    per_minute = float(centred @ values) / spread
    rest = values - values.mean() - per_minute * centred
    return per_minute, 2 * float(np.sqrt(rest @ rest / (len(seen) - 2) / spread))


def left_behind(pid: int, before: int) -> int:
    """Handles more than before, once the idle connections are closed or the time for that is over."""
    until = time.monotonic() + _REST_S
    while (more := processes.open_files(pid) - before) > 0 and time.monotonic() < until:
        time.sleep(1)
    return more


def soak(folder: Path, *, minutes: float, rate: float) -> tuple[list[Leg], int]:
    """Run it and print a row after each leg; returns them and the number of handles left behind."""
    seen: list[Leg] = []
    with ExitStack() as stack:
        (port,) = processes.free_ports(1)
        command = [sys.executable, "-m", "tests.benchmarks.gateway.upstream", "--port", str(port)]
        upstream = processes.start(command, core=None, log=folder / "upstream.log", folder=systems.ROOT)
        stack.callback(processes.stop, upstream)
        place = systems.Place(folder=folder, core=None, production=port, shadow=port, stream=False)
        system = systems.Ours(place)
        stack.callback(system.close)
        assert system.process is not None
        before = processes.open_files(system.process.pid)
        print(f"{systems.Ours.version()}; {rate:g} requests/s, 1 in {STREAM_EVERY} streamed, {minutes:g} minutes\n")
        print("| minute | answered | failed | captured | P50 ms | P99 ms | memory MB | files |")
        print("| --: | --: | --: | --: | --: | --: | --: | --: |")
        for leg in legs(system, minutes=minutes, rate=rate):
            seen.append(leg)
            print(
                f"| {leg.minute:.1f} | {leg.answered:,} | {leg.failed} | {leg.captured:,} | {leg.p50_ms:.3f} "
                f"| {leg.p99_ms:.3f} | {leg.memory_mb:.1f} | {leg.files} |",
                flush=True,
            )
        if lost := system.lost():
            print(f"\n{lost}")
        return seen, left_behind(system.process.pid, before)


def judge(seen: Sequence[Leg], more_files: int) -> bool:
    """Print slopes and whether the promises held."""
    settled = seen[len(seen) // 4 :]
    minutes = settled[-1].minute - settled[0].minute
    (memory, memory_error), (files, files_error) = slope(settled, "memory_mb"), slope(settled, "files")
    print(f"\nslopes over the last {minutes:.1f} minutes, with two standard errors:")
    print(f"memory  {memory * 60:+.2f} ± {memory_error * 60:.2f} MB an hour")
    print(f"files   {files * 60:+.2f} ± {files_error * 60:.2f} handles an hour\n")
    answered, failed, captured = (sum(getattr(leg, key) for leg in seen) for key in ("answered", "failed", "captured"))
    share = memory * minutes / settled[0].memory_mb
    promises = (
        ("no request failed", failed == 0, f"{failed:,} of {answered + failed:,}"),
        ("everything was captured", captured >= answered, f"{captured:,} of {answered:,}"),
        ("memory grew by less than 5 %", share < 0.05, f"{share:+.1%}"),
        ("no handles were left behind", more_files <= 0, f"{more_files:+}"),
    )
    for text, held, figure in promises:
        print(f"{text:<32}{figure:>20}  {'held' if held else 'BROKEN'}")
    return all(held for _, held, _ in promises)


def main() -> None:
    """Parse the command line, run, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--rate", type=float, default=300.0)
    parser.add_argument("--check", action="store_true", help="exit with 1 when a promise is broken")
    parser.add_argument("--folder", type=Path, default=systems.ROOT / ".bench" / "soak")
    args = parser.parse_args()
    shutil.rmtree(args.folder, ignore_errors=True)
    args.folder.mkdir(parents=True)
    held = judge(*soak(args.folder, minutes=args.minutes, rate=args.rate))
    shutil.rmtree(args.folder, ignore_errors=True)
    if args.check and not held:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
