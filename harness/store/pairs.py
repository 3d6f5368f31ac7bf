"""Pairs: an exchange with one arm's observation of it."""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from harness.domain.pair import Pair
from harness.store import exchanges, observations, paging
from harness.store.connection import Database


def read(
    database: Database,
    run_id: str,
    arm: str,
    fingerprint: str,
    *,
    statement: sa.Select[Any],
    ids: Sequence[str] | None = None,
) -> Iterator[Pair]:
    """The pairs a :func:`paging.keys` statement selects, in ascending position."""
    for group in paging.groups(database, statement, ids):
        with database.read() as connection:
            left = exchanges.load(connection, run_id, group)
            right = observations.load(connection, run_id, arm, fingerprint, group)
        for exchange_id in group:
            if exchange_id in left and exchange_id in right:
                yield Pair(exchange=left[exchange_id], candidate=right[exchange_id])
