"""What a rollout's candidate served: pairs of their own, in which production is asked and not heard."""

from datetime import UTC, datetime

import pytest

from harness.config.rollout import DEFAULT_PHASES
from harness.controller.shadowing import look
from harness.domain.decision import Verdict
from harness.domain.observation import Status
from harness.domain.rollout import Event, EventKind
from harness.errors import ConfigurationError
from harness.pipeline.arms import arms_of
from harness.pipeline.live.served import served_experiment, served_run_id
from harness.pipeline.seats import seat_judges
from harness.pipeline.session import Session
from harness.store.rollouts import RolloutRecord
from harness.testing import FakeEmbedder
from tests.integration.live.spooled import captured, live, spool

RUN = served_run_id("live", "new")


def experiment(folder, port: int, **changes):
    base = f"http://127.0.0.1:{port}/v1"
    replica = {"model": "openai/production", "api_base": base, "share": 0.5,
               "price": {"input_per_mtok": 1.0, "output_per_mtok": 2.0}}  # fmt: skip
    return live(folder, base, **{"replica": replica, **changes})


def begun(store, settings, *, fingerprint: str | None = None) -> None:
    now = datetime.now(UTC)
    record = RolloutRecord(
        id="r1", live="live", candidate="new", fingerprint=fingerprint or settings.candidates[0].fingerprint,
        configuration={}, started_at=now,
    )  # fmt: skip
    event = Event(rollout_id="r1", number=1, kind=EventKind.STARTED, phase="canary", at=now, actor="Ada", reason="x")
    store.create_rollout(record, event)


def by_candidate(number: int, outcome: str = "served", **more):
    served = {"rollout_id": "r1", "number": 1, "arm": "candidate", "conversation": "c", "outcome": outcome}
    return captured(number, served=served, answer="The candidate's answer.", **more)


async def test_what_the_candidate_served_is_paired_with_production_asked_in_its_place(
    tmp_path, store, worker_on, upstream
):
    settings = experiment(tmp_path, upstream.port)
    begun(store, settings)
    control = {"rollout_id": "r1", "number": 1, "arm": "control", "conversation": "k", "outcome": "served"}
    spool(tmp_path, [
        *(captured(i, served=control) for i in range(5)),
        *(by_candidate(i) for i in range(5, 35)),
        by_candidate(35, "fell_back"),
    ])  # fmt: skip

    state = await worker_on(settings).run()

    assert state.endings == {"exchange": 5, "served_by_candidate": 31}
    assert store.count_exchanges("live") == 5
    assert store.count_exchanges(RUN) == 30
    [arm] = arms_of(served_experiment(settings, "new"))
    candidate, production = {}, {}
    for item in store.observations(RUN, arm.name, arm.fingerprint):
        candidate[item.exchange_id] = item
    for item in store.observations(RUN, "production", ""):
        production[item.exchange_id] = item
    assert {item.completion.text for item in candidate.values()} == {"The candidate's answer."}
    assert {item.completion.text for item in production.values()} <= {
        f"The capital of France is Paris. ({n})" for n in (11, 12)
    }
    assert all(item.status is Status.COMPLETED and item.cost_usd for item in production.values())
    # Once each, however the replica of the shadow pairs is drawn.
    assert [question for question in upstream.questions if question == "Question 17?"] == ["Question 17?"]
    assert store.observation_counts(RUN, arm.name, arm.fingerprint).comparable == 30
    assert store.decisions(RUN)[-1].decision["arms"]["new"]["verdict"] == Verdict.GO
    assert (tmp_path / "runs" / RUN / "report.html").exists()

    # As the controller of the rollout sees either of them.
    for run_id, of, n in (("live", settings.experiment, 5), (RUN, served_experiment(settings, "new"), 30)):
        session = Session(experiment=of, run_id=run_id, store=store, runs_dir=tmp_path / "runs")
        phase = DEFAULT_PHASES[-1].phase()
        since = datetime(2020, 1, 1, tzinfo=UTC)
        seen = look(session, seat_judges(of, FakeEmbedder()), "new", phase, since=since, begun=since)
        assert (seen.pairs.due, seen.pairs.complete) == (n, n)
        assert seen.decision is not None
        assert seen.production_error_rate == 0
        assert seen.last_at is not None
        later = look(session, seat_judges(of, FakeEmbedder()), "new", phase, since=datetime.now(UTC), begun=since)
        assert later.pairs.due == 0


async def test_the_calibration_looks_at_production_beside_itself(tmp_path, store, worker_on, upstream):
    # Production said what its replica says, and nothing of the candidate counts.
    settings = experiment(tmp_path, upstream.port, decision={"criteria": [{"metric": "exact_match", "at_least": 0.5}]})
    answer = "The capital of France is Paris. (12)"
    spool(tmp_path, [captured(i, answer=answer) for i in range(10, 50)])
    await worker_on(settings).run()
    session = Session(experiment=settings.experiment, run_id="live", store=store, runs_dir=tmp_path / "runs")
    judges, since = seat_judges(settings.experiment, FakeEmbedder()), datetime(2020, 1, 1, tzinfo=UTC)
    seen = look(session, judges, "new", DEFAULT_PHASES[0].phase(), since=since, begun=since)
    # Half of the requests are drawn for the replica; those that are not are not due.
    assert 8 <= seen.pairs.due == seen.pairs.complete <= 32
    assert seen.decision is not None
    [result] = seen.decision.results
    assert result.estimate.value == 1.0
    assert result.estimate.n == seen.pairs.complete
    assert seen.flagged == ()
    bare = live(tmp_path, f"http://127.0.0.1:{upstream.port}/v1").experiment
    with pytest.raises(ConfigurationError, match="`replica`"):
        look(
            Session(experiment=bare, run_id="live", store=store, runs_dir=tmp_path / "runs"), judges, "new",
            DEFAULT_PHASES[0].phase(), since=since, begun=since,
        )  # fmt: skip


async def test_read_again_after_a_crash_nothing_is_asked_twice(tmp_path, store, worker_on, upstream):
    settings = experiment(tmp_path, upstream.port)
    begun(store, settings)
    records = [by_candidate(i) for i in range(6)]
    spool(tmp_path, records)
    await worker_on(settings).run()
    asked = len(upstream.questions)
    # As if the position had not been saved: the same file, read from its beginning.
    (tmp_path / "spool" / "position.json").unlink()
    spool(tmp_path, records)
    await worker_on(settings).run()
    assert len(upstream.questions) == asked == 6
    assert store.count_exchanges(RUN) == 6


async def test_what_cannot_be_paired_is_in_no_run(tmp_path, store, worker_on, upstream):
    settings = experiment(tmp_path, upstream.port)
    begun(store, settings, fingerprint="of another candidate")
    spool(tmp_path, [by_candidate(1), captured(2)])
    state = await worker_on(settings).run()
    assert state.endings == {"exchange": 1, "served_by_candidate": 1}
    assert store.run(RUN) is None or store.count_exchanges(RUN) == 0


async def test_without_a_replica_nobody_is_asked(tmp_path, store, worker_on, upstream):
    settings = live(tmp_path, f"http://127.0.0.1:{upstream.port}/v1")
    begun(store, settings)
    spool(tmp_path, [by_candidate(1), captured(2)])
    state = await worker_on(settings).run()
    assert state.endings == {"exchange": 1, "served_by_candidate": 1}
    assert upstream.questions == ["Question 2?"]
