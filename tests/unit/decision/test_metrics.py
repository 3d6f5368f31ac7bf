import math
from dataclasses import replace

import numpy as np
import pytest

from harness.decision import metrics
from harness.domain.estimate import Direction, Metric, Unit
from harness.domain.metrics import EXACT_MATCH, LENGTH_DIFFERENCE, SIMILARITY, WIN_RATE
from harness.stats.evidence import ArmColumns, Evidence, ScoreColumn

NAN = float("nan")


def arm(n: int, **columns) -> ArmColumns:
    defaults = {
        "status": ["completed"] * n,
        "error_kind": [""] * n,
        "latency_ms": [100.0] * n,
        "ttft_ms": [20.0] * n,
        "tokens_in": [10.0] * n,
        "tokens_out": [5.0] * n,
        "cost_usd": [0.001] * n,
        "answer_chars": [50.0] * n,
        "cache_hit": [False] * n,
    }
    types = {"status": object, "error_kind": object, "cache_hit": np.bool_}
    return ArmColumns(
        **{key: np.array(value, dtype=types.get(key, np.float64)) for key, value in (defaults | columns).items()}
    )


def evidence(production: ArmColumns, candidate: ArmColumns, **fields) -> Evidence:
    n = len(production.status)
    defaults = {
        "arm": "candidate",
        "exchange_ids": np.array([f"e{i}" for i in range(n)], dtype=object),
        "clusters": np.arange(n),
        "timestamps": np.full(n, NAN),
        "production": production,
        "candidate": candidate,
    }
    return Evidence(**(defaults | fields))


def score(metric: str, values: list[float]) -> ScoreColumn:
    return ScoreColumn.unordered(metric, np.array(values))


def estimate(data: Evidence, **judges: Metric):
    return metrics.estimates(data, level=0.95, judge_metrics=judges)


def test_every_built_in_arm_metric_is_estimated_even_without_rows():
    found = estimate(evidence(arm(0), arm(0)), similarity=SIMILARITY, pairwise=WIN_RATE)
    from_judges = {"exact_match", "exact_match_from_floor", "structure_valid", "refusal_rate_difference",
                   "markdown_difference"}  # fmt: skip
    assert set(found) == set(metrics.METRICS) - from_judges
    assert all(item.value is None for name, item in found.items() if name != "coverage")
    assert found["coverage"].value == 0


def test_latency_ratio_carries_both_sides_in_milliseconds():
    production = arm(200, latency_ms=np.linspace(100, 299, 200))
    found = estimate(evidence(production, arm(200, latency_ms=np.linspace(200, 598, 200))))
    ratio = found["latency_p95_ratio"]
    assert ratio.value == pytest.approx(2.0)
    assert (ratio.production, ratio.candidate) == (pytest.approx(289.0), pytest.approx(578.0))
    assert ratio.low == pytest.approx(2.0, abs=0.05)
    own = found["latency_p95"]
    assert (own.value, own.candidate, own.production) == (ratio.candidate, ratio.candidate, ratio.production)


def test_a_failed_request_is_infinitely_slow_on_its_own_side():
    failing = {"status": ["failed"] * 10 + ["completed"] * 90, "error_kind": ["timeout"] * 10 + [""] * 90}
    worse = estimate(evidence(arm(100), arm(100, **failing)))["latency_p95_ratio"]
    assert (worse.value, worse.n, worse.extra["n_infinite"]) == (math.inf, 100, 10)
    better = estimate(evidence(arm(100, **failing), arm(100)))["latency_p95_ratio"]
    assert (better.value, better.high) == (0.0, 1.0)
    assert (
        estimate(evidence(arm(500, **{k: v * 5 for k, v in failing.items()}), arm(500)))["latency_p95_ratio"].high == 0
    )
    both = estimate(evidence(arm(100, **failing), arm(100, **failing)))["latency_p95_ratio"]
    assert (both.value, both.low, both.high) == (None, None, None)
    assert both.notes[0] == "10.0% of the candidate's requests failed, so this percentile is infinite"


def test_arms_that_fail_alike_are_equally_fast():
    failing = {"status": ["failed"] + ["completed"] * 49, "error_kind": ["timeout"] + [""] * 49}
    times = {"latency_ms": np.linspace(100, 149, 50)}
    assert estimate(evidence(arm(50, **failing, **times), arm(50, **failing, **times)))["latency_p95_ratio"].value == 1


def test_the_recorded_time_of_a_failure_does_not_make_it_fast():
    candidate = arm(100, status=["failed"] * 60 + ["completed"] * 40, error_kind=["server_error"] * 60 + [""] * 40,
                    latency_ms=[1.0] * 60 + [100.0] * 40)  # fmt: skip
    assert estimate(evidence(arm(100), candidate))["latency_p50_ratio"].value == math.inf


@pytest.mark.parametrize("status", ["dropped", "skipped", ""])
def test_requests_the_candidate_was_not_asked_are_missing(status):
    candidate = arm(10, status=[status] * 4 + ["completed"] * 6)
    found = estimate(evidence(arm(10), candidate))
    for name in ("latency_p50_ratio", "error_rate_difference", "coverage"):
        assert (found[name].n, found[name].n_missing) == (6, 4)
    assert found["error_rate_difference"].value == 0.0


