"""How concurrency adapts, in virtual time."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelError, ModelSpec
from harness.domain.observation import ErrorKind
from harness.models.limiter import LimitedClient, Limits, ProviderGate, QueueTimeout
from harness.testing import model_error, reply

REQUEST = ChatRequest(model="m", messages=({"role": "user", "content": "hi"},))
A, B = ModelSpec(model="openai/a"), ModelSpec(model="anthropic/b")


class Provider:
    """Takes ``seconds`` per call and records when each came and how many were in flight."""

    def __init__(self, loop, *, seconds=1.0, capacity=10**9, retry_after=None, kind=ErrorKind.RATE_LIMIT):
        self.loop, self.seconds, self.capacity = loop, seconds, capacity
        self.retry_after, self.kind = retry_after, kind
        self.in_flight = self.peak = self.refused = 0
        self.times = []

    async def complete(self, request, model, *, deadline_s):
        self.times.append(self.loop.time())
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            if self.in_flight > self.capacity:
                self.refused += 1
                await asyncio.sleep(0.01)
                raise model_error(self.kind, retry_after_s=self.retry_after)
            await asyncio.sleep(self.seconds)
            return reply("ok")
        finally:
            self.in_flight -= 1


async def ask_all(client, number, spec=A):
    """All at once; the failures are returned as their errors."""

    async def one():
        try:
            return await client.complete(REQUEST, spec, deadline_s=60)
        except ModelError as error:
            return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one()) for _ in range(number)]
    return [task.result() for task in tasks]


def test_the_limit_starts_low_and_doubles_to_the_maximum(run_virtual):
    async def main(loop):
        provider = Provider(loop)
        client = LimitedClient(provider, Limits(start=2, maximum=16), clock=loop.time)
        await ask_all(client, 100)
        return provider, client.gates[A.provider]

    provider, gate = run_virtual(main)

    assert [change.limit for change in gate.history] == [4, 8, 16]
    assert provider.peak == 16
    assert {change.reason for change in gate.history} == {"slow_start"}


def test_waiting_for_a_slot_is_queue_time_and_nothing_else(run_virtual):
    async def main(loop):
        client = LimitedClient(Provider(loop), Limits(start=1, maximum=1), clock=loop.time)
        return await ask_all(client, 3)

    answers = run_virtual(main)

    assert [answer.queue_ms for answer in answers] == pytest.approx([0.0, 1000.0, 2000.0])
    assert all(answer.latency_ms == 1.0 for answer in answers)


def test_one_burst_of_429s_shrinks_the_limit_once(run_virtual):
    async def main(loop):
        provider = Provider(loop, capacity=0)
        client = LimitedClient(provider, Limits(start=10, maximum=20, decrease=0.5), clock=loop.time)
        await ask_all(client, 10)
        return client.gates[A.provider]

    gate = run_virtual(main)

    assert [(change.limit, change.reason) for change in gate.history] == [(5, "throttled")]


def test_nothing_is_sent_to_the_provider_before_retry_after(run_virtual):
    async def main(loop):
        provider = Provider(loop, capacity=0, retry_after=30.0)
        other = Provider(loop)

        class Both:
            async def complete(self, request, model, *, deadline_s):
                chosen = provider if model is A else other
                return await chosen.complete(request, model, deadline_s=deadline_s)

        client = LimitedClient(Both(), Limits(start=2, maximum=4), clock=loop.time)
        async with asyncio.TaskGroup() as group:
            group.create_task(ask_all(client, 5, A))
            group.create_task(ask_all(client, 5, B))
        return provider.times, other.times

    times, others = run_virtual(main)

    first_refusal = 0.01
    assert [time for time in times if first_refusal < time < first_refusal + 30] == []
    assert len(times) == 5
    assert max(others) < 10, "another provider is not held back"


def test_a_very_long_retry_after_holds_the_provider_only_so_long(run_virtual):
    async def main(loop):
        provider = Provider(loop, capacity=0, retry_after=86_400.0)
        client = LimitedClient(provider, Limits(start=1, maximum=1, max_cooldown_s=50), clock=loop.time)
        await ask_all(client, 2)
        return provider.times

    assert run_virtual(main)[1] == pytest.approx(50.01)


@pytest.mark.parametrize(
    "kind", [ErrorKind.SERVER_ERROR, ErrorKind.OVERLOADED, ErrorKind.TIMEOUT, ErrorKind.CONNECTION]
)
def test_server_trouble_pauses_growth_and_does_not_shrink(run_virtual, kind):
    async def main(loop):
        provider = Provider(loop, capacity=3, kind=kind, seconds=0.1)
        client = LimitedClient(provider, Limits(start=4, maximum=64, cooldown_s=1000), clock=loop.time)
        await ask_all(client, 40)
        return client.gates[A.provider]

    gate = run_virtual(main)

    assert gate.limit == 4
    assert list(gate.history) == []


def test_it_settles_near_what_the_provider_takes(run_virtual):
    async def main(loop):
        provider = Provider(loop, capacity=12, retry_after=0.5)
        client = LimitedClient(provider, Limits(start=4, maximum=64), clock=loop.time)
        answers = await ask_all(client, 600)
        return client.gates[A.provider], answers, provider

    gate, answers, _ = run_virtual(main)

    later = [change.limit for change in list(gate.history)[-10:]]
    assert all(6 <= limit <= 14 for limit in later), later
    refused = [answer for answer in answers if isinstance(answer, ModelError)]
    assert len(refused) < 60
    assert gate.in_flight == 0


def test_a_deadline_that_includes_the_queue_leaves_the_call_what_is_left(run_virtual):
    async def main(loop):
        left = []

        class Slow:
            async def complete(self, request, model, *, deadline_s):
                left.append(deadline_s)
                await asyncio.sleep(4)
                return reply("ok")

        client = LimitedClient(Slow(), Limits(start=1, maximum=1, queue_within_deadline=True), clock=loop.time)
        ended = []

        async def one():
            try:
                await client.complete(REQUEST, A, deadline_s=7)
            except QueueTimeout:
                ended.append(loop.time())

        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(one())
        return left, ended, client.gates["openai"].in_flight

    left, ended, in_flight = run_virtual(main)
    assert left == [pytest.approx(7), pytest.approx(3)]
    assert ended == [pytest.approx(7)]
    assert in_flight == 0


def test_a_waiter_that_is_cancelled_takes_no_slot_with_it(run_virtual):
    async def main(loop):
        gate = ProviderGate(Limits(start=1, maximum=1), loop.time)
        await gate.enter()
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(gate.enter()) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            await asyncio.sleep(0)
            gate.leave()
            # The slot now belongs to the second waiter, which is cancelled before it runs.
            waiting[1].cancel()
            await asyncio.sleep(1)
        return gate, waiting

    gate, waiting = run_virtual(main)

    assert [task.cancelled() for task in waiting] == [True, True, False]
    assert gate.in_flight == 1


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    plan=st.lists(
        st.tuples(
            st.floats(0, 3),
            st.floats(0.01, 2),
            st.sampled_from([None, ErrorKind.RATE_LIMIT, ErrorKind.SERVER_ERROR, ErrorKind.BAD_REQUEST]),
            st.booleans(),
        ),
        min_size=1,
        max_size=30,
    ),
    maximum=st.integers(1, 6),
)
def test_no_plan_of_calls_breaks_the_limits(run_virtual, plan, maximum):
    """Never more in flight than the maximum, never a leaked slot, always an end, whatever fails or is cancelled."""

    async def main(loop):
        limits = Limits(start=2, maximum=maximum, cooldown_s=0.5)
        seen = {"in_flight": 0, "peak": 0}

        class Inner:
            async def complete(self, request, model, *, deadline_s):
                _, seconds, kind, _ = request.params["plan"]
                seen["in_flight"] += 1
                seen["peak"] = max(seen["peak"], seen["in_flight"])
                try:
                    await asyncio.sleep(seconds)
                finally:
                    seen["in_flight"] -= 1
                if kind is not None:
                    raise model_error(kind, retry_after_s=1.0 if kind is ErrorKind.RATE_LIMIT else None)
                return reply("ok")

        client = LimitedClient(Inner(), limits, clock=loop.time)

        async def one(item):
            await asyncio.sleep(item[0])
            request = ChatRequest(model="m", messages=(), params={"plan": item})
            try:
                async with asyncio.timeout(0.7 if item[3] else None):
                    await client.complete(request, A, deadline_s=60)
            except (ModelError, TimeoutError):
                return

        async with asyncio.TaskGroup() as group:
            for item in plan:
                group.create_task(one(item))
        return client.gates[A.provider], seen

    gate, seen = run_virtual(main)

    assert seen["peak"] <= maximum
    assert gate.in_flight == seen["in_flight"] == 0
    assert all(1 <= change.limit <= maximum for change in gate.history)
