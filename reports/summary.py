"""A run in a few lines: for a pull request as Markdown, and for a chat as plain text."""

from harness.domain.decision import CriterionResult, Outcome, Verdict
from harness.domain.formatting import format_value
from harness.domain.report import CandidateReport, EvaluationReport
from reports.deciding import deciding
from reports.markdown import OUTCOME_MARKS, VERDICT_MARKS, VERDICT_WORDS, escape
from reports.metrics import metric_of, rule, span
from reports.page_parts import dollars
from reports.published import verdict_of
from reports.text import one_line, plural

_MOST_CANDIDATES = 10
_MOST_CRITERIA = 15
_MOST_SAID = 4


def render_summary(report: EvaluationReport, *, link: str = "", compared: str = "") -> str:
    """Verdict, criteria, cost and links; no message, answer or judge's word, and short enough for a pull request.

    Args:
        report: The run.
        link: Address of its published report; empty when readers cannot open it.
        compared: Address of the page that holds it against the run before; may be empty.
    """
    production = escape(", ".join(sorted(report.production_models)) or "unknown", 100)
    blocks = [f"### Shadow Harness: {escape(report.name, 100)}"]
    blocks += [f"> ⚠️ {escape(warning, 300)}" for warning in report.warnings[:2]]
    for candidate in report.candidates[:_MOST_CANDIDATES]:
        blocks += _candidate(report, candidate, production)
    if not report.candidates:
        blocks.append("No candidate was evaluated.")
    left = len(report.candidates) - _MOST_CANDIDATES
    if left > 0:
        blocks.append(f"{plural(left, 'more candidate')} in the report.")
    targets = (("Full report", link), ("Compared with the run before", compared))
    links = [f"[{words}]({target})" for words, target in targets if target]
    tail = f"run {escape(report.run_id, 110)}, decided {report.decided_at:%Y-%m-%d %H:%M}"
    blocks.append(" · ".join([*links, tail]))
    return "\n\n".join(blocks) + "\n"


def chat_message(report: EvaluationReport, *, link: str = "") -> tuple[str, str, bool]:
    """Title, text and whether it is bad news; plain text on a few lines, without any message or answer."""
    verdict = verdict_of(report)
    names = [_plain(candidate.arm, 60) for candidate in report.candidates]
    who = names[0] if len(names) == 1 else plural(len(names), "candidate")
    production = _plain(", ".join(sorted(report.production_models)) or "production", 60)
    title = f"{VERDICT_WORDS[verdict]}: {who} in place of {production} ({_plain(report.name, 60)})"
    lines = []
    for candidate in report.candidates[:_MOST_CANDIDATES]:
        head = f"{VERDICT_WORDS[candidate.decision.verdict]}: " if len(names) > 1 else ""
        lines.append(head + _plain(candidate.decision.sentence, 400))
        lines += [f"- {line}" for line in _said(report, candidate)]
        lines.append(_plain(_cost(candidate), 200))
    lines.append(link or f"run {_plain(report.run_id, 110)}")
    return title, "\n".join(line for line in lines if line), verdict is Verdict.NO_GO


def _candidate(report: EvaluationReport, candidate: CandidateReport, production: str) -> list[str]:
    decision = candidate.decision
    blocks = [
        f"**{VERDICT_MARKS[decision.verdict]} {VERDICT_WORDS[decision.verdict]}: {escape(candidate.arm, 80)}** in "
        f"place of {production}. {escape(decision.sentence, 500)}"
    ]
    objections = [item.sentence for item in decision.objections]
    blocks += [f"> ⛔ {escape(text, 400)}" for text in objections[:2] if text not in decision.sentence]
    results = decision.results[:_MOST_CRITERIA]
    if results:
        rows = "\n".join(_row(report, result) for result in results)
        blocks.append(f"| Criterion | Measured | Rule | Outcome |\n|---|---|---|---|\n{rows}")
    left = len(decision.results) - len(results)
    if left > 0:
        blocks.append(f"{plural(left, 'more criterion', 'more criteria')} in the report.")
    return [*blocks, _cost(candidate)]


def _row(report: EvaluationReport, result: CriterionResult) -> str:
    metric, estimate = metric_of(report, result.criterion.metric), deciding(result)
    bounded = estimate.low is not None or estimate.high is not None
    measured = format_value(estimate.value, metric.unit)
    outcome = OUTCOME_MARKS[result.outcome]
    if result.objection is not None and result.outcome is Outcome.INCONCLUSIVE:
        outcome += ", does not count"
    cells = (
        escape(metric.title, 60) + ("" if result.criterion.required else " (advisory)"),
        f"{measured} ({span(estimate.low, estimate.high, metric.unit)})" if bounded else measured,
        rule(result.criterion, metric),
        outcome,
    )
    return f"| {' | '.join(cells)} |"


def _said(report: EvaluationReport, candidate: CandidateReport) -> list[str]:
    """Criteria that did not pass, those that failed first."""
    open_ones = [
        result
        for result in candidate.decision.results
        if result.criterion.required and result.outcome is not Outcome.PASS
    ]
    open_ones.sort(key=lambda result: result.outcome is not Outcome.FAIL)
    lines = []
    for result in open_ones[:_MOST_SAID]:
        metric, estimate = metric_of(report, result.criterion.metric), deciding(result)
        lines.append(
            f"{_plain(metric.title, 60)} {format_value(estimate.value, metric.unit)}, required "
            f"{rule(result.criterion, metric)}: {result.outcome.value.replace('_', ' ')}"
        )
    if len(open_ones) > _MOST_SAID:
        lines.append(f"{len(open_ones) - _MOST_SAID} more did not pass")
    return lines


def _cost(candidate: CandidateReport) -> str:
    """What it rests on and costs."""
    cost = candidate.cost
    parts = [f"{plural(candidate.funnel.comparable, 'comparable pair')} of {candidate.funnel.sampled:,} sampled"]
    if cost.candidate_per_1k_usd is not None and cost.production_per_1k_usd is not None:
        parts.append(
            f"1,000 requests cost {dollars(cost.candidate_per_1k_usd)} instead of {dollars(cost.production_per_1k_usd)}"
        )
    if cost.candidate_month_usd is not None and cost.production_month_usd is not None:
        parts.append(f"a month {dollars(cost.candidate_month_usd)} instead of {dollars(cost.production_month_usd)}")
    return " · ".join(parts)


def _plain(text: str, limit: int) -> str:
    """Untrusted text for a chat: on one line, and nothing in it mentions, links or marks anything there."""
    line = one_line(text, limit)
    for sign in "@<#":
        line = line.replace(sign, f"{sign}\N{ZERO WIDTH SPACE}")
    return line.replace("://", ":\N{ZERO WIDTH SPACE}//").replace("`", "'").replace("](", "] (")
