"""The pool against worker processes that follow a script instead of asking a provider."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelReply, ModelSpec
from harness.domain.observation import ErrorKind
from harness.engine.workers import Pool
from harness.errors import ConfigurationError
from harness.models.failover import AttemptLost, FailoverClient
from tests.engines import alive

SCRIPT = """
import asyncio, os, sys
from harness.domain.observation import CallError, ErrorKind
from harness.domain.model import ModelError
from harness.engine import worker
from harness.errors import ConfigurationError
from harness.testing import reply

class Scripted:
    async def complete(self, request, model, *, deadline_s):
        what = request.messages[-1]["content"]
        if what == "die":
            os._exit(9)
        if what == "die once" and not os.path.exists(MARK):
            open(MARK, "w").close()
            os._exit(9)
        if what == "refuse":
            raise ConfigurationError("no key")
        if what == "throttle":
            raise ModelError(CallError(kind=ErrorKind.RATE_LIMIT, message="slow"), retry_after_s=3.0)
        if what == "wait":
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                open(MARK, "w").close()
                raise
        await asyncio.sleep(0.05)
        return reply(str(os.getpid()))

worker.LitellmClient = Scripted
worker.library = lambda: None
MARK = sys.argv.pop(1)
worker.main()
"""
SPEC = ModelSpec(model="openai/m")


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
async def pool(mark: Path, said: list[str]) -> AsyncIterator[Pool]:
    pool = Pool(2, command=[sys.executable, "-c", SCRIPT, str(mark)])
    pool.attach(said.append)
    try:
        await until(lambda: all(worker.ready for worker in pool.workers))
        yield pool
    finally:
        pool.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110  the condition lies in another process
            await asyncio.sleep(0.01)


async def ask(pool: Pool | FailoverClient, what: str) -> ModelReply:
    request = ChatRequest(model="p", messages=({"role": "user", "content": what},))
    return await pool.complete(request, SPEC, deadline_s=30.0)


async def test_calls_are_shared_evenly(pool: Pool) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(pool, "hello")) for _ in range(20)]
    by_process = [task.result().completion.text for task in tasks]
    assert sorted(map(by_process.count, set(by_process))) == [10, 10]


async def test_errors_come_back_as_what_they_were(pool: Pool) -> None:
    with pytest.raises(ConfigurationError, match="no key"):
        await ask(pool, "refuse")
    with pytest.raises(Exception, match="slow") as caught:
        await ask(pool, "throttle")
    assert caught.value.error.kind is ErrorKind.RATE_LIMIT
    assert caught.value.retry_after_s == 3.0


async def test_a_cancelled_call_is_cancelled_in_the_worker(pool: Pool, mark: Path) -> None:
    task = asyncio.create_task(ask(pool, "wait"))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(mark.exists)
    assert not any(worker.calls for worker in pool.workers)


async def test_a_call_whose_worker_dies_is_lost_and_the_worker_replaced(pool: Pool, said: list[str]) -> None:
    with pytest.raises(AttemptLost, match="exit code 9"):
        await ask(pool, "die")
    await until(lambda: len(pool.workers) == 2 and all(worker.ready for worker in pool.workers))
    assert (await ask(pool, "hello")).completion.text
    assert len(said) == 1
    assert "another is started" in said[0]


async def test_the_call_goes_to_another_worker(pool: Pool) -> None:
    found = await ask(FailoverClient(pool), "die once")
    assert found.attempts == 2


@pytest.mark.parametrize("which", [0, 1])
async def test_a_killed_worker_is_reaped_replaced_and_the_other_goes_on(
    pool: Pool, said: list[str], which: int
) -> None:
    killed, other = pool.workers[which], pool.workers[1 - which]
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    await until(lambda: killed not in pool.workers)
    await until(lambda: not alive(killed.pid))
    assert other.pid is not None
    assert alive(other.pid)
    await until(lambda: len(pool.workers) == 2 and all(worker.ready for worker in pool.workers))
    assert len(said) == 1
    assert {(await ask(pool, "hello")).completion.text for _ in range(2)} <= {str(each.pid) for each in pool.workers}


async def test_a_stuck_worker_is_killed_whoever_forked_it(pool: Pool) -> None:
    for worker in list(pool.workers):
        worker.kill()
        await until(lambda: worker not in pool.workers)  # noqa: B023
        await until(lambda: not alive(worker.pid))  # noqa: B023


async def test_closing_ends_all_of_them(mark: Path) -> None:
    pool = Pool(3, command=[sys.executable, "-c", SCRIPT, str(mark)])
    pool.attach(lambda _: None)
    await until(lambda: all(worker.ready for worker in pool.workers))
    pids = [worker.pid for worker in pool.workers]
    assert len(set(pids)) == 3
    pool.close()
    await until(lambda: not any(alive(pid) for pid in pids))


async def test_what_a_worker_does_in_threads_works_in_a_forked_one(tmp_path: Path) -> None:
    threads = """
import gc
from concurrent.futures import ThreadPoolExecutor
executor = ThreadPoolExecutor(1)
gc.freeze()  # as is done with what was loaded
executor.submit(int).result()  # its thread is there, and waits, when the other worker is forked
"""
    asked = SCRIPT.replace("await asyncio.sleep(0.05)", "executor.submit(int).result(timeout=20)")
    pool = Pool(2, command=[sys.executable, "-c", threads + asked, str(tmp_path / "mark")])
    try:
        pool.attach(lambda _: None)
        await until(lambda: all(worker.ready for worker in pool.workers))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(pool, "hello")) for _ in range(2)]
        assert {task.result().completion.text for task in tasks} == {str(worker.pid) for worker in pool.workers}
    finally:
        pool.close()


async def test_workers_that_keep_dying_are_not_started_for_ever(said: list[str]) -> None:
    pool = Pool(1, command=[sys.executable, "-c", "raise SystemExit(3)"])
    try:
        pool.attach(said.append)
        await until(lambda: not pool.workers)
        assert len(said) == 4
        assert "none is started any more" in said[-1]
        assert not pool.ready
    finally:
        pool.close()


def test_workers_outlive_the_loop_they_began_in(mark: Path) -> None:
    pool = Pool(1, command=[sys.executable, "-c", SCRIPT, str(mark)])

    async def one() -> str | None:
        pool.attach(lambda _: None)
        await until(lambda: pool.ready)
        return (await ask(pool, "hello")).completion.text

    try:
        assert asyncio.run(one()) == asyncio.run(one()) == str(pool.workers[0].pid)
    finally:
        pool.close()
