"""The numbers of arms against production, as the estimators read them; no body is touched."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from harness.domain.observation import PRODUCTION
from harness.stats.evidence import ArmColumns, Evidence, Floats, Ints, LabelColumn, ScoreColumn, Strings
from harness.store import bodies, labels, scores, tables
from harness.store.columns import Rows, chunks, strings
from harness.store.counts import JudgmentCounts
from harness.store.tables import exchanges as e
from harness.store.tables import observations as o

_NUMBERS = ("latency_ms", "ttft_ms", "tokens_in", "tokens_out", "cost_usd", "answer_chars")


def load(
    connection: sa.Connection,
    beside: sa.Connection | None,
    run_id: str,
    arms: Sequence[tuple[str, str]],
    *,
    judges: Mapping[str, tuple[str, str]],
    attributes: Sequence[str],
    cluster_by: str | None,
) -> list[tuple[Evidence, dict[str, JudgmentCounts]]]:
    """Of every arm (name, fingerprint) one row per exchange, in ascending position, and what its judges made of them.

    What is not an arm's own is read once and is the same object in each. ``beside`` sees the same rows: attributes,
    which the database gathers by itself, are read there meanwhile. So are the scores where the database is another
    process; SQLite works in the thread that asks, and two would wait for Python.
    """
    sampled = _Sampled.load(connection, run_id)
    rows = sampled.rows

    def attributes_of(connection: sa.Connection) -> dict[str, Strings]:
        own = rows.again()
        return {name: _attribute(connection, run_id, name, own) for name in attributes}

    def judged_on(connection: sa.Connection) -> list[dict[str, tuple[ScoreColumn, JudgmentCounts]]]:
        own = rows.again()
        return [
            {
                name: scores.load(connection, run_id, *arm, judge_fingerprint, metric=metric, rows=own)
                for name, (judge_fingerprint, metric) in judges.items()
            }
            for arm in arms
        ]

    with ThreadPoolExecutor(1, thread_name_prefix="evidence") as thread:
        gathered = None if beside is None else thread.submit(attributes_of, beside)
        apart = None
        if beside is not None and connection.dialect.name != "sqlite":
            apart = thread.submit(judged_on, beside)
        production, *asked = (_arm(connection, run_id, *arm, rows) for arm in ((PRODUCTION, ""), *arms))
        judged = judged_on(connection) if apart is None else apart.result()
        labelled = [_labels(connection, run_id, *arm, rows) for arm in arms]
        clusters = _clusters(connection, run_id, sampled, cluster_by)
        columns = attributes_of(connection) if gathered is None else gathered.result()
    return [
        (
            Evidence(
                arm=name,
                exchange_ids=sampled.ids,
                clusters=clusters,
                timestamps=sampled.timestamps,
                production=production,
                candidate=candidate,
                scores={judge: column for judge, (column, _) in own.items()},
                attributes=columns,
                labels=labels_of_arm,
            ),
            {judge: counts for judge, (_, counts) in own.items()},
        )
        for (name, _), candidate, own, labels_of_arm in zip(arms, asked, judged, labelled, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class _Sampled:
    """The run's exchanges in ascending position."""

    ids: Strings
    clusters: Strings
    sessions: Strings
    users: Strings
    timestamps: Floats
    rows: Rows

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
        for chunk in chunks(connection, statement):
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
        ids, clusters, sessions, users = (strings(column)[order] for column in texts)
        return cls(
            ids=ids,
            clusters=clusters,
            sessions=sessions,
            users=users,
            timestamps=np.concatenate(times)[order],
            rows=Rows(texts[0], places),
        )


def _moments(texts: Sequence[str | None]) -> Floats:
    """Unix seconds of ISO times in UTC; NaN is unknown."""
    moments = np.array([text or "NaT" for text in texts], dtype="datetime64[us]")
    return np.where(np.isnat(moments), np.nan, moments.astype(np.int64) / 1e6)


def _arm(connection: sa.Connection, run_id: str, arm: str, fingerprint: str, rows: Rows) -> ArmColumns:
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
    for ids, *columns in chunks(connection, statement):
        at = rows.places(ids)
        here = at >= 0
        at = at[here]
        status[at] = strings([known.setdefault(word, word) for word in columns[0]])[here]
        error_kind[at] = strings([known.setdefault(kind or "", kind or "") for kind in columns[1]])[here]
        cache_hit[at] = np.array(columns[2], dtype=bool)[here]
        for number, column in enumerate(columns[3:]):
            values[number, at] = np.array(column, dtype=float)[here]
    return ArmColumns(
        status=status, error_kind=error_kind, cache_hit=cache_hit, **dict(zip(_NUMBERS, values, strict=True))
    )


def _labels(connection: sa.Connection, run_id: str, arm: str, fingerprint: str, rows: Rows) -> LabelColumn | None:
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


def _attribute(connection: sa.Connection, run_id: str, name: str, rows: Rows) -> Strings:
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
        at = rows.places_apart(bodies.loads(ids) if isinstance(ids, str) else ids)
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
    codes = {name: code for code, name in enumerate(dict.fromkeys(names))}
    return np.fromiter(map(codes.__getitem__, names), dtype=np.int64, count=len(names))
