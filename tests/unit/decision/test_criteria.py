from dataclasses import replace

import pytest

from harness.decision import criteria
from harness.domain.decision import Bound, Criterion, Objection, Outcome
from harness.domain.estimate import Direction, Estimate, Metric, Unit
from harness.errors import ConfigurationError


def criterion(bound: str, threshold: float, metric: str = "win_rate") -> Criterion:
    return Criterion(metric=metric, bound=Bound(bound), threshold=threshold)


def estimate(value, low, high, metric="win_rate", n=400, **fields) -> Estimate:
    return Estimate(metric=metric, value=value, low=low, high=high, n=n, n_clusters=n, method="m", **fields)


@pytest.mark.parametrize(
    ("bound", "threshold", "low", "high", "outcome"),
    [
        ("above", 0.5, 0.51, 0.55, Outcome.PASS),
        ("above", 0.5, 0.50, 0.55, Outcome.INCONCLUSIVE),  # the threshold itself is not above
        ("above", 0.5, 0.45, 0.55, Outcome.INCONCLUSIVE),
        ("above", 0.5, 0.45, 0.50, Outcome.FAIL),
        ("at_least", 0.5, 0.50, 0.55, Outcome.PASS),
        ("at_least", 0.5, 0.45, 0.50, Outcome.INCONCLUSIVE),
        ("at_least", 0.5, 0.45, 0.49, Outcome.FAIL),
        ("below", 0.5, 0.45, 0.49, Outcome.PASS),
        ("below", 0.5, 0.45, 0.50, Outcome.INCONCLUSIVE),
        ("below", 0.5, 0.50, 0.55, Outcome.FAIL),
        ("at_most", 0.5, 0.45, 0.50, Outcome.PASS),
        ("at_most", 0.5, 0.50, 0.55, Outcome.INCONCLUSIVE),
        ("at_most", 0.5, 0.51, 0.55, Outcome.FAIL),
        ("above", 0.5, 0.51, None, Outcome.PASS),
        ("below", 0.5, 0.45, None, Outcome.INCONCLUSIVE),
        ("below", 0.5, None, 0.45, Outcome.PASS),
        ("below", 0.5, float("inf"), None, Outcome.FAIL),
        ("below", 0.5, None, None, Outcome.INCONCLUSIVE),
    ],
)
def test_the_whole_interval_has_to_be_on_one_side(bound, threshold, low, high, outcome):
    middle = 0.5 if low is None or high is None else (low + high) / 2
    assert criteria.evaluate(criterion(bound, threshold), estimate(middle, low, high)).outcome is outcome


@pytest.mark.parametrize("value", [None, float("nan")])
def test_without_a_value_there_is_no_data(value):
    result = criteria.evaluate(criterion("above", 0.5), estimate(value, None, None, n=0, n_missing=1200))
    assert result.outcome is Outcome.NO_DATA
    assert result.reason == "Win rate could not be measured: no value on 1,200 pairs that should have one."


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"notes": ("production's mean is zero",)}, "Win rate could not be measured: production's mean is zero."),
        ({"n_missing": 1}, "Win rate could not be measured: no value on 1 pair that should have one."),
        ({}, "Win rate could not be measured: no pair has a value."),
    ],
)
def test_no_data_says_why(fields, reason):
    assert criteria.evaluate(criterion("above", 0.5), estimate(None, None, None, **fields)).reason == reason


def test_reasons_are_sentences_with_numbers_in_their_units():
    passed = criteria.evaluate(
        criterion("below", 1.2, "latency_p95_ratio"), estimate(1.05, 1.01, 1.1, "latency_p95_ratio")
    )
    assert passed.reason == (
        "95th percentile latency, ratio is 1.05x, below 1.10x with 97.5% confidence: below 1.2x as required."
    )
    failed = criteria.evaluate(
        criterion("at_most", 0.005, "error_rate_difference"), estimate(0.02, 0.01, 0.03, "error_rate_difference")
    )
    assert failed.reason == (
        "Error rate, difference is +2.00 points, above +1.00 points with 97.5% confidence: "
        "required is at most +0.5 points."
    )


