"""The part of the store that keeps requests which were handed to a vendor together."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from harness.domain.batch import BatchItem, BatchState, VendorBatch
from harness.store import paging, rows
from harness.store.connection import Database
from harness.store.tables import batch_items as i
from harness.store.tables import batches as b

_CHUNK = 500


class BatchStore:
    """Batches of every run; what a run had asked is removed with it."""

    _database: Database

    def batches(self, run_id: str | None = None) -> list[VendorBatch]:
        """The run's batches, or all runs', oldest first."""
        return self._database.reading(_load, run_id)

    def update_batch(self, batch: VendorBatch) -> None:
        """Keep what is new about a batch."""
        self._database.writing(_update, batch)

    def batch_ledger(self, run_id: str) -> "RunLedger":
        """The batches of one run, for those who submit them."""
        return RunLedger(self._database, run_id)


class RunLedger(BatchStore):
    """Batches of one run, so that a killed process finds what it had asked."""

    def __init__(self, database: Database, run_id: str) -> None:
        self._database = database
        self.run_id = run_id

    def intend(self, batch: VendorBatch, items: Sequence[BatchItem]) -> None:
        """Record a batch and its items before it is submitted, in one transaction."""
        self._database.writing(_intend, replace(batch, run_id=self.run_id), items)

    def update(self, batch: VendorBatch) -> None:
        """Keep what is new about a batch."""
        self.update_batch(batch)

    def batches(self, run_id: str | None = None) -> list[VendorBatch]:
        """The run's batches, oldest first."""
        return super().batches(run_id or self.run_id)

    def untaken(self) -> list[BatchItem]:
        """Items whose answer may still be wanted, of batches that were not abandoned, oldest first."""
        statement = (
            sa.select(i.c.batch_id, i.c.custom_id, i.c.item_key)
            .join(b, sa.and_(b.c.run_id == i.c.run_id, b.c.batch_id == i.c.batch_id))
            .where(i.c.run_id == self.run_id, i.c.taken.is_(False), b.c.state != BatchState.ABANDONED.value)
            .order_by(b.c.created_at, i.c.batch_id, i.c.custom_id)
        )
        found = self._database.reading(paging.fetch, statement)
        return [BatchItem(batch_id=row.batch_id, custom_id=row.custom_id, key=row.item_key) for row in found]

    def take(self, items: Iterable[BatchItem]) -> None:
        """Have these items answer nobody again."""
        self._database.writing(_take, self.run_id, list(items))


def _intend(connection: sa.Connection, batch: VendorBatch, items: Sequence[BatchItem]) -> None:
    rows.insert_new(connection, b, [_row(batch)])
    new = [
        {
            "run_id": batch.run_id,
            "batch_id": item.batch_id,
            "custom_id": item.custom_id,
            "item_key": item.key,
            "taken": False,
        }
        for item in items
    ]
    rows.insert_new(connection, i, new)


def _update(connection: sa.Connection, batch: VendorBatch) -> None:
    values = {key: value for key, value in _row(batch).items() if key not in {"run_id", "batch_id"}}
    connection.execute(sa.update(b).where(b.c.run_id == batch.run_id, b.c.batch_id == batch.id).values(**values))


def _take(connection: sa.Connection, run_id: str, items: Sequence[BatchItem]) -> None:
    for start in range(0, len(items), _CHUNK):
        keys = [(item.batch_id, item.custom_id) for item in items[start : start + _CHUNK]]
        mine = (i.c.run_id == run_id, sa.tuple_(i.c.batch_id, i.c.custom_id).in_(keys))
        connection.execute(sa.update(i).where(*mine).values(taken=True))


def _load(connection: sa.Connection, run_id: str | None) -> list[VendorBatch]:
    statement = sa.select(b).order_by(b.c.created_at, b.c.batch_id)
    if run_id is not None:
        statement = statement.where(b.c.run_id == run_id)
    return [
        VendorBatch(
            id=row.batch_id,
            run_id=row.run_id,
            vendor=row.vendor,
            vendor_id=row.vendor_id,
            model=row.model,
            base_url=row.base_url,
            api_base=row.api_base,
            api_key_env=row.api_key_env,
            state=BatchState(row.state),
            requests=row.n_requests,
            done=row.n_done,
            failed=row.n_failed,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
        for row in connection.execute(statement)
    ]


def _row(batch: VendorBatch) -> dict[str, Any]:
    return {
        "run_id": batch.run_id,
        "batch_id": batch.id,
        "vendor": batch.vendor,
        "vendor_id": batch.vendor_id,
        "model": batch.model,
        "base_url": batch.base_url,
        "api_base": batch.api_base,
        "api_key_env": batch.api_key_env,
        "state": batch.state.value,
        "n_requests": batch.requests,
        "n_done": batch.done,
        "n_failed": batch.failed,
        "created_at": batch.created_at,
        "updated_at": batch.updated_at or datetime.now(UTC),
    }
