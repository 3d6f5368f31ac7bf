"""Every record has one ending and every exchange is in the store once, whatever happens."""

import asyncio
import itertools
import json
import sqlite3
import time

import pytest

from harness.errors import ConfigurationError, InfrastructureError
from harness.pipeline.live import funnel
from harness.pipeline.live.funnel import read_funnel
from harness.pipeline.live.intake import Intake
from harness.pipeline.live.room import Room
from harness.pipeline.live.state import EventKind
from harness.spool.counters import INDEX, CounterFile
from harness.spool.reader import COUNTERS, SpoolReader
from harness.store import DataRefusedError
from harness.testing import FakeEmbedder, ScriptedModelClient, exchange
from tests.integration.live.conftest import session_on
from tests.integration.live.spooled import captured, live, spool
from tests.integration.live.test_asking import until


def paris(arm, spec, purse):
    return ScriptedModelClient(lambda request, model: "Paris.")


async def test_every_record_has_one_ending(tmp_path, store, worker_on):
    old = time.time_ns() - 10**9 * 7_200
    spool(
        tmp_path,
        [
            captured(0),
            captured(1, request=b"\xff\x00 no json"),
            captured(2, at_ns=old),
            captured(0, question="Another request of the same id?"),
            captured(3, response=b'{"unexpected": 1}'),
            captured(4),
            captured(5),
            captured(6),
        ],
    )
    parsed = live(tmp_path, spool={"max_age_s": 3_600}, worker={"max_samples": 3})
    worker = worker_on(parsed, client_for=paris)
    told = []
    worker.events.append(lambda event: told.append(event.kind))

    state = await worker.run()

    assert state.endings == {"exchange": 3, "not_readable": 2, "too_old": 1, "duplicate": 1, "ended": 1}
    assert state.intake_ended
    assert told.count(EventKind.INTAKE_ENDED) == 1
    assert [exchange.id for exchange in store.exchanges("live")] == ["r00000", "r00004", "r00005"]
    report = store.ingest_report("live")
    assert (report.read, report.rejected, report.deduplicated, report.kept) == (8, 2, 1, 3)
    assert report.skipped == {"too_old": 1, "ended": 1}


async def test_a_fault_in_reading_loses_nothing_that_was_read(tmp_path, store, monkeypatch):
    parsed = live(tmp_path)
    spool(tmp_path, [captured(i) for i in range(5)])
    session = session_on(parsed, store, tmp_path)
    with SpoolReader(tmp_path / "spool") as reader:
        read, faults = reader.read, [OSError("too many open files"), OSError("too many open files")]

        def broken(limit):
            yield from read(2)
            if faults:
                raise faults.pop()

        monkeypatch.setattr(reader, "read", broken)
        room = Room(live=parsed, session=session, stop=session.stop)
        intake = Intake(room, reader, on_captured=lambda captured: None)
        await intake.prepare()
        async with asyncio.TaskGroup() as group:
            group.create_task(intake.run())
            await until(lambda: intake.idle)
            session.stop.request("test")
    assert (intake.exchanges, faults) == (5, [])


async def test_a_body_no_database_can_hold_stops_nothing(tmp_path, store, worker_on):
    chat = {"model": "m" * 5_000, "messages": [{"role": "user", "content": "Capital of France?"}]}
    answer = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Paris."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1 << 70, "completion_tokens": 3},
    }
    spool(tmp_path, [captured(0, request=json.dumps(chat).encode(), response=json.dumps(answer).encode()), captured(1)])
    state = await worker_on(live(tmp_path), client_for=paris).run()
    assert state.endings == {"exchange": 2}
    first = next(iter(store.exchanges("live")))
    assert (first.request.model, first.production.usage.tokens_in) == ("m" * 200, None)


