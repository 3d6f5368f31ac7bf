"""Reading a run in ascending position, in short transactions and constant memory.

Pages are found by key, not by offset or by an open cursor: a long reader never holds back a writer, never keeps
SQLite's log from being folded in, and goes on where it was when rows are added behind it.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa

from harness.store.connection import Database
from harness.store.tables import exchanges

_PAGE_KEYS = 2_000
_GROUP_ROWS = 200
_GROUP_BYTES = 1 << 20
"""Compressed; bodies of one group are in memory together, and text unpacks to several times its size."""
IDS = 500
"""Ids in one ``IN (...)``."""

_IN_ORDER = sa.select(
    *(
        sa.func.set_config(f"enable_{way}", "off", True)
        for way in ("seqscan", "bitmapscan", "hashjoin", "mergejoin", "sort")
    )
)

T = TypeVar("T")


def chunks(items: Iterable[T], size: int = IDS) -> Iterator[list[T]]:
    """Lists of at most ``size`` items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def fetch(connection: sa.Connection, statement: sa.Executable) -> Sequence[Any]:
    """All rows of a statement."""
    return connection.execute(statement).all()


def fetch_page(connection: sa.Connection, statement: sa.Select[Any]) -> Sequence[Any]:
    """All rows of a statement that takes the first rows in the order of an index.

    PostgreSQL is held to walking along the index and looking up what belongs to each row: where it takes hardly any of
    them to be wanted it would read, join and sort the whole run, and do so again for every page.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_IN_ORDER)
    return fetch(connection, statement)


def keys(run_id: str, *, size: Any = exchanges.c.body_bytes) -> sa.Select[Any]:
    """The statement every page starts from: position, id and stored size of the run's exchanges."""
    columns = (exchanges.c.position, exchanges.c.exchange_id, size.label("size"))
    return sa.select(*columns).where(exchanges.c.run_id == run_id)


def groups(database: Database, statement: sa.Select[Any], ids: Sequence[str] | None = None) -> Iterator[list[str]]:
    """Exchange ids in ascending position, in groups whose bodies fit into memory together.

    ``statement`` is :func:`keys` with conditions; each page of it is evaluated when it is reached.
    """
    pages = _pages(database, statement) if ids is None else _selected(database, statement, ids)
    group: list[str] = []
    total = 0
    for page in pages:
        for _, exchange_id, size in page:
            if group and (len(group) == _GROUP_ROWS or total + size > _GROUP_BYTES):
                yield group
                group, total = [], 0
            group.append(exchange_id)
            total += size
        # A group never spans pages: a row must not wait for a page that is read much later.
        if group:
            yield group
            group, total = [], 0


def _pages(database: Database, statement: sa.Select[Any]) -> Iterator[Sequence[Any]]:
    position, exchange_id = exchanges.c.position, exchanges.c.exchange_id
    ordered = statement.order_by(position, exchange_id).limit(_PAGE_KEYS)
    page_statement = ordered
    while True:
        page = database.reading(fetch_page, page_statement)
        yield page
        if len(page) < _PAGE_KEYS:
            return
        last = sa.tuple_(sa.literal(page[-1][0], sa.Double), sa.literal(page[-1][1], exchange_id.type))
        page_statement = ordered.where(sa.tuple_(position, exchange_id) > last)


def _selected(database: Database, statement: sa.Select[Any], ids: Sequence[str]) -> Iterator[Sequence[Any]]:
    found: list[Any] = []
    for chunk in chunks(dict.fromkeys(ids)):
        found += database.reading(fetch, statement.where(exchanges.c.exchange_id.in_(chunk)))
    found.sort(key=lambda row: (row[0], row[1]))
    yield found


def count(database: Database, statement: sa.Select[Any]) -> int:
    """How many exchanges a :func:`keys` statement selects."""
    found = database.reading(fetch, sa.select(sa.func.count()).select_from(statement.subquery()))
    return int(found[0][0])
