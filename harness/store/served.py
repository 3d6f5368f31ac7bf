"""Requests that the arms of a rollout answered: what serving the candidate is judged by."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from harness.domain.served import Arm, Served, ServedOutcome
from harness.store import paging, rows
from harness.store.connection import Database
from harness.store.tables import served_requests as t

_PAGE = 2_000
_LOCK = 0x5AD0_11A3
"""Key of the advisory lock that lets agents write one after the other on PostgreSQL; SQLite has one writer anyway."""
_IDLE_MS = 30_000
"""After which PostgreSQL gives up on a writer that has its turn and says nothing: its machine may be gone."""
_STEP = timedelta(microseconds=1)


def prepare(items: Sequence[Served]) -> list[rows.Row]:
    """Rows without the time at which they are stored; done outside the transaction."""
    return [
        {
            "rollout_id": item.rollout_id,
            "request_id": item.request_id,
            "number": item.number,
            "arm": item.arm.value,
            "conversation": item.conversation,
            "at": item.at,
            "surface": item.surface,
            "outcome": item.outcome.value,
            "status": item.status,
            "failed": item.failed,
            "latency_ms": item.latency_ms,
            "ttft_ms": item.ttft_ms,
            "reason": item.reason,
        }
        for item in items
    ]


def put(connection: sa.Connection, prepared: Sequence[rows.Row]) -> None:
    """Insert what is not there yet; what is there stays as it is, its time with it."""
    if not prepared:
        return
    now = _turn(connection)
    last = {id_: _last(connection, id_) for id_ in sorted({row["rollout_id"] for row in prepared})}
    # Later than everything of its rollout that is there, also when the clock was set back.
    at = {id_: now if there is None else max(now, there + _STEP) for id_, there in last.items()}
    rows.insert_new(connection, t, [row | {"stored_at": at[row["rollout_id"]]} for row in prepared])


def read(database: Database, rollout_id: str, stored_from: datetime | None) -> Iterator[tuple[Served, datetime]]:
    """A rollout's requests, with the time at which each was stored, in that order."""
    ordered = sa.select(t).where(t.c.rollout_id == rollout_id).order_by(t.c.stored_at, t.c.request_id).limit(_PAGE)
    statement = ordered if stored_from is None else ordered.where(t.c.stored_at >= stored_from)
    while True:
        page = database.reading(paging.fetch, statement)
        for row in page:
            yield _served(row), row.stored_at
        if len(page) < _PAGE:
            return
        last = sa.tuple_(sa.literal(page[-1].stored_at, t.c.stored_at.type), sa.literal(page[-1].request_id))
        statement = ordered.where(sa.tuple_(t.c.stored_at, t.c.request_id) > last)


def _turn(connection: sa.Connection) -> datetime:
    """Wait until nobody else writes, and tell the time by a clock that all writers share.

    What is stored earlier is then committed earlier, so that nobody who reads on from the last moment misses a row.
    """
    if connection.dialect.name != "postgresql":
        return datetime.now(UTC)
    idle = sa.func.set_config("idle_in_transaction_session_timeout", str(_IDLE_MS), True)
    connection.execute(sa.select(idle))
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    now: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return now


def _last(connection: sa.Connection, rollout_id: str) -> datetime | None:
    found: datetime | None = connection.scalar(
        sa.select(sa.func.max(t.c.stored_at)).where(t.c.rollout_id == rollout_id)
    )
    return found


def _served(row: Any) -> Served:
    return Served(
        rollout_id=row.rollout_id,
        number=row.number,
        request_id=row.request_id,
        arm=Arm(row.arm),
        conversation=row.conversation,
        at=row.at,
        surface=row.surface,
        outcome=ServedOutcome(row.outcome),
        status=row.status,
        latency_ms=row.latency_ms,
        ttft_ms=row.ttft_ms,
        reason=row.reason,
    )
