import pytest

from harness.domain.estimate import Estimate, Unit
from harness.domain.formatting import format_estimate, format_interval, format_usd, format_value


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (0.1573351, Unit.SHARE, "15.73%"),
        (1.0, Unit.SHARE, "100.00%"),
        (-0.0044, Unit.POINTS, "-0.44 points"),
        (0.0044, Unit.POINTS, "+0.44 points"),
        (0.0, Unit.POINTS, "0.00 points"),
        (-0.000001, Unit.POINTS, "0.00 points"),
        (1.2, Unit.RATIO, "1.20x"),
        (1234.4, Unit.MILLISECONDS, "1,234 ms"),
        (9.26, Unit.MILLISECONDS, "9.3 ms"),
        (12_345.0, Unit.MILLISECONDS, "12.3 s"),
        (98.628, Unit.CHARACTERS, "+98.6 characters"),
        (-1462.9, Unit.CHARACTERS, "-1,462.9 characters"),
        (211.13, Unit.TOKENS, "211 tokens"),
        (4.5, Unit.TOKENS, "4.5 tokens"),
        (10_000.0, Unit.COUNT, "10,000"),
        (0.95123, Unit.SCORE, "0.951"),
        (1.5, Unit.USD, "$1.50"),
        (None, Unit.SHARE, "unknown"),
        (float("nan"), Unit.SHARE, "unknown"),
        (float("inf"), Unit.RATIO, "infinite"),
        (float("-inf"), Unit.POINTS, "minus infinite"),
    ],
)
def test_values_read_as_people_write_them(number, unit, text):
    assert format_value(number, unit) == text


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (1.2, Unit.RATIO, "1.2x"),
        (0.5, Unit.SHARE, "50%"),
        (0.0, Unit.POINTS, "0 points"),
        (0.005, Unit.POINTS, "+0.5 points"),
        (0.00005, Unit.POINTS, "+0.005 points"),
        (0.95, Unit.SCORE, "0.95"),
        (2000.0, Unit.MILLISECONDS, "2,000 ms"),
        (5.0, Unit.MILLISECONDS, "5 ms"),
        (30_000.0, Unit.MILLISECONDS, "30 s"),
        (1000.0, Unit.RATIO, "1,000x"),
    ],
)
def test_thresholds_lose_their_zeros_and_no_digit(number, unit, text):
    assert format_value(number, unit, trim=True) == text


@pytest.mark.parametrize("unit", list(Unit))
def test_every_unit_has_a_text_with_its_digits(unit):
    assert "12" in format_value(0.12 if unit in {Unit.SHARE, Unit.POINTS} else 12.0, unit)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0.0, "$0.00"), (0.00123, "$0.0012"), (0.5, "$0.50"), (12.345, "$12.35"), (1234.5, "$1,234"), (-0.02, "-$0.020")],
)
def test_small_amounts_show_two_digits_that_count(amount, text):
    assert format_usd(amount) == text


def test_open_ends_say_so():
    assert format_interval(1.01, None, Unit.RATIO) == "1.01x to no upper limit"
    assert format_interval(None, float("inf"), Unit.RATIO) == "no lower limit to no upper limit"


def test_an_estimate_reads_with_its_interval_and_level():
    estimate = Estimate(metric="m", value=0.52, low=0.5, high=0.54, level=0.9)
    assert format_estimate(estimate, Unit.SHARE) == "52.00% (90% interval 50.00% to 54.00%)"
    assert format_estimate(Estimate(metric="m", value=3.0), Unit.COUNT) == "3"
    assert format_estimate(Estimate(metric="m", value=None), Unit.COUNT) == "unknown"
