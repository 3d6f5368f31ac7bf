"""Rows of the store as columns of numbers, beside each other by exchange."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from harness.stats.evidence import Ints, Strings
from harness.store import raw

_SPARSE = 50
"""Ids between those that are looked for, for each of them, from which on they are looked for one by one."""
_CHUNK = 2_000
"""Rows that are fetched before they become columns: few enough to stay near the processor meanwhile."""


class Rows:
    """Where each exchange stands in the evidence."""

    def __init__(self, ids: Sequence[str], places: Ints) -> None:
        self._ids = ids
        """In ascending order, as every table is kept."""
        self._places = places
        """The row of each."""

    def __len__(self) -> int:
        return len(self._ids)

    def places(self, ids: Sequence[str]) -> Ints:
        """The row of every id, -1 where it is not sampled; fast when the ids ascend, as rows of a table do."""
        found: list[int] = []
        for begin in range(0, len(ids), _CHUNK):
            part = ids[begin : begin + _CHUNK]
            # One large table of all ids would be read all over for every id; the ids around these are few and near.
            low, high = bisect_left(self._ids, min(part)), bisect_right(self._ids, max(part))
            if high - low > _SPARSE * len(part):
                found += [self._one(exchange_id) for exchange_id in part]
            else:
                found += _nearby(self._ids[low:high], low, part)
        at = np.array(found, dtype=np.int64)
        return np.where(at < 0, -1, self._places[at]) if len(self) else at

    def get(self, exchange_id: str) -> int | None:
        """The row of one id; ``None`` when it is not sampled."""
        at = self._one(exchange_id)
        return None if at < 0 else int(self._places[at])

    def _one(self, exchange_id: str) -> int:
        at = bisect_left(self._ids, exchange_id)
        return at if at < len(self._ids) and self._ids[at] == exchange_id else -1


def _nearby(ids: Sequence[str], first: int, wanted: Sequence[str]) -> list[int]:
    """Where the wanted ids stand among a few that are numbered from ``first`` on; -1 where they do not."""
    times, rest = divmod(len(wanted), max(len(ids), 1))
    # Most tables hold every exchange once, or twice in a row: then nothing has to be looked up.
    if times in {1, 2} and not rest and all(list(wanted[each::times]) == ids for each in range(times)):
        return [at for at in range(first, first + len(ids)) for _ in range(times)]
    near = dict(zip(ids, range(first, first + len(ids)), strict=True))
    return [near.get(exchange_id, -1) for exchange_id in wanted]


def chunks(connection: sa.Connection, statement: sa.Select[Any]) -> Iterator[tuple[tuple[Any, ...], ...]]:
    """The rows of a statement as columns, some at a time; the driver's own values."""
    for part in raw.batches(connection, statement, _CHUNK):
        yield tuple(zip(*part, strict=True))


def strings(values: Sequence[Any]) -> Strings:
    """Text as a column of objects."""
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
