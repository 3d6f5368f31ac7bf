"""The local engine with worker processes: `harness run` against a counting upstream, whole and with deaths in it."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from harness.config import Replay
from harness.domain.exchange import ChatRequest
from harness.domain.model import BudgetExhausted, ModelReply, ModelSpec, Price
from harness.engine.local import LocalEngine
from harness.models.budget import Purse
from harness.models.factory import build_client
from tests.engines import CountingUpstream, alive, command, observations, until, worker_pids, write_experiment

WORKERS = ("--processes", "2")


def finish(process: Any) -> dict[str, Any]:
    out, err = process.communicate(timeout=200)
    assert process.returncode in {0, 1, 3}, err
    parsed: dict[str, Any] = json.loads(out)
    return parsed


def test_two_processes_store_what_one_does(tmp_path: Path) -> None:
    with CountingUpstream(delay_s=0.02).serving() as upstream:
        path = write_experiment(tmp_path, upstream.base, n=600, replay={"concurrency": 6})
        one = finish(command("run", path, "--processes", "1", "--json", runs_dir=tmp_path / "one"))
        assert upstream.calls == 600
        upstream.asked.clear()
        upstream.delay_s = 0.2
        process = command("run", path, *WORKERS, "--json", runs_dir=tmp_path / "two")
        until(lambda: len(worker_pids(process.pid)) == 2, "workers were started")
        pids = worker_pids(process.pid)
        until(lambda: upstream.calls > 300, "half is done")
        assert worker_pids(process.pid) == pids, "none had to be started again"
        assert len(set(map(os.getsid, pids))) == 1, "one was forked from the other"
        two = finish(process)
        assert not any(map(alive, pids))
        assert set(upstream.asked.values()) == {1}
        assert upstream.calls == 600
        assert upstream.most <= 6
    assert observations(tmp_path / "one", path) == observations(tmp_path / "two", path)
    assert one["verdict"] == two["verdict"]


def test_a_killed_worker_loses_and_duplicates_nothing(tmp_path: Path) -> None:
    with CountingUpstream(delay_s=0.2).serving() as upstream:
        path = write_experiment(tmp_path, upstream.base, n=600, replay={"concurrency": 8})
        process = command("run", path, *WORKERS, "--json", runs_dir=tmp_path / "runs")
        until(lambda: len(worker_pids(process.pid)) == 2, "workers were started")
        before = upstream.calls
        # Those in flight when both are ready are the driver's own; later ones are the workers'.
        until(lambda: upstream.calls > before + 300, "half is done")
        first = worker_pids(process.pid)[0]
        os.kill(first, signal.SIGKILL)
        _, err = process.communicate(timeout=200)
        assert process.returncode in {0, 1, 3}, err
        assert set(upstream.asked.values()) <= {1, 2}
        assert 600 <= upstream.calls <= 608
        assert upstream.most <= 16
    assert len(observations(tmp_path / "runs", path)) == 600


def test_workers_end_with_a_killed_driver_and_a_second_run_finishes(tmp_path: Path) -> None:
    with CountingUpstream(delay_s=0.2).serving() as upstream:
        path = write_experiment(tmp_path, upstream.base, n=400, replay={"concurrency": 8})
        process = command("run", path, *WORKERS, "--json", runs_dir=tmp_path / "runs")
        until(lambda: len(worker_pids(process.pid)) == 2 and upstream.calls > 200, "half is done")
        pids = worker_pids(process.pid)
        process.kill()
        process.communicate()
        until(lambda: not any(map(alive, pids)), "the workers are gone")
        upstream.delay_s = 0.0
        again = command("run", path, *WORKERS, "--json", runs_dir=tmp_path / "runs")
        _, err = again.communicate(timeout=200)
        assert again.returncode in {0, 1, 3}, err
        # At most the calls in flight, and as many answers that waited to be written.
        assert 400 <= upstream.calls <= 416
    assert len(observations(tmp_path / "runs", path)) == 400


def test_ctrl_c_finishes_what_is_in_flight(tmp_path: Path) -> None:
    with CountingUpstream(delay_s=0.3).serving() as upstream:
        path = write_experiment(tmp_path, upstream.base, n=2000, replay={"concurrency": 8})
        process = command("run", path, *WORKERS, "--json", runs_dir=tmp_path / "runs")
        until(lambda: len(worker_pids(process.pid)) == 2 and upstream.calls > 100, "it is under way")
        pids = worker_pids(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)  # as a service manager does
        _, err = process.communicate(timeout=200)
        assert process.returncode == 130, err
        assert not any(map(alive, pids))
        assert set(upstream.asked.values()) == {1}
        assert len(observations(tmp_path / "runs", path)) == upstream.calls


async def test_the_budget_holds_across_processes() -> None:
    limit_calls, spec_price = 40, 14e-6
    with CountingUpstream(delay_s=0.01).serving() as upstream:
        spec = ModelSpec(
            model="openai/m", api_base=upstream.base, stream=False, params={"max_tokens": 10},
            price=Price(input_per_mtok=1.0, output_per_mtok=1.0),
        )  # fmt: skip
        engine = LocalEngine(2)
        purse = Purse("candidates", limit_usd=limit_calls * spec_price)
        client = build_client(replay=Replay(concurrency=4), purse=purse, attempts=engine.attempts(lambda _: None))
        try:
            await engine.started(lambda _: None)
            asked: list[ModelReply] = []

            async def spend() -> None:
                while True:
                    request = ChatRequest(model="p", messages=({"role": "user", "content": f"Say {len(asked)}"},))
                    asked.append(await client.complete(request, spec, deadline_s=30.0))

            with pytest.raises(BudgetExhausted):
                await spend()
            assert 0 < len(asked) <= limit_calls
            assert upstream.calls == len(asked)
            assert purse.spent_usd == pytest.approx(len(asked) * spec_price)
            assert purse.limit_usd is not None
            assert purse.spent_usd <= purse.limit_usd
        finally:
            await client.aclose()
            engine.close()
