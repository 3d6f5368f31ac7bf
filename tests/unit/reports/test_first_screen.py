"""What a reader with two minutes sees: who decided, the biggest risk, what a month costs, and where slices lose."""

from dataclasses import replace

import pytest

from harness.domain.decision import Bound, Decision, Objection, Outcome, Verdict
from harness.domain.report import CandidateReport
from reports.page_candidate import view_of
from reports.page_forest import MAX_ROWS, forests_of
from reports.page_glance import month_of, ruled_of
from reports.page_risk import distance, risk_of
from reports.views_forest import FOREST_WIDTH, Interval, line_of, mark_of
from tests.unit.reports import factory, rich
from tests.unit.reports.measures import estimate


def rule(metric, bound, threshold, outcome, *ends, **more):
    return factory.result(metric, bound, threshold, outcome, f"{metric} says so", estimate(metric, *ends), **more)


LATENCY = rule("latency_p95_ratio", Bound.BELOW, 1.2, Outcome.PASS, 0.9, 0.8, 1.0)
NARROW = rule("win_rate", Bound.ABOVE, 0.48, Outcome.PASS, 0.54, 0.481, 0.6)


def decided(*results, verdict=Verdict.GO, **more) -> CandidateReport:
    decision = Decision(arm="small", verdict=verdict, sentence="", reasons=(), results=results, **more)
    return factory.candidate("small", decision=decision, slice_tests=())


def risk(candidate):
    found = risk_of(factory.full(candidate), candidate)
    assert found is not None
    return found.title, found.section, found.sentence


def test_the_rule_that_fails_furthest_is_the_biggest_risk():
    near = rule("error_rate_difference", Bound.BELOW, 0.0, Outcome.FAIL, 0.02, 0.01, 0.03)
    far = rule("win_rate", Bound.ABOVE, 0.5, Outcome.FAIL, 0.2, 0.15, 0.25)
    advisory = rule("similarity", Bound.ABOVE, 0.9, Outcome.FAIL, 0.1, 0.09, 0.11, required=False)
    candidate = decided(LATENCY, near, far, advisory, verdict=Verdict.NO_GO)
    assert risk(candidate) == ("It breaks a rule", "criteria", "win_rate says so")


def test_a_flagged_slice_comes_before_a_judge_that_is_not_believed():
    objection = Objection(kind="judge", sentence="it looks at places", metric="win_rate")
    doubted = replace(NARROW, outcome=Outcome.INCONCLUSIVE, objection=objection)
    candidate = decided(LATENCY, doubted, verdict=Verdict.INCONCLUSIVE)
    assert risk(candidate) == ("The judge cannot be believed", "judges", "It looks at places.")
    title, section, sentence = risk(replace(candidate, slice_tests=rich.slice_tests()))
    assert (title, section) == ("A part of the traffic loses", "slices")
    assert sentence == (
        "On metadata.plan: team the candidate's win rate is 39.00% on 402 pairs where the rule asks for above 48%, "
        "beyond what chance explains."
    )


def test_what_was_not_measured_comes_before_what_is_open():
    unknown = rule("structure_valid", Bound.AT_LEAST, 0.9, Outcome.NO_DATA, None)
    still = rule("win_rate", Bound.ABOVE, 0.5, Outcome.INCONCLUSIVE, 0.51, 0.45, 0.57)
    worse = rule("error_rate_difference", Bound.BELOW, 0.0, Outcome.INCONCLUSIVE, 0.01, -0.01, 0.03)
    everything = decided(unknown, still, worse, verdict=Verdict.INCONCLUSIVE)
    assert risk(everything)[0] == "A rule that nothing was measured for"
    assert risk(decided(still, worse, verdict=Verdict.INCONCLUSIVE))[2] == "error_rate_difference says so"


def test_a_go_names_a_weak_slice_or_else_its_closest_call():
    candidate = decided(LATENCY, NARROW)
    assert risk(candidate) == (
        "The closest call",
        "criteria",
        "Win rate passes most narrowly: at least 48.10%, where the rule asks for above 48%.",
    )
    calm = tuple(replace(test, flagged=False) for test in rich.slice_tests())
    title, _, sentence = risk(replace(candidate, slice_tests=calm))
    assert title == "The weakest part of the traffic"
    assert sentence.endswith("39.00% on 402 pairs where the rule asks for above 48%; chance may explain it.")


