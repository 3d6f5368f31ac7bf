"""Judges that are not to be believed, people who say otherwise, and wins by length alone."""

import numpy as np
import pytest

from harness.decision.reaching import Rulebook, reach
from harness.domain.decision import Outcome, Terms, Verdict
from harness.domain.health import HealthCheck, HealthState, JudgeHealth
from harness.domain.metrics import SIMILARITY, WIN_RATE
from tests.unit.decision.factory import NAN, arm, evidence, labels, rule, rulebook

WIN = rule("win_rate", "above", 0.5)


def health(judge: str, *failed: str) -> dict[str, JudgeHealth]:
    checks = [HealthCheck(name="flips", title="Flips", state=HealthState.WARN, sentence="Often.")]
    checks += [
        HealthCheck(name=name, title=name, state=HealthState.FAIL, sentence=f"It fell for {name}.", remedy="Change it.")
        for name in failed
    ]
    return {judge: JudgeHealth(judge=judge, checks=tuple(checks))}


# Health


def test_a_judge_that_failed_a_check_decides_nothing():
    data = evidence(1000, wins=np.tile([1.0, 1.0, 0.0], 334)[:1000])
    assert reach(data, rulebook(WIN), health=health("judge")).decision.verdict is Verdict.GO
    decision = reach(data, rulebook(WIN), health=health("judge", "injection")).decision
    [result] = decision.results
    assert (decision.verdict, result.outcome, result.objection.kind) == (
        Verdict.INCONCLUSIVE, Outcome.INCONCLUSIVE, "judge")  # fmt: skip
    assert result.reason.endswith(
        "above 50% as required. It does not count: judge judge failed a check of its health: It fell for injection."
    )
    assert result.objection.remedy == "Change it."


def test_several_failed_checks_are_one_objection():
    failed = health("judge", "injection", "position")
    [result] = reach(evidence(1000, wins=1.0), rulebook(WIN), health=failed).decision.results
    assert result.objection.sentence == (
        "judge judge failed 2 checks of its health: It fell for injection. It fell for position."
    )


def test_an_unhealthy_judge_cannot_convict_either():
    decision = reach(evidence(1000, wins=0.0), rulebook(WIN), health=health("judge", "injection")).decision
    assert decision.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("metric", "judge", "held"),
    [
        ("win_rate", "judge", True),
        ("win_rate_given_answer", "judge", True),
        ("win_rate_length_controlled", "judge", True),
        ("win_rate_from_floor", "judge", True),
        ("win_rate", "embedder", False),
        ("win_rate:second", "judge", False),
        ("win_rate:second", "second", True),
        ("win_rate_given_answer:second", "second", True),
        ("similarity_from_floor", "embedder", True),
        ("dissimilar_rate_from_floor", "embedder", True),
        ("error_rate_difference", "judge", False),
    ],
)
def test_health_concerns_what_rests_on_the_judge(metric, judge, held):
    judges = {"judge": WIN_RATE, "embedder": SIMILARITY, "second": WIN_RATE}
    found = reach(
        evidence(300, wins=1.0, similarity=0.9),
        rulebook(rule(metric, "at_least", -1.0), judges=judges),
        health=health(judge, "injection"),
    )
    objection = found.decision.results[0].objection
    assert (objection is not None) is held


# People


def labelled(n: int, labels_: int, *, judge: float, people: float, agree: bool = True, **fields):
    """A judge's and people's share of wins, apart from each other or alike on labelled rows."""
    wins = np.zeros(n)
    wins[: round(judge * labels_)] = 1.0
    wins[labels_ : labels_ + round(judge * (n - labels_))] = 1.0
    said = np.zeros(labels_)
    won = round(people * labels_)
    order = np.arange(labels_) if agree else np.argsort(np.arange(labels_) * 7919 % labels_, kind="stable")
    said[order[:won]] = 1.0
    people_ = np.full(n, NAN)
    people_[:labels_] = said
    return evidence(n, wins=wins, labels=labels(people_, probability=fields.pop("probability", 0.1)), **fields)


def test_people_who_agree_leave_the_decision_to_the_judge():
    reached = reach(labelled(3000, 300, judge=0.6, people=0.6), rulebook(WIN))
    assert reached.decision.verdict is Verdict.GO
    assert reached.decision.results[0].estimate.method == "asymptotic-cs"
    assert reached.bias["judge"].value == 0.0


