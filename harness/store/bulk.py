"""Many rows at once into PostgreSQL: through COPY, which takes them three to five times as fast as INSERT.

Measured on one server and one client, observations with their bodies of some hundred bytes, rows a second:

| rows in a batch | INSERT | COPY | rows that are there: INSERT | COPY and INSERT ... SELECT |
|---|---|---|---|---|
| 10 | 9,000 | 7,600 | 8,700 | 820 |
| 20 | 11,700 | 14,700 | 11,800 | 1,500 |
| 100 | 14,900 | 42,200 | 14,700 | 6,600 |
| 500 | 16,800 | 68,300 | 15,100 | 18,900 |
| 2,000 | 17,000 | 80,500 | 16,300 | 28,600 |
"""

import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.exc import DBAPIError

from harness.store import tables

FEWEST = 20
"""Rows from which COPY is faster than INSERT."""
FEWEST_STAGED = 400
"""Rows that are there already from which a temporary table pays for being made and dropped."""
_TYPES = {
    sa.BigInteger: "int8",
    sa.Boolean: "bool",
    sa.Double: "float8",
    sa.Integer: "int4",
    sa.LargeBinary: "bytea",
    tables.SafeText: "text",
    tables.UtcTime: "timestamptz",
}
_Processor = Callable[[Any], Any] | None
_UNIQUE = "23505"


def write(connection: sa.Connection, table: sa.Table, rows: Sequence[dict[str, Any]], insert: sa.Insert) -> bool:
    """Write rows, in the order of their keys, as ``insert`` would; whether it was done: else nothing happened.

    Most batches are new as a whole, and are copied straight into the table. Where one of them is there, the server
    refuses the first such row, and all are taken by way of a temporary table.
    """
    if connection.dialect.name != "postgresql" or len(rows) < FEWEST:
        return False
    try:
        with connection.begin_nested():
            _copy(connection, table, rows, table.name)
        return True
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _UNIQUE:
            # What the rows are to blame for is told by INSERT, of one row; a lost connection is lost for that too.
            return _is_of_rows(error)
    except (OverflowError, struct.error, ValueError, TypeError):
        return False
    if len(rows) < FEWEST_STAGED or _has_twins(table, rows):
        return False
    _by_way_of_stage(connection, table, rows, insert)
    return True


def _is_of_rows(error: DBAPIError) -> bool:
    if isinstance(error, sa.exc.DataError):
        return False
    raise error


def _has_twins(table: sa.Table, rows: Sequence[dict[str, Any]]) -> bool:
    """Whether a key is written twice: INSERT takes the later one on top of the earlier, one statement cannot."""
    keys = [column.name for column in table.primary_key.columns]
    return len({tuple(row[key] for key in keys) for row in rows}) < len(rows)


def _by_way_of_stage(
    connection: sa.Connection, table: sa.Table, rows: Sequence[dict[str, Any]], insert: sa.Insert
) -> None:
    stage = sa.table(f"staged_{table.name}", *(sa.column(column.name) for column in table.columns))
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {stage.name} (LIKE {table.name}) ON COMMIT DROP")
    _copy(connection, table, rows, stage.name)
    keys = [stage.c[column.name] for column in table.primary_key.columns]
    # In the order of keys, as everybody writes: nobody waits for who waits for them.
    ordered = sa.select(*stage.c).order_by(*(sa.collate(key, "C") for key in keys))
    connection.execute(insert.from_select([column.name for column in table.columns], ordered))
    connection.exec_driver_sql(f"DROP TABLE {stage.name}")


def _copy(connection: sa.Connection, table: sa.Table, rows: Sequence[dict[str, Any]], into: str) -> None:
    names, types, processors = _columns(table)
    values = [
        [row[name] for row in rows] if processor is None else [processor(row[name]) for row in rows]
        for name, processor in zip(names, processors, strict=True)
    ]
    cursor: Any = connection.connection.cursor()
    dbapi: Any = connection.dialect.loaded_dbapi
    try:
        with cursor.copy(f"COPY {into} ({', '.join(names)}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(types)
            for row in zip(*values, strict=True):
                copy.write_row(row)
    except dbapi.Error as error:
        raise DBAPIError.instance(None, None, error, dbapi.Error, dialect=connection.dialect) from error
    finally:
        cursor.close()


@cache
def _columns(table: sa.Table) -> tuple[list[str], list[str], list[_Processor]]:
    """Names, the server's types, and what makes of a value what the column holds."""
    names = [column.name for column in table.columns]
    types = [_TYPES[type(column.type)] for column in table.columns]
    dialect: sa.Dialect = psycopg.dialect()  # type: ignore[no-untyped-call]
    processors: list[_Processor] = [
        column.type.dialect_impl(dialect).bind_processor(dialect) for column in table.columns
    ]
    # The driver cuts what is longer off, and says nothing.
    checked: list[_Processor] = [_int4 if type_ == "int4" else p for type_, p in zip(types, processors, strict=True)]
    return names, types, checked


def _int4(value: int | None) -> int | None:
    if value is not None and not -(1 << 31) <= value < 1 << 31:
        raise OverflowError(f"{value} is no integer of 32 bits")
    return value
