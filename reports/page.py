"""From an EvaluationReport to the view objects of the page."""

import math
import shlex
from collections.abc import Mapping

from harness.domain.decision import Outcome
from harness.domain.estimate import Estimate
from harness.domain.formatting import format_value
from harness.domain.metrics import COST_PER_1K, COVERAGE
from harness.domain.report import CandidateReport, EvaluationReport, Readers
from reports import page_candidate, page_side_by_side, page_traffic
from reports.deciding import COUNT, bound, decided_on
from reports.glossary import WORDS, anchor_of
from reports.method import PARAGRAPHS
from reports.metrics import metric_of, rule
from reports.page_decision import ON_PURPOSE, WHY_LEFT, objections_of
from reports.page_parts import NONE, OUTCOME_BADGES, VERDICT_BADGES, dollars, table, when, words
from reports.text import plural
from reports.views import Cell, Fact, Table
from reports.views_page import ProvenanceView, ReportView

_STOPPED = "The run stopped early"


def view_of(report: EvaluationReport) -> ReportView:
    """What the page shows of the report."""
    production = _models(report.production_models)
    several = len(report.candidates) > 1
    names = [candidate.arm for candidate in report.candidates]
    return ReportView(
        name=report.name,
        title=f"{names[0]} in place of {production}?"
        if len(names) == 1
        else f"{plural(len(names), 'candidate')} in place of {production}",
        subtitle=f"{report.name} · {plural(report.ingest.sampled, 'request')} · {when(report.decided_at)}",
        facts=(
            Fact(label="Production model", value=production, note=_model_counts(report.production_models)),
            Fact(
                label="Requests sampled",
                value=f"{report.ingest.sampled:,}",
                note=f"of {plural(report.ingest.kept, 'usable record')}",
            ),
            Fact(label="Decided", value=when(report.decided_at), note=f"run {report.run_id}"),
        ),
        warnings=_warnings(report),
        overview=_overview(report) if several else None,
        side_by_side=page_side_by_side.view_of(report),
        candidates=tuple(
            page_candidate.view_of(report, candidate, f"c{number}")
            for number, candidate in enumerate(report.candidates, start=1)
        ),
        traffic=page_traffic.traffic_of(report.ingest),
        method=PARAGRAPHS,
        methods=_methods(report),
        glossary=_glossary(report),
        provenance=_provenance(report),
        footer=f"Shadow Harness {report.harness_version} · report schema {report.schema}",
    )


def _models(models: Mapping[str, int]) -> str:
    names = sorted(models, key=lambda name: (-models[name], name))
    if not names:
        return "production"
    return names[0] if len(names) == 1 else f"{names[0]} and {plural(len(names) - 1, 'more model')}"


def _model_counts(models: Mapping[str, int]) -> str:
    if len(models) < 2:
        return ""
    ordered = sorted(models.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count:,}" for name, count in ordered[:4]) + (", …" if len(ordered) > 4 else "")


def _warnings(report: EvaluationReport) -> tuple[str, ...]:
    found = list(report.warnings)
    if not report.ingest.redaction_enabled:
        found.append("Redaction was turned off: this page and the store hold users' text as it was recorded.")
    # Why a candidate was left alone on purpose is said where it is decided on; other reasons come with the report.
    if report.stop_reason and report.stop_reason not in ON_PURPOSE and not any(w.startswith(_STOPPED) for w in found):
        found.append(f"{_STOPPED} ({words(report.stop_reason)}). The sample so far is valid; the same command goes on.")
    if report.readers is Readers.OUTSIDE:
        found.append(
            "This report is for readers outside: messages, answers, names of files and values that may name somebody "
            "are left out. Every figure and rule is here."
        )
    elif not report.show_text:
        found.append("Messages and answers are left out of this report (report.show_text is off).")
    return tuple(found)


def _overview(report: EvaluationReport) -> Table:
    """Criteria by row, candidates by column."""
    metrics: dict[str, None] = {}
    for candidate in report.candidates:
        metrics |= dict.fromkeys(result.criterion.metric for result in candidate.decision.results)
    rows = [(Cell(text="Verdict"), *(_overview_verdict(candidate) for candidate in report.candidates))]
    rows += [
        (_overview_head(report, name), *(_overview_cell(report, c, name) for c in report.candidates))
        for name in metrics
    ]
    # What is a criterion has its row already.
    if COST_PER_1K.name not in metrics:
        rows.append((Cell(text="Cost of 1,000 requests"), *(_overview_cost(c) for c in report.candidates)))
    if COVERAGE.name not in metrics:
        rows.append((Cell(text="Comparable pairs"), *(_overview_pairs(c) for c in report.candidates)))
    return table("Verdicts and criteria", ["", *(c.arm for c in report.candidates)], rows)


def _overview_verdict(candidate: CandidateReport) -> Cell:
    against = ", ".join(objection.title.lower() for objection in objections_of(candidate))
    return Cell(text="", sub=against, badge=VERDICT_BADGES[candidate.decision.verdict])


def _overview_head(report: EvaluationReport, name: str) -> Cell:
    metric = metric_of(report, name)
    found = [r.criterion for c in report.candidates for r in c.decision.results if r.criterion.metric == name]
    rules = dict.fromkeys(rule(criterion, metric) + ("" if criterion.required else ", advisory") for criterion in found)
    return Cell(text=metric.title, sub=" or ".join(rules))


