"""Exchanges: written by ingest, read by every other stage."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from harness.domain.exchange import Exchange
from harness.domain.observation import PRODUCTION, ErrorKind, Status
from harness.store import attributes, observations, paging, rows, tables
from harness.store.connection import Database
from harness.store.counts import ObservationCounts
from harness.store.tables import exchanges as e
from harness.store.tables import observations as o

_SETUP_KINDS = [kind.value for kind in ErrorKind if kind.is_setup]
_NOT_ASKED = [Status.DROPPED.value, Status.SKIPPED.value]


def prepare(
    run_id: str, items: Sequence[tuple[Exchange, float]], now: datetime
) -> tuple[list[rows.Row], list[rows.Row], list[rows.Row], observations.Prepared]:
    """Rows, bodies and attributes of the exchanges, and production's observations; done outside the transaction."""
    narrow, texts, slices = [], [], []
    for exchange, position in items:
        key = {"run_id": run_id, "exchange_id": exchange.id}
        body = rows.exchange_body(exchange)
        narrow.append(rows.exchange_row(run_id, exchange, position, body))
        texts.append(key | {"body": body})
        slices += [key | {"key": name, "value": value} for name, value in attributes.attributes_of(exchange)]
    production = observations.prepare(run_id, [exchange.production for exchange, _ in items], now)
    return narrow, texts, slices, production


def put(
    connection: sa.Connection,
    run_id: str,
    narrow: Sequence[rows.Row],
    texts: Sequence[rows.Row],
    slices: Sequence[rows.Row],
    production: observations.Prepared,
) -> None:
    """Insert the exchanges with production's observations of them, or replace them."""
    rows.upsert(connection, tables.exchanges, narrow)
    rows.upsert(connection, tables.exchange_bodies, texts)
    _delete(connection, [tables.exchange_attributes], run_id, [row["exchange_id"] for row in narrow])
    rows.upsert(connection, tables.exchange_attributes, slices)
    observations.put(connection, production)


def put_attribute(connection: sa.Connection, run_id: str, key: str, values: Mapping[str, str]) -> None:
    """Give each exchange its value of a slice attribute; rows of that key from before are gone."""
    a = tables.exchange_attributes
    connection.execute(sa.delete(a).where(a.c.run_id == run_id, a.c.key == key))
    written = [{"run_id": run_id, "exchange_id": id_, "key": key, "value": value} for id_, value in values.items()]
    rows.upsert(connection, a, written)


def remove(connection: sa.Connection, run_id: str, ids: Sequence[str] | None) -> None:
    """Take exchanges and what production did with them out of the sample; of all when ``ids`` is ``None``.

    What other arms answered stays: it was paid for, and counts again when the same exchange comes back.
    """
    own = [tables.exchanges, tables.exchange_bodies, tables.exchange_attributes]
    _delete(connection, own, run_id, ids)
    _delete(connection, [tables.observations, tables.observation_bodies], run_id, ids, arm=PRODUCTION)


def _delete(
    connection: sa.Connection,
    targets: Sequence[sa.Table],
    run_id: str,
    ids: Sequence[str] | None,
    *,
    arm: str | None = None,
) -> None:
    for table in targets:
        statement = sa.delete(table).where(table.c.run_id == run_id)
        if arm is not None:
            statement = statement.where(table.c.arm == arm, table.c.fingerprint == "")
        if ids is None:
            connection.execute(statement)
            continue
        for chunk in paging.chunks(ids):
            connection.execute(statement.where(table.c.exchange_id.in_(chunk)))


def load(connection: sa.Connection, run_id: str, ids: Sequence[str]) -> dict[str, Exchange]:
    """The exchanges by id; ids that are not in the run, or whose texts were deleted, are left out."""
    b = tables.exchange_bodies
    bodies = sa.select(b.c.exchange_id, b.c.body).where(b.c.run_id == run_id, b.c.exchange_id.in_(ids))
    texts = {row[0]: row[1] for row in connection.execute(bodies)}
    production = observations.load(connection, run_id, PRODUCTION, "", ids)
    found = connection.execute(sa.select(e).where(e.c.run_id == run_id, e.c.exchange_id.in_(ids)))
    return {
        row.exchange_id: rows.exchange_of(row, texts[row.exchange_id], production[row.exchange_id])
        for row in found
        if row.exchange_id in production and row.exchange_id in texts
    }


def read(
    database: Database, run_id: str, statement: sa.Select[Any], ids: Sequence[str] | None = None
) -> Iterator[Exchange]:
    """The exchanges a :func:`paging.keys` statement selects, in ascending position."""
    for group in paging.groups(database, statement, ids):
        found = database.reading(load, run_id, group)
        for exchange_id in group:
            if exchange_id in found:
                yield found[exchange_id]


def count(connection: sa.Connection, run_id: str) -> int:
    """How many exchanges the run has."""
    return connection.scalar(sa.select(sa.func.count()).select_from(e).where(e.c.run_id == run_id)) or 0


