from dataclasses import replace

import numpy as np
import pytest

from harness.decision import metrics
from harness.decision import side_by_side as compared
from harness.decision.contests import contests_of
from harness.domain.metrics import EXACT_MATCH, METRICS, SIMILARITY, WIN_RATE
from harness.stats.looks import AnyLook
from tests.unit.decision import factory
from tests.unit.decision.factory import NAN

JUDGES = {"judge": WIN_RATE, "embedder": SIMILARITY}


def field(judges=None, **candidates):
    judges = judges or JUDGES
    estimates = {
        name: metrics.estimates(evidence, level=0.95, judge_metrics=judges) for name, evidence in candidates.items()
    }
    return compared.Field(evidence=candidates, estimates=estimates, judge_metrics=judges)


def verdicts(n, share, seed):
    """Ones, halves and zeros with this mean."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < 0.3, 0.5, (rng.random(n) < (share - 0.15) / 0.7).astype(float))


def sets(candidates):
    return {item.metric: item for item in compared.best_sets(candidates)}


def test_the_one_that_is_ahead_on_every_request_is_the_best_alone():
    n = 200
    found = sets(
        field(
            good=factory.evidence(n, wins=verdicts(n, 0.8, 1)),
            bad=factory.evidence(n, wins=verdicts(n, 0.3, 2)),
            worse=factory.evidence(n, wins=verdicts(n, 0.2, 3)),
        )
    )["win_rate"]
    assert found.best == ("good",)
    assert set(found.beaten_by) == {"bad", "worse"}
    assert (found.told, found.n, found.confidence) == (True, n, 0.95)


def test_equal_candidates_cannot_be_told_apart_on_anything():
    n = 120
    same = factory.evidence(n, wins=verdicts(n, 0.5, 1), similarity=0.9)
    found = sets(field(one=same, two=replace(same, arm="two")))
    assert set(found) >= {
        "win_rate", "win_rate_given_answer", "similarity", "latency_p50", "latency_p95", "latency_p95_ratio",
        "ttft_p95_ratio", "error_rate", "error_rate_difference", "cost_per_1k", "cost_ratio", "tokens_in_ratio",
    }  # fmt: skip
    assert not any(item.told for item in found.values())


@pytest.mark.parametrize(
    ("metric", "better"),
    [
        ("latency_p50", {"latency_ms": 50.0}),
        ("latency_p95_ratio", {"latency_ms": 50.0}),
        ("ttft_p50_ratio", {"ttft_ms": 10.0}),
        ("cost_per_1k", {"cost_usd": 0.0001}),
        ("cost_ratio", {"cost_usd": 0.0001}),
        ("tokens_in_ratio", {"tokens_in": 8.0}),
    ],
)
def test_lower_is_better_where_it_is(metric, better):
    n = 300
    found = sets(field(dear=factory.evidence(n), cheap=factory.evidence(n, candidate=factory.arm(n, **better))))[metric]
    assert (found.best, found.beaten_by) == (("cheap",), {"dear": "cheap"})


def test_failures_count_against_whoever_failed():
    n = 300
    steady = factory.evidence(n, wins=0.5)
    shaky = factory.evidence(n, wins=0.5, candidate=factory.arm(n, failed=range(60)))
    found = sets(field(steady=steady, shaky=shaky))
    for metric in ("win_rate", "error_rate", "error_rate_difference", "error_rate_server_error_difference"):
        assert found[metric].best == ("steady",), metric
    # With a fifth of its requests failed, 95 of 100 were never answered.
    assert found["latency_p95"].best == ("steady",)
    assert not found["win_rate_given_answer"].told
    assert "error_rate_timeout_difference" not in found


def test_what_correct_a_judge_or_has_no_better_side_is_not_compared():
    known = contests_of(JUDGES)
    for name in ("win_rate_corrected", "win_rate_length_controlled", "win_rate_from_floor", "similarity_from_floor",
                 "length_difference", "tokens_out_ratio", "coverage"):  # fmt: skip
        assert name not in known
        assert name in METRICS


def test_a_second_judge_of_a_kind_has_a_best_set_of_its_own():
    n = 150
    judges = {"judge": WIN_RATE, "second": WIN_RATE}
    one, two = factory.evidence(n, wins=1.0), factory.evidence(n, wins=0.0)
    one, two = (replace(e, scores=e.scores | {"second": e.scores["judge"]}) for e in (one, two))
    found = sets(field(judges, one=one, two=two))
    assert found["win_rate:second"].best == ("one",)
    assert found["win_rate_given_answer:second"].best == ("one",)


def test_candidates_are_compared_on_the_requests_they_share():
    n = 400
    early = factory.evidence(n, wins=np.where(np.arange(n) < 100, 0.0, NAN),
                             candidate=factory.arm(n, unasked=range(100, n)))  # fmt: skip
    whole = factory.evidence(n, wins=np.where(np.arange(n) < 100, 1.0, 0.0))
    found = sets(field(early=early, whole=whole))["win_rate"]
    assert found.best == ("whole",)
    assert found.n == 100


def test_a_candidate_without_a_value_is_left_out_and_without_two_there_is_no_set():
    n = 100
    one, two = factory.evidence(n, wins=1.0), factory.evidence(n, wins=0.0)
    nobody = factory.evidence(n)
    found = sets(field(one=one, nobody=nobody, two=two))["win_rate"]
    assert found.arms == ("one", "two")
    assert "win_rate" not in sets(field(one=one, nobody=nobody))


def test_more_looks_need_more():
    n = 150
    one, two = factory.evidence(n, wins=verdicts(n, 0.56, 1)), factory.evidence(n, wins=verdicts(n, 0.45, 2))
    once = field(one=one, two=two)
    often = replace(once, looks=AnyLook())
    assert sets(once)["win_rate"].told
    assert not sets(often)["win_rate"].told
    assert {item.looks for item in compared.best_sets(often)} == {"any"}


def test_quality_is_a_preference_that_can_be_believed():
    n = 60
    data = factory.evidence(n, wins=0.5, similarity=0.9)
    candidates = field(one=data, two=replace(data, arm="two"))
    assert compared.quality_of(candidates) == ("win_rate", "judge")
    assert compared.quality_of(replace(candidates, unusable=frozenset({"judge"}))) == ("similarity", "embedder")
    bare = factory.evidence(n)
    assert compared.quality_of(field(one=bare, two=replace(bare, arm="two"))) == ("", "")


def test_the_frontier_leaves_out_who_is_dearer_and_no_better():
    n = 200

    def of(wins, cost, latency):
        return factory.evidence(n, wins=wins, candidate=factory.arm(n, cost_usd=cost, latency_ms=latency))

    candidates = field(best=of(0.9, 0.003, 300.0), cheap=of(0.4, 0.0002, 90.0), outdone=of(0.3, 0.002, 500.0))
    cost, speed = compared.frontiers(candidates, "win_rate")
    assert (cost.against, cost.arms) == ("cost_per_1k", ("cheap", "production", "best"))
    assert (cost.production_quality, cost.production_against) == (0.5, pytest.approx(1.0))
    assert (speed.against, speed.arms) == ("latency_p95", ("cheap", "production", "best"))


def test_likeness_gives_production_no_place():
    n = 100
    data = factory.evidence(n, similarity=0.9)
    candidates = field({"embedder": SIMILARITY}, one=data, two=replace(data, arm="two"))
    [cost, _] = compared.frontiers(candidates, "similarity")
    assert cost.production_quality is None
    assert cost.arms == ("one", "two")


def test_where_the_slowest_are_infinite_the_median_stands_in():
    n = 200
    one, two = (factory.evidence(n, wins=0.5, candidate=factory.arm(n, failed=range(30))) for _ in range(2))
    assert [f.against for f in compared.frontiers(field(one=one, two=two), "win_rate")] == [
        "cost_per_1k",
        "latency_p50",
    ]


def test_unknown_cost_is_no_picture_of_cost():
    n = 50
    one, two = (factory.evidence(n, wins=0.5, candidate=factory.arm(n, cost_usd=NAN)) for _ in range(2))
    assert [f.against for f in compared.frontiers(field(one=one, two=two), "win_rate")] == ["latency_p95"]


def test_a_duel_compares_scores_of_the_same_request_where_both_answered():
    wins = np.array([1.0, 1.0, 0.5, 0.0, 1.0, NAN])
    other = np.array([0.0, 1.0, 0.0, 0.5, 0.0, 1.0])
    one = factory.evidence(6, wins=wins)
    two = factory.evidence(6, wins=other, candidate=factory.arm(6, failed=[4]))
    duel, turned = compared.duels(field(one=one, two=two), "judge")
    assert (duel.first, duel.second, duel.n) == ("one", "two", 4)
    assert (duel.first_better, duel.same, duel.second_better) == (2, 1, 1)
    assert duel.share.value == pytest.approx((2 + 0.5) / 4)
    assert duel.share.low < 0.5 < duel.share.high
    assert not duel.told
    assert (turned.first, turned.first_better, turned.second_better, turned.n) == ("two", 1, 2, 4)
    assert (turned.share.value, turned.share.low) == pytest.approx((1 - duel.share.value, 1 - duel.share.high))


def test_a_duel_that_is_told_and_one_without_a_common_score():
    n = 60
    one, two = factory.evidence(n, wins=1.0), factory.evidence(n, wins=0.0)
    nobody = factory.evidence(n, wins=NAN)
    found = {(d.first, d.second): d for d in compared.duels(field(one=one, two=two, nobody=nobody), "judge")}
    assert found["one", "two"].told
    assert found["one", "two"].share.low > 0.5
    assert (found["one", "nobody"].n, found["one", "nobody"].share, found["one", "nobody"].told) == (0, None, False)


def sliced(n, wins, plans, seed):
    rng = np.random.default_rng(seed)
    column = np.array(plans, dtype=object)
    rate = np.array([wins[plan] for plan in plans])
    return factory.evidence(n, wins=(rng.random(n) < rate).astype(float), attributes={"plan": column})


def test_every_slice_has_its_own_best_and_small_ones_have_none():
    plans = ["free"] * 300 + ["team"] * 300 + ["trial"] * 30 + ["gone"] * 3
    one = sliced(633, {"free": 0.8, "team": 0.2, "trial": 0.5, "gone": 0.5}, plans, 1)
    two = sliced(633, {"free": 0.3, "team": 0.7, "trial": 0.5, "gone": 0.5}, plans, 2)
    found, tested = compared.slices(field(one=one, two=two), "win_rate", min_slice=200, shown_from=20)
    by_value = {item.value: item for item in found}
    assert tested == 2
    assert by_value["free"].best.best == ("one",)
    assert by_value["team"].best.best == ("two",)
    assert by_value["free"].best.confidence == pytest.approx(0.975)
    assert (by_value["trial"].n, by_value["trial"].best) == (30, None)
    assert by_value["trial"].estimates["one"].n == 30
    assert "gone" not in by_value


def test_without_quality_or_attributes_there_is_no_slice():
    data = factory.evidence(50, wins=0.5, attributes={"plan": np.full(50, "free", dtype=object)})
    candidates = field(one=data, two=replace(data, arm="two"))
    assert compared.slices(candidates, "win_rate", min_slice=5, shown_from=5) == ((), 0)
    assert compared.slices(candidates, "", min_slice=5, shown_from=5) == ((), 0)


def test_yes_or_no_scores_are_compared_as_shares():
    n = 200
    judges = {"exact": EXACT_MATCH}

    def of(values):
        data = factory.evidence(n)
        from harness.stats.evidence import ScoreColumn

        return replace(data, scores={"exact": ScoreColumn.unordered("exact_match", values)})

    one, two = of((np.arange(n) < 150).astype(float)), of((np.arange(n) < 100).astype(float))
    candidates = field(judges, one=one, two=two)
    assert sets(candidates)["exact_match"].best == ("one",)
    contest = contests_of(judges)["exact_match"]
    found = contest.compare(candidates.scopes["one"], candidates.scopes["two"], 0.95)
    assert found.method == "tango"
    assert found.value == pytest.approx(0.25)
