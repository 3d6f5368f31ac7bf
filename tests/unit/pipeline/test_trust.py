from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from harness.domain.decision import Decision, Verdict
from harness.pipeline.trust import ledger, left_because
from tests.unit.reports import rich


def reason(verdict, run_reason, *, looks="any", stop=True):
    decision = Decision(arm="a", verdict=verdict, sentence="", reasons=(), results=())
    experiment = SimpleNamespace(
        budget=SimpleNamespace(stop_when_settled=stop), decision=SimpleNamespace(looks=looks)
    )  # fmt: skip
    session = SimpleNamespace(run=SimpleNamespace(stop_reason=run_reason), experiment=experiment)
    return left_because(session, SimpleNamespace(decision=decision))


@pytest.mark.parametrize(
    ("verdict", "run_reason", "expected"),
    [
        (Verdict.GO, "settled", "settled"),
        (Verdict.GO, "budget", "settled"),  # the others went on until the budget was spent
        (Verdict.NO_GO, None, "settled"),  # the others were asked everything
        (Verdict.NO_GO, "out_of_reach", "settled"),
        (Verdict.INCONCLUSIVE, "out_of_reach", "out_of_reach"),
        (Verdict.INCONCLUSIVE, "budget", "budget"),
        (Verdict.INCONCLUSIVE, None, None),
    ],
)
def test_a_candidate_is_left_alone_for_its_own_reason(verdict, run_reason, expected):
    assert reason(verdict, run_reason) == expected


def test_where_a_decision_stops_nothing_the_run_says_why():
    assert reason(Verdict.GO, "budget", looks="one") == "budget"
    assert reason(Verdict.GO, "budget", stop=False) == "budget"


def test_an_attempt_that_is_not_entered_yet_begins_with_its_run():
    """With the clock's time, the same run would never render the same twice."""
    begun, entered = datetime(2026, 11, 1, tzinfo=UTC), rich.attempts("a")[:1]
    own = replace(rich.attempts("a")[1], begun_at=datetime.now(UTC))
    session = SimpleNamespace(
        experiment=SimpleNamespace(name="support"),
        run=SimpleNamespace(created_at=begun),
        store=SimpleNamespace(attempts=lambda family: list(entered) if family == "support/a" else []),
    )
    item = SimpleNamespace(arm=SimpleNamespace(family="a"), attempt=own)
    assert ledger(session, item) == (*entered, replace(own, begun_at=begun))
    item.attempt = entered[0]
    assert ledger(session, item) == entered
