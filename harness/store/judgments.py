"""Judgments: one per pair, judge configuration and order."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from harness.domain.judgment import Judgment, JudgmentState, Order, UnscoredReason
from harness.domain.observation import PRODUCTION, Status
from harness.store import observations, paging, rows, tables
from harness.store.tables import exchanges as e
from harness.store.tables import judgments as j
from harness.store.tables import observations as o


def prepare(run_id: str, items: Sequence[Judgment], now: datetime) -> observations.Prepared:
    """Rows and bodies; text is packed here, outside the transaction."""
    narrow, texts = [], []
    for judgment in items:
        row = rows.judgment_row(run_id, judgment, now)
        narrow.append(row)
        key = {column.name: row[column.name] for column in tables.judgment_bodies.primary_key.columns}
        texts.append(key | {"body": rows.judgment_body(judgment)})
    return observations.Prepared(narrow=narrow, texts=texts)


def put(connection: sa.Connection, prepared: observations.Prepared) -> None:
    """Insert the judgments, or replace those of the same pair, judge and order."""
    rows.upsert(connection, j, prepared.narrow)
    rows.upsert(connection, tables.judgment_bodies, prepared.texts)


def pending(
    run_id: str, arm: str, fingerprint: str, *, judge_fingerprint: str, orders: Sequence[Order], retry_errors: bool
) -> sa.Select[Any]:
    """The comparable pairs that lack a finished judgment in any of the orders, each looked up by itself, for pages.

    A judgment in no order finishes the pair as a whole: the judge had nothing to read in either order.
    """
    orders_done = sa.func.coalesce(sa.func.sum(_orders_done(orders)), 0)
    finished = _finished(run_id, arm, fingerprint, judge_fingerprint, orders, retry_errors=retry_errors)
    done = sa.select(orders_done).where(finished, j.c.exchange_id == e.c.exchange_id).scalar_subquery()
    return _comparable(run_id, arm, fingerprint).where(done < len(orders))


def all_pending(
    run_id: str, arm: str, fingerprint: str, *, judge_fingerprint: str, orders: Sequence[Order], retry_errors: bool
) -> sa.Select[Any]:
    """What :func:`pending` selects, found all at once, for counting: a quarter of the time where there are millions."""
    finished = _finished(run_id, arm, fingerprint, judge_fingerprint, orders, retry_errors=retry_errors)
    pairs = sa.select(j.c.exchange_id).where(finished).group_by(j.c.exchange_id)
    done = pairs.having(sa.func.sum(_orders_done(orders)) >= len(orders)).subquery("done")
    statement = _comparable(run_id, arm, fingerprint).outerjoin(done, done.c.exchange_id == e.c.exchange_id)
    return statement.where(done.c.exchange_id.is_(None))


def _comparable(run_id: str, arm: str, fingerprint: str) -> sa.Select[Any]:
    p = o.alias("production")
    return (
        observations.observed(run_id, arm, fingerprint)
        .join(p, observations.of_exchange(p, PRODUCTION, ""))
        .where(o.c.status == Status.COMPLETED.value, p.c.status == Status.COMPLETED.value)
        # Texts may have been deleted, and then there is nothing to read.
        .where(e.c.body_bytes > 0, o.c.body_bytes > 0, p.c.body_bytes > 0)
    )


def _finished(
    run_id: str, arm: str, fingerprint: str, judge_fingerprint: str, orders: Sequence[Order], *, retry_errors: bool
) -> sa.ColumnElement[bool]:
    unfinished = sa.and_(j.c.state == JudgmentState.UNSCORED.value, j.c.reason == UnscoredReason.BUDGET.value)
    if retry_errors:
        unfinished = sa.or_(j.c.state == JudgmentState.ERROR.value, unfinished)
    return sa.and_(
        *_of(run_id, arm, fingerprint),
        j.c.judge_fingerprint == judge_fingerprint,
        j.c.answer_order.in_(sorted({order.value for order in orders} | {Order.NONE.value})),
        sa.not_(unfinished),
    )


def _orders_done(orders: Sequence[Order]) -> sa.ColumnElement[int]:
    return sa.case((j.c.answer_order == Order.NONE.value, len(orders)), else_=1)


def load(
    connection: sa.Connection,
    run_id: str,
    arm: str,
    fingerprint: str,
    *,
    ids: Sequence[str],
    judge_fingerprints: Sequence[str] | None,
) -> list[Judgment]:
    """The judgments of these exchanges; those whose texts were deleted are left out."""
    b = tables.judgment_bodies
    keys = [column.name for column in j.primary_key.columns]

    def of(table: sa.Table, chunk: Sequence[str]) -> list[sa.ColumnElement[bool]]:
        c = table.c
        conditions = [c.run_id == run_id, c.arm == arm, c.observation_fingerprint == fingerprint]
        if judge_fingerprints is not None:
            conditions.append(c.judge_fingerprint.in_(judge_fingerprints))
        return [*conditions, c.exchange_id.in_(chunk)]

    found: list[Judgment] = []
    for chunk in paging.chunks(dict.fromkeys(ids)):
        bodies = connection.execute(sa.select(b).where(*of(b, chunk)))
        texts = {tuple(getattr(row, key) for key in keys): row.body for row in bodies}
        found += [
            rows.judgment_of(row, texts[tuple(getattr(row, key) for key in keys)])
            for row in connection.execute(sa.select(j).where(*of(j, chunk)))
            if tuple(getattr(row, key) for key in keys) in texts
        ]
    return sorted(found, key=lambda item: (item.exchange_id, item.judge, item.judge_fingerprint, item.order))


def count(connection: sa.Connection, run_id: str, arm: str, fingerprint: str, judge_fingerprint: str) -> int:
    """Judgments of the arm by this judge, whatever became of them."""
    mine = [*_of(run_id, arm, fingerprint), j.c.judge_fingerprint == judge_fingerprint]
    return connection.scalar(sa.select(sa.func.count()).select_from(j).where(*mine)) or 0


def spending(connection: sa.Connection, run_id: str) -> tuple[float, int]:
    """Dollars spent on judging, and judgments that called a model at a cost that is unknown."""
    unpriced = sa.and_(j.c.cost_usd.is_(None), j.c.attempts > 0, j.c.tokens_out.is_not(None))
    statement = sa.select(
        sa.func.sum(sa.func.coalesce(j.c.cost_usd, 0.0) + j.c.superseded_usd),
        sa.func.count(sa.case((unpriced, 1))),
    ).where(j.c.run_id == run_id)
    total, unknown = connection.execute(statement).one()
    return float(total or 0.0), unknown


def spending_since(connection: sa.Connection, run_id: str, since: datetime) -> float:
    """Dollars that judgments recorded since then have cost."""
    cost = sa.func.sum(sa.func.coalesce(j.c.cost_usd, 0.0) + j.c.superseded_usd)
    total = connection.scalar(sa.select(cost).where(j.c.run_id == run_id, j.c.recorded_at >= since))
    return float(total or 0.0)


def spending_of_all(connection: sa.Connection, run_id: str) -> tuple[tuple[float, int], tuple[float, int]]:
    """Dollars spent, and calls at an unknown price: on candidates, and on judges."""
    return observations.spending(connection, run_id), spending(connection, run_id)


def spending_of_all_since(connection: sa.Connection, run_id: str, since: datetime) -> tuple[dict[str, float], float]:
    """Dollars spent since then: by arm, and on judges."""
    return observations.spending_since(connection, run_id, since), spending_since(connection, run_id, since)


def _of(run_id: str, arm: str, fingerprint: str) -> list[sa.ColumnElement[bool]]:
    return [j.c.run_id == run_id, j.c.arm == arm, j.c.observation_fingerprint == fingerprint]
