"""What one request costs: the harness beside a bare litellm loop, Inspect AI and promptfoo.

    python -m tests.benchmarks.bench_compare [--requests 2000] [--rounds 3] [--concurrency 16] [--only bare,ours]

Each tool asks an instant server on this machine the same requests, with the same number in flight, and holds every
answer against one assertion. Each run is a whole command in a process of its own, from its first import to its last
file; the tools take turns, round by round. The table shows medians:

* ``command s``: the whole command, start-up and reports included;
* ``requests/s``: what is left once the time of the same command with few requests is taken away: the steady rate;
* ``CPU ms``: user and system time per request, of the command and all its children, start-up taken away likewise;
* ``CPU s``: the same of the whole command; ``peak MB``: the largest sum of what its processes held in memory at once.

The server answers from the same cores and counts what it was asked; a run that asked anything else than it should is an
error. A tool that is not installed (`make bench` installs them under `.bench/`) has a row that says so.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

from tests.benchmarks.bench_replay import ANSWER, QUESTION, Upstream

ROOT = Path(__file__).parents[2]
INSPECT = ROOT / ".bench" / "inspect" / "bin" / "inspect"
NODE = ROOT / ".bench" / "promptfoo" / "node_modules"
NEEDLE = "blue light more than red"
FEW = 100
TARGETS = {"inspect": 4.0, "promptfoo": 1.5, "bare": 1.6}

_TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import json_dataset
from inspect_ai.scorer import includes
from inspect_ai.solver import generate


@task
def bench():
    return Task(dataset=json_dataset("samples.jsonl"), solver=generate(), scorer=includes())
"""


class CountedUpstream(Upstream):
    """Also says how many requests it answered."""

    answered: ClassVar[int] = 0

    def data_received(self, data: bytes) -> None:
        """Answer ``GET /count`` with the number of all other requests."""
        if data.startswith(b"GET /count"):
            body = str(CountedUpstream.answered).encode()
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            return
        super().data_received(data)

    def reply(self, answer: bytes) -> None:
        """Count it."""
        CountedUpstream.answered += 1
        super().reply(answer)


