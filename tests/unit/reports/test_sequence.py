"""A criterion over time: where everything stands, and what is said where nothing can be drawn."""

import math
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from harness.domain.decision import Bound, Criterion
from harness.domain.look import LookPoint
from harness.domain.metrics import METRICS, WIN_RATE
from reports.views_sequence import sequence

AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
RULE = Criterion(metric="win_rate", bound=Bound.ABOVE, threshold=0.45)


def looks(n: int, seconds: float = 60.0) -> list[LookPoint]:
    return [
        LookPoint(
            arm="small", metric="win_rate", at=AT + timedelta(seconds=seconds * i), value=0.5, low=0.5 - 0.4 / (i + 1),
            high=0.5 + 0.4 / (i + 1), n=10 * i, outcome="inconclusive", verdict="INCONCLUSIVE",
        )
        for i in range(n)
    ]  # fmt: skip


def ys(path: str) -> list[float]:
    return [float(y) for y in re.findall(r",([\d.]+)", path)]


def test_bounds_close_in_on_the_estimate_and_the_threshold_stands_below_it():
    view = sequence(looks(20), RULE, WIN_RATE, "s")
    assert view is not None
    upper, lower = (ys(part) for part in view.bounds.split("M")[1:][::-1])
    [line] = {*ys(view.line)}
    assert upper == sorted(upper)
    assert lower == sorted(lower, reverse=True)
    assert max(upper) < line < min(lower)
    assert line < view.threshold <= view.bottom
    assert (view.pass_y, view.pass_y + view.pass_height) == (view.top, view.threshold)
    assert view.last_x == view.right
    assert "passes above 45%" in view.desc
    assert "20 looks kept" in view.caption


def test_a_rule_that_passes_below_shades_the_lower_side():
    rule = Criterion(metric="error_rate_difference", bound=Bound.BELOW, threshold=0.1)
    view = sequence(looks(5), rule, METRICS["error_rate_difference"], "s")
    assert view is not None
    assert (view.pass_y, view.pass_y + view.pass_height) == (view.threshold, view.bottom)
    assert all(tick.label.lstrip("-").replace(".", "").isdigit() for tick in view.y_ticks)


def test_everything_stays_inside_however_wide_the_first_bounds_are():
    points = looks(30)
    points[0] = replace(points[0], low=-1e9, high=1e9)
    points[3] = replace(points[3], low=None, high=math.inf)
    view = sequence(points, RULE, WIN_RATE, "s")
    assert view is not None
    for path in (view.band, view.bounds, view.line):
        assert all(view.top <= y <= view.bottom for y in ys(path))
    assert len(view.bounds.split("M")) - 1 == 4
    assert max(ys(view.line)) - min(ys(view.bounds)) > 20, "the settled part is not squeezed into a line"


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_looks_are_no_drawing(n):
    assert sequence(looks(n), RULE, WIN_RATE, "s") is None


def test_looks_without_data_are_left_out():
    points = [replace(point, value=None) for point in looks(4)]
    assert sequence(points, RULE, WIN_RATE, "s") is None
    assert sequence([*points, *looks(2, 900.0)], RULE, WIN_RATE, "s") is not None


def test_thousands_of_looks_are_thinned_and_the_newest_stays():
    points = looks(5_000)
    view = sequence(points, RULE, WIN_RATE, "s")
    assert view is not None
    assert len(ys(view.line)) <= 162
    assert view.line.endswith(f"{view.right:g},{view.last_y:g}")
    assert "5,000 looks kept" in view.caption


@pytest.mark.parametrize(
    ("seconds", "unit"), [(0.5, "s"), (30, "min"), (3_600, "h"), (86_400, "d"), (40 * 86_400, "d")]
)
def test_time_is_counted_in_what_fits(seconds, unit):
    view = sequence(looks(12, seconds), RULE, WIN_RATE, "s")
    assert view is not None
    assert 2 <= len(view.x_ticks) <= 7
    assert view.x_ticks[-1].label.endswith(f" {unit}")


def test_two_looks_at_one_moment_are_still_a_drawing():
    view = sequence([looks(1)[0], looks(1)[0]], RULE, WIN_RATE, "s")
    assert view is not None
    assert view.x_ticks
