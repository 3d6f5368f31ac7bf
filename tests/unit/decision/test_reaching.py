"""How often one may look, at which alpha, and what little or odd evidence comes to."""

from dataclasses import replace

import numpy as np
import pytest

from harness.decision.reaching import reach
from harness.domain.decision import Outcome, Verdict
from harness.stats.multiplicity import spent
from tests.unit.decision.factory import NAN, arm, evidence, rule, rulebook

WIN = rule("win_rate", "above", 0.5)
SERVICE = (rule("latency_p95_ratio", "below", 1.2), rule("error_rate_difference", "below", 0.005))
NON_INFERIOR = (*SERVICE, rule("win_rate", "above", 0.48), rule("similarity_from_floor", "above", -0.01))


def wins(won: int, n: int) -> np.ndarray:
    """``won`` wins among ``n`` pairs, spread evenly over them."""
    return np.diff(np.arange(n + 1) * won // n).astype(float)


def outcome(won: int, n: int, *rules, **options) -> Outcome:
    return reach(evidence(n, wins=wins(won, n)), rulebook(*(rules or (WIN,)), **options)).decision.results[0].outcome


def least_pass(n: int, **options) -> int:
    return next(won for won in range(n // 2, n) if outcome(won, n, **options) is Outcome.PASS)


# At which alpha


def test_a_pass_is_decided_at_alpha_and_a_fail_at_alpha_over_the_number_of_required_criteria():
    rules = (WIN, *SERVICE, rule("similarity", "above", 0.9, required=False))
    [result, *_] = reach(evidence(1000, wins=wins(520, 1000)), rulebook(*rules)).decision.results
    assert (result.estimate.level, result.strict.level) == (pytest.approx(0.9), pytest.approx(1 - 0.1 / 3))
    assert result.strict.low < result.estimate.low < result.estimate.high < result.strict.high


def test_more_criteria_make_a_fail_harder_and_a_pass_no_harder():
    alone = next(won for won in range(500, 0, -1) if outcome(won, 1000) is Outcome.FAIL)
    three = next(won for won in range(500, 0, -1) if outcome(won, 1000, WIN, *SERVICE) is Outcome.FAIL)
    assert three < alone
    assert outcome(1000 - alone, 1000, WIN, *SERVICE) is Outcome.PASS


def test_a_later_attempt_has_to_show_more():
    needed = [least_pass(1000, attempt=j, attempt_alpha=spent(j)) for j in (1, 2, 5)]
    assert needed == sorted(set(needed))
    assert least_pass(1000) < needed[0]


def test_the_chance_of_a_wrong_go_is_on_record():
    terms = reach(evidence(10, wins=0.5), rulebook(WIN, attempt=2, attempt_alpha=0.0076)).decision.terms
    assert (terms.alpha, terms.pass_alpha, terms.attempt) == (0.05, 0.0076, 2)


# How often one looks


def test_looking_whenever_one_likes_has_to_show_more_than_looking_once():
    assert least_pass(1000, looks="one") < least_pass(1000, looks="planned", planned_looks=5) < least_pass(1000)


@pytest.mark.parametrize(
    ("looks", "n", "method"),
    [("one", 99, "clustered-mean-t"), ("any", 99, "betting-cs"), ("any", 100, "asymptotic-cs"),
     ("planned", 29, "betting-cs"), ("planned", 30, "group-sequential")],
)  # fmt: skip
def test_few_conversations_are_bet_on(looks, n, method):
    decision = reach(evidence(n, wins=wins(n // 2, n)), rulebook(WIN, looks=looks, planned_looks=1)).decision
    assert decision.results[0].estimate.method == method


def test_the_bounds_are_tightest_on_the_way_to_the_horizon():
    data = evidence(3000, wins=wins(1500, 3000))
    near, far = (reach(data, rulebook(WIN, horizon=n)).decision.results[0].estimate for n in (10_000, 10_000_000))
    assert far.low < near.low


def halves(first: float, second: float, n: int = 1000):
    """The first half of the pairs has one share of wins, the second another."""
    return np.concatenate([wins(round(share * n / 2), n // 2) for share in (first, second)])


def planned(scores, *, asked: int | None = None, looks: int = 2):
    n = len(scores)
    candidate = arm(n, unasked=range(n if asked is None else asked, n))
    data = evidence(n, candidate=candidate, wins=scores)
    return reach(data, rulebook(WIN, looks="planned", planned_looks=looks, horizon=n)).decision


def test_the_first_planned_look_that_settles_it_stands():
    decision = planned(halves(0.8, 0.1))
    assert decision.verdict is Verdict.GO
    assert (decision.terms.planned_look, decision.terms.n_look) == (1, 500)
    assert decision.results[0].estimate.value == pytest.approx(0.8)
    assert planned(halves(0.5, 0.8)).terms.planned_look == 2


def test_rows_after_a_planned_look_do_not_count_before_the_next():
    for later in (0.0, 0.5, 1.0):
        decision = planned(halves(0.5, later), asked=999)
        assert (decision.verdict, decision.terms.n_look) == (Verdict.INCONCLUSIVE, 500)
        assert decision.results[0].estimate.value == 0.5


def test_before_the_first_planned_look_nothing_is_decided():
    decision = planned(halves(1.0, 1.0), asked=499)
    assert (decision.verdict, decision.results[0].outcome) == (Verdict.INCONCLUSIVE, Outcome.NO_DATA)
    assert (decision.terms.planned_look, decision.terms.n_look) == (0, 0)
    assert planned(np.array([])).terms.planned_look == 0


def test_a_sample_smaller_than_the_horizon_is_looked_at_in_its_own_parts():
    data = evidence(400, wins=wins(300, 400))
    decision = reach(data, rulebook(WIN, looks="planned", planned_looks=4, horizon=10_000)).decision
    assert (decision.verdict, decision.terms.horizon) == (Verdict.GO, 400)
    assert decision.terms.n_look in {100, 200, 300, 400}


# Little evidence, and odd evidence


@pytest.mark.parametrize("looks", ["any", "planned", "one"])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_hardly_any_pair_decides_nothing(n, looks):
    data = evidence(n, wins=1.0, similarity=0.9)
    reached = reach(data, rulebook(*NON_INFERIOR, looks=looks, planned_looks=2), floor=data)
    assert reached.decision.verdict is Verdict.INCONCLUSIVE
    assert not {result.outcome for result in reached.decision.results} & {Outcome.PASS, Outcome.FAIL}


@pytest.mark.parametrize(("looks", "n"), [("any", 60), ("any", 2000), ("one", 60), ("one", 2000)])
def test_a_candidate_that_fails_every_request_is_no_go(looks, n):
    data = evidence(n, candidate=arm(n, failed=range(n)), wins=NAN, similarity=NAN)
    decision = reach(data, rulebook(*NON_INFERIOR, looks=looks), floor=evidence(n, similarity=0.9)).decision
    outcomes = {result.criterion.metric: result.outcome for result in decision.results}
    assert decision.verdict is Verdict.NO_GO
    assert outcomes["error_rate_difference"] is Outcome.FAIL
    assert outcomes["win_rate"] is outcomes["similarity_from_floor"] is Outcome.NO_DATA


def test_production_that_fails_too_is_not_held_against_the_candidate():
    n = 2000
    failing = arm(n, failed=range(0, n, 100), latency_ms=np.linspace(100, 200, n))
    data = evidence(n, production=failing, candidate=failing, wins=0.5, similarity=0.9)
    assert reach(data, rulebook(*NON_INFERIOR), floor=data).decision.verdict is Verdict.GO


def test_production_that_fails_alone_speaks_for_the_candidate():
    n = 2000
    data = evidence(n, production=arm(n, failed=range(0, n, 5)), wins=0.5)
    results = reach(data, rulebook(WIN, *SERVICE)).decision.results
    assert [result.outcome for result in results] == [Outcome.PASS] * 3
    assert results[1].estimate.value == 0.0


def test_unscored_answers_are_no_data():
    decision = reach(evidence(2000, wins=NAN), rulebook(WIN, *SERVICE)).decision
    assert [result.outcome for result in decision.results] == [Outcome.NO_DATA, Outcome.PASS, Outcome.PASS]
    assert decision.verdict is Verdict.INCONCLUSIVE
    assert decision.reasons[0].startswith("Win rate could not be measured: no value on 2,000 pairs")


@pytest.mark.parametrize("looks", ["any", "one"])
def test_scores_that_are_all_the_same_are_not_certain(looks):
    few, many = (evidence(n, wins=0.5, similarity=1.0) for n in (120, 3000))
    rules = (rule("win_rate", "above", 0.49), rule("similarity", "above", 0.999))
    undecided = reach(few, rulebook(*rules, looks=looks)).decision.results
    assert [result.outcome for result in undecided] == [Outcome.INCONCLUSIVE] * 2
    decided = reach(many, rulebook(rules[0], looks=looks)).decision.results[0]
    assert decided.outcome is Outcome.PASS
    assert decided.estimate.low < 0.5 < decided.estimate.high


@pytest.mark.parametrize(("n", "outcome"), [(300, Outcome.INCONCLUSIVE), (3000, Outcome.PASS)])
def test_no_error_seen_is_not_no_error_ever(n, outcome):
    [result] = reach(evidence(n), rulebook(rule("error_rate_difference", "below", 0.005))).decision.results
    assert (result.outcome, result.estimate.method) == (outcome, "betting-cs")


def test_rare_errors_are_bet_on_until_ten_pairs_are_discordant():
    n = 4000
    for failed, method in ((9, "betting-cs"), (10, "asymptotic-cs")):
        data = evidence(n, candidate=arm(n, failed=range(0, 100 * failed, 100)))
        [result] = reach(data, rulebook(rule("error_rate_difference", "below", 0.005))).decision.results
        assert result.estimate.method == method


# Beside the replica


def test_what_production_does_not_reach_itself_is_unattainable():
    n = 1000
    data, floor = (evidence(n, similarity=0.9 + 0.01 * wins(500, n)) for _ in range(2))
    strict, loose = rule("similarity", "above", 0.95), rule("similarity", "above", 0.9)
    reached = reach(data, rulebook(strict, loose), floor=floor)
    assert [result.outcome for result in reached.decision.results] == [Outcome.UNATTAINABLE, Outcome.PASS]
    assert reached.decision.verdict is Verdict.INCONCLUSIVE
    assert set(reached.floor) == {"similarity"}
    assert reach(data, rulebook(strict)).decision.verdict is Verdict.NO_GO


def test_a_candidate_that_passes_what_production_does_not_has_passed():
    n = 1000
    data, floor = (evidence(n, similarity=base + 0.01 * wins(500, n)) for base in (0.97, 0.9))
    [result] = reach(data, rulebook(rule("similarity", "above", 0.95)), floor=floor).decision.results
    assert result.outcome is Outcome.PASS


def test_a_replica_on_a_part_of_the_requests_is_enough():
    n = 4000
    rng = np.random.default_rng(2)
    likeness, again = 0.9 + 0.05 * rng.normal(size=(2, n))
    asked = np.arange(n) % 10 == 0
    floor = evidence(n, candidate=arm(n, unasked=np.flatnonzero(~asked)), similarity=np.where(asked, again, NAN))
    [result] = reach(evidence(n, similarity=likeness), rulebook(NON_INFERIOR[3]), floor=floor).decision.results
    assert result.estimate.n_clusters == 400
    assert result.estimate.n == n


def test_a_slice_that_loses_keeps_a_go_back():
    scores = np.concatenate([wins(180, 600), wins(2400, 3000)])
    topics = np.repeat(np.array(["code", "chat"], dtype=object), [600, 3000])
    data = evidence(3600, wins=scores, attributes={"topic": topics})
    reached = reach(data, rulebook(WIN))
    assert reached.decision.results[0].outcome is Outcome.PASS
    assert reached.decision.verdict is Verdict.INCONCLUSIVE
    assert [objection.kind for objection in reached.decision.objections] == ["slice"]
    assert [test.flagged for test in reached.slices] == [False, True]
    assert reach(data, rulebook(WIN, min_slice=601)).decision.verdict is Verdict.GO
    failing = replace(data, candidate=arm(3600, failed=range(1800)))
    assert reach(failing, rulebook(WIN, *SERVICE)).decision.verdict is Verdict.NO_GO
