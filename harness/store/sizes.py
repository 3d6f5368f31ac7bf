"""How large a store is, by table and by run, and giving room back."""

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from harness.errors import InfrastructureError
from harness.store import tables
from harness.store.connection import Database

_BODIES = "_bodies"


@dataclass(frozen=True, kw_only=True, slots=True)
class TableSize:
    """What one table takes on disk."""

    table: str
    kind: str
    """``narrow``, ``bodies``, or ``other`` for what is not ours."""
    rows: int
    data_bytes: int | None
    """``None`` where the database cannot tell tables apart."""
    index_bytes: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSize:
    """What one run takes."""

    run_id: str
    rows: int
    """In all tables, bodies not counted."""
    body_bytes: int
    """Compressed texts of requests, answers and judgments."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreSize:
    """What a store takes."""

    total_bytes: int
    free_bytes: int
    """Within the file, left by what was deleted; ``harness db vacuum`` gives it back. 0 where it is not known."""
    log_bytes: int
    """SQLite's write-ahead log; 0 on PostgreSQL, whose log belongs to the server."""
    tables: tuple[TableSize, ...]
    runs: tuple[RunSize, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Vacuumed:
    """What giving room back came to."""

    before_bytes: int
    after_bytes: int

    @property
    def gained_bytes(self) -> int:
        """Bytes that are free on the disk now."""
        return self.before_bytes - self.after_bytes


def measure(database: Database) -> StoreSize:
    """Count rows and bytes; reads every index once, so a large store takes seconds."""
    runs, sizes, free = database.reading(_measured)
    return StoreSize(total_bytes=_total(database), free_bytes=free, log_bytes=_log(database), tables=sizes, runs=runs)


def _measured(connection: sa.Connection) -> tuple[tuple[RunSize, ...], tuple[TableSize, ...], int]:
    runs = _runs(connection)
    if connection.dialect.name != "sqlite":
        return runs, _postgres_tables(connection), 0
    free = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one() * _page(connection)
    return runs, _sqlite_tables(connection), free


def vacuum(database: Database) -> Vacuumed:
    """Give back the room of what was deleted, and have the planner look at the tables again.

    SQLite writes the file anew and holds writers up meanwhile; PostgreSQL makes room within its files while others
    write, and shrinks them where their ends are free.

    Raises:
        InfrastructureError: there is too little room for it, or the store is busy.
    """
    before = _total(database)
    if database.is_sqlite:
        _check_room(database)
        statements: tuple[str, ...] = (
            "PRAGMA temp_store=FILE",
            "VACUUM",
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "PRAGMA optimize",
        )
    else:
        statements = tuple(f'VACUUM (ANALYZE) "{name}"' for name in sorted(tables.metadata.tables))
    try:
        raw = database.engine.raw_connection()
        try:
            if not database.is_sqlite:
                raw.driver_connection.autocommit = True  # type: ignore[union-attr]
            cursor = raw.cursor()
            for statement in statements:
                cursor.execute(statement)
                if cursor.description:
                    cursor.fetchall()
            cursor.close()
        finally:
            # Not back to the pool: its settings were changed.
            raw.invalidate()
    except SQLAlchemyError as error:
        raise database.failure(error) from error
    except Exception as error:
        if not isinstance(error, database.engine.dialect.loaded_dbapi.Error):
            raise
        raise database.failure(DBAPIError("VACUUM", None, error)) from error
    return Vacuumed(before_bytes=before, after_bytes=_total(database))


def path_of(database: Database) -> Path:
    """The file of a SQLite store."""
    return Path(str(database.engine.url.database))


def _check_room(database: Database) -> None:
    """The new file grows in the folder for scratch files, then goes through the log beside the store."""
    path = path_of(database)
    size = path.stat().st_size
    scratch = Path(os.environ.get("SQLITE_TMPDIR") or tempfile.gettempdir())
    same = path.resolve().parent.stat().st_dev == scratch.stat().st_dev
    for folder, wanted in ((path.resolve().parent, 2 * size if same else size), (scratch, size)):
        free = shutil.disk_usage(folder).free
        if free < wanted:
            raise InfrastructureError(
                f"store {path}: giving room back takes up to {wanted:,} bytes in {folder} for a while, and {free:,} "
                "are free; make room there, or set SQLITE_TMPDIR to a folder that has it"
            )


def _total(database: Database) -> int:
    if database.is_sqlite:
        return path_of(database).stat().st_size + _log(database)
    found = database.reading(_postgres_tables, rows=False)
    return sum((size.data_bytes or 0) + (size.index_bytes or 0) for size in found)


def _log(database: Database) -> int:
    if not database.is_sqlite:
        return 0
    log = path_of(database).with_name(path_of(database).name + "-wal")
    return log.stat().st_size if log.exists() else 0


def _page(connection: sa.Connection) -> int:
    size: int = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    return size


def _kind(name: str) -> str:
    if name not in tables.metadata.tables:
        return "other"
    return "bodies" if name.endswith(_BODIES) else "narrow"


def _count(connection: sa.Connection, name: str) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(tables.metadata.tables[name])) or 0