async def upstream() -> None:
    """Serve until killed; prints the port."""
    server = await asyncio.get_running_loop().create_server(CountedUpstream, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def bare(base: str, n: int, concurrency: int) -> None:
    """A loop around litellm, as one would write it."""
    import litellm

    left = iter(range(n))

    async def worker() -> None:
        for i in left:
            answer = await litellm.acompletion(
                model="openai/instant-1", api_base=base, api_key="none", temperature=0.5,
                messages=[{"role": "user", "content": f"{QUESTION}{i}"}],
            )  # fmt: skip
            assert NEEDLE in answer.choices[0].message.content

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one command."""

    seconds: float
    cpu_s: float
    peak_mb: float


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One row."""

    name: str
    missing: str | None
    """Why it cannot be run."""
    command: Callable[[Path, str, int, int], tuple[list[str], dict[str, str]]]
    """The command and its environment for a folder, a base URL, a number of requests and one in flight."""


def _bare(_: Path, base: str, n: int, concurrency: int) -> tuple[list[str], dict[str, str]]:
    side = ["--side", "bare", "--base", base, "--requests", str(n), "--concurrency", str(concurrency)]
    return [sys.executable, "-m", "tests.benchmarks.bench_compare", *side], {}


def _ours(processes: int) -> Callable[[Path, str, int, int], tuple[list[str], dict[str, str]]]:
    def command(folder: Path, base: str, n: int, concurrency: int) -> tuple[list[str], dict[str, str]]:
        usage = {"prompt_tokens": 150, "completion_tokens": 140, "total_tokens": 290}
        choice = {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
        with (folder / "export.jsonl").open("w", encoding="utf-8") as file:
            for i in range(n):
                messages = [{"role": "user", "content": f"{QUESTION}{i}"}]
                request = {"model": "gpt-4o", "messages": messages, "temperature": 0.5}
                response = {"id": f"c{i}", "model": "gpt-4o", "choices": [choice], "usage": usage}
                row = {"id": f"e{i}", "created": 1_750_000_000 + i, "latency_ms": 900.0}
                file.write(json.dumps(row | {"request": request, "response": response}) + "\n")
        experiment = {
            "name": "bench",
            "traffic": {"source": str(folder / "export.jsonl"), "dialect": "openai_chat"},
            # The others take whole answers, too.
            "candidates": [{"name": "candidate", "model": "openai/instant-1", "api_base": base, "stream": False}],
            "judges": ["exact"],
            "replay": {"concurrency": concurrency},
            # Everything is asked, whatever is known after a part.
            "budget": {"stop_when_settled": False, "stop_when_out_of_reach": False},
        }
        (folder / "experiment.yaml").write_text(json.dumps(experiment), encoding="utf-8")
        line = [sys.executable, "-m", "harness", "run", str(folder / "experiment.yaml"), "--quiet"]
        line += ["--store", f"sqlite:///{folder}/store.db", "--runs-dir", str(folder / "runs")]
        return [*line, *(["--processes", str(processes)] if processes > 1 else [])], {}

    return command


def _inspect(folder: Path, base: str, n: int, concurrency: int) -> tuple[list[str], dict[str, str]]:
    with (folder / "samples.jsonl").open("w", encoding="utf-8") as file:
        for i in range(n):
            file.write(json.dumps({"id": i, "input": f"{QUESTION}{i}", "target": NEEDLE}) + "\n")
    (folder / "task.py").write_text(_TASK, encoding="utf-8")
    line = [str(INSPECT), "eval", "task.py@bench", "--model", "openai-api/bench/instant-1", "--display", "none"]
    line += ["--log-format", "eval", "--log-dir", str(folder / "logs"), "--no-log-realtime", "--no-score-display"]
    line += ["--max-connections", str(concurrency), "--max-samples", str(concurrency), "--temperature", "0.5"]
    return line, {"BENCH_API_KEY": "none", "BENCH_BASE_URL": base, "INSPECT_LOG_LEVEL": "warning"}


def _promptfoo(folder: Path, base: str, n: int, concurrency: int) -> tuple[list[str], dict[str, str]]:
    provider = {"apiBaseUrl": base, "apiKey": "none", "temperature": 0.5}
    config = {
        "prompts": ["{{question}}"],
        "providers": [{"id": "openai:chat:instant-1", "config": provider}],
        "tests": [
            {"vars": {"question": f"{QUESTION}{i}"}, "assert": [{"type": "contains", "value": NEEDLE}]}
            for i in range(n)
        ],
    }
    (folder / "promptfoo.json").write_text(json.dumps(config), encoding="utf-8")
    line = [str(NODE / ".bin" / "node"), str(NODE / "promptfoo" / "dist" / "src" / "entrypoint.js"), "eval"]
    line += ["-c", "promptfoo.json", "--no-cache", "--no-table", "--no-progress-bar", "--no-share"]
    line += ["--max-concurrency", str(concurrency)]
    off = ("TELEMETRY", "UPDATE", "REMOTE_GENERATION", "SHARING", "DEBUG_LOG", "ERROR_LOG")
    settings = {f"PROMPTFOO_DISABLE_{name}": "1" for name in off}
    return line, settings | {"PROMPTFOO_CONFIG_DIR": str(folder / "config"), "NODE_NO_WARNINGS": "1"}


def tools() -> dict[str, Tool]:
    """All rows, in the order of the table."""
    shown = subprocess.run(
        [sys.executable, "-m", "harness", "run", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=_environment(),
    )
    one = "`harness run` takes no --processes here"
    no_node = "promptfoo is not installed (needs npm; `make bench` installs it)"
    return {
        "bare": Tool(name="bare litellm loop", missing=None, command=_bare),
        "ours": Tool(name="harness, 1 process", missing=None, command=_ours(1)),
        "ours2": Tool(
            name="harness, 2 processes", missing=None if "--processes" in shown.stdout else one, command=_ours(2)
        ),
        "inspect": Tool(
            name="Inspect AI", missing=None if INSPECT.exists() else "Inspect AI is not installed", command=_inspect
        ),
        "promptfoo": Tool(
            name="promptfoo", missing=None if (NODE / "promptfoo").exists() else no_node, command=_promptfoo
        ),
    }


def _environment() -> dict[str, str]:
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "NO_COLOR": "1"}
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return os.environ | offline | {"PYTHONPATH": path}


def measure(tool: Tool, port: int, n: int, concurrency: int) -> Figures:
    """Run one whole command."""
    base = f"http://127.0.0.1:{port}/v1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        line, settings = tool.command(folder, base, n, concurrency)
        before = answered(port)
        with (folder / "output").open("wb") as output:
            begin = time.perf_counter()
            process = subprocess.Popen(
                line, cwd=folder, env=_environment() | settings, stdout=output, stderr=subprocess.STDOUT
            )
            watch = Watch(process.pid)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - begin
        peak = watch.stop()
        process.returncode = os.waitstatus_to_exitcode(status)
        asked = answered(port) - before
        # Ours says with 1 or 3 that the answer is no, or not known yet.
        if asked != n or process.returncode not in (0, 1, 3):
            said = (folder / "output").read_text(errors="replace")[-2_000:]
            raise SystemExit(f"{tool.name} ended with {process.returncode} and asked {asked} of {n}:\n{said}")
    return Figures(seconds=seconds, cpu_s=usage.ru_utime + usage.ru_stime, peak_mb=peak)


def answered(port: int) -> int:
    """Requests the server has answered so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/count") as response:
        return int(response.read())


class Watch:
    """Looks at the memory of a process and all below it, twice a second; what they share counts once."""

    def __init__(self, pid: int) -> None:
        self._pid, self._peak_kb, self._end = pid, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> float:
        """The peak in MB."""
        self._end.set()
        self._thread.join()
        return self._peak_kb / 1024

    def _run(self) -> None:
        while not self._end.wait(0.5):
            self._peak_kb = max(self._peak_kb, self._sum(self._pid))

    def _sum(self, pid: int) -> float:
        total = 0.0
        # It may end while we look.
        with suppress(OSError, ValueError, IndexError):
            [line] = [
                text for text in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if text.startswith("Pss:")
            ]
            total = int(line.split()[1])
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += sum(self._sum(int(child)) for child in (task / "children").read_text().split())
        return total


def compare(port: int, chosen: dict[str, Tool], *, requests: int, rounds: int, concurrency: int) -> None:
    """Let the tools take turns and print the table."""
    usable = {key: tool for key, tool in chosen.items() if tool.missing is None}
    few: dict[str, list[Figures]] = {key: [] for key in usable}
    found: dict[str, list[Figures]] = {key: [] for key in usable}
    for tool in usable.values():
        # The first start compiles and fills the page cache.
        measure(tool, port, FEW, concurrency)
    for number in range(rounds):
        # Whoever goes first changes, so that a slow drift of the machine hits all.
        keys = list(usable) if number % 2 == 0 else list(reversed(usable))
        for key in keys:
            few[key].append(measure(usable[key], port, FEW, concurrency))
            found[key].append(measure(usable[key], port, requests, concurrency))
            print(f"round {number + 1}: {usable[key].name} {found[key][-1].seconds:.1f} s", file=sys.stderr)
    _print(chosen, few, found, requests)


def _print(
    chosen: dict[str, Tool], few: dict[str, list[Figures]], found: dict[str, list[Figures]], requests: int
) -> None:
    rows: dict[str, dict[str, float]] = {}
    for key, figures in found.items():
        seconds, cpu = median(item.seconds for item in figures), median(item.cpu_s for item in figures)
        started, start_cpu = median(item.seconds for item in few[key]), median(item.cpu_s for item in few[key])
        more = requests - FEW
        rows[key] = {
            "command s": seconds,
            "requests/s": more / max(seconds - started, 1e-9),
            "CPU ms": max(0.0, cpu - start_cpu) / more * 1000,
            "CPU s": cpu,
            "peak MB": max(item.peak_mb for item in figures),
        }
    heads = ["requests/s", "CPU ms", "command s", "CPU s", "peak MB"]
    print(f"{requests:,} requests, one assertion each; medians of {len(next(iter(found.values())))} rounds")
    print(f"{'':<22}" + "".join(f"{head:>12}" for head in heads))
    for key, tool in chosen.items():
        if tool.missing is not None:
            print(f"{tool.name:<22}  {tool.missing}")
            continue
        row = rows[key]
        shown = [f"{row['requests/s']:.0f}", f"{row['CPU ms']:.2f}", f"{row['command s']:.1f}"]
        shown += [f"{row['CPU s']:.1f}", f"{row['peak MB']:.0f}"]
        print(f"{tool.name:<22}" + "".join(f"{value:>12}" for value in shown))
    for ours in (key for key in ("ours", "ours2") if key in rows):
        for key, target in TARGETS.items():
            if key in rows:
                steady = rows[ours]["requests/s"] / rows[key]["requests/s"]
                whole = rows[key]["command s"] / rows[ours]["command s"]
                print(
                    f"{chosen[ours].name} : {chosen[key].name} = {steady:.1f} x the requests/s "
                    f"(wanted {target}), {whole:.1f} x as fast as a whole command"
                )


def main() -> None:
    """Parse the command line; the server and the bare loop are this file, too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--only", help="rows, comma separated: bare, ours, ours2, inspect, promptfoo")
    for hidden in ("--side", "--base"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side == "upstream":
        asyncio.run(upstream())
        return
    if args.side == "bare":
        asyncio.run(bare(args.base, args.requests, args.concurrency))
        return
    if args.requests <= FEW:
        parser.error(f"--requests must be more than {FEW}")
    known: dict[str, Any] = tools()
    wanted = args.only.split(",") if args.only else list(known)
    command = [sys.executable, "-m", "tests.benchmarks.bench_compare", "--side", "upstream"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment(), cwd=ROOT)
    assert server.stdout is not None
    try:
        port = int(server.stdout.readline())
        chosen = {key: known[key] for key in wanted}
        compare(port, chosen, requests=args.requests, rounds=args.rounds, concurrency=args.concurrency)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
