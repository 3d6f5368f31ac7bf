"""What somebody who watches a store asks it: whether anything changed, and what is newest.

Narrow columns alone; no text is read here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from harness.domain.judgment import JudgmentState, UnscoredReason
from harness.domain.look import LookPoint
from harness.domain.observation import PRODUCTION
from harness.store import observations as stored
from harness.store import paging, rollouts, rows, runs, tables
from harness.store.connection import Database
from harness.store.rollouts import RolloutRecord
from harness.store.runs import DecisionRecord
from harness.store.tables import exchanges as e
from harness.store.tables import judgments as j
from harness.store.tables import looks as t
from harness.store.tables import observations as o

_SNAPSHOT = sa.cast(sa.func.pg_current_snapshot(), sa.Text)
_NUMBERS = ("value", "low", "high", "strict_low", "strict_high")


@dataclass(frozen=True, kw_only=True, slots=True)
class PairRow:
    """One exchange with what production and one candidate made of it, without a word of either."""

    exchange_id: str
    recorded_at: datetime
    """When the candidate's ending was stored."""
    status: str
    """The candidate's."""
    reason: str | None
    """Why it was dropped or skipped, or the kind of its error."""
    latency_ms: float | None
    cost_usd: float | None
    production_status: str | None
    """``None`` where production's is not stored."""
    production_latency_ms: float | None
    verdicts: tuple["PairVerdict", ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PairVerdict:
    """What one judge said of the pair in one order."""

    judge: str
    order: str
    state: str
    label: str | None
    value: float | None
    reason: str | None
    """Why there is no value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairsJudged:
    """How far one judge has got with one arm's pairs."""

    scored: int
    """Pairs with a value in at least one order."""
    unscored: Mapping[str, int]
    """Pairs that were read and have no value, by reason."""


class ChangeWatch:
    """Tells, with one small query, whether anything may have been written since it was last asked.

    SQLite counts the commits of other connections; PostgreSQL's snapshot names the transactions that are over. Either
    may differ although nothing of ours was written, and never stays the same when something was.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._own: sa.Connection | None = None

    def token(self) -> str:
        """Equal to the last one when nothing was written since.

        Raises:
            InfrastructureError: the database is gone.
        """
        if not self._database.is_sqlite:
            [[snapshot]] = self._database.reading(paging.fetch, sa.select(_SNAPSHOT))
            return str(snapshot)
        try:
            if self._own is None:
                # The count is that of one connection, which therefore stays open, outside of any transaction.
                self._own = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            cursor = self._own.connection.cursor()
            try:
                cursor.execute("PRAGMA data_version")
                return str(cursor.fetchone())
            finally:
                cursor.close()
        except sa.exc.SQLAlchemyError as error:
            self.close()
            raise self._database.failure(error) from error

    def close(self) -> None:
        """Give the connection back."""
        if self._own is not None:
            self._own.close()
            self._own = None


class WatchedStore:
    """The part of the store that is read by those who watch."""

    _database: Database

    def change_watch(self) -> ChangeWatch:
        """A watch of one's own; to be closed, and not to be shared by threads at once."""
        return ChangeWatch(self._database)

    def put_looks(self, run_id: str, items: Sequence[LookPoint]) -> None:
        """Insert what a look said, or replace what one at the same moment did."""
        self._database.writing(rows.upsert, t, [_row(run_id, item) for item in items])

    def looks(self, run_id: str) -> list[LookPoint]:
        """What every look that was kept said, by candidate and metric, oldest first."""
        statement = sa.select(t).where(t.c.run_id == run_id).order_by(t.c.arm, t.c.metric, t.c.looked_at)
        return [_point(row) for row in self._database.reading(paging.fetch, statement)]

    def last_decision(self, run_id: str) -> DecisionRecord | None:
        """The decision taken last; ``None`` when none was."""
        return self._database.reading(runs.load_last_decision, run_id)

    def sampled(self) -> dict[str, int]:
        """By run: the exchanges that its ingest report counts; runs without one are left out."""
        r = tables.ingest_reports
        found = self._database.reading(paging.fetch, sa.select(r.c.run_id, r.c.n_sampled))
        return {row.run_id: row.n_sampled for row in found}

    def latest_rollouts(self) -> list[RolloutRecord]:
        """Of every live experiment the rollout under way, else the one that ended last; by name."""
        return self._database.reading(_latest_rollouts)

    def pairs_judged(self, run_id: str, arm: str, fingerprint: str, *, judge_fingerprint: str) -> PairsJudged:
        """How many pairs a judge has scored, and why others have no value; counted by the database."""
        is_scored = sa.func.max(sa.case((j.c.state == JudgmentState.SCORED.value, 1), else_=0))
        pairs = (
            sa.select(is_scored.label("scored"), sa.func.min(sa.func.coalesce(j.c.reason, j.c.state)).label("why"))
            .join(e, sa.and_(e.c.run_id == j.c.run_id, e.c.exchange_id == j.c.exchange_id))
            .where(
                j.c.run_id == run_id, j.c.arm == arm, j.c.observation_fingerprint == fingerprint,
                j.c.judge_fingerprint == judge_fingerprint,
                j.c.reason.is_distinct_from(UnscoredReason.NOT_DRAWN.value),
            )
            .group_by(j.c.exchange_id)
            .subquery()
        )  # fmt: skip
        columns = (pairs.c.scored, pairs.c.why)
        statement = sa.select(*columns, sa.func.count().label("n")).group_by(*columns)
        scored, unscored = 0, dict[str, int]()
        for row in self._database.reading(paging.fetch, statement):
            if row.scored:
                scored += row.n
            else:
                unscored[row.why] = row.n
        return PairsJudged(scored=scored, unscored=unscored)

    def newest_pairs(
        self, run_id: str, arm: str, fingerprint: str, *, limit: int, judges: Sequence[str] | None = None
    ) -> list[PairRow]:
        """The exchanges that this arm's endings were stored of last, newest first, with what judges said of them.

        ``judges`` are the fingerprints of those that are asked now; what others said under an earlier configuration is
        left out.
        """
        p = o.alias("production")
        statement = (
            sa.select(
                o.c.exchange_id, o.c.recorded_at, o.c.status, o.c.reason, o.c.error_kind, o.c.latency_ms, o.c.cost_usd,
                p.c.status.label("production_status"), p.c.latency_ms.label("production_latency_ms"),
            )
            .select_from(e)
            .join(o, stored.of_exchange(o, arm, fingerprint))
            .outerjoin(p, stored.of_exchange(p, PRODUCTION, ""))
            .where(e.c.run_id == run_id)
            .order_by(o.c.recorded_at.desc(), o.c.exchange_id)
            .limit(limit)
        )  # fmt: skip
        return self._database.reading(_newest_pairs, statement, (run_id, arm, fingerprint), judges)


def _latest_rollouts(connection: sa.Connection) -> list[RolloutRecord]:
    names = connection.scalars(sa.select(tables.rollouts.c.live).distinct().order_by(tables.rollouts.c.live))
    found = [rollouts.latest(connection, name) for name in names.all()]
    return [record for record in found if record is not None]


def _newest_pairs(
    connection: sa.Connection, statement: sa.Select[Any], key: tuple[str, str, str], judges: Sequence[str] | None
) -> list[PairRow]:
    found = connection.execute(statement).all()
    said = _verdicts(connection, *key, [row.exchange_id for row in found], judges)
    return [_pair(row, said.get(row.exchange_id, ())) for row in found]


def _row(run_id: str, item: LookPoint) -> dict[str, Any]:
    numbers = {name: _known(getattr(item, name)) for name in _NUMBERS}
    return {
        "run_id": run_id, "arm": item.arm, "metric": item.metric, "looked_at": item.at, **numbers, "n": item.n,
        "outcome": item.outcome, "verdict": item.verdict,
    }  # fmt: skip


def _known(number: float | None) -> float | None:
    return None if number is None or not math.isfinite(number) else float(number)


def _point(row: Any) -> LookPoint:
    numbers = {name: getattr(row, name) for name in _NUMBERS}
    return LookPoint(
        arm=row.arm, metric=row.metric, at=row.looked_at, n=row.n, outcome=row.outcome, verdict=row.verdict, **numbers
    )


def _pair(row: Any, verdicts: tuple[PairVerdict, ...]) -> PairRow:
    return PairRow(
        exchange_id=row.exchange_id,
        recorded_at=row.recorded_at,
        status=row.status,
        reason=row.error_kind or row.reason,
        latency_ms=row.latency_ms,
        cost_usd=row.cost_usd,
        production_status=row.production_status,
        production_latency_ms=row.production_latency_ms,
        verdicts=verdicts,
    )


def _verdicts(
    connection: sa.Connection, run_id: str, arm: str, fingerprint: str, ids: Sequence[str], judges: Sequence[str] | None
) -> Mapping[str, tuple[PairVerdict, ...]]:
    found: dict[str, list[PairVerdict]] = {}
    columns = (j.c.exchange_id, j.c.judge, j.c.answer_order, j.c.state, j.c.label, j.c.value, j.c.reason)
    for chunk in paging.chunks(dict.fromkeys(ids)):
        statement = (
            sa.select(*columns)
            .where(j.c.run_id == run_id, j.c.arm == arm, j.c.observation_fingerprint == fingerprint)
            .where(j.c.exchange_id.in_(chunk))
            .order_by(j.c.exchange_id, j.c.judge, j.c.judge_fingerprint, j.c.answer_order)
        )
        if judges is not None:
            statement = statement.where(j.c.judge_fingerprint.in_(judges))
        for row in connection.execute(statement):
            found.setdefault(row.exchange_id, []).append(
                PairVerdict(
                    judge=row.judge,
                    order=row.answer_order,
                    state=row.state,
                    label=row.label,
                    value=row.value,
                    reason=row.reason,
                )
            )
    return {exchange_id: tuple(items) for exchange_id, items in found.items()}
