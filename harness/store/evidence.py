"""The numbers of one arm against production, as the estimators read them; no body is touched."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from harness.domain.judgment import JudgmentState, Label, Order, UnscoredReason
from harness.domain.observation import PRODUCTION
from harness.stats.evidence import ArmColumns, Evidence, Floats, Ints, LabelColumn, ScoreColumn, Strings
from harness.store import bodies, labels, raw, tables
from harness.store.tables import exchanges as e
from harness.store.tables import judgments as j
from harness.store.tables import observations as o

_SPARSE = 50
"""Ids between those that are looked for, for each of them, from which on they are looked for one by one."""
_NUMBERS = ("latency_ms", "ttft_ms", "tokens_in", "tokens_out", "cost_usd", "answer_chars")


_CHUNK = 2_000
"""Rows that are fetched before they become columns: few enough to stay near the processor meanwhile."""


class _Rows:
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


def load(
    connection: sa.Connection,
    run_id: str,
    arm: str,
    fingerprint: str,
    *,
    judges: Mapping[str, tuple[str, str]],
    attributes: Sequence[str],
    cluster_by: str | None,
) -> Evidence:
    """One row per exchange, in ascending position."""
    sampled = _Sampled.load(connection, run_id)
    rows = sampled.rows
    return Evidence(
        arm=arm,
        exchange_ids=sampled.ids,
        clusters=_clusters(connection, run_id, sampled, cluster_by),
        timestamps=sampled.timestamps,
        production=_arm(connection, run_id, PRODUCTION, "", rows),
        candidate=_arm(connection, run_id, arm, fingerprint, rows),
        scores={
            name: _scores(connection, run_id, arm, fingerprint, judge_fingerprint, metric, rows)
            for name, (judge_fingerprint, metric) in judges.items()
        },
        attributes={name: _attribute(connection, run_id, name, rows) for name in attributes},
        labels=_labels(connection, run_id, arm, fingerprint, rows),
    )


@dataclass(frozen=True, kw_only=True)
class _Sampled:
    """The run's exchanges in ascending position."""

    ids: Strings
    clusters: Strings
    sessions: Strings
    users: Strings
    timestamps: Floats
    rows: _Rows

    @classmethod
    def load(cls, connection: sa.Connection, run_id: str) -> "_Sampled":
        # SQLite keeps times as text, which NumPy reads a hundred times faster than one value after the other.
        is_text = connection.dialect.name == "sqlite"
        at = sa.type_coerce(e.c.timestamp, sa.String) if is_text else sa.extract("epoch", e.c.timestamp)
        columns = (e.c.exchange_id, e.c.cluster, e.c.session, e.c.user_id, e.c.position, at)
        # In the order in which they lie there; sorting numbers here is faster than finding rows by position there.
        statement = sa.select(*columns).where(e.c.run_id == run_id).order_by(e.c.exchange_id)
        texts: tuple[list[Any], ...] = ([], [], [], [])
        positions, times = [], []
        for chunk in _chunks(connection, statement):
            for column, values in zip(texts, chunk, strict=False):
                column.extend(values)
            positions.append(np.array(chunk[4], dtype=float))
            times.append(_moments(chunk[5]) if is_text else np.array(chunk[5], dtype=float))
        if not positions:
            positions, times = [np.array([])], [np.array([])]
        # Stable, so that equal positions keep the order of their ids.
        order = np.argsort(np.concatenate(positions), kind="stable")
        places = np.empty(len(order), dtype=np.int64)
        places[order] = np.arange(len(order))
        ids, clusters, sessions, users = (_strings(column)[order] for column in texts)
        return cls(
            ids=ids,
            clusters=clusters,
            sessions=sessions,
            users=users,
            timestamps=np.concatenate(times)[order],
            rows=_Rows(texts[0], places),
        )


def _moments(texts: Sequence[str | None]) -> Floats:
    """Unix seconds of ISO times in UTC; NaN is unknown."""
    moments = np.array([text or "NaT" for text in texts], dtype="datetime64[us]")
    return np.where(np.isnat(moments), np.nan, moments.astype(np.int64) / 1e6)


def _chunks(connection: sa.Connection, statement: sa.Select[Any]) -> Iterator[tuple[tuple[Any, ...], ...]]:
    """The rows as columns, some at a time; the driver's own values."""
    for part in raw.batches(connection, statement, _CHUNK):
        yield tuple(zip(*part, strict=True))


def _arm(connection: sa.Connection, run_id: str, arm: str, fingerprint: str, rows: _Rows) -> ArmColumns:
    numbers = [o.c[name] for name in _NUMBERS]
    statement = (
        sa.select(o.c.exchange_id, o.c.status, o.c.error_kind, o.c.cache_hit, *numbers)
        .where(o.c.run_id == run_id, o.c.arm == arm, o.c.fingerprint == fingerprint)
        .order_by(o.c.exchange_id)
    )
    status, error_kind = np.full(len(rows), "", dtype=object), np.full(len(rows), "", dtype=object)
    cache_hit = np.zeros(len(rows), dtype=bool)
    values = np.full((len(_NUMBERS), len(rows)), np.nan)
    # One object for each word, not one for each row that has it.
    known: dict[str, str] = {}
    for ids, *columns in _chunks(connection, statement):
        at = rows.places(ids)
        here = at >= 0
        at = at[here]
        status[at] = _strings([known.setdefault(word, word) for word in columns[0]])[here]
        error_kind[at] = _strings([known.setdefault(kind or "", kind or "") for kind in columns[1]])[here]
        cache_hit[at] = np.array(columns[2], dtype=bool)[here]
        for number, column in enumerate(columns[3:]):
            values[number, at] = np.array(column, dtype=float)[here]
    return ArmColumns(
        status=status, error_kind=error_kind, cache_hit=cache_hit, **dict(zip(_NUMBERS, values, strict=True))
    )


