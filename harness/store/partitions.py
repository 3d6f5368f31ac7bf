"""The large tables of a PostgreSQL store, which give every run partitions of its own.

A run's rows and indexes then lie apart from those of other runs: what is read and written stays as small as the run,
statistics are the run's own, and a run that is removed gives its disk back at once. SQLite has none of it.

Correctness never depends on a run having partitions: without, its rows are in the default ones, ``*_rest``.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from harness.store import tables

PARTITIONED = (
    tables.exchange_attributes,
    tables.exchange_bodies,
    tables.exchanges,
    tables.judgment_bodies,
    tables.judgments,
    tables.observation_bodies,
    tables.observations,
)
"""In the order in which they are locked, always."""
DISTINCT = {
    tables.exchange_attributes: -0.12,
    tables.exchange_bodies: -1,
    tables.exchanges: -1,
    tables.judgment_bodies: -0.25,
    tables.judgments: -0.25,
    tables.observation_bodies: -0.4,
    tables.observations: -0.4,
}
"""How many different exchanges there are for each row, negated; without it joins look a million times as large."""
MOST_RUNS = 1_000
"""Runs with partitions of their own: some 35 files each, and every new connection reads the list of them all."""
_REST_BYTES = 256 << 20
"""A run gets none while more than that is in the default partitions: PostgreSQL would read them all to be sure that
nothing in them belongs to it, and keep everybody else out meanwhile."""
_LOCK = 0x5AD0_11A4
"""Key of the advisory lock that lets one process at a time make partitions."""
_WAIT_MS = 5_000
"""How long making or dropping partitions waits for those who use them; others wait behind it."""
_LEFT_ALONE = frozenset({"23514", "42P17", "55P03"})
"""Rows of it came to be elsewhere, another partition takes it, somebody held the table: then it goes without."""
OPTIONS = (
    "WITH (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_scale_factor = 0.05,"
    " autovacuum_analyze_scale_factor = 0.05)"
)
"""Rows come and hardly ever change. At 100 million rows the usual fifth would be 20 million until their pages are
marked as visible to all, which is what lets counts be read from an index alone."""


def name(table: sa.Table, run_id: str) -> str:
    """Of the run's partition of a table; ids of runs may be longer than names can be."""
    return f"{table.name}_p{hashlib.sha256(run_id.encode()).hexdigest()[:16]}"


def rest(table: sa.Table) -> str:
    """The partition of the runs that have none of their own."""
    return f"{table.name}_rest"


def create_rest(connection: sa.Connection) -> None:
    """Make the default partitions of new tables."""
    for table in PARTITIONED:
        distinct = f"(n_distinct_inherited = {DISTINCT[table]})"
        connection.exec_driver_sql(f"ALTER TABLE {table.name} ALTER COLUMN exchange_id SET {distinct}")
        if "body" in table.c:
            # Bodies are compressed already; the server would try it once more with each of them.
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ALTER COLUMN body SET STORAGE EXTERNAL")
        connection.exec_driver_sql(f"CREATE TABLE {rest(table)} PARTITION OF {table.name} DEFAULT {OPTIONS}")
        if "body" in table.c:
            connection.exec_driver_sql(f"ALTER TABLE {rest(table)} ALTER COLUMN body SET STORAGE EXTERNAL")


def exist(connection: sa.Connection, run_id: str) -> bool:
    """Whether the run has partitions of its own; they are made and dropped together."""
    # From the catalogue itself: a name that was looked up in vain is remembered to the end of the transaction.
    own = sa.text(
        "SELECT count(*) FROM pg_class WHERE relname = :own AND relnamespace = current_schema()::regnamespace"
    )
    return bool(connection.scalar(own, {"own": name(tables.exchanges, run_id)}))


