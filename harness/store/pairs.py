"""Pairs: an exchange with one arm's observation of it."""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from harness.domain.exchange import Exchange
from harness.domain.observation import Observation
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
        left, right = database.reading(_load, run_id, arm, fingerprint, group)
        for exchange_id in group:
            if exchange_id in left and exchange_id in right:
                yield Pair(exchange=left[exchange_id], candidate=right[exchange_id])


def _load(
    connection: sa.Connection, run_id: str, arm: str, fingerprint: str, ids: Sequence[str]
) -> tuple[dict[str, Exchange], dict[str, Observation]]:
    return exchanges.load(connection, run_id, ids), observations.load(connection, run_id, arm, fingerprint, ids)
