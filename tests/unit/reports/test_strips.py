from dataclasses import replace

import pytest

from harness.domain.decision import Bound, Objection, Outcome
from harness.domain.estimate import Direction, Metric, Unit
from reports.views_strips import STRIP_WIDTH, Rate, rate_strips, strip
from tests.unit.reports import factory
from tests.unit.reports.measures import estimate

RATIO = Metric(name="latency_p95_ratio", title="P95 latency", unit=Unit.RATIO, direction=Direction.LOWER_IS_BETTER)
NARROW = estimate("latency_p95_ratio", 1.24, 1.08, 1.41)
WIDE = replace(NARROW, low=1.05, high=1.45)


def held(outcome, *, strict=WIDE, **more):
    made = factory.result("latency_p95_ratio", Bound.BELOW, 1.2, outcome, "why", NARROW)
    return replace(made, strict=strict, **more)


def test_an_open_rule_shows_how_much_wider_a_fail_has_to_be():
    view = strip(held(Outcome.INCONCLUSIVE), RATIO, None)
    assert view.wider_low < view.low < view.threshold < view.high < view.wider_high


@pytest.mark.parametrize(
    "result",
    [
        held(Outcome.INCONCLUSIVE, strict=None),
        held(Outcome.INCONCLUSIVE, strict=NARROW),
        held(Outcome.PASS),
        held(Outcome.INCONCLUSIVE, objection=Objection(kind="judge", sentence="no")),
    ],
)
def test_where_wider_bounds_change_nothing_they_are_not_drawn(result):
    view = strip(result, RATIO, None)
    assert (view.wider_low, view.wider_high) == (None, None)


def test_a_fail_is_drawn_from_the_bounds_it_rests_on():
    failed = replace(held(Outcome.FAIL), estimate=replace(NARROW, low=1.25), strict=replace(WIDE, low=1.22))
    view = strip(failed, RATIO, None)
    assert "1.22x to 1.45x" in view.desc
    assert view.threshold < view.low


def rate(value, low=None, high=None, **more):
    return Rate(title="t", value=value, low=low, high=high, text="", even_label="50%", **more)


def test_rates_share_one_line():
    first, second = rate_strips([rate(0.05, 0.01, 0.09), rate(-0.02, -0.06, 0.02)])
    assert first.even == second.even
    assert second.low < second.value < first.even < first.low < first.value < first.high
    assert second.low >= 0
    assert first.high <= STRIP_WIDTH


def test_the_side_that_passes_is_shaded_and_a_label_makes_room():
    [near] = rate_strips([rate(0.05, 0.0, 0.1, threshold=-0.005, threshold_label="49.5%")])
    assert (near.pass_x, near.pass_width) == (near.threshold, pytest.approx(STRIP_WIDTH - near.threshold))
    assert (near.even_label, near.threshold_label) == ("", "49.5%")
    [far] = rate_strips([rate(0.05, 0.0, 0.1, threshold=-0.1, threshold_label="40%")])
    assert far.even_label == "50%"
    [below] = rate_strips([rate(0.05, threshold=0.1, threshold_label="60%", above=False)])
    assert (below.pass_x, below.pass_width) == (0, below.threshold)


def test_a_rate_without_a_rule_has_no_side_that_passes():
    [view] = rate_strips([rate(0.05)])
    assert (view.threshold, view.pass_width, view.low) == (None, 0, None)
