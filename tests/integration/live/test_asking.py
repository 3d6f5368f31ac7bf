"""Each request ends in exactly one way, and no candidate holds up another."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelReply, ModelSpec
from harness.domain.observation import ErrorKind, Usage
from harness.errors import ConfigurationError
from harness.models.breaker import BreakerState
from harness.models.budget import BudgetedClient
from harness.models.limiter import LimitedClient, Limits
from harness.pipeline.live.purses import Limit
from harness.pipeline.live.state import EventKind
from harness.spool import control
from harness.testing import ScriptedModelClient, model_error, reply
from tests.integration.live.spooled import captured, live, spool

PRICE = {"input_per_mtok": 1.0, "output_per_mtok": 2.0}
NEW = {"name": "new", "model": "openai/new", "api_base": "http://127.0.0.1:9/v1", "price": PRICE}
OLD = {"name": "old", "model": "openai/old", "api_base": "http://127.0.0.1:8/v1", "price": PRICE}


def scripted(script) -> Callable:
    client = ScriptedModelClient(script)
    return lambda arm, spec, purse: client


async def test_a_candidate_that_hangs_holds_up_nobody(tmp_path, store, worker_on):
    class Hanging:
        async def complete(self, request: ChatRequest, model: ModelSpec, *, deadline_s: float) -> ModelReply:
            await asyncio.sleep(deadline_s)
            raise model_error(ErrorKind.TIMEOUT)

    spool(tmp_path, [captured(i) for i in range(20)])
    parsed = live(
        tmp_path, candidates=[NEW, OLD], worker={"deadline_s": 600.0, "in_flight": 2}, judges=["exact", "length"]
    )
    clients = {"new": Hanging(), "old": ScriptedModelClient(lambda request, model: "Paris.")}
    worker = worker_on(parsed, drain=False, client_for=lambda arm, spec, purse: clients[arm.name])

    async with asyncio.TaskGroup() as group:
        running = group.create_task(worker.run())
        await until(lambda: state_of(worker, "old").verdict is not None)
        spool(tmp_path, [captured(i) for i in range(20, 30)], number=1)
        await until(lambda: state_of(worker, "old").outcomes["completed"] == {"": 30})
        assert worker.snapshot().exchanges == 30
        await until(lambda: state_of(worker, "new").in_flight == 2)
        assert state_of(worker, "new").outcomes["completed"] == {}
        running.cancel()


async def test_a_deployment_that_is_down_is_left_alone_and_found_again(tmp_path, store, worker_on):
    down = True
    spool(tmp_path, [captured(i) for i in range(30)])
    parsed = live(tmp_path, worker={"in_flight": 1, "breaker": {"consecutive": 3, "open_s": 0.6}})
    script = scripted(lambda request, model: model_error(ErrorKind.SERVER_ERROR) if down else "Paris.")
    worker = worker_on(parsed, drain=False, client_for=script)
    told = []
    worker.events.append(lambda event: told.append(event.kind))

    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await until(lambda: sum(state_of(worker, "new").outcomes["dropped"].values()) == 27)
        arm = state_of(worker, "new")
        assert arm.outcomes["failed"] == {"server_error": 3}
        assert arm.outcomes["dropped"] == {"breaker_open": 27}
        assert arm.breaker is BreakerState.OPEN
        assert arm.breaker_remaining_s > 0
        down = False
        await asyncio.sleep(0.8)
        spool(tmp_path, [captured(i) for i in range(30, 40)], number=1)
        await until(lambda: state_of(worker, "new").outcomes["completed"] == {"": 10})
        assert state_of(worker, "new").breaker is BreakerState.CLOSED
        worker.session.stop.request("interrupted")

    assert [kind for kind in told if kind.value.startswith("breaker")] == [
        EventKind.BREAKER_OPENED,
        EventKind.BREAKER_CLOSED,
    ]
    assert store.count_unasked_exchanges("live", "new", parsed.candidates[0].fingerprint) == 0, "dropped stays dropped"


async def test_requests_that_the_model_refuses_are_evidence_and_open_nothing(tmp_path, worker_on):
    spool(tmp_path, [captured(i) for i in range(30)])
    parsed = live(tmp_path, worker={"breaker": {"consecutive": 2, "window": 4}})
    script = scripted(lambda request, model: model_error(ErrorKind.BAD_REQUEST))
    state = await worker_on(parsed, client_for=script).run()
    assert state.arms[0].outcomes["failed"] == {"bad_request": 30}
    assert state.arms[0].breaker is BreakerState.CLOSED


@pytest.mark.parametrize("kind", [ErrorKind.AUTHENTICATION, ErrorKind.PERMISSION, ErrorKind.NOT_FOUND])
async def test_a_key_that_is_refused_stops_the_candidate_at_once(tmp_path, worker_on, kind):
    spool(tmp_path, [captured(i) for i in range(20)])
    worker = worker_on(live(tmp_path, worker={"in_flight": 1}), client_for=scripted(lambda r, m: model_error(kind)))
    told = []
    worker.events.append(told.append)

    state = await worker.run()

    [arm] = state.arms
    assert arm.outcomes["failed"] == {kind.value: 1}
    assert arm.outcomes["skipped"] == {"stopped": 19}
    assert arm.stopped.startswith(kind.value)
    assert [event.arm for event in told if event.kind is EventKind.CANDIDATE_STOPPED] == ["new"]


async def test_an_answer_that_no_database_can_hold_is_the_candidates_failure(tmp_path, store, worker_on):
    spool(tmp_path, [captured(i) for i in range(6)])
    counts = iter([Usage(tokens_in=1 << 70), *[Usage(tokens_in=5)] * 5])
    script = scripted(lambda request, model: reply("Paris.", usage=next(counts)))
    parsed = live(tmp_path)
    state = await worker_on(parsed, client_for=script).run()
    assert state.arms[0].outcomes["completed"] == {"": 5}
    assert state.arms[0].outcomes["failed"] == {"malformed_response": 1}
    counted = store.observation_counts("live", "new", parsed.candidates[0].fingerprint)
    assert (counted.completed, counted.failed) == (5, {"malformed_response": 1})


async def test_the_days_money_is_not_exceeded_and_a_restart_does_not_reset_it(tmp_path, worker_on):
    client = ScriptedModelClient(lambda request, model: reply("Paris.", cost_usd=0.01))

    def budgeted(arm, spec, purse):
        return BudgetedClient(client, purse, lambda model: (1e-6, 2e-6))

    parsed = live(tmp_path, worker={"daily_usd": 0.105, "in_flight": 1})
    told = []
    for number in range(2):
        spool(tmp_path, [captured(20 * number + i) for i in range(20)], number=number)
        worker = worker_on(parsed, client_for=budgeted)
        worker.events.append(lambda event: told.append(event.kind))
        state = await worker.run()

    [arm] = state.arms
    assert len(client.calls) == 10
    assert arm.outcomes["completed"] == {"": 10}
    assert arm.outcomes["skipped"] == {"budget": 30}
    assert arm.spent_today_usd == pytest.approx(0.1)
    assert arm.budget_exhausted
    assert told.count(EventKind.BUDGET_EXHAUSTED) == 2, "once per worker"


async def test_calls_that_still_fit_do_not_take_back_that_the_day_is_spent(tmp_path, worker_on):
    client = ScriptedModelClient(lambda request, model: reply("Paris.", cost_usd=0.0001))

    def budgeted(arm, spec, purse):
        return BudgetedClient(client, purse, lambda model: (1e-6, 2e-6))

    spool(tmp_path, [captured(i, question="long " * 20_000 if i % 2 else "short") for i in range(20)])
    worker = worker_on(live(tmp_path, worker={"daily_usd": 0.03, "in_flight": 1}), client_for=budgeted)
    told = []
    worker.events.append(told.append)
    [arm] = (await worker.run()).arms
    assert arm.outcomes["completed"] == {"": 10}
    assert arm.outcomes["skipped"] == {"budget": 10}
    assert arm.budget_exhausted is Limit.DAY
    [message] = [event.message for event in told if event.kind is EventKind.BUDGET_EXHAUSTED]
    assert "until midnight UTC" in message


async def test_what_a_timeout_may_have_cost_is_spent_for_the_next_worker_too(tmp_path, worker_on):
    client = ScriptedModelClient(lambda request, model: model_error(ErrorKind.TIMEOUT))

    def budgeted(arm, spec, purse):
        return BudgetedClient(client, purse, lambda model: (1e-6, 2e-6))

    parsed = live(tmp_path, worker={"daily_usd": 1.0, "in_flight": 1, "breaker": {"consecutive": 100}})
    spool(tmp_path, [captured(i) for i in range(3)])
    first = await worker_on(parsed, client_for=budgeted).run()
    second = await worker_on(parsed, client_for=budgeted).run()
    assert first.arms[0].outcomes["failed"] == {"timeout": 3}
    assert first.arms[0].spent_today_usd > 0.02
    assert second.arms[0].spent_today_usd == pytest.approx(first.arms[0].spent_today_usd)


async def test_a_limit_and_a_model_without_a_price_do_not_go_together(tmp_path, worker_on):
    unpriced = {"name": "new", "model": "openai/unheard-of", "api_base": "http://127.0.0.1:9/v1"}
    with pytest.raises(ConfigurationError, match="price"):
        await worker_on(live(tmp_path, candidates=[unpriced], worker={"daily_usd": 1.0})).run()


@pytest.mark.parametrize("who", ["candidate", "judge"])
async def test_batches_are_refused_beside_live_traffic(tmp_path, worker_on, monkeypatch, who):
    monkeypatch.setenv("OPENAI_API_KEY", "of-nobody")
    batched = {"model": "openai/gpt-4o-mini", "batch": True}
    judges = [{"use": "pairwise", "options": {"model": batched}}] if who == "judge" else ["exact"]
    candidates = {"candidates": [{"name": "new", **batched}]} if who == "candidate" else {}
    with pytest.raises(ConfigurationError, match="take `batch` out"):
        await worker_on(live(tmp_path, judges=judges, **candidates)).run()


async def test_the_kill_switch_ends_asking_within_a_second(tmp_path, worker_on):
    class Slow:
        def __init__(self) -> None:
            self.asked_at: list[float] = []

        async def complete(self, request: ChatRequest, model: ModelSpec, *, deadline_s: float) -> ModelReply:
            self.asked_at.append(time.monotonic())
            await asyncio.sleep(0.05)
            return reply("Paris.")

    spool(tmp_path, [captured(i) for i in range(400)])
    parsed = live(tmp_path, worker={"in_flight": 2})
    slow = Slow()
    worker = worker_on(parsed, drain=False, client_for=lambda arm, spec, purse: slow)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await until(lambda: len(slow.asked_at) > 10)
        control.switch(tmp_path / "spool", mirror=False)
        switched = time.monotonic()
        await until(lambda: state_of(worker, "new").outcomes["skipped"].get("kill_switch", 0) > 100)
        assert slow.asked_at[-1] - switched < 1.0
        assert not worker.snapshot().mirroring
        asked = len(slow.asked_at)
        control.switch(tmp_path / "spool", mirror=True)
        await until(lambda: worker.snapshot().mirroring)
        spool(tmp_path, [captured(i) for i in range(400, 410)], number=1)
        await until(lambda: len(slow.asked_at) >= asked + 10)
        worker.session.stop.request("interrupted")


async def test_a_429_of_production_lets_candidates_at_its_provider_rest(tmp_path, worker_on):
    spool(tmp_path, [captured(i, status=429) if i == 0 else captured(i) for i in range(20)])
    shared = NEW | {"api_base": "http://127.0.0.1:1/v1"}
    parsed = live(tmp_path, candidates=[shared, OLD], worker={"quota_pause_s": 300})
    worker = worker_on(parsed, client_for=scripted(lambda request, model: "Paris."))
    told = []
    worker.events.append(told.append)

    state = await worker.run()

    new, old = state.arms
    assert new.outcomes["dropped"] == {"quota_guard": 20}
    assert new.quota_remaining_s > 200
    assert old.outcomes["completed"] == {"": 20}, "another provider's quota is not production's"
    assert [event.kind for event in told if event.kind is EventKind.QUOTA_GUARD] == [EventKind.QUOTA_GUARD]


async def test_a_request_that_waits_too_long_for_the_candidates_own_limit_is_dropped(tmp_path, worker_on):
    client = ScriptedModelClient(lambda r, m: model_error(ErrorKind.RATE_LIMIT, retry_after_s=30.0))
    limits = Limits(start=4, maximum=4, decrease=0.5, queue_within_deadline=True)
    limited = LimitedClient(client, limits)
    spool(tmp_path, [captured(i) for i in range(6)])
    parsed = live(tmp_path, worker={"in_flight": 1, "deadline_s": 0.3, "breaker": {"consecutive": 100}})
    worker = worker_on(parsed, client_for=lambda arm, spec, purse: limited)

    state = await worker.run()

    assert state.arms[0].outcomes["failed"] == {"rate_limit": 1}
    assert state.arms[0].outcomes["dropped"] == {"queue_timeout": 5}
    assert limited.gates["openai@http://127.0.0.1:9/v1"].limit == 2, "a 429 halves the calls in flight"


async def test_a_drain_waits_for_what_is_being_loaded(tmp_path, store, worker_on, monkeypatch):
    load = store.unasked_exchanges

    def slow(*args, **options):
        found = load(*args, **options)
        time.sleep(2.0 if found else 0.0)
        return found

    monkeypatch.setattr(store, "unasked_exchanges", slow)
    spool(tmp_path, [captured(i) for i in range(3)])
    state = await worker_on(live(tmp_path), client_for=scripted(lambda request, model: "Paris.")).run()
    assert state.arms[0].outcomes["completed"] == {"": 3}


async def test_the_replica_gets_its_share_and_accounts_for_the_rest(tmp_path, worker_on):
    spool(tmp_path, [captured(i) for i in range(200)])
    replica = {"model": "openai/production", "api_base": "http://127.0.0.1:9/v1", "share": 0.2}
    parsed = live(tmp_path, replica=replica)
    state = await worker_on(parsed, client_for=scripted(lambda request, model: "Paris.")).run()
    outcomes = next(arm for arm in state.arms if arm.role == "replica").outcomes
    drawn = outcomes["completed"][""]
    assert 20 < drawn < 65
    assert outcomes["skipped"] == {"not_drawn": 200 - drawn}


async def test_many_failures_are_told_once(tmp_path, worker_on):
    spool(tmp_path, [captured(i) for i in range(120)])
    calls = iter(range(1_000))
    script = scripted(lambda r, m: model_error(ErrorKind.CONTENT_FILTER) if next(calls) % 2 else "Paris.")
    worker = worker_on(live(tmp_path, alerts={"error_rate": 0.1}), client_for=script)
    told = []
    worker.events.append(told.append)
    state = await worker.run()
    spikes = [event for event in told if event.kind is EventKind.ERROR_SPIKE]
    assert [(event.arm, event.value) for event in spikes] == [("new", 0.5)]
    assert state.arms[0].error_spike == "new: 50% of its last 50 calls failed", "for as long as it is so"


async def test_failures_that_are_over_are_no_longer_said(tmp_path, worker_on):
    spool(tmp_path, [captured(i) for i in range(160)])
    calls = iter(range(1_000))
    script = scripted(lambda r, m: model_error(ErrorKind.CONTENT_FILTER) if next(calls) < 60 else "Paris.")
    worker = worker_on(live(tmp_path, alerts={"error_rate": 0.1}), client_for=script)
    told = []
    worker.events.append(lambda event: told.append(event.kind))
    state = await worker.run()
    assert told.count(EventKind.ERROR_SPIKE) == 1
    assert state.arms[0].error_spike is None


def state_of(worker, name: str):
    """An arm's state; one without anything while the worker is being set up."""
    found = [arm for arm in worker.snapshot().arms if arm.arm == name]
    if found:
        return found[0]
    from harness.pipeline.live.state import ArmState

    empty = {status: {} for status in ("completed", "failed", "dropped", "skipped")}
    return replace(ArmState(arm=name, role="candidate", model=""), outcomes=empty)


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  what is waited for is the product's state, which sets no event
            await asyncio.sleep(0.02)
