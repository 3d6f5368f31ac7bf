"""The words of every pair of one arm, as stored: for a file that people search, not for the stages.

Read in the order of ids, which is the order of the rows on disk, and neither decoded nor turned into domain values:
that is what makes a million pairs a matter of seconds.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from harness.domain.judgment import UnscoredReason
from harness.domain.observation import PRODUCTION
from harness.store import bodies, raw, tables
from harness.store.connection import Database
from harness.store.tables import judgments as j
from harness.store.tables import observations as o

_NOT_DRAWN = UnscoredReason.NOT_DRAWN.value
_PAGE = 1_000
_PAGE_BYTES = 4 << 20
"""Compressed bodies of both answers that are in memory together."""


def read(database: Database, run_id: str, arm: str, fingerprint: str, *, judges: Mapping[str, str]) -> Iterator[bytes]:
    """One JSON object per pair, without a line feed inside, in ascending id; ``judges`` is fingerprint to name."""
    last = ""
    while True:
        with database.read() as connection:
            rows = _page(connection, run_id, arm, fingerprint, last)
            if not rows:
                return
            between = (last, rows[-1].exchange_id)
            b = tables.observation_bodies
            requests = _bodies(connection, tables.exchange_bodies, between, run_id=run_id)
            production = _bodies(connection, b, between, run_id=run_id, arm=PRODUCTION, fingerprint="")
            candidate = _bodies(connection, b, between, run_id=run_id, arm=arm, fingerprint=fingerprint)
            judged = _judgments(connection, run_id, arm, fingerprint, between, judges)
        for row in rows:
            key = row.exchange_id
            if key not in requests or key not in production:
                continue
            head = {"exchange_id": key, "arm": arm, "status": row.status, "error_kind": row.error_kind}
            parts = (
                bodies.dumps(head)[:-1],
                b',"request":' + requests[key],
                b',"production":' + production[key],
                b',"candidate":' + candidate.get(key, b"{}"),
                b',"judgments":[' + b",".join(judged.get(key, ())) + b"]}",
            )
            yield b"".join(parts)
        last = between[1]


def _page(connection: sa.Connection, run_id: str, arm: str, fingerprint: str, last: str) -> list[Any]:
    """The next rows, as many as fit into memory together and at least one."""
    statement = (
        sa.select(o.c.exchange_id, o.c.status, o.c.error_kind, o.c.body_bytes)
        .where(o.c.run_id == run_id, o.c.arm == arm, o.c.fingerprint == fingerprint, o.c.exchange_id > last)
        .order_by(o.c.exchange_id)
        .limit(_PAGE)
    )
    rows: list[Any] = []
    total = 0
    for row in connection.execute(statement):
        total += row.body_bytes
        if rows and total > _PAGE_BYTES:
            break
        rows.append(row)
    return rows


def _bodies(connection: sa.Connection, table: sa.Table, between: tuple[str, str], **key: str) -> dict[str, bytes]:
    c = table.c
    statement = sa.select(c.exchange_id, c.body).where(
        *(c[name] == value for name, value in key.items()), c.exchange_id > between[0], c.exchange_id <= between[1]
    )
    return {exchange_id: bodies.unpack(body) for exchange_id, body in _rows(connection, statement)}


def _rows(connection: sa.Connection, statement: sa.Select[Any]) -> Iterator[tuple[Any, ...]]:
    for batch in raw.batches(connection, statement, _PAGE):
        yield from batch


def _judgments(
    connection: sa.Connection,
    run_id: str,
    arm: str,
    fingerprint: str,
    between: tuple[str, str],
    judges: Mapping[str, str],
) -> dict[str, list[bytes]]:
    b = tables.judgment_bodies
    found: defaultdict[str, list[bytes]] = defaultdict(list)
    # A judge that computes says the same nothing of every pair.
    known = {b"": b"null"}
    for judge_fingerprint, name in judges.items():

        def of(c: Any, judge: str = judge_fingerprint) -> list[sa.ColumnElement[bool]]:
            return [
                *(c.run_id == run_id, c.arm == arm),
                *(c.observation_fingerprint == fingerprint, c.judge_fingerprint == judge),
                *(c.exchange_id > between[0], c.exchange_id <= between[1]),
            ]

        words = {
            (exchange_id, order): body
            for exchange_id, order, body in _rows(
                connection, sa.select(b.c.exchange_id, b.c.answer_order, b.c.body).where(*of(b.c))
            )
        }
        columns = (j.c.exchange_id, j.c.answer_order, j.c.state, j.c.reason, j.c.value, j.c.label)
        statement = sa.select(*columns).where(*of(j.c)).order_by(j.c.exchange_id, j.c.answer_order)
        for exchange_id, order, state, reason, value, label in _rows(connection, statement):
            if reason == _NOT_DRAWN:
                continue
            head = {"judge": name, "order": order, "state": state, "reason": reason, "value": value, "label": label}
            body = words.get((exchange_id, order), b"")
            said = known.get(body)
            if said is None:
                said = known[body] = bodies.unpack(body)
            found[exchange_id].append(bodies.dumps(head)[:-1] + b',"said":' + said + b"}")
    return found
