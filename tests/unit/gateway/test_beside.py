"""Processes beside a gateway: begun with a rollout, begun again, replaced, and never waited for."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from harness.config import parse_live
from harness.gateway import beside
from harness.gateway.beside import Beside
from harness.ops.alerts import AlertKind
from harness.spool import assignment
from harness.spool.assignment import Assignment

STAND_IN = """
import json, pathlib, sys, time
told = json.loads(sys.stdin.read())
with open({log!r}, "a") as log:
    log.write(json.dumps([__name__ and sys.argv[1:], sorted(told)]) + "\\n")
{then}
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Modules that note how they were started, in place of agent and canary."""
    (tmp_path / "modules").mkdir()
    for name, then in (("an_agent", "time.sleep(60)"), ("a_canary", "time.sleep(60)"), ("a_failing", "sys.exit(3)")):
        text = STAND_IN.format(log=str(tmp_path / f"{name}.log"), then=then)
        (tmp_path / "modules" / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "modules"), *sys.path]))
    monkeypatch.setattr(beside, "AGENT", "an_agent")
    monkeypatch.setattr(beside, "CANARY", "a_canary")
    monkeypatch.setattr(beside, "_FIRST_PAUSE_S", 0.02)
    return tmp_path


def live(folder: Path):
    return parse_live(
        {
            "name": "shop", "gateway": {"upstream": "http://127.0.0.1:9"}, "mirror": {"rate": 1}, "canary": {},
            "spool": {"folder": str(folder / "spool")},
            "candidates": [{"name": name, "model": "openai/x"} for name in ("small", "tiny")],
        }
    )  # fmt: skip


def assign(folder: Path, candidate: str, number: int = 1, share: float = 0.0) -> None:
    now = time.time()
    assignment.write(
        folder / "spool",
        Assignment(rollout_id="r", number=number, candidate=candidate, share=share, control_share=0, mirror_rate=-1,
                   salt="s", written_at=now, valid_until=now + 60),
    )  # fmt: skip


def started(folder: Path, name: str) -> list[str]:
    path = folder / f"{name}.log"
    return path.read_text().splitlines() if path.exists() else []


async def until(condition, deadline_s: float = 20.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def test_the_candidates_process_begins_with_the_rollout_and_is_replaced_with_the_candidate(modules: Path) -> None:
    found, stopping = Beside(live(modules), "sqlite:///secret.db"), asyncio.Event()
    running = asyncio.create_task(found.run(stopping))
    await until(lambda: started(modules, "an_agent"))
    assert started(modules, "a_canary") == []
    assign(modules, "small")
    await until(lambda: started(modules, "a_canary"))
    assert '"small"' in started(modules, "a_canary")[0]
    first = found.canary
    assign(modules, "tiny", 2)
    await until(lambda: len(started(modules, "a_canary")) == 2)
    assert '"tiny"' in started(modules, "a_canary")[1]
    assert first is not None
    assert not first.is_up
    assert "secret" not in "".join(started(modules, "an_agent"))
    children = [found.agent.process, found.canary.process]
    stopping.set()
    await running
    assert [child.returncode for child in children] == [-signal.SIGTERM] * 2


async def test_one_that_is_killed_is_begun_again(modules: Path) -> None:
    found, stopping = Beside(live(modules), "sqlite:///x.db"), asyncio.Event()
    running = asyncio.create_task(found.run(stopping))
    await until(lambda: started(modules, "an_agent"))
    found.agent.process.kill()
    await until(lambda: len(started(modules, "an_agent")) == 2)
    assert found.agent.restarts == 1
    assert found.alerts() == []
    stopping.set()
    await running


async def test_one_that_ends_again_and_again_needs_a_person(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "CANARY", "a_failing")
    found, stopping = Beside(live(modules), "sqlite:///x.db"), asyncio.Event()
    running = asyncio.create_task(found.run(stopping))
    assign(modules, "small")
    await until(lambda: found.canary is not None and found.canary.restarts > 1)
    [alert] = found.alerts()
    assert (alert.kind, alert.subject) == (AlertKind.COMPANION_RESTARTS, "canary")
    assert "small cannot be asked" in alert.text
    stopping.set()
    await running


async def test_a_candidate_that_this_gateway_does_not_know_is_nobody(modules: Path) -> None:
    found, stopping = Beside(live(modules), "sqlite:///x.db"), asyncio.Event()
    running = asyncio.create_task(found.run(stopping))
    assign(modules, "another")
    await asyncio.sleep(0.6)
    assert found.canary is None
    stopping.set()
    await running
