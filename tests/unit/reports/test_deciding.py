import math
import re
from dataclasses import replace

import pytest

from harness.domain.decision import Bound, Decision, Outcome, Verdict
from harness.domain.metrics import METRICS
from reports import render_html
from reports.deciding import bounds, claim, confidence, decided_on, deciding, is_corrected
from tests.unit.reports import factory, rich
from tests.unit.reports.measures import estimate
from tests.unit.reports.page_reader import Page

WIN_RATE = METRICS["win_rate"]
ANY = rich.at_any_look("win_rate", 0.512, 0.491, 0.533, level=0.94)
STRICT = replace(ANY, low=0.485, high=0.539, level=0.985)


def result(outcome, of=ANY, *, bound=Bound.ABOVE, strict=STRICT):
    return replace(factory.result("win_rate", bound, 0.5, outcome, "why", of), strict=strict)


@pytest.mark.parametrize(
    ("outcome", "bound", "said"),
    [
        (Outcome.PASS, Bound.ABOVE, "at least 49.10% with 97% confidence at any look"),
        (Outcome.PASS, Bound.AT_MOST, "at most 53.30% with 97% confidence at any look"),
        (Outcome.FAIL, Bound.AT_LEAST, "at most 53.90% with 99.25% confidence at any look"),
        (Outcome.FAIL, Bound.BELOW, "at least 48.50% with 99.25% confidence at any look"),
        (Outcome.INCONCLUSIVE, Bound.ABOVE, "49.10% to 53.30%, each bound with 97% confidence at any look"),
        (Outcome.UNATTAINABLE, Bound.ABOVE, "49.10% to 53.30%, each bound with 97% confidence at any look"),
    ],
)
def test_a_claim_is_the_bound_its_outcome_rests_on(outcome, bound, said):
    assert claim(result(outcome, bound=bound), WIN_RATE) == said


def test_an_open_end_is_no_claim():
    open_above = replace(ANY, high=math.inf)
    assert claim(result(Outcome.INCONCLUSIVE, open_above), WIN_RATE).startswith("49.10% to no upper limit, each bound")
    assert claim(result(Outcome.PASS, replace(ANY, low=None, high=None)), WIN_RATE) == ""
    assert claim(result(Outcome.PASS, estimate("win_rate", 12.0, method="count")), WIN_RATE) == "counted, not estimated"


def test_a_fail_has_its_own_bounds_and_nothing_else_has():
    assert deciding(result(Outcome.FAIL)) is STRICT
    assert deciding(result(Outcome.FAIL, strict=None)) is ANY
    assert deciding(result(Outcome.INCONCLUSIVE)) is ANY


def test_of_two_rules_on_one_metric_the_failed_one_says_what_is_shown():
    results = (result(Outcome.INCONCLUSIVE), result(Outcome.FAIL))
    decision = Decision(arm="a", verdict=Verdict.NO_GO, sentence="", reasons=(), results=results)
    assert decided_on(decision) == {"win_rate": STRICT}


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ("any", "97% confidence at any look"),
        ("planned", "97% confidence at this look"),
        ("one", "97% confidence at one look"),
    ],
)
def test_confidence_names_the_looks(looks, said):
    assert confidence(replace(ANY, looks=looks)) == said


def test_intervals_for_one_look_are_named_as_such():
    assert bounds(estimate("win_rate", 0.5, 0.4, 0.6), WIN_RATE.unit) == "40.00% to 60.00%, a 95% interval for one look"
    assert bounds(estimate("win_rate", 0.5), WIN_RATE.unit) == ""


def test_labels_make_a_rate_a_corrected_one():
    assert is_corrected(rich.corrected())
    assert is_corrected(replace(rich.corrected(), method="ppi-weighted+exact"))
    assert not is_corrected(ANY)


def test_a_metric_that_decides_has_one_interval_on_the_page():
    """What describes the same metric with narrower intervals for one look is nowhere."""
    candidate = factory.thorough()
    text = Page.of(render_html(factory.full(candidate))).text
    decided = decided_on(candidate.decision)
    for name in ("latency_p95_ratio", "error_rate_difference", "similarity", "similarity_from_floor"):
        described = next(item for item in candidate.estimates if item.metric == name)
        unit = METRICS[name].unit
        assert bounds_of(decided[name], unit) in text, name
        assert bounds_of(described, unit) not in text, name
    assert len(re.findall("as decided on", text)) >= 4


def bounds_of(item, unit):
    from reports.metrics import span

    return span(item.low, item.high, unit)