async def test_a_record_the_store_does_not_take_costs_none_beside_it(tmp_path, store, worker_on, monkeypatch):
    put = store.put_exchanges

    def picky(run_id, items):
        if any(exchange.id == "r00002" for exchange, _ in items):
            raise DataRefusedError("it cannot hold what was written")
        put(run_id, items)

    monkeypatch.setattr(store, "put_exchanges", picky)
    spool(tmp_path, [captured(i) for i in range(5)])
    state = await worker_on(live(tmp_path), client_for=paris).run()
    assert state.endings == {"exchange": 4, "not_readable": 1}
    assert state.exchanges == store.count_exchanges("live") == store.ingest_report("live").sampled == 4
    assert state.arms[0].outcomes["completed"] == {"": 4}
    assert read_funnel(live(tmp_path), store, "live", embedder=FakeEmbedder()).problems == ()


async def test_what_is_stored_is_redacted(tmp_path, store, worker_on):
    spool(tmp_path, [captured(0, question="Write to ann@example.com", user="ann@example.com")])
    state = await worker_on(live(tmp_path), client_for=paris).run()
    [exchange] = store.exchanges("live")
    assert "ann@example.com" not in json.dumps(exchange.request.messages) + exchange.user
    assert state.endings["redacted.email"] == 2
    assert store.ingest_report("live").redactions == {"email": 2}


async def test_a_crash_between_the_store_and_the_position_doubles_nothing(tmp_path, store, monkeypatch):
    """The position is not saved, as if the process had been killed just before."""
    parsed = live(tmp_path)
    spool(tmp_path, [captured(i) for i in range(10)], writer="b")

    async def take_in(*, crash: bool) -> Intake:
        session = session_on(parsed, store, tmp_path)
        with SpoolReader(tmp_path / "spool") as reader:
            if crash:
                monkeypatch.setattr(reader, "save", lambda: None)
            room = Room(live=parsed, session=session, stop=session.stop)
            intake = Intake(room, reader, on_captured=lambda captured: None)
            await intake.prepare()
            async with asyncio.TaskGroup() as group:
                group.create_task(intake.run())
                await until(lambda: intake.idle)
                session.stop.request("interrupted")
            return intake

    await take_in(crash=True)
    spool(tmp_path, [captured(i) for i in range(10, 15)], writer="a")  # now read first
    intake = await take_in(crash=False)

    assert intake.counts == {"exchange": 15}
    assert intake.exchanges == store.count_exchanges("live") == 15
    assert intake.report().sampled == intake.report().sample.n == 15
    assert not list((tmp_path / "spool").glob("*.spool"))


async def test_a_store_that_is_down_is_waited_for_and_nothing_is_lost(tmp_path, store, worker_on):
    spool(tmp_path, [captured(i) for i in range(20)])
    parsed = live(tmp_path)
    worker = worker_on(parsed, drain=False, client_for=paris)
    told = []
    worker.events.append(lambda event: told.append(event.kind))
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await until(lambda: worker.snapshot().exchanges == 20)
        await until(lambda: worker.snapshot().arms[0].outcomes["completed"] == {"": 20})
        rename(tmp_path, "observations", "gone")
        spool(tmp_path, [captured(i) for i in range(20, 40)], number=1)
        await until(lambda: worker.snapshot().store_down_since is not None)
        assert worker.snapshot().exchanges == 20
        assert list((tmp_path / "spool").glob("*.spool")), "the spool keeps what the store did not take"
        rename(tmp_path, "gone", "observations")
        await until(lambda: worker.snapshot().arms[0].outcomes["completed"] == {"": 40})
        worker.session.stop.request("interrupted")

    assert worker.snapshot().store_down_since is None
    assert EventKind.STORE_DOWN in told
    assert EventKind.STORE_BACK in told
    assert store.count_exchanges("live") == 40


