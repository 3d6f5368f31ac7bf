from types import SimpleNamespace

import pytest

from harness.domain.decision import Decision, Verdict
from harness.pipeline.trust import left_because


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
