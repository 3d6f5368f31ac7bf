"""Judgments: one per pair, judge configuration and order."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from harness.domain.judgment import Judgment, JudgmentState, Label, Order, UnscoredReason
from harness.domain.observation import PRODUCTION, Status
from harness.store import observations, paging, rows, tables
from harness.store.counts import JudgmentCounts
from harness.store.tables import exchanges as e
from harness.store.tables import judgments as j
from harness.store.tables import observations as o

_ORDERED = (Order.PRODUCTION_FIRST, Order.CANDIDATE_FIRST)
_BY_NAME = sorted(Order)
_SCORED = JudgmentState.SCORED.value


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
    """The comparable pairs that lack a finished judgment in any of the orders.

    A judgment in no order finishes the pair as a whole: the judge had nothing to read in either order.
    """
    p = o.alias("production")
    unfinished = sa.and_(j.c.state == JudgmentState.UNSCORED.value, j.c.reason == UnscoredReason.BUDGET.value)
    if retry_errors:
        unfinished = sa.or_(j.c.state == JudgmentState.ERROR.value, unfinished)
    of_pair = sa.and_(
        j.c.run_id == run_id,
        j.c.arm == arm,
        j.c.observation_fingerprint == fingerprint,
        j.c.judge_fingerprint == judge_fingerprint,
        j.c.exchange_id == e.c.exchange_id,
        sa.not_(unfinished),
    )
    whole = sa.case((j.c.answer_order == Order.NONE.value, len(orders)), else_=1)
    wanted = j.c.answer_order.in_(sorted({order.value for order in orders} | {Order.NONE.value}))
    done = sa.select(sa.func.coalesce(sa.func.sum(whole), 0)).where(of_pair, wanted).scalar_subquery()
    return (
        observations.observed(run_id, arm, fingerprint)
        .join(p, observations.of_exchange(p, PRODUCTION, ""))
        .where(o.c.status == Status.COMPLETED.value, p.c.status == Status.COMPLETED.value, done < len(orders))
    )


def load(
    connection: sa.Connection,
    run_id: str,
    arm: str,
    fingerprint: str,
    *,
    ids: Sequence[str],
    judge_fingerprints: Sequence[str] | None,
) -> list[Judgment]:
    """The judgments of these exchanges."""
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
        ]
    return sorted(found, key=lambda item: (item.exchange_id, item.judge, item.judge_fingerprint, item.order))


def count(connection: sa.Connection, run_id: str, arm: str, fingerprint: str, judge_fingerprint: str) -> JudgmentCounts:
    """What the judge made of the arm's pairs, from narrow columns alone; counted where the rows are."""
    mine = [*_of(run_id, arm, fingerprint), j.c.judge_fingerprint == judge_fingerprint]
    endings = _endings(connection, run_id, mine)
    if not endings:
        return JudgmentCounts()
    unscored: Counter[str] = Counter()
    states: Counter[str] = Counter()
    pairs = scored = missing = 0
    for judged, row in endings:
        found = sum(each.state == _SCORED for each in judged.values())
        pairs += row.n
        scored += row.n * (found > 0)
        missing += row.n * (0 < found < len(judged))
        for each in judged.values():
            states[each.state] += row.n
        if not found:
            # Both orders of a pair nearly always fail for the same reason; the pair is counted once all the same.
            first = next(iter(judged.values()))
            unscored[first.reason or first.state] += row.n
    priced = sum(row.priced for _, row in endings)
    return JudgmentCounts(
        pairs=pairs,
        judgments=sum(states.values()),
        scored=scored,
        missing_order=missing,
        states=dict(states),
        unscored=dict(unscored.most_common()),
        tokens_in=sum(int(row.tokens_in) for _, row in endings),
        tokens_out=sum(int(row.tokens_out) for _, row in endings),
        cost_usd=sum(float(row.cost_usd) for _, row in endings) if priced else None,
        unpriced=sum(int(row.unpriced) for _, row in endings),
        model=max((row.model for _, row in endings if row.model), default=None),
        prompt_sha256=max((row.prompt_sha256 for _, row in endings if row.prompt_sha256), default=None),
        **_preferences([(judged, row.n) for judged, row in endings]),
    )


