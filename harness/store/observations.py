"""Observations of every arm; production's own are kept under arm ``production`` and an empty fingerprint."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from harness.domain.observation import PRODUCTION, Observation, Status
from harness.store import paging, rows, tables
from harness.store.connection import Database
from harness.store.counts import ObservationCounts
from harness.store.tables import exchanges as e
from harness.store.tables import observations as o


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Rows ready to be written."""

    narrow: list[rows.Row]
    texts: list[rows.Row]


def prepare(run_id: str, items: Sequence[Observation], now: datetime) -> Prepared:
    """Rows and bodies; text is packed here, outside the transaction."""
    narrow, texts = [], []
    for observation in items:
        body = rows.observation_body(observation)
        row = rows.observation_row(run_id, observation, body, now)
        narrow.append(row)
        texts.append({c.name: row[c.name] for c in tables.observation_bodies.primary_key.columns} | {"body": body})
    return Prepared(narrow=narrow, texts=texts)


def put(connection: sa.Connection, prepared: Prepared) -> None:
    """Insert the observations, or replace those of the same exchange, arm and fingerprint."""
    rows.upsert(connection, o, prepared.narrow)
    rows.upsert(connection, tables.observation_bodies, prepared.texts)


def of_exchange(table: Any, arm: str, fingerprint: str) -> sa.ColumnElement[bool]:
    """The join from ``exchanges`` to one arm's observations (or their bodies)."""
    c = table.c
    return sa.and_(c.run_id == e.c.run_id, c.arm == arm, c.fingerprint == fingerprint, c.exchange_id == e.c.exchange_id)


def load(
    connection: sa.Connection, run_id: str, arm: str, fingerprint: str, ids: Sequence[str]
) -> dict[str, Observation]:
    """The observations by exchange id; those whose texts were deleted are left out."""

    def of(table: sa.Table) -> list[sa.ColumnElement[bool]]:
        c = table.c
        return [c.run_id == run_id, c.arm == arm, c.fingerprint == fingerprint, c.exchange_id.in_(ids)]

    # Two look-ups by key rather than a join, whose plan would depend on how fresh the server's statistics are.
    b = tables.observation_bodies
    texts = {row[0]: row[1] for row in connection.execute(sa.select(b.c.exchange_id, b.c.body).where(*of(b)))}
    found = connection.execute(sa.select(o).where(*of(o)))
    return {
        row.exchange_id: rows.observation_of(row, texts[row.exchange_id]) for row in found if row.exchange_id in texts
    }


def observed(run_id: str, arm: str, fingerprint: str) -> sa.Select[Any]:
    """The exchanges with an observation of this arm and fingerprint, whatever its status."""
    return paging.keys(run_id, size=e.c.body_bytes + o.c.body_bytes).join(o, of_exchange(o, arm, fingerprint))


def read(database: Database, run_id: str, arm: str, fingerprint: str) -> Iterator[Observation]:
    """The arm's observations of the run's exchanges, in ascending position."""
    for group in paging.groups(database, observed(run_id, arm, fingerprint)):
        found = database.reading(load, run_id, arm, fingerprint, group)
        for exchange_id in group:
            if exchange_id in found:
                yield found[exchange_id]


def is_any(connection: sa.Connection, run_id: str, arm: str, fingerprint: str) -> bool:
    """Whether the arm was asked one of the run's exchanges: it answered, or failed."""
    ended = [Status.COMPLETED.value, Status.FAILED.value]
    found = sa.select(sa.literal(1)).select_from(o).join(e, of_exchange(o, arm, fingerprint))
    return (
        connection.scalar(found.where(e.c.run_id == run_id, o.c.run_id == run_id, o.c.status.in_(ended)).limit(1)) == 1
    )


