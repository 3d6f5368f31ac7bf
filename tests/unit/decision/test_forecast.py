import math
from dataclasses import replace

import numpy as np
import pytest

from harness.decision.forecast import forecast
from harness.domain.decision import Bound, Criterion, Terms
from harness.domain.estimate import Estimate
from harness.stats.evidence import ArmColumns, Evidence

TERMS = Terms(profile="non_inferiority", looks="any", alpha=0.05, horizon=10_000)
WIN = Criterion(metric="win_rate", bound=Bound.ABOVE, threshold=0.48)
P95 = Criterion(metric="latency_p95_ratio", bound=Bound.BELOW, threshold=1.2)
ERRORS = Criterion(metric="error_rate_difference", bound=Bound.BELOW, threshold=0.005)
FLOOR = Criterion(metric="similarity_from_floor", bound=Bound.ABOVE, threshold=-0.01)
ENOUGH = Criterion(metric="coverage", bound=Bound.AT_LEAST, threshold=812)


def production(n: int = 2_000, *, failed: int = 0, log_sd: float = 1.0) -> Evidence:
    unknown = np.full(n, np.nan)

    def arm(status, latency):
        return ArmColumns(status=np.array(status, dtype=object), error_kind=np.full(n, "", dtype=object),
                          latency_ms=latency, ttft_ms=unknown, tokens_in=unknown, tokens_out=unknown, cost_usd=unknown,
                          answer_chars=unknown, cache_hit=np.zeros(n, dtype=bool))  # fmt: skip

    latency = np.exp(7 + log_sd * np.random.default_rng(0).normal(size=n))
    return Evidence(
        arm="new",
        exchange_ids=np.arange(n).astype(str).astype(object),
        clusters=np.arange(n),
        timestamps=unknown,
        production=arm(["failed"] * failed + ["completed"] * (n - failed), latency),
        candidate=arm([""] * n, unknown),
    )


def one(criterion: Criterion, terms: Terms = TERMS, *, pilot=None, truths=None, evidence=None):
    pilots = {} if pilot is None else {pilot.metric: pilot}
    [found] = forecast([criterion], terms, production=evidence or production(), pilot=pilots, truths=truths or {})
    return found


def test_an_equal_candidate_takes_what_the_arithmetic_says():
    found = one(WIN)
    assert (found.truth, found.basis) == (0.5, "30% ties supposed")
    # (z sd / 0.02)^2 with z about 2.8 and sd sqrt(0.25 - 0.3 / 4).
    assert found.pairs[0.5] == pytest.approx((2.8 * math.sqrt(0.175) / 0.02) ** 2, rel=0.03)
    assert found.pairs[0.5] < found.pairs[0.8] < found.pairs[0.95]


def test_a_better_candidate_takes_less_and_a_smaller_alpha_more():
    assert one(WIN, truths={"win_rate": 0.55}).pairs[0.8] < 0.2 * one(WIN).pairs[0.8]
    third = replace(TERMS, attempt=3, attempt_alpha=0.05 * 6 / (math.pi**2 * 9))
    assert one(WIN, third).pairs[0.8] > 1.3 * one(WIN).pairs[0.8]
    assert one(WIN, replace(TERMS, looks="one")).pairs[0.8] < one(WIN).pairs[0.8]


def test_latency_rests_on_productions_own_spread():
    wide, narrow = one(P95, evidence=production(log_sd=1.0)), one(P95, evidence=production(log_sd=0.3))
    assert wide.basis == "production's latency on 2,000 requests"
    assert narrow.pairs[0.8] < wide.pairs[0.8]
    assert narrow.pairs[0.5] > 140  # a 95th percentile needs as many to have an upper limit at all


def test_errors_rest_on_productions_own_rate():
    often, never = one(ERRORS, evidence=production(failed=100)), one(ERRORS, evidence=production())
    assert often.basis == "production fails 5.00%"
    assert often.pairs[0.8] > 5 * never.pairs[0.8]


def test_a_pilot_replaces_what_was_supposed():
    pilot = Estimate(metric="win_rate", value=0.5, std_error=0.01, n=400, n_clusters=400)
    found = one(WIN, pilot=pilot)
    assert (found.spread, found.basis) == (pytest.approx(0.2), "measured on 400 pairs")
    ratio = Estimate(metric="latency_p95_ratio", value=1.0, low=0.8, high=1.25, n=400, n_clusters=400)
    assert one(P95, pilot=ratio).spread == pytest.approx((math.log(1.25) - math.log(0.8)) / (2 * 1.966) * 20, rel=0.01)
    assert one(WIN, pilot=replace(pilot, n=30)).basis == "30% ties supposed"


def test_what_no_number_of_pairs_settles_says_so():
    at_margin = one(WIN, truths={"win_rate": 0.48})
    assert at_margin.pairs == {0.5: None, 0.8: None, 0.95: None}
    assert at_margin.note == "the supposed truth does not meet the rule, so no number of pairs will"
    unknown = one(Criterion(metric="cost_ratio", bound=Bound.BELOW, threshold=1.5))
    assert unknown.note == "nothing is known of it yet: a pilot of 100 requests will tell"


def test_counts_are_counted_and_the_floor_is_zero_away_from_itself():
    assert one(ENOUGH).pairs[0.8] == 812
    assert one(FLOOR).truth == 0.0
