"""From a run in the store to an EvaluationReport, and from that to files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import harness
from harness.decision import metrics
from harness.domain.estimate import Estimate, Metric
from harness.domain.metrics import COST_PER_1K
from harness.domain.observation import ArmRole, ErrorKind
from harness.domain.report import (
    CandidateReport,
    CostReport,
    Distribution,
    EvaluationReport,
    Funnel,
    JudgeReport,
    NoiseFloor,
    SliceReport,
)
from harness.domain.run import IngestReport, Run
from harness.domain.slices import SlicePlan
from harness.errors import ConfigurationError
from harness.judging.conduct import family
from harness.pipeline import side_by_side, trust
from harness.pipeline.canaries import canaries_usd
from harness.pipeline.evaluation import ArmEvaluation, estimates_of
from harness.pipeline.examples import examples_of
from harness.pipeline.seats import SeatedJudge
from harness.pipeline.session import Session
from harness.stats.evidence import Bools, Evidence, Floats
from harness.store import ObservationCounts

_PROBABILITIES = tuple(
    float(p) for p in np.round(np.concatenate([np.arange(0, 0.9, 0.01), np.arange(0.9, 1.0005, 0.001)]), 3)
)
_SLICE_METRICS = (
    "win_rate", "similarity", "exact_match", "structure_match", "error_rate_difference", "latency_p95_ratio",
)  # fmt: skip
_SECONDS_PER_MONTH = 30 * 24 * 3600
_MIN_SPAN_S = 3600
_MANY_FLIPS = 0.3


def build_report(
    session: Session, judges: Sequence[SeatedJudge], evaluations: Sequence[ArmEvaluation]
) -> EvaluationReport:
    """Everything the report shows, from what is stored now; time and command are those of the last decision.

    Raises:
        ConfigurationError: nothing has been ingested yet.
    """
    run = session.run
    ingest = session.store.ingest_report(run.id)
    if ingest is None:
        raise ConfigurationError(f"run {run.id!r} has no traffic yet; `harness ingest` comes first")
    taken = session.store.decisions(run.id)[-1:]
    replica = next((item for item in evaluations if item.arm.role is ArmRole.REPLICA), None)
    candidates = tuple(
        _candidate(session, item, replica, judges, ingest) for item in evaluations if item.arm.role is ArmRole.CANDIDATE
    )
    return EvaluationReport(
        run_id=run.id,
        name=run.name,
        harness_version=harness.__version__,
        created_at=run.created_at,
        decided_at=taken[0].decided_at if taken else run.updated_at,
        metrics=_metrics(judges, evaluations),
        production_models=ingest.sample.models,
        ingest=ingest,
        candidates=candidates,
        noise_floor=_noise_floor(replica) if replica is not None else None,
        experiment_yaml=yaml.safe_dump(_plain(run.experiment), sort_keys=False, allow_unicode=True, width=110),
        seed=run.seed,
        versions=run.versions,
        prompts=_prompts(judges),
        stop_reason=run.stop_reason,
        command=(taken[0].decision.get("command") if taken else None) or f"harness report {run.id}",
        show_text=session.experiment.report.show_text,
        warnings=(*_run_warnings(run), *(item.sentence for item in session.store.reductions(run.id))),
        side_by_side=side_by_side.of(session, judges, evaluations),
    )


def write_report(report: EvaluationReport, folder: Path) -> Mapping[str, Path]:
    """Render every format into ``folder``; a reader never sees a half-written file."""
    import reports

    formats = {
        "html": ("report.html", reports.render_html),
        "json": ("report.json", reports.render_json),
        "markdown": ("report.md", reports.render_markdown),
        "junit": ("junit.xml", reports.render_junit),
    }
    written = {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, (file, render) in formats.items():
        path = folder / file
        scratch = path.with_name(f".{file}.tmp")
        scratch.write_text(render(report), encoding="utf-8")
        scratch.replace(path)
        written[name] = path
    return written


def _candidate(
    session: Session,
    item: ArmEvaluation,
    replica: ArmEvaluation | None,
    judges: Sequence[SeatedJudge],
    ingest: IngestReport,
) -> CandidateReport:
    assert item.decision is not None  # noqa: S101  candidates always have one
    assert item.asked is not None  # noqa: S101  what is reported was described
    evidence, counts = item.evidence, item.asked
    judge_reports = tuple(_judge(session, item, judge) for judge in judges)
    rules = session.experiment.decision
    return CandidateReport(
        arm=item.arm.name,
        model=item.arm.title,
        decision=item.decision,
        estimates=tuple(item.estimates.values()),
        funnel=_funnel(counts, trust.left_because(session, item)),
        judges=judge_reports,
        errors=_errors(evidence),
        distributions=_distributions(evidence, replica.evidence if replica else None, judges),
        cost=_cost(session, item, counts, judge_reports, ingest),
        slices=_slices(session, item, judges),
        examples=examples_of(session, item, judges),
        dropped_params=counts.dropped_params,
        health=tuple(item.health.values()),
        people=trust.people(session, item, judges),
        slice_tests=item.reached.slices if item.reached is not None else (),
        slice_plan=SlicePlan(min_pairs=rules.min_slice, false_discoveries=rules.slice_false_discoveries),
        attempts=trust.ledger(session, item),
        stopping=trust.stopping(session, item, counts, judge_reports),
        answered_models=counts.answered_models,
        warnings=_warnings(item, judge_reports, counts, ingest),
    )


def _run_warnings(run: Run) -> tuple[str, ...]:
    if run.stop_reason in {None, "settled", "out_of_reach"}:
        # Stopped because more would change nothing: said where the candidate is decided on.
        return ()
    reason = {"budget": "the budget was spent", "time_limit": "the time limit was reached"}.get(
        run.stop_reason or "", "it was interrupted"
    )
    return (f"The run stopped early because {reason}; what was asked is a random part of the sample.",)


def _warnings(
    item: ArmEvaluation, judges: Sequence[JudgeReport], counts: ObservationCounts, ingest: IngestReport
) -> tuple[str, ...]:
    """What a reader should know before trusting the figures; none of it decides.

    What a judge's health says is said there.
    """
    found = []
    answering = {"the candidate": [item.arm.title], "production": list(ingest.sample.models)}
    for judge in judges:
        if judge.judge in item.health:
            continue
        found += [
            f"Judge {judge.judge} ({asked}) is of the same family as {side}, and may prefer its own kind."
            for asked in (judge.model, *judge.further_models)
            for side, models in answering.items()
            if asked is not None and any(family(model) == family(asked) for model in models)
        ]
        if judge.flips and judge.both_orders and judge.flips > _MANY_FLIPS * judge.both_orders:
            found.append(
                f"Judge {judge.judge} changed sides on {judge.flips} of {judge.both_orders} pairs when the order was "
                "swapped: its preferences are largely about position."
            )
    setup = sum(n for kind, n in counts.failed.items() if ErrorKind(kind).is_setup)
    if setup:
        found.append(f"{setup} requests failed on our own set-up and say nothing about the candidate.")
    return tuple(found)


def _metrics(judges: Sequence[SeatedJudge], evaluations: Sequence[ArmEvaluation]) -> dict[str, Metric]:
    """Descriptions of every metric that an estimate or a criterion names."""
    known = metrics.catalogue({judge.name: judge.judge.metric for judge in judges})
    named: set[str] = set()
    for evaluation in evaluations:
        named |= set(evaluation.estimates)
        if evaluation.decision is not None:
            named |= {result.criterion.metric for result in evaluation.decision.results}
    return {name: known[name] for name in sorted(named) if name in known}


def _noise_floor(replica: ArmEvaluation) -> NoiseFloor:
    asked = int(np.sum(_asked(replica.evidence)))
    return NoiseFloor(n=asked, share=replica.arm.share or 1.0, estimates=tuple(replica.estimates.values()))


def _prompts(judges: Sequence[SeatedJudge]) -> dict[str, str]:
    found = {}
    for judge in judges:
        sha256 = getattr(judge.judge, "prompt_sha256", None)
        if sha256:
            found[getattr(judge.judge, "prompt_name", judge.name)] = sha256
    return found


def _funnel(counts: ObservationCounts, left_because: str | None) -> Funnel:
    """Sampled requests without an Observation are skipped, for the reason the candidate was left alone."""
    skipped = Counter(counts.skipped)
    unasked = counts.sampled - counts.asked
    if unasked:
        skipped[left_because or "not_replayed"] += unasked
    return Funnel(
        sampled=counts.sampled,
        completed=counts.completed,
        failed=counts.failed,
        dropped=counts.dropped,
        skipped=dict(sorted(skipped.items())),
        comparable=counts.comparable,
    )


def _judge(session: Session, item: ArmEvaluation, judge: SeatedJudge) -> JudgeReport:
    counts = item.counts[judge.name]
    asked = [model.model for model in judge.models]
    return JudgeReport(
        judge=judge.name,
        kind=judge.kind,
        metric=judge.judge.metric.name,
        fingerprint=judge.fingerprint,
        model=next(iter(asked), None),
        further_models=tuple(asked[1:]),
        prompt=getattr(judge.judge, "prompt_name", None),
        prompt_sha256=getattr(judge.judge, "prompt_sha256", None),
        pairs=int(np.sum(item.evidence.candidate.completed & item.evidence.production.completed)),
        scored=counts.scored,
        unscored=counts.unscored,
        wins=counts.wins,
        ties=counts.ties,
        losses=counts.losses,
        flips=counts.flips,
        both_orders=counts.both_orders,
        first_slot_share=counts.first_slot_share,
        cost_usd=counts.cost_usd,
        canaries_usd=canaries_usd(session, judge),
        tokens_in=counts.tokens_in,
        tokens_out=counts.tokens_out,
    )


def _errors(evidence: Evidence) -> dict[str, tuple[int, int]]:
    asked = _asked(evidence)
    production = Counter(evidence.production.error_kind[asked & evidence.production.failed].tolist())
    candidate = Counter(evidence.candidate.error_kind[evidence.candidate.failed].tolist())
    return {kind: (production[kind], candidate[kind]) for kind in sorted({*production, *candidate})}


def _asked(evidence: Evidence) -> Bools:
    """Rows on which a call was made; what was dropped or skipped was none."""
    return np.asarray(evidence.candidate.completed | evidence.candidate.failed, dtype=np.bool_)


def _quantiles(values: Floats) -> tuple[float, ...]:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return ()
    return tuple(float(v) for v in np.quantile(finite, _PROBABILITIES, method="inverted_cdf"))


def _distributions(
    evidence: Evidence, replica: Evidence | None, judges: Sequence[SeatedJudge]
) -> tuple[Distribution, ...]:
    found = []
    for column, title, unit in (
        ("latency_ms", "Latency", "ms"),
        ("ttft_ms", "Time to first token", "ms"),
        ("answer_chars", "Answer length", "characters"),
    ):
        both = ~evidence.production.cache_hit & ~evidence.candidate.cache_hit & evidence.candidate.completed
        production = _quantiles(getattr(evidence.production, column)[both])
        candidate = _quantiles(getattr(evidence.candidate, column)[both])
        if production or candidate:
            found.append(
                Distribution(
                    metric=column,
                    title=title,
                    unit=unit,
                    production=production,
                    candidate=candidate,
                    probabilities=_PROBABILITIES,
                    log_scale=True,
                )
            )
    for judge in judges:
        if judge.judge.metric.name == "similarity":
            floor = replica.scores[judge.name].value if replica is not None else np.array([])
            scores = _quantiles(evidence.scores[judge.name].value)
            if scores:
                found.append(
                    Distribution(
                        metric="similarity",
                        title=judge.judge.metric.title,
                        unit="score",
                        candidate=scores,
                        replica=_quantiles(floor),
                        probabilities=_PROBABILITIES,
                    )
                )
    return tuple(found)


def _cost(
    session: Session,
    item: ArmEvaluation,
    counts: ObservationCounts,
    judge_reports: Sequence[JudgeReport],
    ingest: IngestReport,
) -> CostReport:
    per_1k = item.estimates.get(COST_PER_1K.name)
    judge_costs = [report.cost_usd for report in judge_reports if report.cost_usd is not None]
    volume, source = requests_per_month(session.experiment.traffic.requests_per_month, ingest)

    def monthly(value: float | None) -> float | None:
        return None if value is None or volume is None or not np.isfinite(value) else value * volume / 1000

    return CostReport(
        candidate_usd=counts.cost_usd,
        unpriced_calls=counts.unpriced,
        judges_usd=sum(judge_costs) if judge_costs else None,
        production_per_1k_usd=per_1k.production if per_1k else None,
        candidate_per_1k_usd=per_1k.candidate if per_1k else None,
        requests_per_month=volume,
        requests_per_month_source=source,
        production_month_usd=monthly(per_1k.production) if per_1k else None,
        candidate_month_usd=monthly(per_1k.candidate) if per_1k else None,
        candidate_month_low_usd=monthly(per_1k.low) if per_1k else None,
        candidate_month_high_usd=monthly(per_1k.high) if per_1k else None,
    )


def requests_per_month(configured: float | None, ingest: IngestReport) -> tuple[float | None, str]:
    """Production's monthly volume and where the figure comes from."""
    if configured is not None:
        return configured, "configured"
    population = ingest.population
    if population.first is None or population.last is None:
        return None, "unknown: the export has no times; set traffic.requests_per_month"
    span = (population.last - population.first).total_seconds()
    if span < _MIN_SPAN_S or population.n < 2:
        return None, "unknown: the export spans less than an hour; set traffic.requests_per_month"
    # n events bound n - 1 gaps; the export may itself be a sample, which only the user can know.
    return (population.n - 1) / span * _SECONDS_PER_MONTH, "extrapolated from the export's time span"


def _slices(session: Session, item: ArmEvaluation, judges: Sequence[SeatedJudge]) -> tuple[SliceReport, ...]:
    settings = session.experiment.report
    level = session.experiment.decision.level
    # No slice of a slice is looked at, and attributes are most of what would be copied for each.
    whole = replace(item.evidence, attributes={})
    found = []
    for attribute in settings.slices:
        column = item.evidence.attributes.get(attribute)
        if column is None:
            continue
        values = sorted(filter(None, set(column.tolist())))
        if len(values) < 2:
            continue
        for value in values:
            rows = np.asarray(column == value, dtype=np.bool_)
            n = int(np.sum(rows))
            small = n < settings.min_slice
            estimates: tuple[Estimate, ...] = ()
            if not small:
                shown = estimates_of(whole.take(rows), judges, level=level, bases=_SLICE_METRICS).values()
                # The report ranks slices by the first of these: preference before likeness.
                estimates = tuple(sorted(shown, key=lambda e: _SLICE_METRICS.index(e.metric.partition(":")[0])))
            found.append(SliceReport(attribute=attribute, value=value, n=n, estimates=estimates, too_small=small))
    return tuple(found)


def _plain(value: Any) -> Any:
    """YAML's safe dumper knows only plain containers."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value
