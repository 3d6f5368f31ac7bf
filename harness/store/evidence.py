"""The numbers of one arm against production, as the estimators read them; no body is touched."""

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

_NUMBERS = ("latency_ms", "ttft_ms", "tokens_in", "tokens_out", "cost_usd", "answer_chars")


_CHUNK = 50_000
"""Rows that are fetched before they become columns: Python values take many times what they take in an array."""


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
    rows = {exchange_id: index for index, exchange_id in enumerate(sampled.ids)}
    return Evidence(
        arm=arm,
        exchange_ids=_strings(sampled.ids),
        clusters=_clusters(connection, run_id, sampled, rows, cluster_by),
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

    ids: list[str]
    clusters: list[str]
    sessions: list[str | None]
    users: list[str | None]
    timestamps: Floats

    @classmethod
    def load(cls, connection: sa.Connection, run_id: str) -> "_Sampled":
        # SQLite keeps times as text, which NumPy reads a hundred times faster than one value after the other.
        is_text = connection.dialect.name == "sqlite"
        at = sa.type_coerce(e.c.timestamp, sa.String) if is_text else sa.extract("epoch", e.c.timestamp)
        columns = (e.c.exchange_id, e.c.cluster, e.c.session, e.c.user_id, at)
        statement = sa.select(*columns).where(e.c.run_id == run_id).order_by(e.c.position, e.c.exchange_id)
        found: tuple[list[Any], ...] = ([], [], [], [], [])
        times = []
        for chunk in _chunks(connection, statement):
            for column, values in zip(found[:4], chunk, strict=False):
                column.extend(values)
            times.append(_moments(chunk[4]) if is_text else np.array(chunk[4], dtype=float))
        return cls(
            ids=found[0],
            clusters=found[1],
            sessions=found[2],
            users=found[3],
            timestamps=np.concatenate(times) if times else np.array([], dtype=float),
        )


def _moments(texts: Sequence[str | None]) -> Floats:
    """Unix seconds of ISO times in UTC; NaN is unknown."""
    moments = np.array([text or "NaT" for text in texts], dtype="datetime64[us]")
    return np.where(np.isnat(moments), np.nan, moments.astype(np.int64) / 1e6)


def _chunks(connection: sa.Connection, statement: sa.Select[Any]) -> Iterator[tuple[tuple[Any, ...], ...]]:
    """The rows as columns, some at a time; the driver's own values."""
    for part in raw.batches(connection, statement, _CHUNK):
        yield tuple(zip(*part, strict=True))


def _places(ids: Sequence[str], rows: Mapping[str, int]) -> Ints:
    """The row of every id, -1 where it is not sampled."""
    found = list(map(rows.get, ids))
    if None in found:
        return np.array([-1 if place is None else place for place in found], dtype=np.int64)
    return np.array(found, dtype=np.int64)


def _arm(connection: sa.Connection, run_id: str, arm: str, fingerprint: str, rows: Mapping[str, int]) -> ArmColumns:
    numbers = [o.c[name] for name in _NUMBERS]
    statement = sa.select(o.c.exchange_id, o.c.status, o.c.error_kind, o.c.cache_hit, *numbers).where(
        o.c.run_id == run_id, o.c.arm == arm, o.c.fingerprint == fingerprint
    )
    status, error_kind = np.full(len(rows), "", dtype=object), np.full(len(rows), "", dtype=object)
    cache_hit = np.zeros(len(rows), dtype=bool)
    values = np.full((len(_NUMBERS), len(rows)), np.nan)
    # One object for each word, not one for each row that has it.
    known: dict[str, str] = {}
    for ids, *columns in _chunks(connection, statement):
        at = _places(ids, rows)
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
    rows: Mapping[str, int],
) -> ScoreColumn:
    is_scored = sa.and_(j.c.state == JudgmentState.SCORED.value, j.c.value.is_not(None))
    statement = sa.select(
        j.c.exchange_id,
        j.c.answer_order,
        sa.case((is_scored, j.c.value)),
        j.c.label == Label.TIE.value,
        j.c.label.is_not(None),
    ).where(
        j.c.run_id == run_id,
        j.c.arm == arm,
        j.c.observation_fingerprint == fingerprint,
        j.c.judge_fingerprint == judge_fingerprint,
        j.c.reason.is_distinct_from(UnscoredReason.NOT_DRAWN.value),
    )
    orders = [order.value for order in Order]
    by_order = np.full((len(orders), len(rows)), np.nan)
    asked, ties, labelled = np.zeros((3, len(rows)), dtype=np.int64)
    number = {order: place for place, order in enumerate(orders)}
    for ids, order, found_value, tie, label in _chunks(connection, statement):
        at = _places(ids, rows)
        here = at >= 0
        at = at[here]
        value = np.array(found_value, dtype=float)[here]
        scored = np.isfinite(value)
        places = np.array([number[each] for each in order])[here]
        # Each order on its own: within one a row is met once, and adding to it in place counts.
        for place in np.unique(places):
            mine = places == place
            asked[at[mine]] += 1
            mine &= scored
            by_order[place, at[mine]] = value[mine]
            ties[at[mine]] += np.array(tie, dtype=bool)[here][mine]
            labelled[at[mine]] += np.array(label, dtype=bool)[here][mine]
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


def _labels(
    connection: sa.Connection, run_id: str, arm: str, fingerprint: str, rows: Mapping[str, int]
) -> LabelColumn | None:
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


def _attribute(connection: sa.Connection, run_id: str, name: str, rows: Mapping[str, int]) -> Strings:
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
        at = _places(bodies.loads(ids) if isinstance(ids, str) else ids, rows)
        at = at[at >= 0]
        several = column[at] != ""
        column[at[~several]] = value
        for index in at[several]:
            column[index] = f"{column[index]} + {value}"
    return column


def _clusters(
    connection: sa.Connection, run_id: str, sampled: _Sampled, rows: Mapping[str, int], cluster_by: str | None
) -> Any:
    names: Sequence[str] = sampled.clusters
    if cluster_by == "exchange":
        names = sampled.ids
    elif cluster_by in {"session", "user"}:
        values: Sequence[str | None] = sampled.sessions if cluster_by == "session" else sampled.users
        names = [f"{cluster_by}:{v}" if v else name for v, name in zip(values, names, strict=True)]
    elif cluster_by is not None:
        values = _attribute(connection, run_id, cluster_by, rows).tolist()
        names = [f"{cluster_by}:{v}" if v else name for v, name in zip(values, names, strict=True)]
    codes: dict[str, int] = {}
    return np.fromiter((codes.setdefault(name, len(codes)) for name in names), dtype=np.int64, count=len(names))


def _strings(values: Sequence[str]) -> Strings:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
