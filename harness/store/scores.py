"""What one judge made of one arm's pairs: its scores as a column, and how its judgments are counted, in one pass."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from harness.domain.judgment import JudgmentState, Label, Order, UnscoredReason
from harness.stats.evidence import ScoreColumn
from harness.store.columns import Rows, chunks
from harness.store.counts import JudgmentCounts
from harness.store.tables import judgments as j

_ORDERS = tuple(sorted(Order))
_PLACE = {order: place for place, order in enumerate(_ORDERS)}
_BETWEEN = "|"
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
    statement = (
        sa.select(
            j.c.exchange_id,
            sa.case({order.value: place for order, place in _PLACE.items()}, value=j.c.answer_order),
            j.c.value,
            # One text for three: what is fetched and what is looked at is most of what a million pairs cost here.
            j.c.state + _BETWEEN + sa.func.coalesce(j.c.reason, "") + _BETWEEN + sa.func.coalesce(j.c.label, ""),
            j.c.tokens_in,
            j.c.tokens_out,
            j.c.cost_usd,
            j.c.superseded_usd,
            j.c.attempts,
        )
        .where(
            j.c.run_id == run_id,
            j.c.arm == arm,
            j.c.observation_fingerprint == fingerprint,
            j.c.judge_fingerprint == judge_fingerprint,
            j.c.reason.is_distinct_from(UnscoredReason.NOT_DRAWN.value),
        )
        .order_by(j.c.exchange_id)
    )
    values = np.full((len(_ORDERS), len(rows)), np.nan)
    codes = np.full((len(_ORDERS), len(rows)), -1, dtype=np.int16)
    known: dict[str, int] = {}
    spent = _Spent()
    for ids, order, value, ending, *spending in chunks(connection, statement):
        at = rows.places(ids)
        here = at >= 0
        code = np.array([known.setdefault(words, len(known)) for words in ending], dtype=np.int16)
        where = np.array(order)[here], at[here]
        codes[where] = code[here]
        values[where] = np.array(value, dtype=float)[here]
        spent.add(np.array(spending, dtype=float)[:, here])
    endings = [_Ending(*words.split(_BETWEEN)) for words in known]
    # A judgment in error may hold a value from before.
    values[~_of_each(codes, [ending.is_scored for ending in endings])] = np.nan
    return _column(metric, values, codes, endings), _counts(_tally(codes, endings), spent)


def _of_each(codes: Any, flags: Sequence[bool]) -> Any:
    """Of every reading what holds of its ending; of a missing one nothing."""
    return np.array([*flags, False])[codes]


def _column(metric: str, values: Any, codes: Any, endings: Sequence[_Ending]) -> ScoreColumn:
    n_scored = np.isfinite(values).sum(axis=0)
    asked = (codes >= 0).sum(axis=0)
    tied = None
    if any(ending.is_scored and ending.label for ending in endings):
        is_tie = [ending.is_scored and ending.label == Label.TIE for ending in endings]
        ties = _of_each(codes, is_tie).sum(axis=0)
        tied = (ties > 0) & (ties == n_scored)
    return ScoreColumn(
        metric=metric,
        value=np.divide(np.nansum(values, axis=0), n_scored, out=np.full(len(n_scored), np.nan), where=n_scored > 0),
        missing_order=(n_scored > 0) & (n_scored < asked),
        production_first=values[_PLACE[Order.PRODUCTION_FIRST]],
        candidate_first=values[_PLACE[Order.CANDIDATE_FIRST]],
        tied=tied,
    )


def _tally(codes: Any, endings: Sequence[_Ending]) -> _Endings:
    base = len(endings) + 1
    together = np.zeros(codes.shape[1], dtype=np.int64)
    for row in codes:
        together = together * base + row + 1
    found = []
    for number, n in zip(*np.unique(together, return_counts=True), strict=True):
        rest, by_order = int(number), dict[Order, _Ending]()
        for order in reversed(_ORDERS):
            rest, code = divmod(rest, base)
            if code:
                by_order[order] = endings[code - 1]
        if by_order:
            found.append(({order: by_order[order] for order in _ORDERS if order in by_order}, int(n)))
    return found


class _Spent:
    """What the judgments have cost."""

    def __init__(self) -> None:
        self.tokens_in = self.tokens_out = 0
        self.usd = 0.0
        self.priced = self.unpriced = 0

    def add(self, numbers: Any) -> None:
        """Take in rows of tokens in and out, dollars, dollars of judgments that were replaced, and attempts."""
        _, tokens_out, cost, _, attempts = numbers
        sums = np.nansum(numbers, axis=1)
        self.tokens_in += int(sums[0])
        self.tokens_out += int(sums[1])
        self.usd += float(sums[2] + sums[3])
        has_price = np.isfinite(cost)
        self.priced += int(has_price.sum())
        self.unpriced += int((~has_price & (attempts > 0) & np.isfinite(tokens_out)).sum())


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