def test_a_count_that_just_suffices_is_no_risk_of_the_candidates():
    of = estimate("coverage", 1001.0, method="count")
    count = factory.result("coverage", Bound.ABOVE, 1000.0, Outcome.PASS, "counted", of)
    assert risk(decided(count, NARROW))[2].startswith("Win rate")
    assert risk(decided(count))[2].endswith("passes most narrowly: 1,001, where the rule asks for above 1,000.")


def test_nothing_measured_is_no_risk_made_up():
    report = factory.empty()
    assert risk_of(report, report.candidates[0]) is None


@pytest.mark.parametrize(("end", "expected"), [(1.0, 2.0), (1.3, -1.0), (None, float("-inf"))])
def test_distances_are_counted_in_half_widths(end, expected):
    assert distance(LATENCY, end) == pytest.approx(expected)


def test_who_decided_by_which_rule():
    report = factory.full()
    assert ruled_of(report, report.candidates[0]) == (
        "All required rules pass, and what is said against them keeps it from a GO. Decided by Shadow Harness 0.1.0 on "
        "2026-11-20 09:41 UTC by the rules of profile non-inferiority, not by a person."
    )
    failing = factory.failing()
    said = ruled_of(factory.full(failing), failing)
    assert said.startswith("One failed rule is enough for a NO_GO. Decided by")
    go = decided(LATENCY, NARROW)
    assert ruled_of(report, go).startswith("A GO needs all 2 required rules to pass and nothing said against it.")
    assert "by the rules written in experiment support" in ruled_of(report, go)


def test_a_month_stands_beside_productions_with_its_assumption():
    month = month_of(factory.candidate())
    assert (month.candidate, month.interval, month.production) == ("$762.00", "$725.00 to $800.00", "$5,150")
    assert month.assumption.startswith("The month assumes 1,250,000 requests (configured)")
    empty = month_of(factory.empty().candidates[0])
    assert (empty.candidate, empty.interval) == ("unknown", "")
    assert empty.assumption == "No monthly figure: the monthly volume is unknown: the export has no times."


def test_only_required_rules_that_do_not_pass_need_a_sentence():
    failing = factory.failing()
    view = view_of(factory.full(failing), failing, "c1")
    assert view.reasons
    passed = {item.reason for item in failing.decision.results if item.outcome is Outcome.PASS}
    assert not passed & set(view.reasons)
    assert not any(reason.startswith("Advisory") for reason in view.reasons)
    assert [item.anchor for item in view.criteria] == [f"c1-criterion-{n}" for n in range(1, 6)]


def test_slices_where_the_candidate_loses_come_first():
    candidate = factory.thorough()
    first, second, *_ = forests_of(factory.full(), candidate)
    assert (first.title, first.rule, first.is_open, second.is_open) == ("Win rate", "above 48%", True, False)
    assert [row.name for row in first.rows] == [
        "All traffic", "metadata.plan: team", "has tools: yes", "metadata.plan: enterprise", "has tools: no",
        "metadata.plan: free",
    ]  # fmt: skip
    assert [row.tone for row in first.rows] == ["mark", "bad", "open", "good", "good", "good"]
    assert first.rows[1].badge is not None
    assert first.rows[2].said == "wrong side, chance may explain it"
    assert first.summary == "5 slices: 2 on the wrong side, 1 of them beyond chance"
    team = first.rows[1].mark
    assert team.low < team.value < team.high
    assert team.value < first.threshold


def test_many_slices_are_cut_and_the_losing_ones_are_kept():
    item = factory.candidate().slices[0]
    many = tuple(
        replace(item, value=f"v{n:02}", estimates=(estimate("win_rate", 0.3 + n / 100, 0.2, 0.6),)) for n in range(40)
    )
    candidate = factory.thorough(slices=many)
    [forest] = forests_of(factory.full(), candidate)
    assert len(forest.rows) == MAX_ROWS + 1
    assert forest.rows[1].name == "metadata.plan: v00"
    assert "10 more slices are in report.json" in forest.note


def test_an_interval_far_wider_than_all_values_is_cut_off_and_says_so():
    items = [Interval(value=1.0, low=0.9, high=1.1, n=400), Interval(value=1.4, low=0.1, high=80.0, n=4)]
    line = line_of(items, 1.2)
    narrow, wide = (mark_of(item, line) for item in items)
    assert wide.high_open
    assert wide.high < FOREST_WIDTH
    assert not narrow.high_open
    assert narrow.high - narrow.low > 20, "the others can still be told apart"
    assert narrow.half > wide.half
