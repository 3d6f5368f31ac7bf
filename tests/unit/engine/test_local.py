"""When the local engine starts worker processes by itself."""

import os
import time

import pytest

from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelSpec, Price
from harness.engine import local
from harness.engine.local import Busy, LocalEngine
from tests.engines import CountingUpstream, worker_pids


def test_a_window_full_of_work_is_busy_and_one_of_waiting_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"now": 100.0, "used": 0.0}
    monkeypatch.setattr(local.time, "monotonic", lambda: clock["now"])
    monkeypatch.setattr(local.time, "thread_time", lambda: clock["used"])
    busy = Busy(since=100.0, used=0.0)

    def after(seconds: float, used: float) -> bool:
        clock["now"] += seconds
        clock["used"] += used
        return busy.looked()

    assert not after(1.0, 1.0), "the window has not ended"
    assert after(1.0, 0.9)
    assert not after(2.0, 0.2), "it waited"
    assert not after(60.0, 59.0), "nobody looked for a minute: that was not calls"
    assert after(2.1, 2.0)


async def test_workers_are_started_once_calls_keep_the_core_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_WINDOW_S", 0.3)
    monkeypatch.setattr(local, "cores", lambda: 2)
    engine = LocalEngine()
    with CountingUpstream().serving() as upstream:
        model = ModelSpec(
            model="openai/m", api_base=upstream.base, stream=False, price=Price(input_per_mtok=1, output_per_mtok=1)
        )
        request = ChatRequest(model="m", messages=({"role": "user", "content": "Say twice: x"},))
        client = engine.attempts(lambda _: None)
        try:
            reply = await client.complete(request, model, deadline_s=30)
            assert reply.completion.text == "x x"
            assert not worker_pids(os.getpid())
            # What keeps the core busy is beside the point; calls alone would, on a slower machine.
            deadline = time.monotonic() + 60
            while not (engine._pool and all(worker.ready for worker in engine._pool.workers)):
                assert time.monotonic() < deadline, "no workers"
                until = time.thread_time() + 0.1
                while engine._pool is None and time.thread_time() < until:
                    pass
                await client.complete(request, model, deadline_s=30)
            assert len(worker_pids(os.getpid())) == 2
            assert (await client.complete(request, model, deadline_s=30)).completion.text == "x x"
        finally:
            await client.aclose()
            engine.close()
    assert not worker_pids(os.getpid())
