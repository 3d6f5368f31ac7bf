from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from harness.domain.decision import Bound, Outcome, Verdict
from harness.domain.report import Funnel
from reports import render_junit
from tests.unit.reports import factory
from tests.unit.reports.measures import estimate


def cases(report) -> dict[str, ET.Element]:
    root = ET.fromstring(render_junit(report))  # noqa: S314  our own output
    return {f"{case.get('classname')}: {case.get('name')}": case for case in root.iter("testcase")}


def test_one_case_per_criterion_and_candidate():
    report = factory.three()
    assert len(cases(report)) == sum(len(candidate.decision.results) for candidate in report.candidates)


def ending(case: ET.Element) -> str:
    return next((child.tag for child in case if child.tag != "properties"), "passed")


def test_every_outcome_has_its_state():
    found = cases(factory.report(factory.candidate("one", Verdict.NO_GO)))
    assert {name: ending(case) for name, case in found.items()} == {
        "support.one: P95 latency below 1.2x": "passed",
        "support.one: Error rate below 0 points": "skipped",
        "support.one: Win rate above 50%": "failure",
        "support.one: Similarity above 0.95": "skipped",  # advisory
        "support.one: Coverage above 1,000": "passed",
        "support.one: Structure at least 98%": "skipped",
    }
    undecided = found["support.one: Error rate below 0 points"].find("skipped").get("message")
    assert undecided.startswith("inconclusive (measured -0.10 points): ")
    assert undecided.endswith("About 4,100 pairs in all would settle it.")
    failed = found["support.one: Win rate above 50%"].find("failure")
    assert "Win rate is 41.8%" in failed.get("message")
    assert failed.get("message") == failed.text


def test_properties_carry_the_numbers():
    case = cases(factory.report())["support.small-model: Win rate above 50%"]
    properties = {item.get("name"): item.get("value") for item in case.iter("property")}
    assert properties["n"] == "1168"
    assert (properties["estimate"], properties["low"], properties["high"]) == ("0.512", "0.486", "0.538")
    assert properties["outcome"] == "inconclusive"
    assert properties["method"] == "clustered bootstrap, percentile"


def test_objections_and_rules_nobody_meets_are_skipped_and_no_failures():
    found = cases(factory.two())
    assert {name: ending(case) for name, case in found.items()} == {
        "support.small-model: 95th percentile latency, ratio below 1.2x": "passed",
        "support.small-model: Error rate, difference below +0.5 points": "passed",
        "support.small-model: Win rate above 48%": "passed",
        "support.small-model: Similarity, from the noise floor above -0.01": "passed",
        "support.small-model: Similarity above 0.97": "skipped",
        "support.small-model: Objection 1: slice": "skipped",
        "support.cheap-model: 95th percentile latency, ratio below 1.2x": "skipped",
        "support.cheap-model: Error rate, difference below +0.5 points": "failure",
        "support.cheap-model: Win rate above 48%": "skipped",
        "support.cheap-model: Similarity, from the noise floor above -0.01": "passed",
        "support.cheap-model: Similarity above 0.97": "skipped",
    }

    def message(name):
        return found[name].find("skipped").get("message")

    assert message("support.small-model: Objection 1: slice").startswith("1 slice loses where the whole does not")
    assert message("support.small-model: Objection 1: slice").endswith("or mend the candidate.")
    assert message("support.small-model: Similarity above 0.97").startswith(
        "advisory, unattainable: Similarity is 0.951"
    )
    held = message("support.cheap-model: Win rate above 48%")
    assert held.startswith("inconclusive (measured 56.10%): Win rate is 56.10%")
    assert held.endswith("Ask for token probabilities (`mode: soft`), or take a stronger model.")
    assert held.count("judge pairwise failed a check") == 1


def test_a_required_rule_that_nobody_meets_is_no_failure_either():
    candidate = factory.thorough()
    results = tuple(
        replace(item, criterion=replace(item.criterion, required=True)) for item in candidate.decision.results[-1:]
    )
    [case, _] = cases(factory.full(replace(candidate, decision=replace(candidate.decision, results=results)))).values()
    assert case.find("skipped").get("message").startswith("unattainable (measured 0.951): ")


def test_properties_name_the_bounds_that_decide_and_the_terms():
    root = ET.fromstring(render_junit(factory.two()))  # noqa: S314  our own output
    suite = root.findall("testsuite")[1]
    terms = {item.get("name"): item.get("value") for item in suite.find("properties")}
    assert (terms["profile"], terms["looks"], terms["attempt"]) == ("non_inferiority", "any", "2")
    assert float(terms["attempt_alpha"]) < float(terms["alpha"]) == 0.05
    failed = next(case for case in suite.iter("testcase") if case.find("failure") is not None)
    properties = {item.get("name"): item.get("value") for item in failed.iter("property")}
    assert (properties["low"], properties["high"], properties["looks"]) == ("0.017", "0.045", "any")
    assert (properties["n_effective"], properties["n_clusters"]) == ("903.4", "731")


def test_totals_are_counted():
    root = ET.fromstring(render_junit(factory.report(factory.candidate("one", Verdict.NO_GO))))  # noqa: S314  our own output
    assert {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6", "failures": "1", "errors": "0", "skipped": "3",
    }  # fmt: skip
    assert root.find("testsuite").get("tests") == "6"


def bare(outcome: Outcome, funnel: Funnel):
    candidate = factory.candidate(funnel=funnel)
    result = factory.result("win_rate", Bound.ABOVE, 0.5, outcome, "why", estimate("win_rate", None, n=0))
    decision = replace(candidate.decision, results=(result,))
    [case] = cases(factory.report(replace(candidate, decision=decision))).values()
    return case


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.NO_DATA])
@pytest.mark.parametrize("kind", ["authentication", "permission", "not_found", "quota_exhausted"])
def test_our_own_set_up_never_reads_as_a_verdict_on_the_candidate(outcome, kind):
    case = bare(outcome, Funnel(sampled=10, completed=0, failed={kind: 10}))
    assert ending(case) == "error"
    assert case.find("error").get("type") == "infrastructure"
    assert f"10 x {kind}" in case.find("error").get("message")


def test_the_candidates_own_errors_are_its_own():
    assert ending(bare(Outcome.FAIL, Funnel(sampled=10, completed=0, failed={"timeout": 10}))) == "failure"
    assert ending(bare(Outcome.FAIL, Funnel(sampled=10, completed=9, failed={"authentication": 1}))) == "failure"


def test_hostile_text_keeps_the_file_well_formed():
    text = render_junit(factory.hostile())
    text.encode()
    root = ET.fromstring(text)  # noqa: S314  our own output
    assert "␛[31mred" in root.get("name")
    assert root.find("testsuite").get("name").startswith("</script></style><script>")