def test_cache_hits_are_left_out_of_latency_and_cost_but_not_of_tokens():
    production = arm(10, cache_hit=[True] * 4 + [False] * 6, latency_ms=[1.0] * 4 + [100.0] * 6,
                     cost_usd=[0.0] * 4 + [0.001] * 6)  # fmt: skip
    found = estimate(evidence(production, arm(10)))
    assert (found["latency_p50_ratio"].value, found["latency_p50_ratio"].n) == (1.0, 6)
    assert (found["cost_ratio"].value, found["cost_ratio"].n) == (pytest.approx(1.0), 6)
    assert found["tokens_in_ratio"].n == 10


def test_unknown_numbers_are_missing_and_not_zero():
    candidate = arm(4, latency_ms=[NAN, NAN, 200.0, 200.0], cost_usd=[NAN] * 4, tokens_out=[NAN, 5.0, 5.0, 5.0])
    found = estimate(evidence(arm(4), candidate))
    assert (found["latency_p50_ratio"].value, found["latency_p50_ratio"].n_missing) == (2.0, 2)
    assert (found["cost_ratio"].value, found["cost_per_1k"].value) == (None, None)
    assert (found["tokens_out_ratio"].value, found["tokens_out_ratio"].n_missing) == (1.0, 1)


def test_error_rate_difference_counts_the_candidates_own_errors_only():
    production = arm(100, status=["failed"] + ["completed"] * 99, error_kind=["timeout"] + [""] * 99)
    candidate = arm(100, status=["completed"] * 90 + ["failed"] * 10,
                    error_kind=[""] * 90 + ["server_error"] * 6 + ["authentication"] * 4)  # fmt: skip
    found = estimate(evidence(production, candidate))
    total = found["error_rate_difference"]
    assert total.value == pytest.approx(6 / 96 - 1 / 96)
    assert (total.n, total.n_missing) == (96, 4)
    assert (total.production, total.candidate) == (pytest.approx(1 / 96), pytest.approx(6 / 96))
    assert found["error_rate"].value == pytest.approx(6 / 96)
    assert found["error_rate"].production == pytest.approx(1 / 96)
    assert found["error_rate_server_error_difference"].value == pytest.approx(6 / 96)
    assert found["error_rate_timeout_difference"].value == pytest.approx(-1 / 96)
    assert found["error_rate_connection_difference"].high > 0


def test_cost_of_a_thousand_requests():
    found = estimate(evidence(arm(3, cost_usd=[0.01, 0.02, 0.03]), arm(3, cost_usd=[0.005, 0.01, 0.015])))
    assert found["cost_per_1k"].value == pytest.approx(10.0)
    assert found["cost_per_1k"].production == pytest.approx(20.0)
    assert found["cost_per_1k"].low >= 0
    assert found["cost_ratio"].value == pytest.approx(0.5)


def test_a_failure_is_a_loss_of_its_own_side():
    production = arm(10, status=["completed"] * 8 + ["failed"] * 2)
    candidate = arm(10, status=["failed"] * 2 + ["completed"] * 7 + ["failed"],
                    error_kind=["timeout"] * 2 + [""] * 7 + ["timeout"])  # fmt: skip
    scores = [NAN, NAN, 1.0, 1.0, 1.0, 0.5, 0.0, NAN, NAN, NAN]
    found = estimate(evidence(production, candidate, scores={"pairwise": score("win_rate", scores)}), pairwise=WIN_RATE)
    rate, given = found["win_rate"], found["win_rate_given_answer"]
    assert given.value == pytest.approx(3.5 / 5)
    # Two losses, one win, one tie; the other six are like the five that were scored.
    assert rate.value == pytest.approx(0.6 * 3.5 / 5 + (0 + 0 + 1 + 0.5) / 10)
    counts = {"wins": 3, "ties": 1, "losses": 1, "failures": 3, "production_failures": 2, "discrete": 0.7}
    assert counts.items() <= rate.extra.items()
    assert (rate.n, rate.n_missing) == (9, 1)


def test_an_identical_candidate_is_at_one_half_however_often_both_fail():
    status = ["failed"] * 3 + ["completed"] * 17
    kinds = ["timeout"] * 3 + [""] * 17
    production, candidate = (
        arm(20, status=status, error_kind=kinds),
        arm(20, status=status[::-1], error_kind=kinds[::-1]),
    )
    data = evidence(production, candidate, scores={"j": score("win_rate", [0.5] * 20)})
    assert estimate(data, j=WIN_RATE)["win_rate"].value == pytest.approx(0.5)