def count(
    connection: sa.Connection, run_id: str, arm: str, fingerprint: str, *, since: datetime | None = None
) -> ObservationCounts:
    """How the run's exchanges ended in this arm; those from ``since`` on, by the time of production's request."""
    of_run = [e.c.run_id == run_id, *([] if since is None else [e.c.timestamp >= since])]
    p = o.alias("production")
    both = sa.and_(p.c.status == Status.COMPLETED.value, o.c.status == Status.COMPLETED.value)
    detail = sa.func.coalesce(o.c.error_kind, o.c.reason, "")
    paid = o.c.attempts.is_not(None)
    unpriced = sa.and_(paid, o.c.cost_usd.is_(None), o.c.status == Status.COMPLETED.value)
    statement = (
        sa.select(
            o.c.status,
            detail.label("detail"),
            o.c.answered_model,
            o.c.dropped_params,
            sa.func.count().label("n"),
            sa.func.count(sa.case((both, 1))).label("comparable"),
            sa.func.sum(sa.case((paid, sa.func.coalesce(o.c.cost_usd, 0.0) + o.c.superseded_usd))).label("cost"),
            sa.func.count(sa.case((sa.and_(paid, o.c.cost_usd.is_not(None)), 1))).label("priced"),
            sa.func.count(sa.case((unpriced, 1))).label("unpriced"),
        )
        .select_from(e)
        .join(o, of_exchange(o, arm, fingerprint))
        .outerjoin(p, of_exchange(p, PRODUCTION, ""))
        .where(*of_run)
        .group_by(o.c.status, detail, o.c.answered_model, o.c.dropped_params)
    )
    groups = connection.execute(statement).all()
    kinds: dict[str, Counter[str]] = {status.value: Counter() for status in Status}
    models, lost = Counter[str](), Counter[str]()
    for row in groups:
        kinds[row.status][row.detail] += row.n
        if row.answered_model is not None:
            models[row.answered_model] += row.n
        for name in (row.dropped_params or "").split():
            lost[name] += row.n
    return ObservationCounts(
        sampled=connection.scalar(sa.select(sa.func.count()).select_from(e).where(*of_run)) or 0,
        completed=sum(kinds[Status.COMPLETED].values()),
        failed=dict(kinds[Status.FAILED]),
        dropped=dict(kinds[Status.DROPPED]),
        skipped=dict(kinds[Status.SKIPPED]),
        comparable=sum(row.comparable for row in groups),
        cost_usd=sum(row.cost or 0.0 for row in groups) if any(row.priced for row in groups) else None,
        unpriced=sum(row.unpriced for row in groups),
        dropped_params=_most_first(lost),
        answered_models=_most_first(models),
    )


def _most_first(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def spending(connection: sa.Connection, run_id: str) -> tuple[float, int]:
    """Dollars spent on calls of ours to any arm, and completed calls whose cost is unknown.

    A recorded cost, production's or a response file's, was not spent here: such an observation has no attempts.
    """
    unpriced = sa.and_(o.c.cost_usd.is_(None), o.c.status == Status.COMPLETED.value)
    statement = sa.select(
        sa.func.sum(sa.func.coalesce(o.c.cost_usd, 0.0) + o.c.superseded_usd),
        sa.func.count(sa.case((unpriced, 1))),
    ).where(o.c.run_id == run_id, o.c.arm != PRODUCTION, o.c.attempts.is_not(None))
    total, unknown = connection.execute(statement).one()
    return float(total or 0.0), unknown


def spending_since(connection: sa.Connection, run_id: str, since: datetime) -> dict[str, float]:
    """Dollars that calls recorded since then have cost, by arm; what was superseded meanwhile is counted too."""
    statement = (
        sa.select(o.c.arm, sa.func.sum(sa.func.coalesce(o.c.cost_usd, 0.0) + o.c.superseded_usd))
        .where(o.c.run_id == run_id, o.c.arm != PRODUCTION, o.c.attempts.is_not(None), o.c.recorded_at >= since)
        .group_by(o.c.arm)
    )
    return {row[0]: float(row[1] or 0.0) for row in connection.execute(statement)}
