"""Deleting by age and by user, a small transaction at a time, so that no writer waits for long.

What went is noted in ``reductions`` in the transaction that deletes it: killed at any point, the same call goes on, and
the counts add up. Spending that is deleted stays spent.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from harness.domain.judgment import Order
from harness.domain.observation import PRODUCTION
from harness.domain.reduction import Reduced, Reduction, Why
from harness.store import exchanges, judgments, runs, tables
from harness.store.tables import exchanges as e
from harness.store.tables import judgments as j
from harness.store.tables import observations as o
from harness.store.tables import reductions as r

BATCH = 200
"""Exchanges deleted in one transaction: tens of milliseconds on either database."""
OF_RUNS = tuple(
    table
    for table in tables.metadata.sorted_tables
    if "run_id" in table.c and table not in (tables.runs, tables.attempts)
)
"""Tables whose rows belong to a run. Attempts outlive theirs."""
_OF_STRAYS = (o, tables.exchange_attributes)
_BODIES = (tables.exchange_bodies, tables.observation_bodies, tables.judgment_bodies)


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which exchanges of one run are to be reduced, to what, and why."""

    run_id: str
    what: Reduced
    reason: Why
    older_than: datetime | None = None
    """Exchanges whose request was made before; where that is unknown, whose run began before."""
    users: tuple[str, ...] = ()
    """User ids as stored."""

    def __post_init__(self) -> None:
        if self.older_than is None and not self.users:
            raise ValueError("everything would be selected; name an age or users")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a run under way still does with its exchanges: this arm is asked, and these judges read its answers."""

    arm: str
    fingerprint: str
    judges: tuple[tuple[str, tuple[Order, ...]], ...] = ()
    """Judge fingerprint to the orders it reads."""


def page(connection: sa.Connection, selection: Selection, after: str, limit: int = BATCH) -> list[str]:
    """The next exchanges behind ``after`` that are selected, by id."""
    statement = sa.select(e.c.exchange_id).where(*_selected(selection), e.c.exchange_id > after)
    return list(connection.scalars(statement.order_by(e.c.exchange_id).limit(limit)))


def count(connection: sa.Connection, selection: Selection) -> tuple[int, int]:
    """How many exchanges are selected, and the bytes of their requests as stored."""
    statement = sa.select(sa.func.count(), sa.func.sum(e.c.body_bytes)).where(*_selected(selection))
    n, size = connection.execute(statement).one()
    return n, int(size or 0)


def _selected(selection: Selection) -> list[sa.ColumnElement[bool]]:
    found = [e.c.run_id == selection.run_id]
    if selection.users:
        found.append(e.c.user_id.in_(selection.users))
    if selection.older_than is not None:
        runs = tables.runs
        began = sa.select(runs.c.created_at).where(runs.c.run_id == selection.run_id).scalar_subquery()
        found.append(sa.func.coalesce(e.c.timestamp, began) < sa.literal(selection.older_than, e.c.timestamp.type))
    if selection.what is Reduced.TEXTS:
        found.append(e.c.body_bytes > 0)
    return found


def needed(connection: sa.Connection, run_id: str, ids: Sequence[str], wanted: Sequence[Wanted]) -> set[str]:
    """Those of the exchanges that an arm has not been asked, or whose answers a judge has not read."""
    found: set[str] = set()
    mine = e.c.exchange_id.in_(ids)
    for item in wanted:
        statement = exchanges.without_observation(sa.select(e.c.exchange_id), run_id, item.arm, item.fingerprint)
        found.update(connection.scalars(statement.where(mine)))
        for judge, orders in item.judges:
            pending = judgments.pending(
                run_id, item.arm, item.fingerprint, judge_fingerprint=judge, orders=orders, retry_errors=True
            )
            found.update(row.exchange_id for row in connection.execute(pending.where(mine)))
    return found


def reduce(
    connection: sa.Connection,
    selection: Selection,
    ids: Sequence[str],
    now: datetime,
    *,
    sparing: Sequence[Wanted] = (),
) -> int:
    """Delete of these exchanges what the selection says, note it, and return how many there were.

    Those with something left to do as ``sparing`` says stay. Done once more it finds nothing, and notes nothing.
    """
    run_id = selection.run_id
    if sparing:
        # Within the transaction that deletes: what is asked or judged meanwhile cannot be missed.
        spared = needed(connection, run_id, ids, sparing)
        ids = [exchange_id for exchange_id in ids if exchange_id not in spared]
    if not ids:
        return 0
    mine = (e.c.run_id == run_id, e.c.exchange_id.in_(ids))
    present = sa.select(sa.func.count()).where(*mine)
    if selection.what is Reduced.TEXTS:
        present = present.where(e.c.body_bytes > 0)
    n = connection.scalar(present) or 0
    candidates_usd = judges_usd = 0.0
    if selection.what is Reduced.TEXTS:
        _drop_texts(connection, run_id, ids)
    else:
        candidates_usd, judges_usd = _drop_all(connection, run_id, ids)
    if n or candidates_usd or judges_usd:
        _note(
            connection,
            Reduction(
                run_id=run_id,
                what=selection.what,
                reason=selection.reason,
                first_at=now,
                last_at=now,
                older_than=selection.older_than,
                n_exchanges=n,
                candidates_usd=candidates_usd,
                judges_usd=judges_usd,
            ),
        )
    return n


def _drop_texts(connection: sa.Connection, run_id: str, ids: Sequence[str]) -> None:
    for table in _BODIES:
        for condition in _of(connection, table, run_id, ids):
            connection.execute(sa.delete(table).where(condition))
    connection.execute(sa.update(e).where(e.c.run_id == run_id, e.c.exchange_id.in_(ids)).values(body_bytes=0))
    # A provider's own words may quote the request, a labeller's the answer.
    for condition in _of(connection, o, run_id, ids):
        connection.execute(sa.update(o).where(condition).values(body_bytes=0, error_message=None))
    for condition in _of(connection, tables.labels, run_id, ids):
        connection.execute(sa.update(tables.labels).where(condition).values(note=None))


def _drop_all(connection: sa.Connection, run_id: str, ids: Sequence[str]) -> tuple[float, float]:
    """Delete every row about the exchanges; returns what our calls and judgments among them had cost."""
    candidates = _cost(connection, o, run_id, ids, o.c.arm != PRODUCTION, o.c.attempts.is_not(None))
    judging = _cost(connection, j, run_id, ids)
    for table in tables.metadata.sorted_tables:
        if "run_id" in table.c and "exchange_id" in table.c:
            for condition in _of(connection, table, run_id, ids):
                connection.execute(sa.delete(table).where(condition))
    return candidates, judging


def _cost(
    connection: sa.Connection, table: sa.Table, run_id: str, ids: Sequence[str], *more: sa.ColumnElement[bool]
) -> float:
    cost = sa.func.sum(sa.func.coalesce(table.c.cost_usd, 0.0) + table.c.superseded_usd)
    found = _of(connection, table, run_id, ids)
    return sum(float(connection.scalar(sa.select(cost).where(condition, *more)) or 0.0) for condition in found)


def _of(
    connection: sa.Connection, table: sa.Table, run_id: str, ids: Sequence[str]
) -> Iterator[sa.ColumnElement[bool]]:
    """Conditions that together are "about these exchanges", each of which the primary key answers.

    Between run and exchange the key has the arm and configurations; naming those makes a look-up of what would read
    the whole run.
    """
    keys = list(table.primary_key.columns)
    names = [column.name for column in keys]
    mine = sa.and_(table.c.run_id == run_id, table.c.exchange_id.in_(ids))
    if names[0] != "run_id" or "exchange_id" not in names:
        yield mine
        return
    between = keys[1 : names.index("exchange_id")]
    if not between:
        yield mine
        return
    for values in _distinct(connection, between, table.c.run_id == run_id):
        yield sa.and_(*(column == value for column, value in zip(between, values, strict=True)), mine)


def _distinct(
    connection: sa.Connection, columns: Sequence[Any], *conditions: sa.ColumnElement[bool]
) -> list[tuple[str, ...]]:
    """The values the columns have where the conditions hold, found by going from one to the next along the key."""
    found: list[tuple[str, ...]] = []
    first = sa.select(*columns).where(*conditions).order_by(*columns).limit(1)
    statement = first
    while (row := connection.execute(statement).first()) is not None:
        found.append(tuple(row))
        last = sa.tuple_(*(sa.literal(value, column.type) for value, column in zip(row, columns, strict=True)))
        statement = first.where(sa.tuple_(*columns) > last)
    return found


def _note(connection: sa.Connection, reduction: Reduction) -> None:
    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(r)
    statement = insert.values(**{field.name: getattr(reduction, field.name) for field in fields(Reduction)})
    new = statement.excluded
    sums = {name: r.c[name] + new[name] for name in ("n_exchanges", "candidates_usd", "judges_usd")}
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[r.c.run_id, r.c.what, r.c.reason],
            set_=sums | {"last_at": new.last_at, "older_than": new.older_than},
        )
    )


def load(connection: sa.Connection, run_id: str) -> list[Reduction]:
    """What was deleted from the run so far."""
    statement = sa.select(r).where(r.c.run_id == run_id).order_by(r.c.first_at, r.c.what, r.c.reason)
    return [
        Reduction(**(dict(row._mapping) | {"what": Reduced(row.what), "reason": Why(row.reason)}))
        for row in connection.execute(statement)
    ]


def spending(connection: sa.Connection, run_id: str) -> tuple[float, float]:
    """What deleted calls and judgments had cost, US dollars."""
    sums = sa.select(sa.func.sum(r.c.candidates_usd), sa.func.sum(r.c.judges_usd)).where(r.c.run_id == run_id)
    candidates, judging = connection.execute(sums).one()
    return float(candidates or 0.0), float(judging or 0.0)


def spent(connection: sa.Connection, run_id: str) -> tuple[float, float]:
    """Dollars spent on candidates and on judges, on what was deleted since as well."""
    (candidates, _), (judging, _) = judgments.spending_of_all(connection, run_id)
    deleted = spending(connection, run_id)
    return candidates + deleted[0], judging + deleted[1]


def strays(connection: sa.Connection, run_id: str, limit: int = BATCH) -> list[str]:
    """Ids of exchanges that are gone from the run while answers to them, or attributes, are still there."""
    for table in _OF_STRAYS:
        # One table at a time: of both together the database would find all before it gave the first.
        if found := list(connection.scalars(_without_exchange(table, run_id).distinct().limit(limit))):
            return found
    return []


def drop_strays(connection: sa.Connection, selection: Selection, now: datetime) -> int:
    """Delete a batch of the run's :func:`strays`, and return how many exchanges they were to."""
    # Found and deleted in one state of the store: an exchange that is read again meanwhile is no stray, and stays.
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    ids = strays(connection, selection.run_id)
    reduce(connection, selection, ids, now)
    return len(ids)


