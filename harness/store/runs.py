"""Runs, their ingest reports and the history of their decisions."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from harness.domain.json import Json
from harness.domain.run import IngestReport, Run, Stage, Summary
from harness.store import bodies, partitions, tables
from harness.store.rows import upsert


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionRecord:
    """One decision as it was taken."""

    decided_at: datetime
    experiment_sha256: str
    """Hash of the experiment that was decided by."""
    decision: Mapping[str, Json]


def save(connection: sa.Connection, run: Run) -> None:
    """Insert the run, or replace it."""
    row = {field.name: getattr(run, field.name) for field in dataclasses.fields(Run) if field.name != "id"}
    texts = {"stage": run.stage.value, "experiment": _text(run.experiment), "versions": _text(run.versions)}
    upsert(connection, tables.runs, [{"run_id": run.id} | row | texts])


def load(connection: sa.Connection, run_id: str | None = None) -> list[Run]:
    """The run, or all of them, oldest first."""
    statement = sa.select(tables.runs).order_by(tables.runs.c.created_at, tables.runs.c.run_id)
    if run_id is not None:
        statement = statement.where(tables.runs.c.run_id == run_id)
    return [_run(row) for row in connection.execute(statement)]


def delete(connection: sa.Connection, run_id: str) -> None:
    """Everything the store holds about the run, except the attempts it made: they stay spent.

    Rollouts stay as well: they belong to a live experiment, not to a run.
    """
    partitions.drop(connection, run_id)
    for table in tables.metadata.sorted_tables:
        if table is tables.attempts or "run_id" not in table.c:
            continue
        connection.execute(sa.delete(table).where(table.c.run_id == run_id))


def save_ingest_report(connection: sa.Connection, run_id: str, report: IngestReport) -> None:
    """Insert the report, or replace it."""
    row = {
        "run_id": run_id,
        "n_read": report.read,
        "n_rejected": report.rejected,
        "n_deduplicated": report.deduplicated,
        "n_kept": report.kept,
        "n_sampled": report.sampled,
        "report": _text(dataclasses.asdict(report)),
    }
    upsert(connection, tables.ingest_reports, [row])


def load_ingest_report(connection: sa.Connection, run_id: str) -> IngestReport | None:
    """The report of the run's ingest stage."""
    table = tables.ingest_reports
    text = connection.scalar(sa.select(table.c.report).where(table.c.run_id == run_id))
    if text is None:
        return None
    value: dict[str, Any] = bodies.loads(text)
    value |= {name: tuple(value[name]) for name in ("files", "warnings")}
    value |= {name: _summary(value[name]) for name in ("population", "sample")}
    return IngestReport(**value)


def save_decision(connection: sa.Connection, run_id: str, record: DecisionRecord) -> None:
    """Add to the history."""
    row = {
        "run_id": run_id,
        "decided_at": record.decided_at,
        "experiment_sha256": record.experiment_sha256,
        "decision": _text(record.decision),
    }
    upsert(connection, tables.decisions, [row])


def load_decisions(connection: sa.Connection, run_id: str) -> list[DecisionRecord]:
    """The history, oldest first."""
    table = tables.decisions
    statement = sa.select(table).where(table.c.run_id == run_id).order_by(table.c.decided_at)
    return [_record(row) for row in connection.execute(statement)]


def load_last_decision(connection: sa.Connection, run_id: str) -> DecisionRecord | None:
    """The end of the history; ``None`` when nothing was decided."""
    table = tables.decisions
    statement = sa.select(table).where(table.c.run_id == run_id).order_by(table.c.decided_at.desc()).limit(1)
    row = connection.execute(statement).first()
    return None if row is None else _record(row)


def _record(row: Any) -> DecisionRecord:
    return DecisionRecord(
        decided_at=row.decided_at, experiment_sha256=row.experiment_sha256, decision=bodies.loads(row.decision)
    )


def _text(value: Any) -> str:
    return bodies.dumps(value).decode()


def _run(row: Any) -> Run:
    return Run(
        id=row.run_id,
        name=row.name,
        created_at=row.created_at,
        updated_at=row.updated_at,
        stage=Stage(row.stage),
        ingest_fingerprint=row.ingest_fingerprint,
        experiment=bodies.loads(row.experiment),
        seed=row.seed,
        versions=bodies.loads(row.versions),
        stop_reason=row.stop_reason,
    )


def _summary(value: dict[str, Any]) -> Summary:
    moments = {name: _moment(value[name]) for name in ("first", "last")}
    return Summary(**(value | moments))


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
