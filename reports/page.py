"""From an EvaluationReport to the view objects of the page."""

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime

from harness.domain.decision import Outcome
from harness.domain.estimate import Estimate
from harness.domain.formatting import format_interval, format_value
from harness.domain.report import CandidateReport, EvaluationReport
from reports import page_candidate, page_traffic
from reports.glossary import WORDS
from reports.metrics import metric_of, rule
from reports.page_parts import NONE, OUTCOME_BADGES, VERDICT_BADGES, interval, table
from reports.text import plural
from reports.views import Cell, Fact, ProvenanceView, ReportView, Table

_METHOD = (
    "Every number compares the two answers to the same request. Requests of one conversation, or of one user, "
    "count as one "
    "group, because they are not independent of each other; the interval of a measure is computed over groups.",
    "A criterion passes when its whole interval lies on the good side of the threshold, fails when the whole "
    "interval lies on "
    "the other side, and is inconclusive when the interval contains the threshold. GO needs every required "
    "criterion to "
    "pass; one failed criterion is a NO_GO; anything else is INCONCLUSIVE, never rounded to GO.",
    "What the intervals do not cover: traffic that differs from this export, models that changed after their "
    "answers were "
    "recorded, load that differs from the load of this run, and mistakes of the judges. A judge's preference is not a "
    "user's. Slices are shown one by one without correction for looking at many, so a single bad slice is a lead to "
    "follow, not a verdict.",
)


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
        subtitle=f"{report.name} · {plural(report.ingest.sampled, 'request')} · {_when(report.decided_at)}",
        facts=(
            Fact(label="Production model", value=production, note=_model_counts(report.production_models)),
            Fact(
                label="Requests sampled",
                value=f"{report.ingest.sampled:,}",
                note=f"of {plural(report.ingest.kept, 'usable record')}",
            ),
            Fact(label="Decided", value=_when(report.decided_at), note=f"run {report.run_id}"),
        ),
        warnings=_warnings(report),
        overview=_overview(report) if several else None,
        candidates=tuple(
            page_candidate.view_of(report, candidate, f"c{number}")
            for number, candidate in enumerate(report.candidates, start=1)
        ),
        traffic=page_traffic.traffic_of(report.ingest),
        noise=_noise(report),
        noise_note=_noise_note(report),
        method=_METHOD,
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


def _when(moment: datetime) -> str:
    utc = moment.astimezone(UTC) if moment.tzinfo else moment
    return f"{utc:%Y-%m-%d %H:%M} UTC"


def _warnings(report: EvaluationReport) -> tuple[str, ...]:
    found = list(report.warnings)
    if not report.ingest.redaction_enabled:
        found.append("Redaction was turned off: this page and the store hold users' text as it was recorded.")
    if report.stop_reason:
        reason = report.stop_reason.replace("_", " ")
        found.append(f"The run stopped early ({reason}). The sample so far is valid; the same command goes on.")
    if not report.show_text:
        found.append("Messages and answers are left out of this report (report.show_text is off).")
    return tuple(found)


def _overview(report: EvaluationReport) -> Table:
    """Criteria by row, candidates by column."""
    metrics: dict[str, None] = {}
    for candidate in report.candidates:
        metrics |= dict.fromkeys(result.criterion.metric for result in candidate.decision.results)
    rows = [
        (Cell(text="Verdict"), *(Cell(text="", badge=VERDICT_BADGES[c.decision.verdict]) for c in report.candidates))
    ]
    rows += [
        (_overview_head(report, name), *(_overview_cell(report, c, name) for c in report.candidates))
        for name in metrics
    ]
    rows.append((Cell(text="Cost of 1,000 requests"), *(_overview_cost(c) for c in report.candidates)))
    rows.append(
        (
            Cell(text="Comparable pairs"),
            *(Cell(text=f"{c.funnel.comparable:,}", sub=f"of {c.funnel.sampled:,} sampled") for c in report.candidates),
        )
    )
    return table("Candidates side by side", ["", *(c.arm for c in report.candidates)], rows)


