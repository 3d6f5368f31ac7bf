"""An upstream that counts what it is asked, and experiments against it."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from harness.config import load_experiment
from harness.pipeline.arms import arms_of
from harness.store import Store

ROOT = Path(__file__).parents[1]
_ASKS = "Say twice:"
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class CountingUpstream:
    """Answers OpenAI chat with the question's last word doubled, after ``delay_s``; counts every request.

    A judge, whose question begins otherwise, is answered that the first answer is the better one.
    """

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.asked: Counter[str] = Counter()
        self.in_flight = self.most = 0
        self.port = 0

    @property
    def calls(self) -> int:
        """All requests so far."""
        return sum(self.asked.values())

    @property
    def base(self) -> str:
        """Base URL as models take it."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                question = json.loads(await reader.readexactly(length))["messages"][-1]["content"]
                self.asked[question] += 1
                self.in_flight += 1
                self.most = max(self.most, self.in_flight)
                try:
                    await asyncio.sleep(self.delay_s)
                finally:
                    self.in_flight -= 1
                body = json.dumps(_answer(question)).encode()
                writer.write(_HEAD % len(body) + body)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    @contextmanager
    def serving(self) -> Iterator["CountingUpstream"]:
        """Serve in a thread."""
        loop, ready = asyncio.new_event_loop(), threading.Event()

        async def run() -> None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            ready.set()

        def forever() -> None:
            asyncio.set_event_loop(loop)
            loop.run_until_complete(run())
            loop.run_forever()
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.close()

        thread = threading.Thread(target=forever, daemon=True)
        thread.start()
        assert ready.wait(30)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(30)


def _answer(question: str) -> dict[str, Any]:
    text = f"{question.rsplit(maxsplit=1)[-1]} " * 2
    if not question.startswith(_ASKS):
        text = json.dumps({"reason": "so", "verdict": "A"})
    choice = {"index": 0, "message": {"role": "assistant", "content": text.strip()}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
    return {
        "id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage,
    }  # fmt: skip


def write_experiment(folder: Path, base: str, *, n: int, **sections: Any) -> Path:
    """An export of ``n`` requests and an experiment that sends them to the upstream, judged by ``exact``."""
    lines = []
    for i in range(n):
        message = {"role": "assistant", "content": f"{i:05} {i:05}" if i % 5 else "other"}
        response = {
            "model": "p",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14},
        }
        request = {"model": "p", "messages": [{"role": "user", "content": f"{_ASKS} {i:05}"}]}
        lines.append(json.dumps({"id": f"r{i:05}", "request": request, "response": response}))
    (folder / "export.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    price = {"input_per_mtok": 1.0, "output_per_mtok": 1.0}
    model = {"model": "openai/m", "api_base": base, "stream": False, "price": price, "params": {"max_tokens": 10}}
    raw = {
        "name": "engines",
        "traffic": {"source": ["export.jsonl"]},
        "candidates": [{"name": "new"} | model],
        "judges": [{"use": "exact"}],
        "budget": {"stop_when_settled": False, "stop_when_out_of_reach": False},
        "decision": {"criteria": [{"metric": "coverage", "above": 1}]},
    } | sections
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


def command(*arguments: str | Path, runs_dir: Path) -> subprocess.Popen[str]:
    """``harness`` in a process of its own."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "harness", *map(str, arguments), "--runs-dir", str(runs_dir), "--quiet"]
    return subprocess.Popen(
        line, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def until(true: Callable[[], Any], what: str, *, within_s: float = 60.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def worker_pids(parent: int) -> Sequence[int]:
    """Worker processes of a driver: those it started and those that they forked."""
    found: dict[int, tuple[int, int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if stat[0] != "Z" and b"harness.engine.worker" in line:
            found[int(entry.name)] = int(stat[1]), int(stat[3])
    # Each that was started leads a session, in which the forked ones are.
    started = {pid for pid, (owner, _) in found.items() if owner == parent}
    return sorted(pid for pid, (_, session) in found.items() if session in started)


def observations(folder: Path, experiment: Path) -> list[tuple[Any, ...]]:
    """What is stored of the candidate, times aside."""
    [arm] = arms_of(load_experiment(experiment))
    with Store.open(f"sqlite:///{folder}/harness.db") as store:
        [run] = store.runs()
        return sorted(
            (found.exchange_id, found.status.value, found.completion and found.completion.text, found.usage)
            for found in store.observations(run.id, arm.name, arm.fingerprint)
        )


def judgments(folder: Path, experiment: Path) -> list[tuple[Any, ...]]:
    """What judges said of the candidate, times aside."""
    [arm] = arms_of(load_experiment(experiment))
    with Store.open(f"sqlite:///{folder}/harness.db") as store:
        [run] = store.runs()
        ids = [found.exchange_id for found in store.observations(run.id, arm.name, arm.fingerprint)]
        return sorted(
            (row.exchange_id, row.judge, row.order.value, row.state.value, row.label, row.explanation, row.value)
            for row in store.judgments(run.id, arm.name, arm.fingerprint, ids=ids)
        )


def alive(pid: int) -> bool:
    """Whether a process is still running."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
