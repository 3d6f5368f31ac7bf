"""Who is asked again, when, and what it adds up to."""

import asyncio
import random

import pytest

from harness.domain.exchange import ChatRequest
from harness.domain.model import BudgetExhausted, ModelError, ModelSpec
from harness.domain.observation import ErrorKind
from harness.models.retry import RetryingClient, RetryPolicy
from harness.testing import ScriptedModelClient, model_error, reply

REQUEST = ChatRequest(model="m", messages=({"role": "user", "content": "hi"},))
SPEC = ModelSpec(model="openai/x")


class Waits(list):
    """Records waits and moves a clock by them."""

    def __init__(self):
        super().__init__()
        self.now = 0.0

    async def sleep(self, seconds):
        self.append(seconds)
        self.now += seconds

    def clock(self):
        return self.now


def retrying(script, waits, **policy):
    inner = ScriptedModelClient(script)
    client = RetryingClient(inner, RetryPolicy(**policy), rng=random.Random(3), sleep=waits.sleep, clock=waits.clock)
    return client, inner


async def ask(client):
    return await client.complete(REQUEST, SPEC, deadline_s=5)


async def test_a_first_answer_passes_through_untouched():
    answer = reply("x", latency_ms=3.0)
    client, _ = retrying([answer], waits := Waits())

    assert await ask(client) is answer
    assert waits == []


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if kind.is_retryable])
async def test_what_may_pass_is_asked_again(kind):
    client, inner = retrying([model_error(kind), "ok"], waits := Waits())

    answer = await ask(client)

    assert (answer.completion.text, answer.attempts, len(inner.calls), len(waits)) == ("ok", 2, 2, 1)


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if not kind.is_retryable])
async def test_what_cannot_pass_is_not_asked_again(kind):
    client, inner = retrying([model_error(kind), "ok"], waits := Waits())

    with pytest.raises(ModelError) as caught:
        await ask(client)

    assert (caught.value.error.kind, caught.value.attempts, len(inner.calls), waits) == (kind, 1, 1, [])


async def test_retry_after_is_a_lower_bound():
    script = [model_error(ErrorKind.RATE_LIMIT, retry_after_s=7.0), "ok"]
    client, _ = retrying(script, waits := Waits())

    await ask(client)

    assert 7.0 <= waits[0] <= 8.0


async def test_a_retry_after_beyond_the_total_wait_ends_it():
    script = [model_error(ErrorKind.RATE_LIMIT, retry_after_s=61.0), "ok"]
    client, _ = retrying(script, waits := Waits(), max_retry_wait_s=60)

    with pytest.raises(ModelError):
        await ask(client)

    assert waits == []


async def test_waits_grow_with_jitter_and_stop_at_the_total():
    client, inner = retrying(
        lambda request, spec: model_error(), waits := Waits(), max_attempts=50, max_retry_wait_s=20, base_s=1, cap_s=8
    )

    with pytest.raises(ModelError) as caught:
        await ask(client)

    assert sum(waits) <= 20
    assert all(wait <= min(8, 2**number) for number, wait in enumerate(waits))
    assert len(set(waits)) == len(waits)
    assert caught.value.attempts == len(inner.calls) == len(waits) + 1


async def test_the_same_seed_waits_the_same():
    runs = []
    for _ in range(2):
        client, _inner = retrying([model_error(), model_error(), "ok"], waits := Waits())
        await ask(client)
        runs.append(list(waits))

    assert runs[0] == runs[1]


async def test_attempts_are_capped_and_the_last_error_is_raised():
    script = [model_error(ErrorKind.SERVER_ERROR, f"number {number}") for number in range(5)]
    client, inner = retrying(script, Waits(), max_attempts=3)

    with pytest.raises(ModelError) as caught:
        await ask(client)

    assert (len(inner.calls), caught.value.attempts, caught.value.error.message) == (3, 3, "number 2")


async def test_costs_and_waits_of_all_attempts_are_summed_and_latency_is_not():
    failed = model_error(ErrorKind.CUT_STREAM, cost_usd=0.25, queue_ms=5.0, latency_ms=900.0)
    unknown = model_error(ErrorKind.TIMEOUT, queue_ms=1.0)
    client, _ = retrying([failed, unknown, reply("ok", cost_usd=0.5, latency_ms=40.0, queue_ms=2.0)], waits := Waits())

    answer = await ask(client)

    assert answer.cost_usd == 0.75
    assert answer.latency_ms == 40.0
    assert answer.queue_ms == 8.0
    assert answer.attempts == 3
    assert answer.retry_ms == pytest.approx(sum(waits) * 1000 - 6.0)


async def test_an_unknown_cost_stays_unknown():
    client, _ = retrying([model_error(ErrorKind.TIMEOUT), reply("ok", cost_usd=None)], Waits())

    assert (await ask(client)).cost_usd is None


async def test_a_failure_for_good_carries_the_known_cost():
    script = [model_error(ErrorKind.CUT_STREAM, cost_usd=0.1), model_error(ErrorKind.TIMEOUT)]
    client, _ = retrying(script, Waits(), max_attempts=2)

    with pytest.raises(ModelError) as caught:
        await ask(client)

    assert caught.value.cost_usd == pytest.approx(0.1)


async def test_an_empty_purse_and_cancellation_end_the_retries():
    for stop in (BudgetExhausted("candidates", 1.0, 1.0), asyncio.CancelledError()):

        class Inner:
            calls = 0

            async def complete(self, request, model, *, deadline_s):
                self.calls += 1
                if self.calls == 1:
                    raise model_error()
                raise stop  # noqa: B023

        inner, waits = Inner(), Waits()
        client = RetryingClient(inner, RetryPolicy(), rng=random.Random(1), sleep=waits.sleep)
        with pytest.raises(type(stop)):
            await ask(client)
        assert inner.calls == 2