def test_an_undecided_criterion_says_how_many_pairs_it_needs():
    result = criteria.evaluate(criterion("above", 0.5), estimate(0.52, 0.48, 0.56))
    assert result.n_needed == 1600
    assert result.reason == (
        "Win rate is 52.00% (95% interval 48.00% to 56.00%), which does not settle above 50%: the interval reaches "
        "both sides of 50%; about 1,600 pairs in all would probably settle it."
    )


def test_what_cannot_be_projected_says_so():
    result = criteria.evaluate(criterion("above", 0.5), estimate(0.5, 0.48, 0.56))
    assert result.n_needed is None
    assert result.reason.endswith("no sample size can be projected.")


def test_a_value_without_an_interval_is_not_held_against_a_threshold():
    result = criteria.evaluate(
        criterion("above", 0.5), estimate(0.9, None, None, notes=("one cluster has no interval",))
    )
    assert result.outcome is Outcome.INCONCLUSIVE
    assert result.reason == (
        "Win rate is 90.00%, but has no interval to hold against above 50%; one cluster has no interval."
    )


@pytest.mark.parametrize(
    ("bound", "value", "outcome", "needed"),
    [
        ("above", 10_001, Outcome.PASS, None),
        ("above", 10_000, Outcome.INCONCLUSIVE, 10_001),
        ("at_least", 10_000, Outcome.PASS, None),
        ("at_least", 812, Outcome.INCONCLUSIVE, 10_000),
        ("at_most", 10_001, Outcome.FAIL, None),
        ("below", 9_999, Outcome.PASS, None),
    ],
)
def test_too_little_coverage_asks_for_more_and_never_fails(bound, value, outcome, needed):
    count = Estimate(metric="coverage", value=float(value), n=value, method="count")
    result = criteria.evaluate(criterion(bound, 10_000, "coverage"), count)
    assert (result.outcome, result.n_needed) == (outcome, needed)


def test_coverage_reason_counts_what_is_missing():
    count = Estimate(metric="coverage", value=812.0, n=812, method="count")
    result = criteria.evaluate(criterion("above", 10_000, "coverage"), count)
    assert result.reason == "Pairs compared: 812, required is above 10,000; 9,189 more are needed."


def test_unknown_metrics_are_refused_with_the_known_ones():
    with pytest.raises(ConfigurationError, match=r"unknown metric 'winrate'; known metrics: latency_p95, win_rate"):
        criteria.check([criterion("above", 0.5), criterion("above", 0.5, "winrate")], ["win_rate", "latency_p95"])


def test_metrics_of_further_judges_and_of_strangers_are_described():
    second = criteria.metric_for("win_rate:people")
    assert (second.title, second.unit) == ("Win rate (people)", Unit.SHARE)
    assert criteria.metric_for("tone_of_voice").title == "tone of voice"
    tone = Metric(name="tone", title="Tone", unit=Unit.SHARE, direction=Direction.HIGHER_IS_BETTER)
    result = criteria.evaluate(criterion("above", 0.5, "tone"), estimate(0.8, 0.7, 0.9, "tone"), metric=tone)
    assert result.reason.startswith("Tone is 80.00%")


@pytest.mark.parametrize(
    ("low", "high", "strict_low", "strict_high", "outcome"),
    [
        (0.51, 0.55, 0.49, 0.57, Outcome.PASS),  # a PASS needs its own bound only
        (0.45, 0.49, 0.43, 0.51, Outcome.INCONCLUSIVE),  # a FAIL needs the strict one
        (0.43, 0.47, 0.41, 0.49, Outcome.FAIL),
    ],
)
def test_a_pass_rests_on_its_bound_and_a_fail_on_the_strict_one(low, high, strict_low, strict_high, outcome):
    middle = (low + high) / 2
    strict = estimate(middle, strict_low, strict_high, level=0.99)
    result = criteria.evaluate(criterion("above", 0.5), estimate(middle, low, high), strict=strict)
    assert (result.outcome, result.strict) == (outcome, strict)


