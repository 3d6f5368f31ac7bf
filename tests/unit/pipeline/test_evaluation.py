import pytest

from harness.domain.decision import Decision, Verdict
from harness.pipeline import attempts, evaluation
from harness.pipeline.evaluation import overall
from harness.pipeline.seats import default_embedder, seat_judges
from harness.store import Store, evidence
from tests.dashboards import Progress


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


def test_what_comes_in_while_the_arms_are_read_is_left_for_the_next_look(tmp_path, monkeypatch):
    """Candidate and replica are read one after the other; rows of one without a counterpart would be no pair."""
    replica = {"model": "openai/big", "share": 1.0}
    with Store.open(f"sqlite:///{tmp_path}/harness.db") as store:
        progress = Progress.begin(store, tmp_path, replica=replica)
        progress.answer(12)
        judges = seat_judges(progress.session.experiment, default_embedder())
        attempts.begin_all(progress.session)
        read = evidence._arm
        arms = []

        def growing(connection, run_id, arm, *rest):
            found = read(connection, run_id, arm, *rest)
            arms.append(arm)
            progress.answer(1)
            return found

        monkeypatch.setattr(evidence, "_arm", growing)
        candidate, replicated = evaluation.evaluate(progress.session, judges)
        assert store.count_exchanges(progress.session.run_id) == 15, "something did come in between"
    assert arms == ["production", candidate.arm.name, replicated.arm.name], "production is read once for both"
    assert candidate.decision is not None
    for name in ("exchange_ids", "clusters", "timestamps", "production", "attributes"):
        assert getattr(candidate.evidence, name) is getattr(replicated.evidence, name)
    for found in (candidate.evidence, replicated.evidence):
        assert found.n == found.candidate.completed.sum() == 12
