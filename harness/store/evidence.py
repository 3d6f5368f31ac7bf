"""The numbers of one arm against production, as the estimators read them; no body is touched."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from harness.domain.judgment import JudgmentState, Label, Order, UnscoredReason
from harness.domain.observation import PRODUCTION
from harness.stats.evidence import ArmColumns, Evidence, LabelColumn, ScoreColumn, Strings
from harness.store import labels, observations, tables
from harness.store.tables import exchanges as e
from harness.store.tables import judgments as j
from harness.store.tables import observations as o

_NUMBERS = ("latency_ms", "ttft_ms", "tokens_in", "tokens_out", "cost_usd", "answer_chars")


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
    columns = (e.c.exchange_id, e.c.cluster, e.c.timestamp, e.c.session, e.c.user_id)
    statement = sa.select(*columns).where(e.c.run_id == run_id).order_by(e.c.position, e.c.exchange_id)
    sampled = connection.execute(statement).all()
    rows = {row.exchange_id: index for index, row in enumerate(sampled)}
    return Evidence(
        arm=arm,
        exchange_ids=_strings([row.exchange_id for row in sampled]),
        clusters=_clusters(connection, run_id, sampled, rows, cluster_by),
        timestamps=np.array([row.timestamp.timestamp() if row.timestamp else np.nan for row in sampled], dtype=float),
        production=_arm(connection, run_id, PRODUCTION, "", rows),
        candidate=_arm(connection, run_id, arm, fingerprint, rows),
        scores={
            name: _scores(connection, run_id, arm, fingerprint, judge_fingerprint, metric, rows)
            for name, (judge_fingerprint, metric) in judges.items()
        },
        attributes={name: _attribute(connection, run_id, name, rows) for name in attributes},
        labels=_labels(connection, run_id, arm, fingerprint, rows),
    )


def _arm(connection: sa.Connection, run_id: str, arm: str, fingerprint: str, rows: Mapping[str, int]) -> ArmColumns:
    numbers = [o.c[name] for name in _NUMBERS]
    statement = (
        sa.select(o.c.exchange_id, o.c.status, o.c.error_kind, o.c.cache_hit, *numbers)
        .select_from(e)
        .join(o, observations.of_exchange(o, arm, fingerprint))
        .where(e.c.run_id == run_id)
    )
    status, error_kind = np.full(len(rows), "", dtype=object), np.full(len(rows), "", dtype=object)
    cache_hit = np.zeros(len(rows), dtype=bool)
    values = np.full((len(_NUMBERS), len(rows)), np.nan)
    found = connection.execute(statement).all()
    if found:
        ids, *columns = zip(*found, strict=True)
        at = np.array([rows[exchange_id] for exchange_id in ids], dtype=np.int64)
        status[at] = columns[0]
        error_kind[at] = [kind or "" for kind in columns[1]]
        cache_hit[at] = columns[2]
        values[:, at] = np.array(columns[3:], dtype=float)
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
    statement = sa.select(j.c.exchange_id, j.c.answer_order, j.c.state, j.c.value, j.c.label).where(
        j.c.run_id == run_id,
        j.c.arm == arm,
        j.c.observation_fingerprint == fingerprint,
        j.c.judge_fingerprint == judge_fingerprint,
        j.c.reason.is_distinct_from(UnscoredReason.NOT_DRAWN.value),
    )
    by_order = {order.value: np.full(len(rows), np.nan) for order in Order}
    asked, ties, labelled = np.zeros((3, len(rows)), dtype=np.int64)
    for row in connection.execute(statement):
        index = rows.get(row.exchange_id)
        if index is None:
            continue
        asked[index] += 1
        if row.state == JudgmentState.SCORED.value and row.value is not None:
            by_order[row.answer_order][index] = row.value
            ties[index] += row.label == Label.TIE.value
            labelled[index] += row.label is not None
    found = np.stack(list(by_order.values()))
    scored = np.isfinite(found).sum(axis=0)
    value = np.divide(np.nansum(found, axis=0), scored, out=np.full(len(rows), np.nan), where=scored > 0)
    return ScoreColumn(
        metric=metric,
        value=value,
        missing_order=(scored > 0) & (scored < asked),
        production_first=by_order[Order.PRODUCTION_FIRST.value],
        candidate_first=by_order[Order.CANDIDATE_FIRST.value],
        tied=(ties > 0) & (ties == scored) if labelled.any() else None,
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
    statement = (
        sa.select(a.c.exchange_id, a.c.value)
        .where(a.c.run_id == run_id, a.c.key == name)
        .order_by(a.c.exchange_id, a.c.value)
    )
    column = np.full(len(rows), "", dtype=object)
    for exchange_id, value in connection.execute(statement):
        index = rows.get(exchange_id)
        if index is not None:
            column[index] = f"{column[index]} + {value}" if column[index] else value
    return column


def _clusters(
    connection: sa.Connection, run_id: str, sampled: Sequence[Any], rows: Mapping[str, int], cluster_by: str | None
) -> Any:
    names = [row.cluster for row in sampled]
    if cluster_by == "exchange":
        names = [row.exchange_id for row in sampled]
    elif cluster_by in {"session", "user"}:
        field = "session" if cluster_by == "session" else "user_id"
        values = [getattr(row, field) for row in sampled]
        names = [f"{cluster_by}:{v}" if v else name for v, name in zip(values, names, strict=True)]
    elif cluster_by is not None:
        values = _attribute(connection, run_id, cluster_by, rows).tolist()
        names = [f"{cluster_by}:{v}" if v else name for v, name in zip(values, names, strict=True)]
    codes: dict[str, int] = {}
    return np.array([codes.setdefault(name, len(codes)) for name in names], dtype=np.int64)


def _strings(values: Sequence[str]) -> Strings:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
