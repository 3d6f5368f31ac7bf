"""Judging and deciding go on through failures, and say for how long they failed."""

import asyncio

import pytest

from harness.domain.model import BudgetExhausted
from harness.errors import ConfigurationError, InfrastructureError
from harness.models.budget import Purse
from harness.pipeline.live import looking
from harness.pipeline.live.looking import JudgingLoop
from harness.pipeline.live.purses import DailyPurse, Limit
from harness.pipeline.live.room import Room
from harness.pipeline.live.state import EventKind
from harness.pipeline.live.worker import LiveWorker, WorkerOptions
from harness.pipeline.session import StageCounts
from harness.testing import FakeEmbedder, ScriptedModelClient, exchange, observation
from tests.integration.live.conftest import session_on
from tests.integration.live.spooled import captured, live, spool
from tests.integration.live.test_asking import state_of, until


def paris(arm, spec, purse):
    return ScriptedModelClient(lambda request, model: "Paris.")


class Judges:
    """Stands for the judge stage: keeps what it was asked, and ends as the test says."""

    def __init__(self) -> None:
        self.retried: list[bool] = []
        self.ends: StageCounts | Exception = StageCounts(counts={})

    async def __call__(self, session, judges, embedder, portion, **more) -> StageCounts:
        self.retried.append(portion.retry_errors)
        if isinstance(self.ends, Exception):
            raise self.ends
        return self.ends


class Judged:
    """A judging loop on its own, with a store that new pairs can be put into."""

    def __init__(self, folder, store) -> None:
        self.parsed = live(folder)
        session = session_on(self.parsed, store, folder)
        self.told: list = []
        room = Room(live=self.parsed, session=session, stop=session.stop, events=[self.told.append])
        self.purse = DailyPurse("daily judges", 1.0, 0.0, run=Purse("judges", None))
        self.loop = JudgingLoop(room, (), FakeEmbedder(), self.purse)
        self._store, self._pairs = store, 0

    def answer_one_more(self) -> None:
        id_ = f"e{self._pairs}"
        self._store.put_exchanges("live", [(exchange(id=id_), float(self._pairs))])
        fingerprint = self.parsed.candidates[0].fingerprint
        self._store.put_observations("live", [observation(arm="new", exchange_id=id_, fingerprint=fingerprint)])
        self._pairs += 1


@pytest.fixture
def judges(monkeypatch):
    judges = Judges()
    monkeypatch.setattr(looking, "judge_arms", judges)
    return judges


@pytest.fixture
def judged(tmp_path, store):
    return Judged(tmp_path, store)


async def test_judgments_that_failed_are_made_again_now_and_then_with_traffic_or_without(judges, judged, monkeypatch):
    judged.answer_one_more()
    judges.ends = StageCounts(counts={}, errors=3)
    await judged.loop.once()
    assert judges.retried == [True], "earlier workers may have left some"
    assert judged.loop.errors_left

    await judged.loop.once()
    assert judges.retried == [True], "nothing is new, and it is too early"
    judged.answer_one_more()
    judges.ends = StageCounts(counts={})
    await judged.loop.once()
    assert judges.retried == [True, False]
    assert judged.loop.errors_left, "they were not among what was judged"

    monkeypatch.setattr(looking, "_RETRY_S", 0.0)
    await judged.loop.once()
    assert judges.retried == [True, False, True]
    assert not judged.loop.errors_left
    await judged.loop.once()
    assert judges.retried == [True, False, True]


async def test_a_retry_that_the_budget_ends_leaves_errors(judges, judged):
    judges.ends = StageCounts(counts={}, errors=1)
    await judged.loop.once()
    judges.ends = StageCounts(counts={}, stop_reason="budget")
    await judged.loop.once(last=True)
    assert judges.retried == [True, True]
    assert judged.loop.errors_left