@pytest.mark.parametrize("at_work", [True, False])
async def test_a_worker_that_is_cancelled_while_the_store_is_down_ends_at_once(tmp_path, worker_on, at_work):
    spool(tmp_path, [captured(i) for i in range(20)])
    worker = worker_on(live(tmp_path), drain=False, client_for=paris)
    if not at_work:
        rename(tmp_path, "exchanges", "gone")
    running = asyncio.ensure_future(worker.run())
    if at_work:
        await until(lambda: worker.snapshot().exchanges == 20)
        rename(tmp_path, "exchanges", "gone")
        spool(tmp_path, [captured(i) for i in range(20, 40)], number=1)
    await until(lambda: worker.snapshot().store_down_since is not None)
    await asyncio.sleep(2.0)  # by now they wait for seconds
    gaps = []

    async def tick() -> None:
        while True:
            begin = time.monotonic()
            await asyncio.sleep(0.01)
            gaps.append(time.monotonic() - begin)

    ticking = asyncio.ensure_future(tick())
    running.cancel()
    with pytest.raises((asyncio.CancelledError, InfrastructureError)):
        async with asyncio.timeout(5):
            await running
    await asyncio.sleep(0.05)
    ticking.cancel()
    assert max(gaps) < 1.0, "nothing else on the loop was held up"
    assert worker._room.abandoned.is_set(), "no thread goes on waiting"


async def test_decisions_are_stored_when_they_change(tmp_path, store, worker_on):
    spool(tmp_path, [captured(i) for i in range(10)])
    parsed = live(tmp_path, worker={"look_every_s": 0.1})
    worker = worker_on(parsed, drain=False, client_for=paris)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await until(lambda: bool(store.decisions("live")))
        for number in range(1, 5):
            spool(tmp_path, [captured(10 * number + i) for i in range(10)], number=number)
            await until(lambda: worker.snapshot().exchanges == 10 * (number + 1))  # noqa: B023
            await asyncio.sleep(0.3)
        await until(lambda: worker.snapshot().arms[0].verdict.value == "GO")
        worker.session.stop.request("interrupted")

    verdicts = [record.decision["arms"]["new"]["verdict"] for record in store.decisions("live")]
    assert verdicts[0] == "INCONCLUSIVE"
    assert verdicts[-1] == "GO"
    assert len(verdicts) <= 4, "one for each change, and one at the end"


@pytest.mark.parametrize("looks", ["one", "planned"])
async def test_bounds_that_do_not_hold_at_any_look_are_refused(tmp_path, worker_on, looks):
    with pytest.raises(ConfigurationError, match="looks: any"):
        await worker_on(live(tmp_path, decision={"looks": looks})).run()


async def test_slow_and_different_answers_are_told(tmp_path, worker_on):
    spool(tmp_path, [captured(i, latency_ms=0.001) for i in range(60)])
    worker = worker_on(live(tmp_path, judges=["similarity"]), client_for=lambda a, s, p: ScriptedModelClient(
        lambda request, model: "zzzz"))  # fmt: skip
    told = []
    worker.events.append(told.append)
    state = await worker.run()
    kinds = [event.kind for event in told]
    assert kinds.count(EventKind.LATENCY) == 1
    assert kinds.count(EventKind.DIVERGENCE) == 1
    assert state.arms[0].estimates["similarity"].value < 0.5
    assert "times production's" in state.arms[0].slow
    assert "similarity of its last 50 pairs" in state.arms[0].diverging


# The funnel


def gateway_counts(folder, **counts: int) -> CounterFile:
    file = CounterFile(folder / "spool" / COUNTERS, "gw")
    for name, value in counts.items():
        file.values[INDEX[name.replace("__", ".")]] = value
    return file


