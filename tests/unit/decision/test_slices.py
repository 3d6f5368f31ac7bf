import numpy as np
import pytest

from harness.decision import metrics, slices
from harness.domain.slices import SliceTest
from harness.stats.looks import ONE_LOOK, AnyLook, PlannedLooks
from tests.unit.decision.factory import JUDGES, arm, evidence, rule

WIN = rule("win_rate", "above", 0.48)


def sliced(*parts: tuple[str, int, float], seed: int = 1, **fields):
    """One slice after the other: its value, its pairs and its share of wins."""
    rng = np.random.default_rng(seed)
    wins = np.concatenate([(rng.random(n) < share).astype(float) for _, n, share in parts])
    values = np.repeat(np.array([name for name, _, _ in parts], dtype=object), [n for _, n, _ in parts])
    return evidence(len(wins), wins=wins, attributes={"topic": values}, **fields)


ANY = AnyLook()


def examine(data, *criteria, looks=ANY, min_pairs=200, q=0.1):
    return slices.examine(
        data, criteria or (WIN,), judge_metrics=JUDGES, looks=looks, min_pairs=min_pairs, false_discoveries=q
    )


LOSING = sliced(("code", 600, 0.3), ("chat", 600, 0.5), ("poems", 600, 0.55))


@pytest.mark.parametrize("looks", [ONE_LOOK, AnyLook(), PlannedLooks((0.5, 1.0))])
def test_a_slice_that_loses_is_flagged_and_the_others_are_not(looks):
    found = examine(LOSING, looks=looks)
    assert [(test.value, test.flagged) for test in found] == [("chat", False), ("code", True), ("poems", False)]
    assert (found[1].attribute, found[1].metric, found[1].n) == ("topic", "win_rate", 600)
    assert found[1].estimate == pytest.approx(np.mean(LOSING.scores["judge"].value[:600]))


def test_one_look_gives_adjusted_p_values_and_more_looks_e_values():
    once, often = examine(LOSING, looks=ONE_LOOK), examine(LOSING)
    assert once[1].evidence < 0.001
    assert once[0].evidence > 0.5
    assert often[1].evidence > 1000
    assert often[0].evidence < 3


def test_small_slices_are_not_tested_and_neither_is_a_single_one():
    data = sliced(("code", 199, 0.1), ("chat", 200, 0.5), ("", 500, 0.1))
    assert [test.value for test in examine(data)] == ["chat"]
    assert examine(sliced(("code", 600, 0.1), ("", 600, 0.5))) == ()
    assert examine(evidence(600, wins=0.0)) == ()


def test_pairs_without_a_value_do_not_make_a_slice_large_enough():
    data = sliced(("code", 300, 0.1), ("chat", 300, 0.5), candidate=arm(600, unasked=range(150)))
    assert [test.value for test in examine(data)] == ["chat"]


def test_only_required_criteria_with_a_standard_error_are_tested():
    advisory = rule("win_rate", "above", 0.48, required=False)
    assert examine(LOSING, advisory) == ()
    assert examine(LOSING, rule("latency_p95_ratio", "below", 1.2)) == ()
    assert {test.metric for test in examine(LOSING, WIN, rule("error_rate_difference", "below", 0.005))} == {
        "win_rate",
        "error_rate_difference",
    }


def test_a_slice_that_fails_more_often_is_flagged_on_errors():
    data = sliced(("code", 600, 0.5), ("chat", 600, 0.5), candidate=arm(1200, failed=range(0, 600, 10)))
    found = examine(data, rule("error_rate_difference", "below", 0.005))
    assert [(test.value, test.estimate, test.flagged) for test in found] == [("chat", 0.0, False), ("code", 0.1, True)]


def test_a_slice_that_loses_every_pair_is_flagged_though_its_scores_never_vary():
    data = sliced(("code", 200, 0.0), ("chat", 400, 0.5))
    [chat, code] = examine(data)
    assert (code.estimate, code.flagged, chat.flagged) == (0.0, True, False)
    assert np.isfinite(code.evidence)


def test_conversations_and_not_rows_are_counted():
    rows, copies = sliced(("code", 300, 0.42), ("chat", 300, 0.5), seed=4), np.repeat(np.arange(600), 10)
    single, repeated = examine(rows)[1], examine(rows.take(copies))[1]
    assert repeated.n == 10 * single.n
    assert repeated.evidence == pytest.approx(single.evidence)


def test_many_false_discoveries_allowed_is_still_a_rule():
    data = sliced(("code", 300, 0.2), ("chat", 100, 0.5))
    assert examine(data, q=0.9)[0].flagged


def flagged(value: str, *, metric="win_rate", estimate=0.4) -> SliceTest:
    return SliceTest(
        attribute="topic", value=value, metric=metric, n=1234, estimate=estimate, evidence=50.0, flagged=True
    )


DESCRIBED = metrics.catalogue(JUDGES)


def test_flagged_slices_are_one_objection_with_their_figures():
    [objection] = slices.objections([flagged("code"), flagged("chat", estimate=0.45)], DESCRIBED)
    assert (objection.kind, objection.metric) == ("slice", None)
    assert objection.sentence == (
        "2 slices lose where the whole does not: topic chat (win rate 45.00% on 1,234 pairs); "
        "topic code (win rate 40.00% on 1,234 pairs)."
    )
    assert objection.remedy.startswith("Look at their examples")


def test_many_flagged_slices_are_counted_after_the_fifth():
    [objection] = slices.objections([flagged(f"t{i}") for i in range(7)], DESCRIBED)
    assert objection.sentence.startswith("7 slices lose")
    assert objection.sentence.endswith("and 2 more.")
    assert objection.sentence.count("topic t") == 5


def test_nothing_flagged_is_no_objection():
    assert slices.objections(examine(sliced(("a", 300, 0.5), ("b", 300, 0.5))), DESCRIBED) == ()