def test_the_sign_test_stands_beside_the_win_rate_of_independent_pairs():
    scores = {"j": score("win_rate", [1.0] * 40 + [0.5] * 20)}
    rate = estimate(evidence(arm(60), arm(60), scores=scores), j=WIN_RATE)["win_rate"]
    assert rate.extra["log_e_more_wins"] > math.log(100) > 0 > rate.extra["log_e_more_losses"]
    together = evidence(arm(60), arm(60), scores=scores, clusters=np.repeat(np.arange(30), 2))
    assert "log_e_more_wins" not in estimate(together, j=WIN_RATE)["win_rate"].extra


def test_setup_errors_are_no_losses():
    candidate = arm(4, status=["failed"] * 2 + ["completed"] * 2, error_kind=["not_found"] * 2 + [""] * 2)
    data = evidence(arm(4), candidate, scores={"pairwise": score("win_rate", [NAN, NAN, 1.0, 1.0])})
    rate = estimate(data, pairwise=WIN_RATE)["win_rate"]
    assert (rate.value, rate.n, rate.n_missing) == (1.0, 2, 2)


def test_failures_alone_are_no_win_rate():
    candidate = arm(3, status=["failed"] * 3, error_kind=["timeout"] * 3)
    data = evidence(arm(3), candidate, scores={"pairwise": score("win_rate", [NAN] * 3)})
    rate = estimate(data, pairwise=WIN_RATE)["win_rate"]
    assert (rate.value, rate.low, rate.high, rate.extra["failures"]) == (None, None, None, 3)


def test_the_first_judge_owns_the_metric_and_the_next_adds_its_name():
    scores = {"a": score("win_rate", [1.0] * 8), "people": score("win_rate", [0.0] * 8)}
    judges = {"a": WIN_RATE, "people": WIN_RATE}
    found = metrics.estimates(evidence(arm(8), arm(8), scores=scores), level=0.95, judge_metrics=judges)
    assert (found["win_rate"].value, found["win_rate:people"].value) == (1.0, 0.0)
    assert found["win_rate_given_answer:people"].value == 0.0
    described = metrics.catalogue(judges)
    assert found.keys() <= described.keys()
    assert described["win_rate:people"].title == "Win rate (people)"
    assert described["win_rate_given_answer:people"].unit is Unit.SHARE


def test_yes_no_scores_get_wilson_and_others_a_mean_within_their_bounds():
    scores = {"exact": score("exact_match", [1.0] * 30), "similarity": score("similarity", [0.9] * 30)}
    found = estimate(evidence(arm(30), arm(30), scores=scores), exact=EXACT_MATCH, similarity=SIMILARITY)
    assert (found["exact_match"].method, found["similarity"].method) == ("wilson", "clustered-mean-t+exact")
    assert found["similarity"].low < 0.9 < found["similarity"].high <= 1.0


def test_scores_of_pairs_without_two_answers_are_not_used():
    candidate = arm(4, status=["completed", "failed", "completed", "completed"])
    scores = {"exact": score("exact_match", [1.0, 1.0, 0.0, NAN])}
    found = estimate(evidence(arm(4), candidate, scores=scores), exact=EXACT_MATCH)["exact_match"]
    assert (found.value, found.n, found.n_missing) == (0.5, 2, 1)


def test_a_strangers_metric_keeps_its_own_bounds():
    tone = Metric(name="tone", title="Tone", unit=Unit.SCORE, direction=Direction.NEUTRAL, bounds=(1.0, 5.0))
    scores = {"tone": score("tone", [5.0] * 50)}
    found = estimate(evidence(arm(50), arm(50), scores=scores), tone=tone)["tone"]
    assert (found.high, found.value) == (5.0, 5.0)
    assert 4.5 < found.low < 5.0


def test_a_score_without_a_described_judge_is_still_estimated():
    found = estimate(evidence(arm(3), arm(3), scores={"x": score("novelty", [1.0, 2.0, 3.0])}))
    assert found["novelty"].value == 2.0


def test_length_comes_from_the_columns_unless_a_judge_measures_it():
    data = evidence(arm(3), arm(3, answer_chars=[60.0, 70.0, 80.0]))
    assert estimate(data)["length_difference"].value == 20.0
    judged = replace(data, scores={"length": score("length_difference", [1.0, 2.0, 3.0])})
    assert estimate(judged, length=LENGTH_DIFFERENCE)["length_difference"].value == 2.0


def test_coverage_counts_pairs_and_says_what_they_are_worth():
    latency = np.repeat(np.linspace(100, 500, 10), 5)
    data = evidence(arm(50), arm(50, latency_ms=latency), clusters=np.repeat(np.arange(10), 5))
    coverage = estimate(data)["coverage"]
    assert (coverage.value, coverage.method, coverage.n_clusters) == (50, "count", 10)
    assert coverage.extra["design_effect"] == pytest.approx(5.0)
    assert coverage.n_effective == pytest.approx(10.0)


def test_a_subset_is_estimated_like_a_whole():
    data = evidence(arm(6), arm(6), scores={"exact": score("exact_match", [1.0, 1.0, 1.0, 0.0, 0.0, 0.0])})
    found = estimate(data.take(np.array([0, 1, 3])), exact=EXACT_MATCH)
    assert (found["exact_match"].value, found["coverage"].value) == (pytest.approx(2 / 3), 3)