def _scores(
    connection: sa.Connection,
    run_id: str,
    arm: str,
    fingerprint: str,
    judge_fingerprint: str,
    metric: str,
    rows: _Rows,
) -> ScoreColumn:
    is_scored = sa.and_(j.c.state == JudgmentState.SCORED.value, j.c.value.is_not(None))
    orders = [order.value for order in Order]
    number = {order: place for place, order in enumerate(orders)}
    statement = (
        sa.select(
            j.c.exchange_id,
            sa.case(number, value=j.c.answer_order),
            sa.case((is_scored, j.c.value)),
            j.c.label == Label.TIE.value,
            j.c.label.is_not(None),
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
    by_order = np.full((len(orders), len(rows)), np.nan)
    asked, ties, labelled = np.zeros((3, len(rows)), dtype=np.int64)
    for ids, *columns in _chunks(connection, statement):
        at = rows.places(ids)
        here = at >= 0
        place, value = np.array(columns[0])[here], np.array(columns[1], dtype=float)[here]
        tie, label = (np.array(column, dtype=bool)[here] for column in columns[2:])
        at, scored = at[here], np.isfinite(value)
        # Each order on its own: within one a row is met once, and adding to it in place counts.
        for each in np.unique(place):
            mine = place == each
            asked[at[mine]] += 1
            mine &= scored
            by_order[each, at[mine]] = value[mine]
            ties[at[mine]] += tie[mine]
            labelled[at[mine]] += label[mine]
    n_scored = np.isfinite(by_order).sum(axis=0)
    value = np.divide(np.nansum(by_order, axis=0), n_scored, out=np.full(len(rows), np.nan), where=n_scored > 0)
    return ScoreColumn(
        metric=metric,
        value=value,
        missing_order=(n_scored > 0) & (n_scored < asked),
        production_first=by_order[number[Order.PRODUCTION_FIRST.value]],
        candidate_first=by_order[number[Order.CANDIDATE_FIRST.value]],
        tied=(ties > 0) & (ties == n_scored) if labelled.any() else None,
    )


def _labels(connection: sa.Connection, run_id: str, arm: str, fingerprint: str, rows: _Rows) -> LabelColumn | None:
    """People's labels; the chance of being drawn is the plan's, else what the imported file says."""
    found = [item for item in labels.load(connection, run_id, arm, fingerprint) if item.label is not None]
    if not found:
        return None
    total, count, probability = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64), np.full(len(rows), np.nan)
    for item in found:
        index = rows.get(item.exchange_id)
        if index is not None and item.label is not None:
            total[index] += item.label.share
            count[index] += 1
            if item.probability is not None:
                probability[index] = item.probability
    for planned in labels.load_plan(connection, run_id, arm, fingerprint):
        index = rows.get(planned.exchange_id)
        if index is not None:
            probability[index] = planned.probability
    value = np.divide(total, count, out=np.full(len(rows), np.nan), where=count > 0)
    return LabelColumn(value=value, labellers=count, probability=probability)


def _attribute(connection: sa.Connection, run_id: str, name: str, rows: _Rows) -> Strings:
    a = tables.exchange_attributes
    # One list of ids for each value: hundreds of rows instead of millions, in the order of the index by value. Several
    # values of one exchange come in their order.
    gathered = sa.func.json_group_array if connection.dialect.name == "sqlite" else sa.func.json_agg
    statement = (
        sa.select(a.c.value, gathered(a.c.exchange_id))
        .where(a.c.run_id == run_id, a.c.key == name)
        .group_by(a.c.value)
        .order_by(a.c.value)
    )
    column = np.full(len(rows), "", dtype=object)
    for value, ids in connection.execute(statement):
        at = rows.places(bodies.loads(ids) if isinstance(ids, str) else ids)
        at = at[at >= 0]
        several = column[at] != ""
        column[at[~several]] = value
        for index in at[several]:
            column[index] = f"{column[index]} + {value}"
    return column


def _clusters(connection: sa.Connection, run_id: str, sampled: _Sampled, cluster_by: str | None) -> Ints:
    names: Sequence[str] = sampled.clusters.tolist()
    if cluster_by == "exchange":
        return np.arange(len(names), dtype=np.int64)
    if cluster_by is not None:
        if cluster_by in {"session", "user"}:
            values = (sampled.sessions if cluster_by == "session" else sampled.users).tolist()
        else:
            values = _attribute(connection, run_id, cluster_by, sampled.rows).tolist()
        names = [f"{cluster_by}:{v}" if v else name for v, name in zip(values, names, strict=True)]
    codes: dict[str, int] = {}
    return np.fromiter((codes.setdefault(name, len(codes)) for name in names), dtype=np.int64, count=len(names))


def _strings(values: Sequence[Any]) -> Strings:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
