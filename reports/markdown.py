"""The decision as Markdown, short enough for a comment on a pull request."""

import re

from harness.domain.decision import CriterionResult, Decision, Objection, Outcome, Verdict
from harness.domain.formatting import format_value
from harness.domain.report import CandidateReport, EvaluationReport
from reports.deciding import COUNT, confidence, deciding
from reports.markdown_beside import table_of
from reports.metrics import answered_by, metric_of, rule, span
from reports.page_decision import ON_PURPOSE, WHY_LEFT, reasons_of
from reports.page_parts import dollars, words
from reports.text import one_line, plural

VERDICT_WORDS = {Verdict.GO: "GO", Verdict.NO_GO: "NO_GO", Verdict.INCONCLUSIVE: "INCONCLUSIVE"}
VERDICT_MARKS = {Verdict.GO: "✅", Verdict.NO_GO: "❌", Verdict.INCONCLUSIVE: "❔"}
OUTCOME_MARKS = {
    Outcome.PASS: "✅ pass",
    Outcome.FAIL: "❌ fail",
    Outcome.INCONCLUSIVE: "❔ inconclusive",
    Outcome.NO_DATA: "▫️ no data",
    Outcome.UNATTAINABLE: "🚫 unattainable",
}
_PUNCTUATION = re.compile(r"([\\`*_{}\[\]()#+!|~^$])")
_MAX_REASONS = 3
_MAX_WARNINGS = 5
_MAX_CANDIDATES = 20
_MAX_OBJECTIONS = 5


def render_markdown(report: EvaluationReport) -> str:
    """Verdict, sentence, criteria, cost and warnings of every candidate; no message and no answer is quoted."""
    production = ", ".join(sorted(report.production_models)) or "unknown"
    blocks = [
        f"## Shadow Harness: {escape(report.name)}",
        f"Production: {escape(production)} · {plural(report.ingest.sampled, 'request')} sampled · "
        f"decided {report.decided_at:%Y-%m-%d %H:%M} · run {escape(report.run_id)}",
    ]
    blocks += [f"> ⚠️ {escape(warning, 400)}" for warning in report.warnings[:_MAX_WARNINGS]]
    if not report.candidates:
        blocks.append("No candidate was evaluated.")
    blocks += table_of(report, escape)
    for candidate in report.candidates[:_MAX_CANDIDATES]:
        blocks += _candidate(report, candidate)
    if len(report.candidates) > _MAX_CANDIDATES:
        blocks.append(f"{len(report.candidates) - _MAX_CANDIDATES} more candidates are in the full report.")
    return "\n\n".join(blocks) + "\n"


def escape(text: str, limit: int = 200) -> str:
    """Untrusted text as literal Markdown on one line: no HTML, no link, no mention, no table cell of its own."""
    # Forges turn mentions, issue numbers and bare addresses into links even when their punctuation is escaped.
    line = re.sub(r"([@#])(?=[\w\[])", "\\1\N{ZERO WIDTH SPACE}", one_line(text, limit))
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = _PUNCTUATION.sub(r"\\\1", line)
    return line.replace("://", "&#58;//").replace("www.", "www&#46;")


def _candidate(report: EvaluationReport, candidate: CandidateReport) -> list[str]:
    decision = candidate.decision
    mark = f"{VERDICT_MARKS[decision.verdict]} **{VERDICT_WORDS[decision.verdict]}**"
    named = escape(candidate.arm) + (
        f" ({escape(answered_by(candidate.model))})" if candidate.model != candidate.arm else ""
    )
    blocks = [f"### {mark}: {named}", escape(decision.sentence, 600)]
    blocks += [f"> ⛔ {escape(text, 600)}" for text in _objections(report, candidate)[:_MAX_OBJECTIONS]]
    reasons = reasons_of(candidate)
    if decision.verdict is not Verdict.GO and reasons:
        blocks.append("\n".join(f"- {escape(reason, 300)}" for reason in reasons[:_MAX_REASONS]))
    if decision.results:
        rows = "\n".join(_row(report, result) for result in decision.results)
        blocks.append(f"| Criterion | Measured | Bounds | Rule | Outcome |\n|---|---:|---:|---|---|\n{rows}")
        blocks.append(_bounds(decision))
    blocks.append(_footer(candidate, decision))
    blocks += [f"> ⚠️ {escape(warning, 400)}" for warning in candidate.warnings[:_MAX_WARNINGS]]
    return [block for block in blocks if block]