def test_a_bias_voids_the_judges_own_rate():
    data = labelled(3000, 300, judge=0.7, people=0.4)
    reached = reach(data, rulebook(WIN))
    [result] = reached.decision.results
    assert reach(labelled(3000, 49, judge=0.7, people=0.4), rulebook(WIN)).decision.verdict is Verdict.GO
    assert result.estimate.value == pytest.approx(0.4, abs=0.01)
    assert (result.estimate.method, reached.decision.verdict) == ("ppi", Verdict.NO_GO)
    assert reached.bias["judge"].value == pytest.approx(-0.3)
    assert result.estimate.notes[-1].startswith("people score -30.00 points beside judge judge")
    assert result.strict.method == "ppi"
    assert result.strict is result.estimate or result.strict.high >= result.estimate.high


def test_labels_of_picked_pairs_change_nothing():
    data = labelled(3000, 300, judge=0.7, people=0.4, probability=NAN)
    reached = reach(data, rulebook(WIN))
    assert (reached.decision.verdict, dict(reached.bias)) == (Verdict.GO, {})


def test_from_a_thousand_labels_on_people_decide():
    few, many = (
        reach(labelled(4000, n, judge=0.6, people=0.6, agree=False), rulebook(WIN)).decision.results[0].estimate
        for n in (999, 1000)
    )
    assert (few.method, many.method) == ("asymptotic-cs", "ppi")
    assert many.notes[-1] == "1,000 labels of people decide, not the judge alone"


def test_people_who_contradict_hold_the_decision_back():
    # A judge that people's verdicts have nothing to do with: not enough labels to call it biased, enough to be sure
    # that the rate lies beyond the threshold.
    n, said = 20_000, 900
    data = labelled(n, said, judge=0.51, people=0.471, agree=False)
    decision = reach(data, rulebook(WIN, looks="one")).decision
    [result] = decision.results
    assert (decision.verdict, result.outcome) == (Verdict.INCONCLUSIVE, Outcome.INCONCLUSIVE)
    assert result.objection.kind == "people"
    assert result.objection.sentence.startswith("900 labels of people put it at 47.1")
    assert "beyond the threshold that judge judge sees it clear" in result.reason


def test_a_rate_that_labels_decide_does_not_rest_on_the_judges_health():
    corrected = labelled(4000, 1200, judge=0.6, people=0.6)
    assert reach(corrected, rulebook(WIN), health=health("judge", "injection")).decision.verdict is Verdict.GO
    own = rule("win_rate_corrected", "above", 0.5)
    few = labelled(4000, 300, judge=0.6, people=0.6)
    assert reach(few, rulebook(own), health=health("judge", "injection")).decision.verdict is Verdict.GO


def test_fewer_than_fifty_labels_correct_no_criterion():
    own = rule("win_rate_corrected", "above", 0.5)
    [result] = reach(labelled(3000, 49, judge=0.9, people=0.9), rulebook(own)).decision.results
    assert result.outcome is Outcome.INCONCLUSIVE
    assert result.reason.endswith("has no interval to hold against above 50%; fewer than 50 labels.")


# Length


def by_length(n: int, **fields):
    """Longer answers win and shorter ones lose; three of four are longer."""
    longer = np.arange(n) % 4 > 0
    noise = np.arange(n) % 10 == 0
    wins = np.where(noise, ~longer, longer).astype(float)
    chars = np.where(longer, 80.0, 20.0)
    return evidence(n, candidate=arm(n, answer_chars=chars), wins=wins, **fields)


def test_a_win_by_length_alone_is_held_back():
    decision = reach(by_length(2000), rulebook(rule("win_rate", "above", 0.7))).decision
    [result] = decision.results
    assert (decision.verdict, result.objection.kind) == (Verdict.INCONCLUSIVE, "length")
    assert "at equal length it would be" in result.reason
    assert "on the other side of 70%" in result.reason


def test_length_does_not_matter_where_the_side_stays_the_same():
    assert reach(by_length(2000), rulebook(rule("win_rate", "above", 0.3))).decision.verdict is Verdict.GO


def test_people_settle_what_length_did():
    said = np.full(2400, NAN)
    said[:1200] = np.tile([1.0, 1.0, 1.0, 0.0], 300)
    data = by_length(2400, labels=labels(said))
    decision = reach(data, rulebook(rule("win_rate", "above", 0.7))).decision
    assert (decision.verdict, decision.results[0].estimate.method) == (Verdict.GO, "ppi")


def test_the_rulebook_counts_required_criteria():
    rules = (WIN, rule("coverage", "above", 10, required=False), rule("error_rate", "below", 0.1))
    terms = Terms(profile="x", looks="one", alpha=0.05)
    assert Rulebook(criteria=rules, terms=terms).n_required == 2
    assert Rulebook(criteria=(), terms=terms).n_required == 1