async def test_judges_that_cannot_be_asked_are_failing_until_they_can(judges, judged, monkeypatch):
    judges.ends = ConfigurationError("set OPENAI_API_KEY")
    await judged.loop.once()
    since = judged.loop.failing_since
    assert (since is not None, judged.loop.failure) == (True, "set OPENAI_API_KEY")
    await judged.loop.once()
    assert len(judges.retried) == 1, "they are left alone for a while"
    await judged.loop.once(last=True)
    assert len(judges.retried) == 2, "but not in the end"
    assert judged.loop.failing_since == since
    assert [event.kind for event in judged.told] == [EventKind.JUDGING_FAILED]

    monkeypatch.setattr(looking, "_FAILED_WAIT_S", 0.0)
    judges.ends = StageCounts(counts={})
    await judged.loop.once()
    assert (judged.loop.failing_since, judged.loop.failure) == (None, None)


async def test_a_spent_budget_of_the_judges_is_told_once_and_stands(judges, judged):
    judges.ends = StageCounts(counts={}, stop_reason="budget")
    with pytest.raises(BudgetExhausted):
        await judged.purse.reserve(1.5)
    for _ in range(3):
        await judged.loop.once()
    [event] = judged.told
    assert event.kind is EventKind.BUDGET_EXHAUSTED
    assert "budget of the day is spent" in event.message
    assert judged.purse.exhausted is Limit.DAY


@pytest.mark.parametrize("error", [RuntimeError("odd"), ConfigurationError("no such model")])
async def test_what_judges_failed_on_is_judged_in_the_end(tmp_path, store, error):
    class Embedder(FakeEmbedder):
        def similarity(self, left, right):
            if not worker.snapshot().stopping:
                raise error
            return super().similarity(left, right)

    spool(tmp_path, [captured(i) for i in range(10)])
    parsed = live(tmp_path, judges=["similarity"])
    session = session_on(parsed, store, tmp_path)
    options = WorkerOptions(drain=False)
    worker = LiveWorker(parsed, session, options=options, client_for=paris, embedder=Embedder())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(worker.run())
        await until(
            lambda: worker.snapshot().judging_errors_left or worker.snapshot().judging_failing_since is not None
        )
        worker._room.stop.request("drained")
    state = running.result()
    assert (state.judging_errors_left, state.judging_failing_since) == (False, None)
    assert state.arms[0].estimates["similarity"].n == 10


async def test_a_report_that_cannot_be_written_in_the_end_is_an_error(tmp_path, worker_on, monkeypatch):
    def broken(*args, **options):
        raise InfrastructureError("the disk is gone")

    spool(tmp_path, [captured(i) for i in range(3)])
    monkeypatch.setattr(looking.stages, "write_files", broken)
    with pytest.raises(InfrastructureError, match="the disk is gone"):
        await worker_on(live(tmp_path), client_for=paris).run()


async def test_what_came_after_a_report_is_reported_though_nothing_follows(tmp_path, worker_on, monkeypatch):
    monkeypatch.setattr(looking, "_REPORT_EVERY_S", 2.0)
    spool(tmp_path, [captured(0)])
    worker = worker_on(live(tmp_path, worker={"look_every_s": 0.1}), drain=False, client_for=paris)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await until(lambda: worker.snapshot().reported_at is not None)
        first = worker.snapshot().reported_at
        spool(tmp_path, [captured(i) for i in range(1, 10)], number=1)
        await until(lambda: state_of(worker, "new").outcomes["completed"] == {"": 10})
        await until(lambda: worker.snapshot().reported_at > first, 10)
        await asyncio.sleep(2.5)
        last = worker.snapshot()
        await asyncio.sleep(2.5)
        assert worker.snapshot().reported_at == last.reported_at, "what was reported is not reported again"
        worker.session.stop.request("interrupted")


async def test_what_a_look_said_is_kept_with_its_bounds(tmp_path, worker_on, store):
    spool(tmp_path, [captured(i) for i in range(10)])
    worker = worker_on(live(tmp_path), client_for=paris)
    await worker.run()
    points = store.looks(worker.session.run_id)
    [decision] = store.decisions(worker.session.run_id)[-1].decision["arms"].values()
    assert {point.metric for point in points} == {result["criterion"]["metric"] for result in decision["results"]}
    assert {point.verdict for point in points} == {decision["verdict"]}
    assert max(point.n for point in points) == 10
