"""Rows of the store as columns of numbers, beside each other by exchange."""

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Any

import numpy as np
import sqlalchemy as sa

from harness.stats.evidence import Ints, Strings
from harness.store import raw

_CHUNK = 2_000
"""Rows that are fetched before they become columns: few enough to stay near the processor meanwhile."""


class Rows:
    """Where each exchange stands in the evidence."""

    def __init__(self, ids: Sequence[str], places: Ints) -> None:
        # In the order of ids, in which every table is read: what is looked up next lies beside what was looked up last.
        self._places = dict(zip(ids, places.tolist(), strict=True))
        self._ids, self._in_order = ids, places
        self._next = 0
        """Where the ids of the next call begin, if they go on where those of the last one ended."""

    def __len__(self) -> int:
        return len(self._places)

    def places(self, ids: Sequence[str]) -> Ints:
        """The row of every id, -1 where it is not sampled."""
        begin, end = self._next, self._next + len(ids)
        if ids and self._ids[begin:end] == ids:
            self._next = end
            return self._in_order[begin:end]
        self._next = 0
        return np.fromiter(map(self._places.get, ids, repeat(-1)), dtype=np.int64, count=len(ids))

    def get(self, exchange_id: str) -> int | None:
        """The row of one id; ``None`` when it is not sampled."""
        return self._places.get(exchange_id)


def chunks(connection: sa.Connection, statement: sa.Select[Any]) -> Iterator[list[list[Any]]]:
    """The rows of a statement as columns, some at a time; the driver's own values."""
    for part in raw.batches(connection, statement, _CHUNK):
        # Several times as fast as zip, which takes every row for an argument.
        values = list(chain.from_iterable(part))
        width = len(part[0])
        yield [values[column::width] for column in range(width)]


def strings(values: Sequence[Any]) -> Strings:
    """Text as a column of objects."""
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
