"""The driver's own rows, for reads of millions: SQLAlchemy's would take three times as long as the database itself."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa


def batches(connection: sa.Connection, statement: sa.Select[Any], size: int) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of a statement as plain tuples, at most ``size`` at a time, with values as the driver gives them.

    That is text for times and numbers for truth values on SQLite; only columns that need no conversion fit.
    """
    cursor: Any = connection.execute(statement).cursor
    try:
        while part := cursor.fetchmany(size):
            yield part
    except connection.dialect.loaded_dbapi.Error as error:
        raise sa.exc.DBAPIError(None, None, error) from error


def every(connection: sa.Connection, statement: sa.Select[Any]) -> list[tuple[Any, ...]]:
    """The rows of a statement that returns few, as :func:`batches` gives them."""
    cursor: Any = connection.execute(statement).cursor
    try:
        found: list[tuple[Any, ...]] = cursor.fetchall()
    except connection.dialect.loaded_dbapi.Error as error:
        raise sa.exc.DBAPIError(None, None, error) from error
    return found