@dataclass(frozen=True, slots=True)
class _Ending:
    """How one reading of a pair ended."""

    state: str
    reason: str
    label: str


def _endings(
    connection: sa.Connection, run_id: str, mine: Sequence[sa.ColumnElement[bool]]
) -> list[tuple[dict[str, _Ending], Any]]:
    """How pairs ended, by order, with the number of pairs that ended so and what they cost.

    Few rows, however many pairs: the rows of one pair lie together, so that the database needs to sort nothing.
    """
    ending = j.c.state + "|" + sa.func.coalesce(j.c.reason, "") + "|" + sa.func.coalesce(j.c.label, "")
    unpriced = sa.and_(j.c.cost_usd.is_(None), j.c.attempts > 0, j.c.tokens_out.is_not(None))
    by_order = [
        sa.func.max(sa.case((j.c.answer_order == order.value, ending))).label(order.value) for order in _BY_NAME
    ]
    sums = [
        sa.func.sum(sa.func.coalesce(j.c.tokens_in, 0)).label("tokens_in"),
        sa.func.sum(sa.func.coalesce(j.c.tokens_out, 0)).label("tokens_out"),
        sa.func.sum(sa.func.coalesce(j.c.cost_usd, 0.0) + j.c.superseded_usd).label("cost_usd"),
        sa.func.count(j.c.cost_usd).label("priced"),
        sa.func.count(sa.case((unpriced, 1))).label("unpriced"),
    ]
    names = [sa.func.max(column).label(column.name) for column in (j.c.model, j.c.prompt_sha256)]
    pair = (
        sa.select(j.c.exchange_id, *by_order, *sums, *names)
        .where(*mine, j.c.reason.is_distinct_from(UnscoredReason.NOT_DRAWN.value))
        .group_by(j.c.exchange_id)
        .subquery()
    )
    ended = [pair.c[order.value] for order in _BY_NAME]
    statement = (
        sa.select(
            *ended,
            sa.func.count().label("n"),
            *(sa.func.sum(pair.c[column.name]).label(column.name) for column in sums),
            *(sa.func.max(pair.c[column.name]).label(column.name) for column in names),
        )
        .where(sa.exists().where(e.c.run_id == run_id, e.c.exchange_id == pair.c.exchange_id))
        .group_by(*ended)
    )
    return [
        ({order.value: _Ending(*text.split("|")) for order, text in zip(_BY_NAME, row, strict=False) if text}, row)
        for row in connection.execute(statement)
    ]


def _preferences(endings: Sequence[tuple[dict[str, _Ending], int]]) -> dict[str, Any]:
    sign = {Label.WIN.value: 1, Label.TIE.value: 0, Label.LOSS.value: -1}
    signs = [
        ({order: sign[each.label] for order, each in judged.items() if each.label and each.state == _SCORED}, n)
        for judged, n in endings
    ]
    signs = [(by, n) for by, n in signs if by]
    if not signs:
        return {}
    sums = [(sum(by.values()), n) for by, n in signs]
    result: dict[str, Any] = {
        "wins": sum(n for total, n in sums if total > 0),
        "ties": sum(n for total, n in sums if total == 0),
        "losses": sum(n for total, n in sums if total < 0),
    }
    first, second = (order.value for order in _ORDERED)
    both = [(by[first], by[second], n) for by, n in signs if first in by and second in by]
    if both:
        n_both = sum(n for _, _, n in both)
        # Candidate-side signs: shown first, production is preferred at -1 and the candidate at +1.
        slots = sum(
            n * ((1 - production_first) / 2 + (1 + candidate_first) / 2)
            for production_first, candidate_first, n in both
        )
        result |= {
            "both_orders": n_both,
            "flips": sum(n for left, right, n in both if left * right == -1),
            "first_slot_share": slots / (2 * n_both),
        }
    return result


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


def _of(run_id: str, arm: str, fingerprint: str) -> list[sa.ColumnElement[bool]]:
    return [j.c.run_id == run_id, j.c.arm == arm, j.c.observation_fingerprint == fingerprint]
