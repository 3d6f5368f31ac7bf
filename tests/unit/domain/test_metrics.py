import re

from harness.domain.estimate import Unit
from harness.domain.metrics import BY_CLASS, METRICS
from harness.domain.observation import ErrorKind


def test_every_metric_is_named_titled_and_explained_in_one_sentence():
    for name, metric in METRICS.items():
        assert metric.name == name
        assert re.fullmatch(r"[a-z0-9_]+", name)
        assert not metric.title[0].islower()
        assert metric.help.endswith(".")
        assert metric.help.count(". ") == 0


def test_differences_are_points_or_characters_and_ratios_are_ratios():
    for name, metric in METRICS.items():
        assert (metric.unit is Unit.RATIO) == name.endswith("_ratio")
        # Marks per 1,000 characters have no unit of their own.
        difference = metric.unit in {Unit.POINTS, Unit.CHARACTERS} or name == "markdown_difference"
        assert difference == name.endswith("_difference")


def test_errors_of_our_own_setup_have_no_metric():
    assert not [kind for kind in BY_CLASS if kind.is_setup]
    assert len(BY_CLASS) == len(ErrorKind) - 4
    assert "error_rate_authentication_difference" not in METRICS
