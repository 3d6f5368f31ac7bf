"""The part of the store that its upkeep is asked of: what was deleted, and deleting."""

from collections.abc import Sequence
from datetime import UTC, datetime

from harness.domain.reduction import Reduced, Reduction, Why
from harness.store import retention
from harness.store.connection import Database
from harness.store.retention import Selection, Wanted


class MaintainedStore:
    """Reductions of runs; every call is one short transaction."""

    _database: Database

    @property
    def database(self) -> Database:
        """What is underneath, for reports on the store as a whole."""
        return self._database

    def reductions(self, run_id: str) -> list[Reduction]:
        """The exchanges that were reduced so far, by kind and reason; strays count in spending alone."""
        return [item for item in self._database.reading(retention.load, run_id) if item.n_exchanges]

    def spent_on_deleted(self, run_id: str) -> tuple[float, float]:
        """What deleted calls and deleted judgments had cost, US dollars."""
        return self._database.reading(retention.spending, run_id)

    def count_selected(self, selection: Selection) -> tuple[int, int]:
        """How many exchanges :meth:`reduce_next` would take in all, and the stored bytes of their requests."""
        return self._database.reading(retention.count, selection)

    def reduce_next(
        self, selection: Selection, *, after: str = "", sparing: Sequence[Wanted] = ()
    ) -> tuple[int, str | None]:
        """Delete the next batch behind ``after``: how many exchanges, and where to go on; ``None`` at the end.

        Exchanges with something left to do as ``sparing`` says are left as they are.
        """
        ids = self._database.reading(retention.page, selection, after)
        if not ids:
            return 0, None
        n = self._database.writing(retention.reduce, selection, ids, datetime.now(UTC), sparing=sparing)
        return n, ids[-1] if len(ids) == retention.BATCH else None

    def count_strays(self, run_id: str) -> int:
        """How many exchanges are gone from the run while answers to them, or attributes, are still there."""
        return self._database.reading(retention.count_strays, run_id)

    def drop_strays(self, run_id: str) -> int:
        """Delete a batch of what is left of exchanges that are gone from the run; 0 when there are none left.

        Returns how many exchanges it was of.
        """
        selection = Selection(run_id=run_id, what=Reduced.EXCHANGES, reason=Why.AGE, older_than=datetime.now(UTC))
        return self._database.writing(retention.drop_strays, selection, datetime.now(UTC))

    def runless(self) -> dict[str, int]:
        """How many rows there are under ids of runs the store does not know."""
        return self._database.reading(retention.runless)

    def drop_runless(self, run_id: str) -> None:
        """Delete every row under such an id."""
        self._database.writing(retention.drop_runless, run_id)
        self._database.forget(run_id)