def test_a_fail_is_reported_with_the_bound_it_rests_on():
    strict = estimate(0.45, 0.41, 0.49, level=0.975, looks="any")
    result = criteria.evaluate(criterion("above", 0.5), estimate(0.45, 0.43, 0.47, looks="any"), strict=strict)
    assert result.reason == (
        "Win rate is 45.00%, below 49.00% with 98.75% confidence at any look: required is above 50%."
    )


@pytest.mark.parametrize(
    ("low", "high", "floor_low", "floor_high", "outcome"),
    [
        (0.42, 0.48, 0.40, 0.49, Outcome.UNATTAINABLE),  # would fail, but so does production
        (0.45, 0.55, 0.40, 0.49, Outcome.UNATTAINABLE),  # open, and production does not reach it
        (0.51, 0.55, 0.40, 0.49, Outcome.PASS),  # better than production can do
        (0.42, 0.48, 0.40, 0.51, Outcome.FAIL),  # production may reach it
        (0.42, 0.48, None, None, Outcome.FAIL),
    ],
)
def test_a_candidate_is_not_held_to_what_production_does_not_reach(low, high, floor_low, floor_high, outcome):
    floor = estimate(0.45, floor_low, floor_high)
    result = criteria.evaluate(criterion("above", 0.5), estimate((low + high) / 2, low, high), floor=floor)
    assert result.outcome is outcome
    assert result.n_needed is None


def test_unattainable_says_what_production_does_and_what_to_do():
    floor = estimate(0.93, 0.92, 0.94, "similarity")
    result = criteria.evaluate(
        criterion("above", 0.95, "similarity"), estimate(0.9, 0.89, 0.91, "similarity"), floor=floor
    )
    assert result.reason == (
        "Similarity is 0.900, but production itself does not reach above 0.95: asked again it has 0.930, below 0.940 "
        "with 97.5% confidence. No candidate can be held to that; compare with the noise floor instead, or change the "
        "threshold."
    )


def test_a_floor_without_a_value_blames_nobody():
    floor = Estimate(metric="win_rate", value=None)
    assert criteria.evaluate(criterion("above", 0.5), estimate(0.45, 0.42, 0.48), floor=floor).outcome is Outcome.FAIL


OBJECTION = Objection(kind="judge", sentence="the judge was not well.", metric="win_rate")


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(0.51, 0.55, Outcome.INCONCLUSIVE), (0.42, 0.48, Outcome.INCONCLUSIVE), (0.45, 0.55, Outcome.INCONCLUSIVE)],
)
def test_an_objection_keeps_the_bounds_from_deciding(low, high, outcome):
    result = criteria.evaluate(criterion("above", 0.5), estimate((low + high) / 2, low, high), objection=OBJECTION)
    assert (result.outcome, result.objection) == (outcome, OBJECTION)
    assert "It does not count: the judge was not well." in result.reason


@pytest.mark.parametrize(("kind", "projects"), [("judge", False), ("length", True), ("people", True)])
def test_more_pairs_of_a_judge_that_cannot_judge_are_not_promised_to_settle_anything(kind, projects):
    objection = replace(OBJECTION, kind=kind)
    result = criteria.evaluate(criterion("above", 0.5), estimate(0.52, 0.4, 0.64), objection=objection)
    assert (result.outcome, result.objection) == (Outcome.INCONCLUSIVE, objection)
    assert (result.n_needed is not None) is projects
    assert ("would probably settle it" in result.reason) is projects
    assert ("It does not count: " in result.reason) is not projects


def test_an_objection_does_not_hide_missing_data():
    result = criteria.evaluate(criterion("above", 0.5), estimate(None, None, None), objection=OBJECTION)
    assert (result.outcome, result.objection) == (Outcome.NO_DATA, OBJECTION)


def test_an_open_rule_is_told_with_the_bounds_that_leave_it_open():
    rule, own = criterion("above", 0.5), estimate(0.47, 0.445, 0.495)
    result = criteria.evaluate(rule, own, strict=estimate(0.47, 0.43, 0.51))
    assert result.outcome is Outcome.INCONCLUSIVE
    assert result.reason.startswith(
        "Win rate is 47.00% (95% interval 43.00% to 51.00%), which does not settle above 50%"
    )
