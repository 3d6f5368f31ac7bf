"""The decision as JUnit XML, for CI systems: one test case per criterion and candidate."""

import math
from collections.abc import Iterable
from xml.etree import ElementTree as ET

from harness.domain.decision import CriterionResult, Objection, Outcome, Terms
from harness.domain.estimate import Metric
from harness.domain.formatting import format_value
from harness.domain.observation import ErrorKind
from harness.domain.report import CandidateReport, EvaluationReport, Funnel
from reports.deciding import deciding
from reports.metrics import metric_of, rule
from reports.text import one_line, visible

_SETUP = frozenset(kind.value for kind in ErrorKind if kind.is_setup)


def render_junit(report: EvaluationReport) -> str:
    """FAIL is a ``failure``; what is open is ``skipped`` with the reason; our own set-up is an ``error``.

    Open are INCONCLUSIVE, NO_DATA and UNATTAINABLE. An objection to the decision as a whole is a case of its own,
    ``skipped`` with what to do: it keeps a GO back and is no failure. An advisory criterion that does not pass is
    ``skipped``: it is shown and never decides. A criterion without data, or any criterion of a candidate that never
    answered, is an ``error`` when calls failed on credentials, permission, quota or a missing model: that says nothing
    about the candidate.
    """
    root = ET.Element("testsuites", {"name": visible(f"shadow-harness {report.name}")})
    for candidate in report.candidates:
        _suite(root, report, candidate)
    _totals(root, root.iter("testcase"))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def setup_failures(funnel: Funnel) -> dict[str, int]:
    """Calls that failed because of our own configuration, by kind."""
    return {kind: count for kind, count in sorted(funnel.failed.items()) if kind in _SETUP and count}


def _suite(root: ET.Element, report: EvaluationReport, candidate: CandidateReport) -> None:
    suite = ET.SubElement(
        root, "testsuite", {"name": visible(candidate.arm), "timestamp": report.decided_at.isoformat()}
    )
    _properties(
        suite,
        {
            "run": report.run_id,
            "model": candidate.model,
            "verdict": candidate.decision.verdict.value,
            "sentence": candidate.decision.sentence,
            **_terms(candidate.decision.terms),
        },
    )
    for result in candidate.decision.results:
        _case(suite, report, candidate, result)
    for number, objection in enumerate(candidate.decision.objections, start=1):
        _objection(suite, report, candidate, objection, number)
    _totals(suite, suite.findall("testcase"))


def _terms(terms: Terms | None) -> dict[str, str]:
    """How sure the decision had to be; nothing where that is not recorded."""
    if terms is None:
        return {}
    return {
        "profile": terms.profile,
        "looks": terms.looks,
        "alpha": _number(terms.alpha),
        "attempt": str(terms.attempt),
        "attempt_alpha": _number(terms.pass_alpha),
    }


def _objection(
    suite: ET.Element, report: EvaluationReport, candidate: CandidateReport, objection: Objection, number: int
) -> None:
    name = f"Objection {number}: {objection.kind}"
    classname = f"{report.name}.{candidate.arm}"
    case = ET.SubElement(suite, "testcase", {"name": visible(name), "classname": visible(classname), "time": "0"})
    ET.SubElement(case, "skipped", {"message": one_line(f"{objection.sentence} {objection.remedy}".strip(), 1000)})


def _case(suite: ET.Element, report: EvaluationReport, candidate: CandidateReport, result: CriterionResult) -> None:
    metric = metric_of(report, result.criterion.metric)
    name = f"{metric.title} {rule(result.criterion, metric)}"
    classname = f"{report.name}.{candidate.arm}"
    case = ET.SubElement(suite, "testcase", {"name": visible(name), "classname": visible(classname), "time": "0"})
    estimate = deciding(result)
    _properties(
        case,
        {
            "metric": result.criterion.metric,
            "outcome": result.outcome.value,
            "n": str(estimate.n),
            "estimate": _number(estimate.value),
            "low": _number(estimate.low),
            "high": _number(estimate.high),
            "level": _number(estimate.level),
            "looks": estimate.looks,
            "n_effective": _number(estimate.n_effective),
            "n_clusters": str(estimate.n_clusters),
            "threshold": _number(result.criterion.threshold),
            "method": estimate.method,
        },
    )
    kind, message = _ending(candidate, result, metric)
    if kind:
        element = ET.SubElement(case, kind, {"message": one_line(message, 1000)})
        if kind != "skipped":
            element.set("type", result.outcome.value if kind == "failure" else "infrastructure")
            element.text = visible(message)


def _ending(candidate: CandidateReport, result: CriterionResult, metric: Metric) -> tuple[str, str]:
    setup = setup_failures(candidate.funnel)
    never_answered = not candidate.funnel.completed
    if setup and result.outcome is not Outcome.PASS and (never_answered or result.outcome is Outcome.NO_DATA):
        kinds = ", ".join(f"{count} x {kind}" for kind, count in setup.items())
        return "error", f"The candidate could not be asked ({kinds}); this says nothing about it. {result.reason}"
    if result.outcome is Outcome.PASS:
        return "", ""
    said = _with_remedy(result)
    if not result.criterion.required:
        return "skipped", f"advisory, {result.outcome.value}: {said}"
    if result.outcome is Outcome.FAIL:
        return "failure", said
    measured = format_value(result.estimate.value, metric.unit)
    return "skipped", f"{result.outcome.value} (measured {measured}): {said}"


def _with_remedy(result: CriterionResult) -> str:
    """The reason with what it leaves out: the pairs still needed, and what is said against the figures."""
    parts = [result.reason]
    if result.n_needed and f"{result.n_needed:,}" not in result.reason:
        parts.append(f"About {result.n_needed:,} pairs in all would settle it.")
    if result.objection is not None:
        parts += [text for text in (result.objection.sentence, result.objection.remedy) if text not in result.reason]
    return " ".join(parts)


def _properties(parent: ET.Element, values: dict[str, str]) -> None:
    properties = ET.SubElement(parent, "properties")
    for name, value in values.items():
        ET.SubElement(properties, "property", {"name": name, "value": visible(value)})


def _totals(element: ET.Element, cases: Iterable[ET.Element]) -> None:
    listed = list(cases)
    element.set("tests", str(len(listed)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(attribute, str(sum(case.find(tag) is not None for case in listed)))


def _number(value: float | None) -> str:
    return "unknown" if value is None or math.isnan(value) else repr(float(value))
