import pytest

from harness.domain.decision import Decision, Verdict
from harness.pipeline.evaluation import overall


def decision(verdict: Verdict) -> Decision:
    return Decision(arm="a", verdict=verdict, sentence="", reasons=(), results=())


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([Verdict.GO], Verdict.GO),
        ([Verdict.GO, Verdict.GO], Verdict.GO),
        ([Verdict.GO, Verdict.INCONCLUSIVE], Verdict.INCONCLUSIVE),
        ([Verdict.GO, Verdict.NO_GO], Verdict.NO_GO),
        ([Verdict.INCONCLUSIVE, Verdict.NO_GO], Verdict.NO_GO),
        ([], Verdict.INCONCLUSIVE),
    ],
)
def test_the_exit_code_is_go_only_when_every_candidate_is(verdicts, expected):
    assert overall([decision(verdict) for verdict in verdicts]) is expected
