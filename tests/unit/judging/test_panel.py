"""The panel: every pair ends in a stored judgment, whatever a judge does."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pytest

from harness.domain.estimate import Direction, Metric, Unit
from harness.domain.judgment import Judgment, JudgmentState, Order, UnscoredReason
from harness.domain.model import BudgetExhausted
from harness.domain.pair import Pair
from harness.domain.stop import StopSignal
from harness.errors import ConfigurationError, InfrastructureError
from harness.judging import JudgeContext
from harness.judging.panel import PanelResult, run_judge
from harness.testing import FakeEmbedder, ScriptedModelClient, pair

METRIC = Metric(name="m", title="M", unit=Unit.SHARE, direction=Direction.HIGHER_IS_BETTER)
CTX = JudgeContext(judge="j", fingerprint="f", models=ScriptedModelClient([]), embedder=FakeEmbedder())
BOTH = (Order.PRODUCTION_FIRST, Order.CANDIDATE_FIRST)


@dataclass(frozen=True, kw_only=True)
class FunctionJudge:
    """Whatever the test wants it to be."""

    name: ClassVar[str] = "function"
    version: ClassVar[str] = "1"
    metric: ClassVar[Metric] = METRIC
    answer: Callable[[Pair, JudgeContext], object]
    orders: tuple[Order, ...] = (Order.NONE,)

    async def judge(self, pair: Pair, ctx: JudgeContext) -> Sequence[Judgment]:
        found = self.answer(pair, ctx)
        return await found if asyncio.iscoroutine(found) else found


@dataclass(frozen=True, kw_only=True)
class Batched(FunctionJudge):
    """The same, many at a time."""

    batch_size: ClassVar[int] = 4
    batches: list[int]
    poison: str = ""

    async def judge_many(self, pairs: Sequence[Pair], ctx: JudgeContext) -> Sequence[Judgment]:
        self.batches.append(len(pairs))
        if any(item.exchange_id == self.poison for item in pairs):
            raise RuntimeError("a bad pair")
        return [ctx.scored(item, value=1.0) for item in reversed(pairs)]


def pairs(n: int) -> Iterator[Pair]:
    return (pair(id=f"e{i}") for i in range(n))


def one(pair: Pair, ctx: JudgeContext) -> list[Judgment]:
    return [ctx.scored(pair, value=1.0)]


async def run(judge, n=10, **options):
    rows: list[Judgment] = []
    result = await run_judge(judge, CTX, pairs(n), rows.extend, **{"concurrency": 3, **options})
    return result, {(row.exchange_id, row.order): row for row in rows}, rows


async def test_every_pair_is_judged_once():
    result, by_key, rows = await run(FunctionJudge(answer=one), n=57)
    assert len(by_key) == len(rows) == result.pairs == result.scored == 57
    assert (result.unscored, result.errors, result.stop_reason) == ({}, {}, None)


@pytest.mark.parametrize(
    "returned",
    [
        lambda p, c: 1 / 0,
        lambda p, c: None,
        lambda p, c: [0.5],
        lambda p, c: one(pair(id="another"), c),
        lambda p, c: one(p, c) * 2,
        lambda p, c: [c.scored(p, value=1.0, order=Order.CANDIDATE_FIRST)],
    ],
    ids=["raises", "nothing", "numbers", "another pair", "twice", "an order not asked for"],
)
async def test_a_broken_judge_costs_its_pair_and_not_the_run(returned):
    def answer(item, ctx):
        return returned(item, ctx) if item.exchange_id == "e3" else one(item, ctx)

    result, by_key, _ = await run(FunctionJudge(answer=answer))
    assert (result.scored, result.errors) == (9, {"judge_crashed": 1})
    broken = by_key["e3", Order.NONE]
    assert broken.state is JudgmentState.ERROR
    assert broken.explanation


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
async def test_a_value_that_is_no_number_is_unscored(value):
    result, by_key, _ = await run(FunctionJudge(answer=lambda p, c: [c.scored(p, value=value)]), n=2)
    assert (result.scored, result.unscored) == (0, {"off_menu": 2})
    assert by_key["e0", Order.NONE].value is None


async def test_a_judge_that_is_down_for_the_whole_run_loses_no_pair():
    result, by_key, _ = await run(FunctionJudge(answer=lambda p, c: 1 / 0, orders=BOTH), n=20)
    assert (result.pairs, result.scored, result.errors) == (20, 0, {"judge_crashed": 40})
    assert len(by_key) == 40


async def test_a_missing_order_is_said_and_one_judgment_may_stand_for_all():
    result, by_key, _ = await run(
        FunctionJudge(answer=lambda p, c: [c.scored(p, value=1.0, order=BOTH[0])], orders=BOTH), n=1
    )
    assert (result.scored, result.unscored) == (1, {"missing_order": 1})
    assert by_key["e0", BOTH[1]].reason is UnscoredReason.MISSING_ORDER

    result, by_key, _ = await run(
        FunctionJudge(answer=lambda p, c: [c.unscored(p, UnscoredReason.NOT_APPLICABLE)], orders=BOTH), n=1
    )
    assert result.unscored == {"not_applicable": 1}


@dataclass(frozen=True, kw_only=True)
class Drawing(FunctionJudge):
    """Reads candidate first, and says nothing of the other order."""

    orders: tuple[Order, ...] = BOTH

    def orders_for(self, exchange_id: str) -> tuple[Order, ...]:
        return (Order.CANDIDATE_FIRST,)


@pytest.mark.parametrize(
    ("answer", "endings"),
    [
        (lambda p, c: [c.scored(p, value=1.0, order=Order.CANDIDATE_FIRST)], (3, {}, {})),
        (lambda p, c: [c.unscored(p, UnscoredReason.REFUSED, order=Order.CANDIDATE_FIRST)], (0, {"refused": 3}, {})),
        (lambda p, c: [], (0, {"missing_order": 3}, {})),
        (lambda p, c: 1 / 0, (0, {}, {"judge_crashed": 3})),
    ],
    ids=["scored", "unscored", "silent", "crashed"],
)
async def test_an_order_that_was_not_drawn_is_stored_and_counted_nowhere(answer, endings):
    result, by_key, _ = await run(Drawing(answer=answer), n=3)
    assert (result.scored, result.unscored, result.errors) == endings
    assert (result.pairs, len(by_key), result.cost_usd) == (3, 6, 0.0)
    for i in range(3):
        row = by_key[f"e{i}", Order.PRODUCTION_FIRST]
        assert (row.state, row.reason, row.attempts) == (JudgmentState.UNSCORED, UnscoredReason.NOT_DRAWN, 0)


async def test_an_empty_purse_stops_the_run_and_stores_nothing_for_the_unpaid():
    def answer(item, ctx):
        if int(item.exchange_id[1:]) >= 5:
            raise BudgetExhausted("judges", 1.0, 1.0)
        return one(item, ctx)

    result, by_key, _ = await run(FunctionJudge(answer=answer), n=100, concurrency=1)
    assert (result.stop_reason, result.pairs, len(by_key)) == ("budget", 5, 5)


async def test_an_empty_purse_inside_a_judges_own_task_group_stops_the_run():
    async def broke():
        raise BudgetExhausted("judges", 1.0, 1.0)

    async def grouped(item, ctx):
        async with asyncio.TaskGroup() as group:
            group.create_task(broke())
        return one(item, ctx)

    result, by_key, _ = await run(FunctionJudge(answer=grouped))
    assert (result.stop_reason, by_key, result.errors) == ("budget", {}, {})


@pytest.mark.parametrize("error", [ConfigurationError("no price"), InfrastructureError("no network")])
async def test_a_set_up_that_cannot_work_ends_the_run(error):
    def answer(item, ctx):
        if item.exchange_id == "e2":
            raise error
        return one(item, ctx)

    rows: list[Judgment] = []
    with pytest.raises(type(error), match=str(error)):
        await run_judge(FunctionJudge(answer=answer), CTX, pairs(5), rows.extend, concurrency=1)
    assert len(rows) == 2


async def test_a_stop_finishes_what_is_in_flight_and_takes_no_more():
    stop = StopSignal()

    def answer(item, ctx):
        if item.exchange_id == "e4":
            stop.request("interrupted")
        return one(item, ctx)

    result, by_key, _ = await run(FunctionJudge(answer=answer), n=100, concurrency=1, stop=stop)
    assert (result.stop_reason, len(by_key)) == ("interrupted", 5)


async def test_a_judge_that_hangs_is_given_up():
    def answer(item, ctx):
        return asyncio.sleep(60) if item.exchange_id == "e1" else one(item, ctx)

    result, by_key, _ = await run(FunctionJudge(answer=answer), n=3, pair_deadline_s=0.05)
    assert (result.scored, result.errors) == (2, {"timeout": 1})
    assert by_key["e1", Order.NONE].reason is UnscoredReason.TIMEOUT


async def test_batches_are_judged_together_and_a_bad_pair_alone():
    batches: list[int] = []

    def alone(item, ctx):
        return 1 / 0 if item.exchange_id == "e5" else one(item, ctx)

    result, by_key, _ = await run(Batched(answer=alone, batches=batches, poison="e5"), n=10)
    assert batches == [4, 4, 2]
    assert (result.scored, result.errors) == (9, {"judge_crashed": 1})
    assert by_key["e5", Order.NONE].state is JudgmentState.ERROR


async def test_pairs_are_pulled_as_needed_and_always_in_one_thread():
    pulled: list[int] = []
    seen_ahead = []
    threads = set()

    def source():
        for i in range(500):
            threads.add(threading.get_ident())
            pulled.append(i)
            yield pair(id=f"e{i}")

    done = 0

    async def answer(item, ctx):
        nonlocal done
        await asyncio.sleep(0)
        done += 1
        seen_ahead.append(len(pulled) - done)
        return one(item, ctx)

    result = await run_judge(FunctionJudge(answer=answer), CTX, source(), lambda rows: None, concurrency=4)
    assert result.pairs == 500
    assert max(seen_ahead) <= 16
    assert len(threads) == 1
    assert threading.get_ident() not in threads


async def test_what_a_store_refuses_ends_the_run_and_what_a_source_raises_too():
    def refuse(rows):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await run_judge(FunctionJudge(answer=one), CTX, pairs(3), refuse)

    def broken():
        yield pair(id="e0")
        raise OSError("cursor lost")

    with pytest.raises(OSError, match="cursor lost"):
        await run_judge(FunctionJudge(answer=one), CTX, broken(), lambda rows: None)
    assert not {"pairs", "judgments"} & {thread.name.split("_")[0] for thread in threading.enumerate()}


async def test_a_cancelled_run_stores_what_it_had_concluded():
    rows: list[Judgment] = []
    reached = asyncio.Event()

    async def answer(item, ctx):
        if item.exchange_id == "e5":
            reached.set()
            await asyncio.sleep(60)
        return one(item, ctx)

    async def judging():
        await run_judge(FunctionJudge(answer=answer), CTX, pairs(10), rows.extend, concurrency=1)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(judging())
        await reached.wait()
        task.cancel()
    assert {row.exchange_id for row in rows} == {"e0", "e1", "e2", "e3", "e4"}


async def test_a_slow_judge_commits_every_pair_and_progress_is_told():
    commits: list[int] = []
    told = []

    async def answer(item, ctx):
        await asyncio.sleep(0.12)
        return one(item, ctx)

    await run_judge(
        FunctionJudge(answer=answer), CTX, pairs(3), lambda rows: commits.append(len(rows)),
        concurrency=1, on_progress=lambda progress: told.append(progress.pairs),
    )  # fmt: skip
    assert commits == [1, 1, 1]
    assert told == [1, 2, 3]


def test_two_parts_of_one_reading_add_up():
    one = PanelResult(pairs=1, scored=2, unscored={"refused": 1}, errors={"timeout": 1}, cost_usd=0.5)
    other = PanelResult(pairs=2, unscored={"refused": 2}, cost_usd=0.25, stop_reason="budget")
    both = one.plus(other)
    assert (both.pairs, both.scored, both.cost_usd, both.stop_reason) == (3, 2, 0.75, "budget")
    assert both.endings == {"scored": 2, "refused": 3, "timeout": 1}
    assert one.plus(PanelResult(cost_usd=None)).cost_usd is None
    assert PanelResult().endings == {}


async def test_cost_is_unknown_once_one_call_is_and_zero_without_calls():
    result, *_ = await run(FunctionJudge(answer=one))
    assert result.cost_usd == 0.0
    priced = FunctionJudge(answer=lambda p, c: [c.scored(p, value=1.0, attempts=1, cost_usd=0.25)])
    assert (await run(priced, n=4))[0].cost_usd == 1.0
    unpriced = FunctionJudge(answer=lambda p, c: [c.scored(p, value=1.0, attempts=1)])
    assert (await run(unpriced, n=4))[0].cost_usd is None