def ensure(connection: sa.Connection, run_id: str) -> bool:
    """Make the run's partitions unless it has some, or rows elsewhere; whether it has them now."""
    if exist(connection, run_id):
        return True
    # Not waited for in a queue in which a writer of ten rows might stand for minutes.
    connection.execute(sa.select(sa.func.set_config("lock_timeout", str(_WAIT_MS), True)))
    try:
        with connection.begin_nested():
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            if exist(connection, run_id):
                return True
            if not _has_room(connection) or _has_rows(connection, run_id):
                return False
            for table in PARTITIONED:
                _attach(connection, table, run_id)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) not in _LEFT_ALONE:
            raise
        return False
    return True


def _attach(connection: sa.Connection, table: sa.Table, run_id: str) -> None:
    # Made apart and then attached: made in its place it would wait for every reader of any run.
    own, like = name(table, run_id), "INCLUDING DEFAULTS INCLUDING INDEXES INCLUDING STORAGE"
    connection.exec_driver_sql(f"CREATE TABLE {own} (LIKE {table.name} {like}) {OPTIONS}")
    bound = sa.literal(run_id, tables.SafeText()).compile(
        dialect=connection.dialect, compile_kwargs={"literal_binds": True}
    )
    connection.exec_driver_sql(f"ALTER TABLE {table.name} ATTACH PARTITION {own} FOR VALUES IN ({bound})")


def _has_room(connection: sa.Connection) -> bool:
    n = connection.scalar(
        sa.text("SELECT count(*) FROM pg_inherits WHERE inhparent = to_regclass(:parent)"),
        {"parent": tables.exchanges.name},
    )
    sizes = [sa.func.pg_relation_size(sa.func.to_regclass(rest(table))) for table in PARTITIONED]
    used = sum(connection.execute(sa.select(*sizes)).one())
    return (n or 0) <= MOST_RUNS and used <= _REST_BYTES


def _has_rows(connection: sa.Connection, run_id: str) -> bool:
    conditions = [sa.exists().where(table.c.run_id == run_id) for table in PARTITIONED]
    return bool(connection.scalar(sa.select(sa.or_(*conditions))))


def drop(connection: sa.Connection, run_id: str) -> None:
    """Empty the run's partitions at once, their disk given back; and remove them unless others are in the way.

    Emptying locks the run's own partitions alone. Removing them takes the whole tables for a moment, and is left for
    another time where somebody has held them for long.
    """
    if connection.dialect.name != "postgresql" or not exist(connection, run_id):
        return
    own = ", ".join(name(table, run_id) for table in PARTITIONED)
    connection.exec_driver_sql(f"TRUNCATE {own}")
    try:
        with connection.begin_nested():
            connection.execute(sa.select(sa.func.set_config("lock_timeout", "500", True)))
            connection.exec_driver_sql(f"DROP TABLE {own}")
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != "55P03":
            raise


def analyze(connection: sa.Connection, run_id: str) -> None:
    """Have the server look at the tables that the run's rows are in; at those without partitions for no run."""
    if not run_id:
        looked_at: Sequence[Any] = [t.name for t in tables.metadata.sorted_tables if t not in PARTITIONED]
    elif exist(connection, run_id):
        looked_at = [name(table, run_id) for table in PARTITIONED]
    else:
        looked_at = [rest(table) for table in PARTITIONED]
    if run_id and not _parents_known(connection):
        looked_at = [table.name for table in PARTITIONED]
    # Another writer that is at it already does it for all.
    connection.exec_driver_sql("ANALYZE (SKIP_LOCKED) " + ", ".join(sorted(looked_at)))


def _parents_known(connection: sa.Connection) -> bool:
    """Whether the whole tables were ever looked at, which the server never does by itself.

    Joins are estimated by the whole tables also where one partition is read. Once is enough: what counts is that ids
    are told to be distinct, see ``DISTINCT``, and that does not change.
    """
    known = sa.text(
        "SELECT count(*) FROM pg_statistic s JOIN pg_class c ON c.oid = s.starelid"
        " WHERE s.stainherit AND c.relname = 'observations' AND c.relnamespace = current_schema()::regnamespace"
    )
    return bool(connection.scalar(known))
