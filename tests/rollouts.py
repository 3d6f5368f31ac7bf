"""A whole rollout in real processes: gateway with canary and agent, worker, controller, and users who talk to it."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from harness.controller import people
from harness.controller.people import Standing
from harness.store import Store
from tests.gateways import Gateway, gateway, until
from tests.upstream import Upstream, answer_to, chat_completion, in_thread

PHASES = (
    {"name": "shadow_50", "kind": "shadow", "share": 0.5, "gate": "safe", "min_pairs": 20, "min_bake_s": 1,
     "max_s": 600},
    {"name": "shadow_100", "kind": "shadow", "share": 1.0, "gate": "go", "min_pairs": 60, "min_bake_s": 2,
     "max_s": 600},
    {"name": "canary_25", "kind": "canary", "share": 0.25, "gate": "safe", "min_pairs": 12, "min_bake_s": 2,
     "max_s": 600},
    {"name": "canary_50", "kind": "canary", "share": 0.5, "gate": "safe", "min_pairs": 20, "min_bake_s": 2,
     "max_s": 600, "approval": True},
    {"name": "full", "kind": "full", "share": 0.8, "gate": "safe", "min_pairs": 12, "min_bake_s": 2, "max_s": 600},
)  # fmt: skip
"""The default plan in seconds."""


DELAY_S = 0.2
"""How long either model takes. What the candidate's way through litellm takes is little beside it."""