def _objections(report: EvaluationReport, candidate: CandidateReport) -> list[str]:
    """What keeps a GO back, of the whole decision and of single criteria; what is said elsewhere is not said again."""
    decision = candidate.decision
    found = [_objection(item, said=decision.sentence) for item in decision.objections]
    for result in decision.results:
        if result.objection is not None:
            title = metric_of(report, result.criterion.metric).title
            found.append(f"{title} does not count. {_objection(result.objection, said=result.reason)}")
    return [text.strip() for text in found if text]


def _objection(objection: Objection, *, said: str) -> str:
    sentence = "" if objection.sentence in said else f"{objection.sentence} "
    return sentence + (f"What to do: {objection.remedy}" if objection.remedy else "")


def _row(report: EvaluationReport, result: CriterionResult) -> str:
    metric, estimate = metric_of(report, result.criterion.metric), deciding(result)
    bounded = estimate.low is not None or estimate.high is not None
    outcome = OUTCOME_MARKS[result.outcome]
    if result.objection is not None and result.outcome is Outcome.INCONCLUSIVE:
        outcome += ", does not count"
    cells = (
        escape(metric.title) + ("" if result.criterion.required else " (advisory)"),
        format_value(estimate.value, metric.unit),
        span(estimate.low, estimate.high, metric.unit) if bounded else "none",
        rule(result.criterion, metric),
        outcome + (f", needs {result.n_needed:,} pairs" if result.n_needed else ""),
    )
    return f"| {' | '.join(cells)} |"


def _bounds(decision: Decision) -> str:
    """How sure the bounds of the table are; those of a fail have a confidence of their own."""
    sure: dict[bool, dict[str, None]] = {False: {}, True: {}}
    for result in decision.results:
        estimate = deciding(result)
        if estimate.method != COUNT and (estimate.low is not None or estimate.high is not None):
            sure[result.outcome is Outcome.FAIL][confidence(estimate)] = None
    said = [" or ".join(escape(text) for text in found) for found in sure.values()]
    if not said[0]:
        return f"Each bound holds with {said[1]}." if said[1] else ""
    own = f"; those of a fail with {said[1]}" if said[1] and said[1] != said[0] else ""
    return f"Each bound holds with {said[0]}{own}."


def _footer(candidate: CandidateReport, decision: Decision) -> str:
    funnel, cost = candidate.funnel, candidate.cost
    parts = [f"{funnel.comparable:,} of {plural(funnel.sampled, 'sampled request')} comparable"]
    if funnel.failed:
        parts.append(f"{sum(funnel.failed.values()):,} failed")
    if cost.production_per_1k_usd is not None and cost.candidate_per_1k_usd is not None:
        parts.append(
            f"per 1,000 requests ${cost.candidate_per_1k_usd:,.2f} instead of ${cost.production_per_1k_usd:,.2f}"
        )
    parts += [
        text for text in (_stopped(candidate), _believed(candidate), _people(candidate), _attempt(decision)) if text
    ]
    if decision.n_needed:
        parts.append(f"about {plural(decision.n_needed, 'pair')} would settle every criterion")
    return " · ".join(parts)


def _stopped(candidate: CandidateReport) -> str:
    stopping = candidate.stopping
    if stopping is None or stopping.reason is None or stopping.asked >= stopping.sampled:
        return ""
    why = escape(WHY_LEFT.get(stopping.reason, words(stopping.reason)))
    saved = (
        f", about {dollars(stopping.saved_usd)} saved" if stopping.saved_usd and stopping.reason in ON_PURPOSE else ""
    )
    return f"{stopping.sampled - stopping.asked:,} not asked because {why}{saved}"


def _believed(candidate: CandidateReport) -> str:
    failed = [escape(item.judge) for item in candidate.health if not item.usable]
    return f"not to be believed: judge {', '.join(failed)}" if failed else ""


def _people(candidate: CandidateReport) -> str:
    return "" if candidate.people is None else f"{plural(candidate.people.labelled, 'pair')} labelled by people"


def _attempt(decision: Decision) -> str:
    terms = decision.terms
    return "" if terms is None else f"attempt {terms.attempt}, may spend {100 * terms.pass_alpha:.3g}%"
