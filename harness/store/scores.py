"""What one judge made of one arm's pairs: its scores as a column, and how its judgments are counted, in one pass."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from harness.domain.judgment import JudgmentState, Label, Order, UnscoredReason
from harness.stats.evidence import Floats, ScoreColumn, nowhere
from harness.store.columns import Rows, chunks
from harness.store.counts import JudgmentCounts
from harness.store.tables import exchanges as e
from harness.store.tables import judgments as j

_ORDERS = tuple(sorted(Order))
_PLACE = {order: place for place, order in enumerate(_ORDERS)}
_SIGN = {Label.WIN.value: 1, Label.TIE.value: 0, Label.LOSS.value: -1}


class _Ending(NamedTuple):
    """How one reading of a pair ended; empty for no reason, and for no label."""

    state: str
    reason: str
    label: str

    @property
    def is_scored(self) -> bool:
        return self.state == JudgmentState.SCORED


_Endings = Sequence[tuple[Mapping[Order, _Ending], int]]
"""How pairs ended, by order, with the number of pairs that ended so."""

_STATES = tuple(state.value for state in JudgmentState)
_LABELS = ("", *(label.value for label in Label))
_REASONS = ("", *(reason.value for reason in UnscoredReason))
_ENDINGS = [_Ending(state, reason, label) for reason in _REASONS for label in _LABELS for state in _STATES]
"""Every ending there can be; its place here is its number in :func:`_number`."""


def _number() -> sa.ColumnElement[int]:
    """Order and ending of a judgment as one number: what is fetched is most of what a million pairs cost here.

    The frequent ones are small numbers, which Python need not make anew for every row.
    """

    def place(column: sa.ColumnElement[Any], words: Sequence[str]) -> sa.ColumnElement[int]:
        by_word = {word: number for number, word in enumerate(words) if word}
        return sa.case(by_word, value=column, else_=0)

    state = place(j.c.state, _STATES)
    label = sa.case((j.c.label.is_(None), 0), else_=place(j.c.label, _LABELS))
    reason = sa.case((j.c.reason.is_(None), 0), else_=place(j.c.reason, _REASONS))
    ending = state + len(_STATES) * (label + len(_LABELS) * reason)
    return place(j.c.answer_order, [order.value for order in _ORDERS]) + len(_ORDERS) * ending


def load(
    connection: sa.Connection,
    run_id: str,
    arm: str,
    fingerprint: str,
    judge_fingerprint: str,
    *,
    metric: str,
    rows: Rows,
) -> tuple[ScoreColumn, JudgmentCounts]:
    """The scores, row by row, and the counts of one judge."""
    made = [
        j.c.run_id == run_id,
        j.c.arm == arm,
        j.c.observation_fingerprint == fingerprint,
        j.c.judge_fingerprint == judge_fingerprint,
        j.c.reason.is_distinct_from(UnscoredReason.NOT_DRAWN.value),
    ]
    statement = sa.select(j.c.exchange_id, _number(), j.c.value).where(*made).order_by(j.c.exchange_id)
    values = np.full((len(_ORDERS), len(rows)), np.nan)
    codes = np.full((len(_ORDERS), len(rows)), -1, dtype=np.int16)
    is_sampled = True
    for ids, number, value in chunks(connection, statement):
        at = rows.places(ids)
        here = at >= 0
        ending, order = np.divmod(np.array(number, dtype=np.int32), len(_ORDERS))
        where = order[here], at[here]
        codes[where] = ending[here]
        values[where] = np.array(value, dtype=float)[here]
        is_sampled = is_sampled and bool(here.all())
    # A judgment in error may hold a value from before.
    values[~_of_each(codes, [ending.is_scored for ending in _ENDINGS])] = np.nan
    if not is_sampled:
        made.append(j.c.exchange_id.in_(sa.select(e.c.exchange_id).where(e.c.run_id == run_id)))
    return _column(metric, values, codes), _counts(_tally(codes), _Spent.load(connection, made))


def _of_each(codes: Any, flags: Sequence[bool]) -> Any:
    """Of every reading what holds of its ending; of a missing one nothing."""
    return np.array([*flags, False])[codes]


def _column(metric: str, values: Any, codes: Any) -> ScoreColumn:
    n_scored = np.isfinite(values).sum(axis=0)
    asked = (codes >= 0).sum(axis=0)
    tied = None
    if _of_each(codes, [ending.is_scored and ending.label != "" for ending in _ENDINGS]).any():
        is_tie = [ending.is_scored and ending.label == Label.TIE for ending in _ENDINGS]
        ties = _of_each(codes, is_tie).sum(axis=0)
        tied = (ties > 0) & (ties == n_scored)
    return ScoreColumn(
        metric=metric,
        value=np.divide(np.nansum(values, axis=0), n_scored, out=np.full(len(n_scored), np.nan), where=n_scored > 0),
        missing_order=(n_scored > 0) & (n_scored < asked),
        production_first=_in_order(values, Order.PRODUCTION_FIRST),
        candidate_first=_in_order(values, Order.CANDIDATE_FIRST),
        tied=tied,
    )


def _in_order(values: Any, order: Order) -> Floats:
    """The scores read in one order, without holding on to those of the others; none at all take no memory."""
    found = values[_PLACE[order]]
    return found.copy() if np.isfinite(found).any() else nowhere(len(found))


def _tally(codes: Any) -> _Endings:
    base = len(_ENDINGS) + 1
    together = np.zeros(codes.shape[1], dtype=np.int64)
    for row in codes:
        together = together * base + row + 1
    found = []
    for number, n in zip(*np.unique(together, return_counts=True), strict=True):
        rest, by_order = int(number), dict[Order, _Ending]()
        for order in reversed(_ORDERS):
            rest, code = divmod(rest, base)
            if code:
                by_order[order] = _ENDINGS[code - 1]
        if by_order:
            found.append(({order: by_order[order] for order in _ORDERS if order in by_order}, int(n)))
    return found


class _Spent(NamedTuple):
    """What judgments have cost."""

    tokens_in: int
    tokens_out: int
    usd: float
    priced: int
    unpriced: int

    @classmethod
    def load(cls, connection: sa.Connection, made: Sequence[sa.ColumnElement[bool]]) -> "_Spent":
        """Added up by the database, which need not hand over a million costs for one sum."""
        is_unpriced = j.c.cost_usd.is_(None) & (j.c.attempts > 0) & j.c.tokens_out.is_not(None)
        tokens_in, tokens_out, cost, superseded, priced, unpriced = connection.execute(
            sa.select(
                sa.func.sum(j.c.tokens_in),
                sa.func.sum(j.c.tokens_out),
                sa.func.sum(j.c.cost_usd),
                sa.func.sum(j.c.superseded_usd),
                sa.func.count(j.c.cost_usd),
                sa.func.sum(sa.case((is_unpriced, 1), else_=0)),
            ).where(*made)
        ).one()
        return cls(
            tokens_in=int(tokens_in or 0),
            tokens_out=int(tokens_out or 0),
            # Several processes of a server may add in another order the next time.
            usd=round(float(cost or 0.0) + float(superseded or 0.0), 9),
            priced=int(priced),
            unpriced=int(unpriced or 0),
        )


def _counts(endings: _Endings, spent: _Spent) -> JudgmentCounts:
    if not endings:
        return JudgmentCounts()
    unscored: Counter[str] = Counter()
    states: Counter[str] = Counter()
    scored = missing = 0
    for judged, n in endings:
        found = sum(each.is_scored for each in judged.values())
        scored += n * (found > 0)
        missing += n * (0 < found < len(judged))
        for each in judged.values():
            states[each.state] += n
        if not found:
            # Both orders of a pair nearly always fail for the same reason; the pair is counted once all the same.
            first = next(iter(judged.values()))
            unscored[first.reason or first.state] += n
    return JudgmentCounts(
        pairs=sum(n for _, n in endings),
        judgments=sum(states.values()),
        scored=scored,
        missing_order=missing,
        states=dict(states),
        unscored=dict(unscored.most_common()),
        tokens_in=spent.tokens_in,
        tokens_out=spent.tokens_out,
        cost_usd=spent.usd if spent.priced else None,
        unpriced=spent.unpriced,
        **_preferences(endings),
    )


def _preferences(endings: _Endings) -> dict[str, Any]:
    signs = [
        ({order: _SIGN[each.label] for order, each in judged.items() if each.label and each.is_scored}, n)
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
    first, second = Order.PRODUCTION_FIRST, Order.CANDIDATE_FIRST
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