def _overview_head(report: EvaluationReport, name: str) -> Cell:
    metric = metric_of(report, name)
    found = [r.criterion for c in report.candidates for r in c.decision.results if r.criterion.metric == name]
    rules = dict.fromkeys(rule(criterion, metric) + ("" if criterion.required else ", advisory") for criterion in found)
    return Cell(text=metric.title, sub=" or ".join(rules))


def _overview_cell(report: EvaluationReport, candidate: CandidateReport, name: str) -> Cell:
    found = [result for result in candidate.decision.results if result.criterion.metric == name]
    if not found:
        return Cell(text=NONE, sub="not a criterion")
    unit = metric_of(report, name).unit
    value = format_value(found[0].estimate.value, unit) if found[0].outcome is not Outcome.NO_DATA else ""
    return Cell(text=value, sub=interval(found[0].estimate, unit), badge=OUTCOME_BADGES[found[0].outcome])


def _overview_cost(candidate: CandidateReport) -> Cell:
    return Cell(text=page_candidate.dollars(candidate.cost.candidate_per_1k_usd),
                sub=f"production {page_candidate.dollars(candidate.cost.production_per_1k_usd)}")  # fmt: skip


def _noise(report: EvaluationReport) -> Table | None:
    floor = report.noise_floor
    if floor is None or not floor.estimates:
        return None
    rows = [_noise_row(report, estimate) for estimate in floor.estimates]
    return table("Production against itself", ["Measure", "Value", "Interval", "Pairs"], rows, numeric=(1, 2, 3))


def _noise_row(report: EvaluationReport, estimate: Estimate) -> tuple[Cell, ...]:
    metric = metric_of(report, estimate.metric)
    return (
        Cell(text=metric.title),
        Cell(text=format_value(estimate.value, metric.unit)),
        Cell(
            text=format_interval(estimate.low, estimate.high, metric.unit) if interval(estimate, metric.unit) else NONE
        ),
        Cell(text=f"{estimate.n:,}"),
    )


def _noise_note(report: EvaluationReport) -> str:
    floor = report.noise_floor
    if floor is None:
        return (
            "Production was not asked a second time in this run, so how much it differs from itself is not known. "
            "Similarity and exact match can look worse than they are. A replica section in the experiment measures it."
        )
    return (
        f"{plural(floor.n, 'request')} ({100 * floor.share:.0f}% wanted) went to production a second time. A "
        "candidate cannot "
        "be expected to be closer to production than production is to itself."
    )


def _methods(report: EvaluationReport) -> Table | None:
    """One row per estimator and level, with the metrics it was used for."""
    used: dict[tuple[str, float], dict[str, None]] = {}
    for candidate in report.candidates:
        for estimate in (*(result.estimate for result in candidate.decision.results), *candidate.estimates):
            if estimate.method:
                key = (estimate.method, estimate.level)
                used.setdefault(key, {})[metric_of(report, estimate.metric).title] = None
    rows = [
        (Cell(text=method), Cell(text=f"{100 * level:g}%"), Cell(text=", ".join(titles)))
        for (method, level), titles in sorted(used.items())
    ]
    return table("Estimators and intervals", ["Method", "Level", "Used for"], rows) if rows else None


def _glossary(report: EvaluationReport) -> tuple[Fact, ...]:
    metrics = {metric.title: metric.help for metric in report.metrics.values() if metric.help}
    words = dict(WORDS) | metrics
    return tuple(
        Fact(label=word, value=words[word]) for word in sorted(words, key=lambda word: (word.casefold(), word))
    )


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
            Fact(label="Started", value=_when(report.created_at)),
            Fact(label="Decided", value=_when(report.decided_at)),
            Fact(label="Seed", value=str(report.seed)),
            Fact(label="Ended", value=(report.stop_reason or "complete").replace("_", " ")),
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