def count_strays(connection: sa.Connection, run_id: str) -> int:
    """How many :func:`strays` there are."""
    found = sa.union(*(_without_exchange(table, run_id) for table in _OF_STRAYS))
    return connection.scalar(sa.select(sa.func.count()).select_from(found.subquery())) or 0


def _without_exchange(table: sa.Table, run_id: str) -> sa.Select[Any]:
    gone = sa.and_(e.c.run_id == table.c.run_id, e.c.exchange_id == table.c.exchange_id)
    return sa.select(table.c.exchange_id).outerjoin(e, gone).where(table.c.run_id == run_id, e.c.exchange_id.is_(None))


def runless(connection: sa.Connection) -> dict[str, int]:
    """How many rows there are under ids of runs the store does not know."""
    known = set(connection.scalars(sa.select(tables.runs.c.run_id)))
    found: Counter[str] = Counter()
    for table in OF_RUNS:
        for (run_id,) in _distinct(connection, [table.c.run_id]):
            if run_id not in known:
                counted = sa.select(sa.func.count()).select_from(table).where(table.c.run_id == run_id)
                found[run_id] += connection.scalar(counted) or 0
    return dict(sorted(found.items()))


def drop_runless(connection: sa.Connection, run_id: str) -> None:
    """Delete every row under the id of a run the store does not know; nothing when it has come to know it."""
    if connection.dialect.name == "postgresql":
        # Nobody begins a run meanwhile.
        connection.exec_driver_sql("LOCK TABLE runs IN SHARE MODE")
    if not connection.scalar(sa.select(sa.func.count()).where(tables.runs.c.run_id == run_id)):
        runs.delete(connection, run_id)
