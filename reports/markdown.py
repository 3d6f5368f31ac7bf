"""The decision as Markdown, short enough for a comment on a pull request."""

import re

from harness.domain.decision import CriterionResult, Decision, Outcome, Verdict
from harness.domain.formatting import format_interval, format_value
from harness.domain.report import CandidateReport, EvaluationReport
from reports.metrics import answered_by, metric_of, rule
from reports.text import one_line, plural

VERDICT_WORDS = {Verdict.GO: "GO", Verdict.NO_GO: "NO_GO", Verdict.INCONCLUSIVE: "INCONCLUSIVE"}
_VERDICT_MARKS = {Verdict.GO: "✅", Verdict.NO_GO: "❌", Verdict.INCONCLUSIVE: "❔"}
_OUTCOME_MARKS = {
    Outcome.PASS: "✅ pass",
    Outcome.FAIL: "❌ fail",
    Outcome.INCONCLUSIVE: "❔ inconclusive",
    Outcome.UNATTAINABLE: "🚫 unattainable",
    Outcome.NO_DATA: "▫️ no data",
}
_PUNCTUATION = re.compile(r"([\\`*_{}\[\]()#+!|~^$])")
_MAX_REASONS = 3
_MAX_WARNINGS = 5
_MAX_CANDIDATES = 20


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
    mark = f"{_VERDICT_MARKS[decision.verdict]} **{VERDICT_WORDS[decision.verdict]}**"
    named = escape(candidate.arm) + (
        f" ({escape(answered_by(candidate.model))})" if candidate.model != candidate.arm else ""
    )
    blocks = [f"### {mark}: {named}", escape(decision.sentence, 600)]
    if decision.verdict is not Verdict.GO and decision.reasons:
        blocks.append("\n".join(f"- {escape(reason, 300)}" for reason in decision.reasons[:_MAX_REASONS]))
    if decision.results:
        rows = "\n".join(_row(report, result) for result in decision.results)
        blocks.append(f"| Criterion | Measured | Interval | Rule | Outcome |\n|---|---:|---:|---|---|\n{rows}")
    blocks.append(_footer(candidate, decision))
    blocks += [f"> ⚠️ {escape(warning, 400)}" for warning in candidate.warnings[:_MAX_WARNINGS]]
    return blocks


def _row(report: EvaluationReport, result: CriterionResult) -> str:
    metric, estimate = metric_of(report, result.criterion.metric), result.estimate
    bounded = estimate.low is not None or estimate.high is not None
    cells = (
        escape(metric.title) + ("" if result.criterion.required else " (advisory)"),
        format_value(estimate.value, metric.unit),
        format_interval(estimate.low, estimate.high, metric.unit) if bounded else "none",
        rule(result.criterion, metric),
        _OUTCOME_MARKS[result.outcome] + (f", needs {result.n_needed:,} pairs" if result.n_needed else ""),
    )
    return f"| {' | '.join(cells)} |"


def _footer(candidate: CandidateReport, decision: Decision) -> str:
    funnel, cost = candidate.funnel, candidate.cost
    parts = [f"{funnel.comparable:,} of {plural(funnel.sampled, 'sampled request')} comparable"]
    if funnel.failed:
        parts.append(f"{sum(funnel.failed.values()):,} failed")
    if cost.production_per_1k_usd is not None and cost.candidate_per_1k_usd is not None:
        parts.append(
            f"per 1,000 requests ${cost.candidate_per_1k_usd:,.2f} instead of ${cost.production_per_1k_usd:,.2f}"
        )
    if decision.n_needed:
        parts.append(f"about {plural(decision.n_needed, 'pair')} would settle every criterion")
    return " · ".join(parts)