async def test_the_funnel_adds_up_from_the_gateway_to_judged_pairs(tmp_path, store, worker_on):
    parsed = live(tmp_path)
    counts = gateway_counts(
        tmp_path, requests=100, not_eligible__unsupported_surface=10, sampled_out=50, sampled=40, spooled=30,
        dropped__queue_full=10,
    )  # fmt: skip
    spool(tmp_path, [captured(i) if i else captured(i, request=b"?") for i in range(30)])
    await worker_on(parsed, client_for=paris).run()

    found = read_funnel(parsed, store, "live", embedder=FakeEmbedder())
    counts.close()

    assert found.problems == ()
    assert found.why is None
    assert (found.eligible, found.sampled, found.spooled, found.read, found.exchanges) == (90, 40, 30, 30, 29)
    assert found.mirror_dropped == {"queue_full": 10}
    assert found.endings == {"exchange": 29, "not_readable": 1}
    [arm] = found.arms
    assert (arm.completed, arm.pending, arm.comparable) == (29, 0, 29)
    assert arm.judged == {"exact": 29, "length": 29}


async def test_a_worker_at_work_makes_the_funnel_no_problems(tmp_path, store, worker_on, monkeypatch):
    """Whatever is stored between two of its queries, as slowly as those are read."""
    parsed = live(tmp_path)
    spool(tmp_path, [captured(i) for i in range(3)])
    await worker_on(parsed, client_for=paris).run()
    judged, position, extra = store.pairs_judged, funnel.saved_position, itertools.count()

    def put() -> None:
        number = next(extra)
        store.put_exchanges("live", [(exchange(id=f"extra{number}"), 1_000.0 + number)])

    def meanwhile(*args, **options):
        put()
        return judged(*args, **options)

    def saved(folder):
        put()
        found = position(folder)
        found.counts["exchange"] = store.count_exchanges("live")
        found.written = {"gw": found.counts["exchange"]}
        return found

    monkeypatch.setattr(store, "pairs_judged", meanwhile)
    monkeypatch.setattr(funnel, "saved_position", saved)
    assert read_funnel(parsed, store, "live", embedder=FakeEmbedder()).problems == ()


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({}, "No request has come"),
        ({"requests": 5, "not_eligible__denied": 5}, "None of 5 requests was eligible: 5 denied"),
        ({"requests": 5, "sampled_out": 5}, "`mirror.rate` is 1"),
        ({"requests": 5, "sampled": 5, "dropped__spool_full": 5}, "reached the spool: 5 spool full"),
    ],
)
def test_nothing_mirrored_explains_itself(tmp_path, store, counts, words):
    file = gateway_counts(tmp_path, **counts)
    found = read_funnel(live(tmp_path), store, "live", embedder=FakeEmbedder())
    file.close()
    assert words in found.why
    assert found.problems == ()


async def test_nothing_asked_explains_itself_too(tmp_path, store, worker_on):
    parsed = live(tmp_path)
    spool(tmp_path, [captured(0, request=b"?")])
    assert "waits in the spool" in read_funnel(parsed, store, "live", embedder=FakeEmbedder()).why
    await worker_on(parsed, client_for=paris).run()
    assert "None of 1 records could be used: 1 not readable" in read_funnel(
        parsed, store, "live", embedder=FakeEmbedder()
    ).why  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"requests": 5, "sampled": 7, "spooled": 7}, "5 requests, but 7 are accounted for"),
        ({"requests": 9, "sampled": 5, "spooled": 7}, "5 requests sampled, but 7"),
        ({"requests": 5, "sampled": 5, "spooled": 5}, "5 spooled records were not read"),
    ],
)
def test_what_does_not_add_up_is_said(tmp_path, store, counts, words):
    file = gateway_counts(tmp_path, **counts)
    found = read_funnel(live(tmp_path), store, "live", embedder=FakeEmbedder())
    file.close()
    assert any(words in problem for problem in found.problems), found.problems


def rename(folder, table: str, name: str) -> None:
    """What a store that is being restored looks like."""
    with sqlite3.connect(folder / "harness.db", timeout=30) as connection:
        connection.execute(f"ALTER TABLE {table} RENAME TO {name}")
    connection.close()