def pending(run_id: str, arm: str, fingerprint: str, *, retry_setup_errors: bool, retry_errors: bool) -> sa.Select[Any]:
    """The exchanges without a finished observation of this arm and fingerprint."""
    unfinished: list[sa.ColumnElement[bool]] = [o.c.status.is_(None), o.c.status.in_(_NOT_ASKED)]
    if retry_errors:
        unfinished.append(o.c.status == Status.FAILED.value)
    elif retry_setup_errors:
        unfinished.append(sa.and_(o.c.status == Status.FAILED.value, o.c.error_kind.in_(_SETUP_KINDS)))
    return (
        paging.keys(run_id)
        .outerjoin(o, observations.of_exchange(o, arm, fingerprint))
        .where(sa.or_(*unfinished), e.c.body_bytes > 0)
    )


def unasked(
    connection: sa.Connection, run_id: str, arm: str, fingerprint: str, *, after: float, limit: int
) -> list[tuple[float, str]]:
    """Positions and ids, in order, of exchanges behind ``after`` with texts and no observation of this arm."""
    behind: sa.Select[Any] = sa.select(e.c.position, e.c.exchange_id).where(e.c.position > after, e.c.body_bytes > 0)
    statement = without_observation(behind, run_id, arm, fingerprint)
    statement = statement.order_by(e.c.position, e.c.exchange_id).limit(limit)
    return [(row[0], row[1]) for row in connection.execute(statement)]


def load_unasked(
    connection: sa.Connection, run_id: str, arm: str, fingerprint: str, *, after: float, limit: int
) -> list[tuple[float, Exchange]]:
    """What :func:`unasked` names."""
    keys = unasked(connection, run_id, arm, fingerprint, after=after, limit=limit)
    found = load(connection, run_id, [exchange_id for _, exchange_id in keys])
    return [(position, found[exchange_id]) for position, exchange_id in keys if exchange_id in found]


def count_arm(connection: sa.Connection, run_id: str, arm: str, fingerprint: str) -> tuple[ObservationCounts, int]:
    """How the exchanges ended in this arm, and how many have no observation of it."""
    counts = observations.count(connection, run_id, arm, fingerprint)
    return counts, count_unasked(connection, run_id, arm, fingerprint)


def count_unasked(connection: sa.Connection, run_id: str, arm: str, fingerprint: str) -> int:
    """How many exchanges have no observation of this arm."""
    statement: sa.Select[Any] = sa.select(sa.func.count()).select_from(e)
    return connection.scalar(without_observation(statement, run_id, arm, fingerprint)) or 0


def without_observation(statement: sa.Select[Any], run_id: str, arm: str, fingerprint: str) -> sa.Select[Any]:
    """The exchanges that have no observation of this arm."""
    own = observations.of_exchange(o, arm, fingerprint)
    return statement.outerjoin(o, own).where(e.c.run_id == run_id, o.c.status.is_(None))


def last_position(connection: sa.Connection, run_id: str) -> float | None:
    """The position of the run's last exchange."""
    found: float | None = connection.scalar(sa.select(sa.func.max(e.c.position)).where(e.c.run_id == run_id))
    return found


def sources(connection: sa.Connection, run_id: str, ids: Sequence[str]) -> dict[str, str | None]:
    """Which file each of these exchanges came from; ids that are not in the run are left out."""
    found: dict[str, str | None] = {}
    for chunk in paging.chunks(ids):
        statement = sa.select(e.c.exchange_id, e.c.source_file).where(e.c.run_id == run_id)
        found |= {row[0]: row[1] for row in connection.execute(statement.where(e.c.exchange_id.in_(chunk)))}
    return found


def among_first(
    database: Database, run_id: str, *, share: float | None = None, first: int | None = None
) -> sa.ColumnElement[bool]:
    """The condition that an exchange is among the first ``share``, or ``first`` ones, of the run by position.

    The same exchanges on every call, and a larger limit only adds to them; of two limits the smaller counts.
    """
    if share is None and first is None:
        return sa.true()
    last = database.reading(_last_among, run_id, share, first)
    if last is None:
        return sa.false()
    bound = sa.tuple_(sa.literal(last[0], sa.Double), sa.literal(last[1], e.c.exchange_id.type))
    return sa.tuple_(e.c.position, e.c.exchange_id) <= bound


def _last_among(connection: sa.Connection, run_id: str, share: float | None, first: int | None) -> Any:
    total = count(connection, run_id)
    limit = min(total if share is None else math.ceil(share * total), total if first is None else first)
    if limit <= 0:
        return None
    keys = sa.select(e.c.position, e.c.exchange_id).where(e.c.run_id == run_id)
    return connection.execute(keys.order_by(e.c.position, e.c.exchange_id).limit(1).offset(limit - 1)).one()


def attribute_values(connection: sa.Connection, run_id: str, key: str) -> dict[str, int]:
    """The values of a slice attribute with their number of exchanges, most frequent first."""
    a = tables.exchange_attributes
    n = sa.func.count()
    statement = sa.select(a.c.value, n).where(a.c.run_id == run_id, a.c.key == key).group_by(a.c.value)
    return {row[0]: row[1] for row in connection.execute(statement.order_by(n.desc(), a.c.value))}


def attribute_keys(connection: sa.Connection, run_id: str) -> list[str]:
    """The slice attributes that the run's exchanges have."""
    a = tables.exchange_attributes
    statement = sa.select(a.c.key).where(a.c.run_id == run_id).distinct().order_by(a.c.key)
    return list(connection.scalars(statement))
