"""What is known of a published run without its report, and how it is read back from a place others may write to."""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from harness.domain.decision import CriterionResult, Verdict
from harness.domain.metrics import DERIVED
from harness.domain.published import (
    PUBLISHED_SCHEMA,
    PublishedCandidate,
    PublishedCriterion,
    PublishedFile,
    PublishedRun,
)
from harness.domain.report import CandidateReport, EvaluationReport
from harness.errors import InputError
from reports.deciding import deciding
from reports.machine import as_json
from reports.metrics import metric_of
from reports.text import one_line

MOST_BYTES = 500_000
"""A larger file is not read: ours take a few hundred bytes for each criterion."""
_MOST_TEXT = 2000
_MOST_ITEMS = 500


def of(report: EvaluationReport, files: Iterable[PublishedFile]) -> PublishedRun:
    """The small value beside a report."""
    return PublishedRun(
        run_id=report.run_id,
        name=report.name,
        fingerprint=fingerprint(report),
        created_at=_utc(report.created_at),
        decided_at=_utc(report.decided_at),
        harness_version=report.harness_version,
        readers=report.readers,
        verdict=verdict_of(report),
        production_models=tuple(sorted(report.production_models)),
        sampled=report.ingest.sampled,
        candidates=tuple(_candidate(report, candidate) for candidate in report.candidates),
        files=tuple(sorted(files, key=lambda file: file.name)),
    )


def fingerprint(report: EvaluationReport) -> str:
    """Hash of what makes it this run and no other: id, experiment, seed and when it began.

    Going on with the run keeps it, and so does leaving things out for readers outside. 16 hex digits of SHA-256.
    """
    parts = [report.run_id, report.name, report.seed, _utc(report.created_at).isoformat()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def verdict_of(report: EvaluationReport) -> Verdict:
    """GO only when every candidate is GO, NO_GO as soon as one is."""
    verdicts = {candidate.decision.verdict for candidate in report.candidates}
    if Verdict.NO_GO in verdicts:
        return Verdict.NO_GO
    return Verdict.GO if verdicts == {Verdict.GO} else Verdict.INCONCLUSIVE


def judges_behind(candidate: CandidateReport, metric: str) -> tuple[str, ...]:
    """Fingerprints of the judges whose scores the metric is made of; empty for what no judge has a say in."""
    base, _, whose = metric.partition(":")
    return tuple(
        sorted(
            judge.fingerprint
            for judge in candidate.judges
            if (base == judge.metric or base in {derived.name for derived in DERIVED.get(judge.metric, ())})
            and whose in {"", judge.judge}
        )
    )


def render_json(run: PublishedRun) -> str:
    """The value as JSON with sorted keys."""
    return as_json(run)


def load(content: bytes, *, folder: str) -> PublishedRun:
    """What :func:`render_json` wrote, of the run whose folder this is.

    Raises:
        InputError: it is too large, not JSON, not such a value, of another run, or by a newer version of this program.
    """
    from pydantic import TypeAdapter, ValidationError

    if len(content) > MOST_BYTES:
        raise InputError(f"it is larger than {MOST_BYTES:,} bytes")
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError):
        raise InputError("it is not JSON") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("schema"), int):
        raise InputError("it has no schema number")
    if raw["schema"] > PUBLISHED_SCHEMA:
        raise InputError(f"it has schema {raw['schema']} and this version reads up to {PUBLISHED_SCHEMA}")
    try:
        run = TypeAdapter(PublishedRun).validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = one_line(".".join(str(part) for part in first["loc"]), 80)
        raise InputError(f"{where}: {one_line(first['msg'], 120)}") from None
    problem = _problem(raw) or ("" if run.run_id == folder else "it is of another run than its folder")
    if problem:
        raise InputError(problem)
    return _as_utc(run)


def _candidate(report: EvaluationReport, candidate: CandidateReport) -> PublishedCandidate:
    return PublishedCandidate(
        arm=candidate.arm,
        model=candidate.model,
        verdict=candidate.decision.verdict,
        sentence=candidate.decision.sentence,
        comparable=candidate.funnel.comparable,
        candidate_per_1k_usd=candidate.cost.candidate_per_1k_usd,
        production_per_1k_usd=candidate.cost.production_per_1k_usd,
        criteria=tuple(_criterion(report, candidate, result) for result in candidate.decision.results),
    )


def _criterion(report: EvaluationReport, candidate: CandidateReport, result: CriterionResult) -> PublishedCriterion:
    rule, estimate = result.criterion, deciding(result)
    metric = metric_of(report, rule.metric)
    basis = [sorted(report.production_models), judges_behind(candidate, rule.metric)]
    return PublishedCriterion(
        metric=rule.metric,
        title=metric.title,
        unit=metric.unit,
        bound=rule.bound,
        threshold=rule.threshold,
        required=rule.required,
        outcome=result.outcome,
        value=_known(estimate.value),
        low=_known(estimate.low),
        high=_known(estimate.high),
        level=estimate.level,
        looks=estimate.looks,
        n=estimate.n,
        basis=hashlib.sha256(json.dumps(basis).encode()).hexdigest()[:16],
    )


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _problem(raw: Any) -> str:
    """What no file of ours has: texts or lists without end, figures that are none."""
    waiting = [raw]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str) and len(value) > _MOST_TEXT:
            return f"it has a text of more than {_MOST_TEXT:,} characters"
        if isinstance(value, list | dict) and len(value) > _MOST_ITEMS:
            return f"it has a list of more than {_MOST_ITEMS:,} items"
        if isinstance(value, float) and not math.isfinite(value):
            return "it has a number that is none"
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
    return ""


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _as_utc(run: PublishedRun) -> PublishedRun:
    return replace(run, created_at=_utc(run.created_at), decided_at=_utc(run.decided_at))
