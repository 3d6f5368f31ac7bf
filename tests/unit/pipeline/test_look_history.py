"""Which looks are kept of a run that is looked at all the time."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from harness.domain.decision import Outcome
from harness.pipeline import look_history
from harness.pipeline.look_history import LookHistory
from harness.store import Store
from tests.dashboards import BEGAN, Progress


@pytest.fixture
def looked(tmp_path: Path):
    with Store.open(f"sqlite:///{tmp_path}/harness.db") as store:
        progress = Progress.begin(store, tmp_path)
        progress.answer(12)
        from harness.pipeline import attempts, evaluation
        from harness.pipeline.seats import default_embedder, seat_judges

        attempts.begin_all(progress.session)
        judges = seat_judges(progress.session.experiment, default_embedder())
        yield progress.session, evaluation.evaluate(progress.session, judges, describe=False)


def other(evaluations):
    """The same with another outcome of the first criterion."""
    [item] = evaluations
    first, *rest = item.decision.results
    decision = replace(item.decision, results=(replace(first, outcome=Outcome.PASS), *rest))
    return [replace(item, reached=replace(item.reached, decision=decision))]


def test_every_criterion_is_kept_with_both_kinds_of_bounds(looked):
    session, evaluations = looked
    look_history.keep(session, evaluations, at=BEGAN)
    points = session.store.looks(session.run_id)
    results = {result.criterion.metric: result for result in evaluations[0].decision.results}
    assert {point.metric for point in points} == set(results)
    for point in points:
        result = results[point.metric]
        assert (point.value, point.low, point.high) == (
            result.estimate.value, result.estimate.low, result.estimate.high,
        )  # fmt: skip
        assert (point.strict_low, point.strict_high) == (result.strict.low, result.strict.high)
        assert (point.n, point.verdict) == (12, evaluations[0].decision.verdict.value)


def test_a_look_is_kept_when_it_is_time_or_when_it_says_something_else(looked):
    session, evaluations = looked
    history = LookHistory(session=session)
    old = BEGAN + timedelta(seconds=5_000)
    assert history.add(evaluations, at=old)
    assert not history.add(evaluations, at=old + timedelta(seconds=9))
    assert history.add(evaluations, at=old + timedelta(seconds=11))
    assert history.add(other(evaluations), at=old + timedelta(seconds=12))
    assert not history.add(other(evaluations), at=old + timedelta(seconds=13))
    assert len({point.at for point in session.store.looks(session.run_id)}) == 3


def test_what_is_kept_of_a_month_of_looks_is_bounded(looked):
    session, evaluations = looked
    history = LookHistory(session=session)
    session.store.put_looks = lambda run_id, points: None
    kept = sum(history.add(evaluations, at=BEGAN + timedelta(seconds=30 * look)) for look in range(1, 30 * 2_880, 7))
    assert 500 < kept < 3_500
