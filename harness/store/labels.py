"""People's labels, and the plans by which pairs were drawn for them."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from harness.domain.judgment import Label
from harness.domain.label import HumanLabel, LabelSource, PlannedLabel
from harness.store.rows import upsert
from harness.store.tables import label_plans as p
from harness.store.tables import labels as t


def put(connection: sa.Connection, run_id: str, items: Sequence[HumanLabel]) -> None:
    """Insert the labels, or replace those of the same pair and labeller."""
    upsert(
        connection,
        t,
        [
            {
                "run_id": run_id,
                "arm": item.arm,
                "observation_fingerprint": item.observation_fingerprint,
                "exchange_id": item.exchange_id,
                "labeller": item.labeller,
                "label": item.label.value if item.label else None,
                "shown_first": item.shown_first,
                "probability": item.probability,
                "source": item.source.value,
                "note": item.note,
                "seconds": item.seconds,
                "recorded_at": item.recorded_at,
            }
            for item in items
        ],
    )


def load(connection: sa.Connection, run_id: str, arm: str, fingerprint: str) -> list[HumanLabel]:
    """Every label on the arm's answers, by exchange and labeller."""
    statement = (
        sa.select(t)
        .where(t.c.run_id == run_id, t.c.arm == arm, t.c.observation_fingerprint == fingerprint)
        .order_by(t.c.exchange_id, t.c.labeller)
    )
    return [
        HumanLabel(
            exchange_id=row.exchange_id,
            arm=row.arm,
            observation_fingerprint=row.observation_fingerprint,
            labeller=row.labeller,
            label=Label(row.label) if row.label else None,
            shown_first=row.shown_first,
            probability=row.probability,
            source=LabelSource(row.source),
            note=row.note,
            seconds=row.seconds,
            recorded_at=row.recorded_at,
        )
        for row in connection.execute(statement)
    ]


def put_plan(
    connection: sa.Connection, run_id: str, arm: str, fingerprint: str, items: Sequence[PlannedLabel], now: datetime
) -> None:
    """Insert the planned pairs, or replace them."""
    key = {"run_id": run_id, "arm": arm, "observation_fingerprint": fingerprint}
    rows = [
        key
        | {
            "exchange_id": item.exchange_id,
            "design": item.design,
            "rank": item.rank,
            "probability": item.probability,
            "planned_at": now,
        }
        for item in items
    ]
    upsert(connection, p, rows)


def load_plan(connection: sa.Connection, run_id: str, arm: str, fingerprint: str) -> list[PlannedLabel]:
    """The plan in the order in which pairs are shown."""
    statement = (
        sa.select(p.c.exchange_id, p.c.rank, p.c.probability, p.c.design)
        .where(p.c.run_id == run_id, p.c.arm == arm, p.c.observation_fingerprint == fingerprint)
        .order_by(p.c.rank, p.c.exchange_id)
    )
    return [
        PlannedLabel(exchange_id=row.exchange_id, rank=row.rank, probability=row.probability, design=row.design)
        for row in connection.execute(statement)
    ]