class Model(Upstream):
    """A model server whose answers name it, and which fails as often as a test wants."""

    def __init__(self, name: str, *, errors: float = 0.0, delay_s: float = 0.0) -> None:
        super().__init__(delay_s=delay_s)
        self.name = name
        self.errors = errors
        self.answered: Counter[str] = Counter()
        self._rng = random.Random(name)

    async def _answer(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        self.answered[str(body.get("model"))] += 1
        if self._rng.random() < self.errors:
            payload = json.dumps({"error": {"message": "overloaded", "type": "server_error"}}).encode()
            head = f"HTTP/1.1 500 Error\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
            writer.write(head.encode() + payload)
            await writer.drain()
        elif body.get("stream"):
            await super()._answer(writer, body)
        else:
            payload = chat_completion({**body}, answer_to(body)).replace(b'"upstream"', f'"{self.name}"'.encode())
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
            writer.write(head.encode() + payload)
            await writer.drain()


@dataclass
class Users:
    """Conversations of two requests each, at a steady rate, and by whom they were answered."""

    ports: list[int]
    rate: float = 24.0
    by: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seen: list[tuple[float, str, str]] = field(default_factory=list)
    """When, whose conversation, answered by whom."""
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def talking(self, threads: int = 8) -> Iterator["Users"]:
        """Until the block ends."""
        workers = [threading.Thread(target=self._talk, args=(number, threads)) for number in range(threads)]
        for worker in workers:
            worker.start()
        try:
            yield self
        finally:
            self._stop.set()
            for worker in workers:
                worker.join()

    def _talk(self, worker: int, threads: int) -> None:
        number, pause = 0, threads / self.rate
        with httpx.Client(timeout=60) as client:
            while not self._stop.wait(pause):
                number += 1
                name = f"c{worker}-{number // 2}"
                port = self.ports[number % len(self.ports)]
                try:
                    self._ask(client, port, name, f"Question {worker} of {number}?")
                except httpx.HTTPError as error:
                    self.wrong.append(repr(error))

    def _ask(self, client: httpx.Client, port: int, name: str, question: str) -> None:
        answer = client.post(
            f"http://127.0.0.1:{port}/v1/chat/completions",
            headers={"x-conversation-id": name, "authorization": "Bearer of-the-client"},
            json={
                "model": "big",
                "messages": [{"role": "user", "content": question}],
                "max_tokens": 12,
                "temperature": 0,
            },
        )
        if answer.status_code != 200:
            self.wrong.append(f"{answer.status_code} {answer.text[:200]}")
            return
        who = answer.json()["model"]
        self.by[who] += 1
        self.seen.append((time.time(), name, who))


@dataclass(kw_only=True)
class Fleet:
    """Everything that takes part in a rollout."""

    folder: Path
    store_url: str
    gateways: list[Gateway]
    production: Model
    candidate: Model
    store: Store
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def rollout(self) -> Path:
        """The rollout's file."""
        return self.folder / "rollout.yaml"

    def start(self, name: str, *arguments: str) -> None:
        """Run a command of the product beside the others."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "harness", *arguments, "--store", self.store_url,
                 "--runs-dir", str(self.folder / "runs")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | ENVIRONMENT,
            )  # fmt: skip

    def control(self, name: str = "control") -> None:
        """Start a controller."""
        self.start(name, "rollout", "control", str(self.rollout))

    def work(self) -> None:
        """Start the worker."""
        self.start("worker", "worker", str(self.folder / "live.yaml"))

    def kill(self, name: str) -> None:
        """End a process as a crash would."""
        process = self.processes.pop(name)
        process.kill()
        process.wait(10)

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "harness", "rollout", arguments[0], str(self.rollout), *arguments[1:],
             "--store", self.store_url, "--runs-dir", str(self.folder / "runs")],
            capture_output=True, text=True, check=False, env=os.environ | ENVIRONMENT, timeout=60,
        )  # fmt: skip

    def standing(self) -> Standing:
        """Where the rollout stands."""
        return people.standing(self.store, "shop")

    def history(self) -> list[tuple[str, str]]:
        """Kinds and phases of its events."""
        return [(event.kind.value, event.phase) for event in self.standing().events]

    def until(self, condition: Callable[[], Any], deadline_s: float = 60.0) -> Any:
        """The first truthy value of a condition, looked at rarely enough to leave the machine to what is tested."""
        return until(condition, deadline_s, self.said, every_s=0.05)

    def said(self) -> str:
        """Where the rollout stands and what everybody said, for a failing test."""
        logs = (f"== {path.name}\n{path.read_text()[-3_000:]}" for path in self.folder.glob("**/*.log"))
        return "\n".join([self.command("history").stdout, self.command("status").stdout, *logs])


ENVIRONMENT = {
    "OPENAI_API_KEY": "of-the-worker", "HARNESS_ADMIN_TOKEN": "token", "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "COLUMNS": "400",
}  # fmt: skip


def sections(candidate: int, production: int, **more: Any) -> dict[str, Any]:
    """A live experiment that decides on exact matches and errors, within seconds."""
    return {
        "name": "shop",
        "mirror": {"rate": 0.2},
        "worker": {"look_every_s": 2, "in_flight": 8, "deadline_s": 10},
        "canary": {"first_byte_s": 2, "whole_s": 5, "deadline_s": 10, "lease_s": 5},
        "worker_admin": {"port": 0},
        "candidates": [{"name": "small", "model": "openai/small", "api_base": f"http://127.0.0.1:{candidate}/v1"}],
        "replica": {"model": "openai/big", "api_base": f"http://127.0.0.1:{production}/v1", "share": 0.05},
        "judges": ["exact"],
        "decision": {
            "looks": "any", "horizon": 400,
            "criteria": [
                {"metric": "exact_match", "above": 0.6}, {"metric": "error_rate_difference", "below": 0.2},
            ],
        },
        **more,
    }  # fmt: skip


@contextmanager
def fleet(
    folder: Path,
    *,
    store_url: str | None = None,
    store_urls: Sequence[str] = (),
    direct_url: str | None = None,
    gateways: int = 1,
    errors: float = 0.0,
    phases: Any = PHASES,
    ports: tuple[int, int] | None = None,
    live: Mapping[str, Any] | None = None,
    **policy: Any,
) -> Iterator[Fleet]:
    """Models, gateways and files; worker and controller are for the test to start.

    ``store_urls`` are how the gateways reach the store, where they do not all do in the same way, and ``direct_url``
    how the test itself does, where the processes' way can be cut. ``ports`` are those of real model servers,
    production's and the candidate's, in place of instant ones.
    """
    url = store_url or f"sqlite:///{folder / 'harness.db'}"
    with ExitStack() as stack:
        production = stack.enter_context(in_thread(Model("big", delay_s=DELAY_S)))
        candidate = stack.enter_context(in_thread(Model("small", errors=errors, delay_s=DELAY_S)))
        rollout = {
            "name": "small-for-all", "live": "live.yaml", "candidate": "small", "phases": list(phases),
            "admin": {"port": 0}, "lease_s": 3,
            "rollback": {"error_margin": 0.1, "latency_margin": 2.0, **policy.pop("rollback", {})},
            "validity": {"completeness": 0.9, "stale_s": 30, **policy.pop("validity", {})}, **policy,
        }  # fmt: skip
        big, small = ports or (production.port, candidate.port)
        started = []
        for number in range(gateways):
            own = folder if number == 0 else folder / f"gateway-{number}"
            own.mkdir(exist_ok=True)
            started.append(stack.enter_context(gateway(
                own, big, env=ENVIRONMENT | {"HARNESS_STORE": store_urls[number] if store_urls else url},
                **sections(small, big, **(live or {})),
            )))  # fmt: skip
        (folder / "rollout.yaml").write_text(yaml.safe_dump(rollout))
        found = Fleet(
            folder=folder, store_url=url, gateways=started, production=production, candidate=candidate,
            store=stack.enter_context(Store.open(direct_url or url)),
        )  # fmt: skip
        try:
            yield found
        finally:
            for process in found.processes.values():
                process.send_signal(signal.SIGTERM)
            for process in found.processes.values():
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()


def approve_when_asked(one: Fleet, deadline_s: float = 240.0) -> None:
    """Wait for the question, and agree by the command line."""
    one.until(lambda: (state := one.standing().state).asks_approval or state.status.is_over, deadline_s)
    if not one.standing().state.status.is_over:
        done = one.command("approve", "--by", "Grace", "--reason", "read the report")
        assert done.returncode == 0, done.stderr