def _overview_cell(report: EvaluationReport, candidate: CandidateReport, name: str) -> Cell:
    found = [result for result in candidate.decision.results if result.criterion.metric == name]
    if not found:
        return Cell(text=NONE, sub="not a criterion")
    metric, result = metric_of(report, name), found[0]
    value = format_value(result.estimate.value, metric.unit) if result.outcome is not Outcome.NO_DATA else ""
    held = "does not count" if result.objection is not None and result.outcome is Outcome.INCONCLUSIVE else ""
    sub = ", ".join(part for part in (bound(result, metric), _infinite(result.estimate), held) if part)
    return Cell(text=value, sub=sub, badge=OUTCOME_BADGES[result.outcome])


def _infinite(estimate: Estimate) -> str:
    """Whose failures make a percentile infinite, without which a ratio of 0 or of no end would look like a mistake."""
    sides = (("production's", estimate.production), ("the candidate's", estimate.candidate))
    whose = [name for name, value in sides if value == math.inf]
    return f"{' and '.join(whose)} is infinite" if whose else ""


def _overview_cost(candidate: CandidateReport) -> Cell:
    return Cell(text=dollars(candidate.cost.candidate_per_1k_usd),
                sub=f"production {dollars(candidate.cost.production_per_1k_usd)}")  # fmt: skip


def _overview_pairs(candidate: CandidateReport) -> Cell:
    return Cell(text=f"{candidate.funnel.comparable:,}", sub=f"of {candidate.funnel.sampled:,} sampled")


def _methods(report: EvaluationReport) -> Table | None:
    """One row per estimator and how sure its bounds are, with the metrics it was used for."""
    used: dict[tuple[str, str, bool], dict[str, None]] = {}
    for candidate in report.candidates:
        decided = decided_on(candidate.decision)
        described = {e.metric: e for e in candidate.estimates if e.value is not None} | decided
        for name, estimate in described.items():
            if estimate.method:
                key = (estimate.method, "" if estimate.method == COUNT else _sure(estimate), name in decided)
                used.setdefault(key, {})[metric_of(report, name).title] = None
    rows = [
        (Cell(text=method), Cell(text=sure or NONE), Cell(text="decides" if decides else "describes"),
         Cell(text=", ".join(titles)))
        for (method, sure, decides), titles in sorted(used.items(), key=lambda item: (not item[0][2], item[0]))
    ]  # fmt: skip
    heads = ["Method", "Each bound", "Purpose", "Used for"]
    return table("Estimators and bounds", heads, rows, note="Explained in docs/statistics.md.") if rows else None


def _sure(estimate: Estimate) -> str:
    """As short as a table needs it: ``99.24%, any look``."""
    looks = {"any": "any look", "planned": "planned looks", "one": "one look"}.get(estimate.looks, estimate.looks)
    return f"{100 * (1 + estimate.level) / 2:.4g}%, {looks}"


def _glossary(report: EvaluationReport) -> tuple[tuple[str, Fact], ...]:
    metrics = {metric.title: metric.help for metric in report.metrics.values() if metric.help}
    known = dict(WORDS)
    meanings = known | metrics
    # Only words are linked to; a metric is explained where it stands.
    return tuple(
        (anchor_of(word) if word in known else "", Fact(label=word, value=meanings[word]))
        for word in sorted(meanings, key=lambda word: (word.casefold(), word))
    )


def _ended(reason: str | None) -> str:
    if reason is None:
        return "complete"
    return f"early: {WHY_LEFT[reason]}" if reason in WHY_LEFT else words(reason)


def _provenance(report: EvaluationReport) -> ProvenanceView:
    versions = sorted(report.versions.items())
    prompts = sorted(report.prompts.items())
    seen: dict[str, tuple[Cell, ...]] = {}
    for candidate in report.candidates:
        for judge in candidate.judges:
            prompt = " ".join(part for part in (judge.prompt, judge.prompt_sha256 and judge.prompt_sha256[:16]) if part)
            seen.setdefault(
                judge.fingerprint,
                (
                    Cell(text=judge.judge, sub=judge.kind if judge.kind != judge.judge else ""),
                    Cell(text=judge.model or NONE, sub=", ".join(judge.further_models)),
                    Cell(text=prompt or NONE),
                    Cell(text=judge.fingerprint),
                ),
            )
    return ProvenanceView(
        facts=(
            Fact(label="Run", value=report.run_id),
            Fact(label="Started", value=when(report.created_at)),
            Fact(label="Decided", value=when(report.decided_at)),
            Fact(label="Seed", value=str(report.seed)),
            Fact(label="Ended", value=_ended(report.stop_reason)),
            Fact(label="Command", value=report.command or "not recorded"),
            Fact(
                label="Render again",
                value=f"harness report {shlex.quote(report.run_id)}",
                note="from the store. With the path of report.json instead it needs no store. Neither asks a model.",
            ),
        ),
        versions=table("Versions", ["Package", "Version"], [(Cell(text=k), Cell(text=v)) for k, v in versions])
        if versions
        else None,
        judges=table("Judges", ["Judge", "Model", "Prompt", "Fingerprint"], list(seen.values())) if seen else None,
        prompts=table("Prompts", ["Prompt", "SHA-256"], [(Cell(text=k), Cell(text=v)) for k, v in prompts])
        if prompts
        else None,
        experiment=report.experiment_yaml,
    )
