import math

import numpy as np
import pytest

from harness.decision import metrics
from harness.domain.metrics import EXACT_MATCH, SIMILARITY
from harness.stats.evidence import ScoreColumn
from harness.stats.looks import ONE_LOOK, AnyLook
from tests.unit.decision.factory import JUDGES, NAN, arm, evidence


def distances(data, floor, *, looks=ONE_LOOK, judges=JUDGES):
    return metrics.estimates(data, level=0.95, judge_metrics=judges, looks=looks, floor=floor)


def test_without_a_replica_there_is_no_distance_and_the_remedy_is_named():
    found = distances(evidence(4, wins=0.5, similarity=0.9), None)
    for name in ("similarity_from_floor", "win_rate_from_floor", "latency_p95_ratio_from_floor"):
        assert found[name].value is None
        assert found[name].notes == ("production was not asked again; add `replica:` to the experiment",)


def test_where_every_request_is_repeated_it_is_the_paired_difference():
    candidate, replica = np.array([0.9, 0.8, 0.7, 0.9]), np.array([0.95, 0.9, 0.9, 0.9])
    found = distances(evidence(4, similarity=candidate), evidence(4, similarity=replica))["similarity_from_floor"]
    assert found.value == pytest.approx(np.mean(candidate - replica))
    assert (found.candidate, found.production) == (pytest.approx(0.825), pytest.approx(0.9125))
    assert found.std_error == pytest.approx(np.std(candidate - replica, ddof=1) / 2)


def test_where_a_part_is_repeated_the_other_rows_sharpen_the_difference():
    candidate = np.array([0.9, 0.8, 0.7, 0.9, 0.6, 0.7])
    replica = np.array([0.95, 0.9, 0.9, 0.9, NAN, NAN])
    floor = evidence(6, candidate=arm(6, unasked=(4, 5)), similarity=replica)
    found = distances(evidence(6, similarity=candidate), floor)["similarity_from_floor"]
    gap, own = (candidate - replica)[:4], candidate[:4]
    slope = np.cov(gap, own, ddof=0)[0, 1] / np.var(own)
    assert 0 < slope < 1
    assert found.value == pytest.approx(gap.mean() + slope * (candidate.mean() - own.mean()))
    assert (found.n, found.n_clusters, found.extra["n_part"]) == (6, 4, 4)


def test_answers_that_are_far_off_are_counted_beside_those_of_production():
    data = evidence(10, similarity=np.repeat([0.79, 0.8], [4, 6]))
    found = distances(data, evidence(10, similarity=np.repeat([0.1, 0.9], [1, 9])))["dissimilar_rate_from_floor"]
    assert found.value == pytest.approx(0.4 - 0.1)
    assert (found.candidate, found.production) == (pytest.approx(0.4), pytest.approx(0.1))


def test_exact_matches_beside_those_of_production():
    def matching(*values):
        return evidence(4, scores={"exact": ScoreColumn.unordered("exact_match", np.array(values))})

    found = distances(matching(1, 0, 0, 0.0), matching(1, 1, 1, 0.0), judges={"exact": EXACT_MATCH})
    assert found["exact_match_from_floor"].value == pytest.approx(-0.5)


def test_failures_settle_preferences_on_both_sides_and_say_nothing_about_similarity():
    data = evidence(10, candidate=arm(10, failed=(0, 1)), wins=0.5, similarity=0.9)
    floor = evidence(10, candidate=arm(10, failed=(0,)), wins=0.5, similarity=0.95)
    found = distances(data, floor)
    # Two losses among ten beside one: 0.4 against 0.45.
    assert found["win_rate_from_floor"].value == pytest.approx(-0.05)
    assert found["similarity_from_floor"].value == pytest.approx(-0.05)
    assert (found["similarity_from_floor"].n, found["similarity_from_floor"].extra["n_part"]) == (8, 8)


def test_an_identical_candidate_is_at_no_distance_however_often_it_fails():
    failing = arm(60, failed=range(10))
    data, floor = (evidence(60, candidate=failing, wins=0.5, similarity=0.9) for _ in range(2))
    found = distances(data, floor)
    for name in ("win_rate_from_floor", "similarity_from_floor", "dissimilar_rate_from_floor"):
        assert found[name].value == 0.0
        assert found[name].low < 0 < found[name].high


def test_latency_is_held_against_the_replica_and_not_against_what_was_recorded():
    slow = {"latency_ms": np.linspace(200, 399, 400)}
    data = evidence(400, production=arm(400, latency_ms=1.0), candidate=arm(400, **slow))
    found = distances(data, evidence(400, candidate=arm(400, latency_ms=np.linspace(100, 199.5, 400))))
    assert found["latency_p95_ratio_from_floor"].value == pytest.approx(2.0)
    assert found["latency_p95_ratio"].value > 300


def test_replica_failures_are_infinite_and_its_cache_hits_are_left_out():
    replica = arm(100, failed=range(10), cache_hit=np.arange(100) >= 80)
    found = distances(evidence(100), evidence(100, candidate=replica))["latency_p95_ratio_from_floor"]
    assert (found.value, found.production, found.n) == (0.0, math.inf, 80)


def test_a_second_judge_of_a_kind_has_a_distance_of_its_own():
    def both(first, second):
        return evidence(
            4,
            scores={
                name: ScoreColumn.unordered("similarity", np.full(4, value))
                for name, value in (("small", first), ("large", second))
            },
        )

    judges = {"small": SIMILARITY, "large": SIMILARITY}
    found = distances(both(0.9, 0.7), both(0.8, 0.8), judges=judges)
    assert found["similarity_from_floor"].value == pytest.approx(0.1)
    assert found["similarity_from_floor:large"].value == pytest.approx(-0.1)
    assert set(metrics.catalogue(judges)) >= {"similarity_from_floor:large", "dissimilar_rate_from_floor:large"}


def test_more_looks_make_it_wider():
    rng = np.random.default_rng(3)
    data, floor = (evidence(400, similarity=0.9 + 0.02 * rng.normal(size=400)) for _ in range(2))
    once, often = (distances(data, floor, looks=looks)["similarity_from_floor"] for looks in (ONE_LOOK, AnyLook()))
    assert often.value == once.value
    assert often.low < once.low < once.high < often.high
    assert (once.method, often.method) == ("clustered-mean-t two-phase", "asymptotic-cs two-phase")
