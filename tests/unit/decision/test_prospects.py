import math
from dataclasses import replace

import pytest

from harness.decision import criteria
from harness.decision.policy import decide
from harness.decision.prospects import prospects
from harness.domain.decision import Bound, Criterion, Objection, Verdict
from harness.domain.estimate import Estimate

ABOVE = Criterion(metric="win_rate", bound=Bound.ABOVE, threshold=0.48)
RATIO = Criterion(metric="latency_p95_ratio", bound=Bound.BELOW, threshold=1.2)


def rate(value: float, n: int, metric: str = "win_rate", sd: float = 0.42) -> Estimate:
    error = sd / math.sqrt(n)
    half = 2.8 * error
    return Estimate(metric=metric, value=value, low=value - half, high=value + half, n=n, n_clusters=n,
                    std_error=error, looks="any")  # fmt: skip


def ratio(value: float, low: float, high: float, n: int = 500) -> Estimate:
    return Estimate(metric="latency_p95_ratio", value=value, low=low, high=high, n=n, n_clusters=n, looks="any")


def of(*estimates: Estimate, rules=(ABOVE,), **more):
    return decide("new", {item.metric: item for item in estimates}, list(rules), **more)


@pytest.mark.parametrize(
    ("value", "n", "most", "can_go", "can_no_go"),
    [
        (0.50, 500, 10_000, True, True),  # everything is open
        (0.50, 500, 600, False, False),  # a hundred more change nothing
        (0.47, 5_000, 10_000, False, True),  # can still fail, not pass
        (0.49, 5_000, 6_000, False, False),  # near the threshold until the end
        (0.52, 1_000, 10_000, True, False),
    ],
)
def test_what_the_rest_of_the_sample_can_still_bring(value, n, most, can_go, can_no_go):
    found = prospects(of(rate(value, n)), n_now=n, n_most=most)
    assert (found.can_go, found.can_no_go, found.open) == (can_go, can_no_go, can_go or can_no_go)
    assert found.blocking == (() if can_go else ("win_rate",))


def test_ratios_are_projected_on_the_log_scale():
    assert prospects(of(ratio(1.1, 0.9, 1.34), rules=[RATIO]), n_now=500, n_most=5_000).can_go
    assert not prospects(of(ratio(1.19, 1.02, 1.39), rules=[RATIO]), n_now=500, n_most=600).open
    unbounded = replace(ratio(1.0, 0.8, 1.3), high=None)
    assert prospects(of(unbounded, rules=[RATIO]), n_now=100, n_most=200).can_go


def test_one_criterion_out_of_reach_is_enough_unless_another_can_fail():
    hopeless, open_ = rate(0.49, 5_000), ratio(1.1, 1.0, 1.21, n=5_000)
    found = prospects(of(hopeless, open_, rules=[ABOVE, RATIO]), n_now=5_000, n_most=6_000)
    assert (found.can_go, found.blocking) == (False, ("win_rate",))
    failing = ratio(1.3, 1.15, 1.47, n=5_000)
    assert prospects(of(hopeless, failing, rules=[ABOVE, RATIO]), n_now=5_000, n_most=9_000).can_no_go


def test_a_settled_decision_stays_what_it_is():
    assert prospects(of(rate(0.6, 5_000)), n_now=5_000, n_most=9_000).can_go
    failed = of(rate(0.3, 5_000))
    assert failed.verdict is Verdict.NO_GO
    assert prospects(failed, n_now=5_000, n_most=9_000).can_no_go


def test_missing_data_and_advisory_criteria_stop_nothing():
    absent = Estimate(metric="similarity", value=None)
    similar = Criterion(metric="similarity", bound=Bound.ABOVE, threshold=0.9)
    assert prospects(of(rate(0.5, 500), absent, rules=[ABOVE, similar]), n_now=500, n_most=9_000).open
    advisory = replace(ABOVE, required=False)
    assert prospects(
        of(rate(0.49, 5_000), ratio(1.1, 0.9, 1.34), rules=[advisory, RATIO]), n_now=500, n_most=9_000
    ).open


def test_what_production_cannot_reach_or_a_condemned_judge_says_is_out_of_reach():
    floor = {"win_rate": rate(0.2, 5_000)}
    assert not prospects(of(rate(0.47, 500), floor=floor), n_now=500, n_most=9_000).open
    objection = Objection(kind="judge", sentence="it only looks at places.", metric="win_rate")
    assert not prospects(of(rate(0.6, 5_000), objections=[objection]), n_now=500, n_most=9_000).open
    talking = replace(objection, kind="people")
    assert prospects(of(rate(0.6, 5_000), objections=[talking]), n_now=500, n_most=9_000).can_go


def test_coverage_is_projected_by_how_many_requests_came_back():
    enough = Criterion(metric="coverage", bound=Bound.AT_LEAST, threshold=900)
    counted = Estimate(metric="coverage", value=450.0, n=450, method="count")
    assert criteria.evaluate(enough, counted).n_needed == 900
    assert prospects(of(counted, rules=[enough]), n_now=500, n_most=1_000).can_go
    assert not prospects(of(counted, rules=[enough]), n_now=500, n_most=990).open
