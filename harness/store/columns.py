"""Rows of the store as columns of numbers, beside each other by exchange."""

from collections.abc import Iterator, Sequence
from copy import copy
from itertools import chain, repeat
from typing import Any

import numpy as np
import sqlalchemy as sa

from harness.stats.evidence import Ints, Strings
from harness.store import raw

_CHUNK = 2_000
"""Rows that are fetched before they become columns: few enough to stay near the processor meanwhile."""
_FEW = 1_000
"""Ids; fewer are sooner found in the table than made comparable."""
_BLOCK = 32
"""Ids that are compared at once where some are missing."""
_WIDEST = 64
"""Bytes; beyond, the ids of a million rows would take more memory than they save time."""


class Rows:
    """Where each exchange stands in the evidence."""

    def __init__(self, ids: Sequence[str], places: Ints) -> None:
        # In the order of ids, in which every table is read: what is looked up next lies beside what was looked up last.
        self._index = dict(zip(ids, range(len(places)), strict=True))
        self._ids, self._in_order = ids, places
        self._keys: Any = None
        """The ids as bytes, once they are needed."""
        self._next = 0
        """Where the ids of the next call begin, if they go on where those of the last one ended."""

    def __len__(self) -> int:
        return len(self._index)

    def again(self) -> "Rows":
        """The same for another thread: each remembers where it is."""
        rows = copy(self)
        rows._next = 0
        return rows

    def places_apart(self, ids: Sequence[str]) -> Ints:
        """As :meth:`places`, for ids in ascending order that are some of those here, such as those of one value."""
        if len(ids) < _FEW or ids == self._ids:
            return self.places(ids)
        if self._keys is None:
            self._keys = _as_bytes(self._ids)
        wanted = None if self._keys is None else _as_bytes(ids)
        if self._keys is None or wanted is None or not len(self._keys):
            return self.places(ids)
        # Neighbours are looked up after each other, which stays near the processor; a table from id to row does not.
        found = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        at: Ints = np.where(self._keys[found] == wanted, self._in_order[found], -1)
        return at

    def places(self, ids: Sequence[str]) -> Ints:
        """The row of every id, -1 where it is not sampled."""
        begin, end = self._next, self._next + len(ids)
        if ids and self._ids[begin:end] == ids:
            self._next = end
            return self._in_order[begin:end]
        # Some are missing here or there; between them the order is the same.
        found = np.full(len(ids), -1, dtype=np.int64)
        for at in range(0, len(ids), _BLOCK):
            part = ids[at : at + _BLOCK]
            begin, end = self._next, self._next + len(part)
            if self._ids[begin:end] == part:
                self._next = end
                found[at : at + len(part)] = self._in_order[begin:end]
                continue
            index = np.fromiter(map(self._index.get, part, repeat(-1)), dtype=np.int64, count=len(part))
            known = index >= 0
            found[at : at + len(part)][known] = self._in_order[index[known]]
            if known.any():
                self._next = int(index.max()) + 1
        return found

    def get(self, exchange_id: str) -> int | None:
        """The row of one id; ``None`` when it is not sampled."""
        index = self._index.get(exchange_id)
        return None if index is None else int(self._in_order[index])


def _as_bytes(ids: Sequence[str]) -> Any:
    """Ids as NumPy compares them, in the databases' order; ``None`` where that would be another order, or very wide."""
    try:
        found = np.array(ids, dtype=bytes)
    except UnicodeEncodeError:
        return None
    return found if found.itemsize <= _WIDEST else None


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
