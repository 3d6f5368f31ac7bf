"""Money is reserved, reconciled and never spent past the limit knowingly."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.domain.exchange import ChatRequest
from harness.domain.model import BudgetExhausted, ModelError, ModelSpec, Price
from harness.domain.observation import ErrorKind
from harness.errors import ConfigurationError
from harness.models.budget import BudgetedClient, Purse, estimate_cost, output_limit, worst_case_usd
from harness.models.limiter import QueueTimeout
from harness.testing import ScriptedModelClient, model_error, reply

PRICE = (1e-6, 2e-6)
SPEC = ModelSpec(model="openai/x", price=Price(input_per_mtok=1, output_per_mtok=2), params={"max_tokens": 1000})
REQUEST = ChatRequest(model="m", messages=({"role": "user", "content": "hello" * 100},))
WORST = worst_case_usd(REQUEST, SPEC, PRICE)


def budgeted(script, purse, *, price=PRICE, **options):
    inner = ScriptedModelClient(script)
    return BudgetedClient(inner, purse, lambda _: price, **options), inner


async def ask(client):
    return await client.complete(REQUEST, SPEC, deadline_s=5)


async def test_an_answer_swaps_the_reservation_for_its_cost():
    purse = Purse("candidates", 1.0)
    client, _ = budgeted([reply("ok", cost_usd=0.0004)], purse)

    await ask(client)

    assert (purse.spent_usd, purse.reserved_usd) == (0.0004, 0.0)


async def test_a_call_that_does_not_fit_is_not_made():
    purse = Purse("judges", WORST * 0.9)
    client, inner = budgeted(["never"], purse)

    with pytest.raises(BudgetExhausted, match="judges"):
        await ask(client)

    assert inner.calls == []
    assert (purse.spent_usd, purse.reserved_usd) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("error", "charged"),
    [
        (model_error(ErrorKind.BAD_REQUEST), 0.0),
        (model_error(ErrorKind.RATE_LIMIT), 0.0),
        (model_error(ErrorKind.SERVER_ERROR), 0.0),
        (model_error(ErrorKind.CONNECTION, cost_usd=0.0), 0.0),
        (model_error(ErrorKind.CONNECTION), WORST),
        (model_error(ErrorKind.TIMEOUT), WORST),
        (model_error(ErrorKind.CUT_STREAM), WORST),
        (model_error(ErrorKind.MALFORMED_RESPONSE), WORST),
        (model_error(ErrorKind.CUT_STREAM, cost_usd=0.00007), 0.00007),
        (model_error(ErrorKind.EMPTY_OUTPUT, cost_usd=0.00003), 0.00003),
    ],
)
async def test_a_failure_costs_what_the_provider_may_have_billed(error, charged):
    purse = Purse("candidates", 1.0)
    client, _ = budgeted([error], purse)

    known = error.cost_usd
    with pytest.raises(ModelError) as raised:
        await ask(client)

    assert purse.spent_usd == pytest.approx(charged)
    assert purse.reserved_usd == 0.0
    assert raised.value.cost_usd == (known if known is not None else charged or None), "what is stored is what is spent"


async def test_a_failure_of_unknown_cost_without_a_limit_has_none():
    client, _ = budgeted([model_error(ErrorKind.TIMEOUT)], Purse("candidates", None))

    with pytest.raises(ModelError) as raised:
        await ask(client)

    assert raised.value.cost_usd is None


async def test_a_cancelled_call_counts_in_full():
    purse = Purse("candidates", 1.0)

    class Slow:
        async def complete(self, request, model, *, deadline_s):
            await asyncio.sleep(60)

    task = asyncio.ensure_future(ask(BudgetedClient(Slow(), purse, lambda _: PRICE)))
    await asyncio.sleep(0)
    assert purse.reserved_usd == pytest.approx(WORST)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert purse.spent_usd == pytest.approx(WORST)
    assert purse.reserved_usd == 0.0


async def test_an_answer_without_usage_counts_its_reservation_as_spent():
    purse = Purse("candidates", 1.0)
    client, _ = budgeted([reply("ok", cost_usd=None)], purse)

    await ask(client)

    assert purse.spent_usd == pytest.approx(WORST)
    assert purse.unpriced_calls == 1


async def test_an_unpriced_model_is_refused_under_a_limit():
    client, inner = budgeted(["never"], Purse("candidates", 1.0), price=None)

    with pytest.raises(ConfigurationError, match="allow_unpriced"):
        await ask(client)

    assert inner.calls == []


async def test_an_unpriced_model_is_counted_where_it_is_allowed():
    for purse, options in ((Purse("c", 1.0), {"allow_unpriced": True}), (Purse("c", None), {})):
        client, _ = budgeted([reply("ok", cost_usd=None)], purse, price=None, **options)

        await ask(client)

        assert (purse.spent_usd, purse.unpriced_calls) == (0.0, 1)


async def test_without_a_limit_everything_is_counted_and_nothing_refused():
    purse = Purse("candidates", None)
    client, _ = budgeted([reply("ok", cost_usd=5.0)] * 3, purse)

    for _ in range(3):
        await ask(client)

    assert (purse.spent_usd, purse.left_usd) == (15.0, None)


async def test_a_call_waits_for_reservations_that_may_come_back():
    purse = Purse("candidates", WORST * 1.5)
    gate = asyncio.Event()

    class Inner:
        async def complete(self, request, model, *, deadline_s):
            await gate.wait()
            return reply("ok", cost_usd=WORST / 10)

    client = BudgetedClient(Inner(), purse, lambda _: PRICE)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(client)) for _ in range(5)]
        await asyncio.sleep(0)
        assert purse.reserved_usd == pytest.approx(WORST)
        gate.set()

    assert [task.result().completion.text for task in tasks] == ["ok"] * 5
    assert purse.spent_usd == pytest.approx(WORST / 2)


def test_waiting_for_money_is_within_the_deadline_where_the_queue_is(run_virtual):
    async def main(loop):
        purse = Purse("candidates", WORST * 1.5)
        deadlines = []

        class Inner:
            async def complete(self, request, model, *, deadline_s):
                deadlines.append(deadline_s)
                await asyncio.sleep(4.0)
                return reply("ok", cost_usd=0.0)

        client = BudgetedClient(Inner(), purse, lambda _: PRICE, queue_within_deadline=True, clock=loop.time)

        async def one():
            try:
                return await ask(client)
            except QueueTimeout as error:
                return str(error), loop.time()

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one()) for _ in range(3)]
        return purse, deadlines, tasks[2].result()

    purse, deadlines, late = run_virtual(main)

    assert deadlines == pytest.approx([5.0, 1.0])
    assert late == ("no money within 5 s: calls in flight hold it", pytest.approx(5.0))
    assert (purse.spent_usd, purse.reserved_usd) == (0.0, 0.0)


async def test_a_resumed_run_goes_on_from_what_was_spent():
    client, _ = budgeted(["never"], Purse("candidates", 1.0, 1.0))

    with pytest.raises(BudgetExhausted):
        await ask(client)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    limit=st.integers(0, 40),
    calls=st.lists(
        st.tuples(
            st.floats(0, 1),
            st.floats(0.01, 1),
            st.sampled_from(["answer", "unknown", "timeout", "refused", "cancelled"]),
            st.floats(0, 1),
        ),
        max_size=25,
    ),
)
def test_spent_and_reserved_stay_within_the_limit_under_any_interleaving(run_virtual, limit, calls):
    """Costs never above their own reservation, so the limit must hold exactly; at the end nothing is left reserved."""

    async def main(loop):
        purse = Purse("candidates", limit * WORST / 4)
        charged = []

        class Inner:
            async def complete(self, request, model, *, deadline_s):
                _, seconds, ending, share = request.params["plan"]
                assert purse.spent_usd + purse.reserved_usd <= purse.limit_usd + 1e-12
                await asyncio.sleep(seconds)
                if ending == "refused":
                    raise model_error(ErrorKind.BAD_REQUEST)
                charged.append(WORST * share if ending == "answer" else WORST)
                if ending == "timeout":
                    raise model_error(ErrorKind.TIMEOUT)
                if ending == "cancelled":
                    raise asyncio.CancelledError
                return reply("ok", cost_usd=WORST * share if ending == "answer" else None)

        client = BudgetedClient(Inner(), purse, lambda _: PRICE)

        async def one(plan):
            await asyncio.sleep(plan[0])
            request = ChatRequest(model="m", messages=REQUEST.messages, params={"plan": plan, "max_tokens": 1000})
            try:
                await client.complete(request, SPEC, deadline_s=5)
            except (ModelError, BudgetExhausted, asyncio.CancelledError):
                return

        async with asyncio.TaskGroup() as group:
            for plan in calls:
                group.create_task(one(plan))
        return purse, charged

    purse, charged = run_virtual(main)

    assert purse.reserved_usd == 0.0
    assert purse.spent_usd == pytest.approx(sum(charged))
    assert purse.spent_usd <= purse.limit_usd + 1e-12


@pytest.mark.parametrize(
    ("recorded", "configured", "expected"),
    [
        ({}, {}, 4096),
        ({"max_tokens": 10}, {}, 10),
        ({"max_tokens": 10}, {"max_tokens": 20}, 20),
        ({"max_tokens": 10}, {"max_tokens": None}, 4096),
        ({"max_tokens": 10}, {"max_completion_tokens": 30}, 30),
    ],
)
def test_the_longest_answer_comes_from_the_settings_in_force(recorded, configured, expected):
    request = ChatRequest(model="m", messages=(), params=recorded)

    assert output_limit(request, ModelSpec(model="openai/x", params=configured)) == expected


def test_the_worst_case_counts_everything_that_is_read():
    plain = ChatRequest(model="m", messages=({"role": "user", "content": "x" * 1000},))
    tools = ChatRequest(model="m", messages=plain.messages, tools=({"function": {"description": "y" * 1000}},))
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    image = ChatRequest(model="m", messages=({"role": "user", "content": [picture]},))
    chinese = ChatRequest(model="m", messages=({"role": "user", "content": "数" * 1000},))
    none = {"max_tokens": 1}

    def tokens(request, **fields):
        return worst_case_usd(request, ModelSpec(model="openai/x", params=none, **fields), (1.0, 0.0))

    assert tokens(plain) == pytest.approx(1000 / 2.5, abs=25)
    assert tokens(tools) > 1.9 * tokens(plain)
    assert 1_500 < tokens(image) < 2_000
    assert tokens(chinese) >= 1_000
    assert tokens(plain, system_prompt="z" * 500) == pytest.approx(tokens(plain) + 200)


def test_an_estimate_spans_short_and_longest_answers():
    estimate = estimate_cost([REQUEST] * 10, SPEC)

    assert estimate.requests == 10
    assert 0 < estimate.low_usd < estimate.expected_usd < estimate.high_usd
    assert estimate.high_usd == pytest.approx(10 * ((504 / 3 + 16) * 1e-6 + 1000 * 2e-6), rel=0.02)
    assert estimate_cost([REQUEST] * 10, SPEC, expected_output=dict.fromkeys(range(10), 800)).expected_usd > (
        estimate.expected_usd
    )


def test_a_model_on_this_machine_has_no_price_and_no_estimate():
    estimate = estimate_cost([REQUEST], ModelSpec(model="openai/x", api_base="http://127.0.0.1:1/v1"))

    assert (estimate.unpriced, estimate.expected_usd, estimate.requests) == (True, None, 1)