def _sqlite_tables(connection: sa.Connection) -> tuple[TableSize, ...]:
    owners: dict[str, str] = dict(
        connection.exec_driver_sql("SELECT name, tbl_name FROM sqlite_master WHERE type IN ('table', 'index')").all()
    )
    try:
        found = connection.exec_driver_sql("SELECT name, pgsize FROM dbstat WHERE aggregate = TRUE").all()
    except SQLAlchemyError:  # a SQLite that was built without it
        return tuple(_unmeasured(connection))
    data: dict[str, int] = {}
    index: dict[str, int] = {}
    for name, size in found:
        owner = owners.get(name, name)
        target = data if owner == name else index
        target[owner] = target.get(owner, 0) + size
    names = sorted(set(data) | set(tables.metadata.tables), key=lambda name: (-data.get(name, 0), name))
    return tuple(
        TableSize(
            table=name,
            kind=_kind(name),
            rows=_count(connection, name) if name in tables.metadata.tables else 0,
            data_bytes=data.get(name, 0),
            index_bytes=index.get(name, 0),
        )
        for name in names
    )


def _unmeasured(connection: sa.Connection) -> Iterable[TableSize]:
    for name in sorted(tables.metadata.tables):
        yield TableSize(table=name, kind=_kind(name), rows=_count(connection, name), data_bytes=None, index_bytes=None)


_SIZES = """
SELECT top.relname, coalesce(sum(pg_table_size(part.relid)), 0), coalesce(sum(pg_indexes_size(part.relid)), 0)
FROM pg_class top CROSS JOIN LATERAL pg_partition_tree(top.oid) part
WHERE top.relnamespace = to_regnamespace(current_schema()) AND top.relkind = 'p'
GROUP BY top.relname
UNION ALL
SELECT relname, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class
WHERE relnamespace = to_regnamespace(current_schema()) AND relkind = 'r' AND NOT relispartition
"""
"""A partitioned table with all that lies below it; partitions are not named themselves."""


def _postgres_tables(connection: sa.Connection, *, rows: bool = True) -> tuple[TableSize, ...]:
    found = sorted(connection.exec_driver_sql(_SIZES).all(), key=lambda row: (-row[1], row[0]))
    return tuple(
        TableSize(
            table=name,
            kind=_kind(name),
            rows=_count(connection, name) if rows and name in tables.metadata.tables else 0,
            data_bytes=int(data),
            index_bytes=int(index),
        )
        for name, data, index in found
    )


def _runs(connection: sa.Connection) -> tuple[RunSize, ...]:
    rows: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for table in tables.metadata.tables.values():
        if "run_id" not in table.c or table is tables.attempts:
            continue
        n: sa.ColumnElement[int] = sa.func.count()
        if table.name.endswith(_BODIES):
            if "body_bytes" in tables.metadata.tables[table.name.removesuffix(_BODIES) + "s"].c:
                continue
            n = sa.func.sum(sa.func.length(table.c.body))
        elif "body_bytes" in table.c:
            counted = sa.select(table.c.run_id, sa.func.sum(table.c.body_bytes)).group_by(table.c.run_id)
            for run_id, size in connection.execute(counted):
                sizes[run_id] = sizes.get(run_id, 0) + int(size or 0)
        target = sizes if table.name.endswith(_BODIES) else rows
        for run_id, value in connection.execute(sa.select(table.c.run_id, n).group_by(table.c.run_id)):
            target[run_id] = target.get(run_id, 0) + int(value or 0)
    found = [
        RunSize(run_id=run_id, rows=rows.get(run_id, 0), body_bytes=sizes.get(run_id, 0))
        for run_id in sorted(set(rows) | set(sizes))
    ]
    return tuple(sorted(found, key=lambda run: (-run.body_bytes, run.run_id)))
