"""The words of every pair of one arm, as stored: for a file that people search, not for the stages.

Read in the order of ids, which is the order of the rows on disk, and neither decoded nor turned into domain values:
that is what makes a million pairs a matter of seconds. Tables are read side by side rather than joined, which would
look up every row.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import sqlalchemy as sa
from orjson import dumps as number

from harness.domain.judgment import UnscoredReason
from harness.domain.observation import PRODUCTION
from harness.store import bodies, raw, tables
from harness.store.connection import Database
from harness.store.tables import judgments as j
from harness.store.tables import observations as o

_NOT_DRAWN = UnscoredReason.NOT_DRAWN.value
_PAGE = 2_000
_PAGE_BYTES = 4 << 20
"""Compressed bodies of the arm's answers that are in memory together."""
_BATCH = 200
"""Rows that are fetched at a time: few, because what has just been made is still near the processor."""
_BETWEEN = "\x1f"
_KIND = j.c.answer_order + _BETWEEN + j.c.state
for _column in (j.c.reason, j.c.label):
    _KIND = _KIND + _BETWEEN + sa.func.coalesce(_column, "")
"""All that judgments have in common as one text: a driver takes longer for a column than the database for a row."""
_END = "\U0010ffff"
_NOTHING = (_END, "", b"")
"""What comes after the last body."""


def read(database: Database, run_id: str, arm: str, fingerprint: str, *, judges: Mapping[str, str]) -> Iterator[bytes]:
    """One JSON object per pair, without a line feed inside, in ascending id; ``judges`` is fingerprint to name."""
    middle = b',"arm":' + bodies.dumps(arm)
    last = ""
    while True:
        page = database.reading(_load, run_id, arm, fingerprint, judges, last)
        if page is None:
            return
        ids, statuses, kinds, requests, production, candidate, judged = page
        last = ids[-1]
        ends = {
            (status, kind): b'%b,"status":%b,"error_kind":%b,"request":'
            % (middle, bodies.dumps(status), bodies.dumps(kind))
            for status, kind in set(zip(statuses, kinds, strict=True))
        }
        unpack = bodies.unpacker()
        dumps = bodies.dumps
        # Unpacked one pair at a time: text is several times as large as what is stored.
        for key, status, kind, asked, said, answered, words in zip(
            ids, statuses, kinds, requests, production, candidate, judged, strict=True
        ):
            if asked is None or said is None:
                continue
            yield b'{"exchange_id":%b%b%b,"production":%b,"candidate":%b,"judgments":[%b]}' % (
                dumps(key),
                ends[status, kind],
                unpack(asked),
                unpack(said),
                b"{}" if answered is None else unpack(answered),
                b"".join(words)[1:],
            )


def _load(
    connection: sa.Connection, run_id: str, arm: str, fingerprint: str, judges: Mapping[str, str], last: str
) -> tuple[Sequence[Any], ...] | None:
    """Columns of the next pairs, what is stored of each still compressed; ``None`` behind the last."""
    rows = _page(connection, run_id, arm, fingerprint, last)
    if not rows:
        return None
    ids, statuses, kinds, _ = zip(*rows, strict=True)
    between, b = (last, ids[-1]), tables.observation_bodies
    requests = _bodies(connection, tables.exchange_bodies, ids, between, run_id=run_id)
    production = _bodies(connection, b, ids, between, run_id=run_id, arm=PRODUCTION, fingerprint="")
    candidate = _bodies(connection, b, ids, between, run_id=run_id, arm=arm, fingerprint=fingerprint)
    judged = _judgments(connection, run_id, arm, fingerprint, ids, between, judges)
    return ids, statuses, kinds, requests, production, candidate, judged


def _page(connection: sa.Connection, run_id: str, arm: str, fingerprint: str, last: str) -> list[tuple[Any, ...]]:
    """The next rows, as many as fit into memory together and at least one."""
    statement = (
        sa.select(o.c.exchange_id, o.c.status, o.c.error_kind, o.c.body_bytes)
        .where(o.c.run_id == run_id, o.c.arm == arm, o.c.fingerprint == fingerprint, o.c.exchange_id > last)
        .order_by(o.c.exchange_id)
        .limit(_PAGE)
    )
    rows = raw.every(connection, statement)
    total = 0
    for at, row in enumerate(rows):
        total += row[3]
        if at and total > _PAGE_BYTES:
            return rows[:at]
    return rows


def _bodies(
    connection: sa.Connection, table: sa.Table, ids: Sequence[str], between: tuple[str, str], **key: str
) -> Sequence[bytes | None]:
    """What is stored for each of the ids, still compressed."""
    c = table.c
    statement = (
        sa.select(c.exchange_id, c.body)
        .where(
            *(c[name] == value for name, value in key.items()), c.exchange_id > between[0], c.exchange_id <= between[1]
        )
        .order_by(c.exchange_id)
    )
    found: dict[str, bytes] = {}
    wanted: set[str] = set()
    for batch in raw.batches(connection, statement, _PAGE):
        have, packed = zip(*batch, strict=True)
        if have == ids:
            return packed
        # An arm may have been asked little of what lies between: the rest is not kept.
        wanted = wanted or set(ids)
        found.update(row for row in batch if row[0] in wanted)
    return [found.get(exchange_id) for exchange_id in ids]


def _judgments(
    connection: sa.Connection,
    run_id: str,
    arm: str,
    fingerprint: str,
    ids: Sequence[str],
    between: tuple[str, str],
    judges: Mapping[str, str],
) -> list[list[bytes]]:
    """For each of the ids the pieces of its judgments as JSON; each judgment begins with a comma."""
    words: list[list[bytes]] = [[] for _ in ids]
    by_id = dict(zip(ids, words, strict=True))
    unpack = bodies.unpacker()
    # A judge that computes says the same nothing of every pair.
    known = {b"": b"null}"}
    b = tables.judgment_bodies
    for judge, name in judges.items():

        def rows(c: Any, *more: Any, judge: str = judge) -> Iterator[tuple[Any, ...]]:
            of = (
                *(c.run_id == run_id, c.arm == arm),
                *(c.observation_fingerprint == fingerprint, c.judge_fingerprint == judge),
                *(c.exchange_id > between[0], c.exchange_id <= between[1]),
            )
            statement = sa.select(c.exchange_id, *more).where(*of).order_by(c.exchange_id, c.answer_order)
            return chain.from_iterable(raw.batches(connection, statement, _BATCH))

        heads: dict[str, tuple[str, bytes, bytes] | None] = {}
        spoken = rows(b.c, b.c.answer_order, b.c.body)
        # Both come in the order of their keys, so that nothing has to be looked up.
        about, which, body = next(spoken, _NOTHING)
        for exchange_id, kind, value in rows(j.c, _KIND, j.c.value):
            try:
                head = heads[kind]
            except KeyError:
                head = heads[kind] = _head(name, kind)
            pieces = by_id.get(exchange_id)
            if head is None or pieces is None:
                continue
            order, begin, end = head
            if about != exchange_id or which != order:
                while about is not _END and (about, which) < (exchange_id, order):
                    about, which, body = next(spoken, _NOTHING)
            packed = b""
            if about == exchange_id and which == order:
                packed = body
                about, which, body = next(spoken, _NOTHING)
            said = known.get(packed)
            if said is None:
                said = known[packed] = unpack(packed) + b"}"
            pieces += (begin, number(value), end, said)
    return words


def _head(judge: str, kind: str) -> tuple[str, bytes, bytes] | None:
    """The order, and the judgment as JSON up to its value and from there to what was said; ``None`` if not drawn."""
    order, state, reason, label = (part or None for part in kind.split(_BETWEEN))
    if reason == _NOT_DRAWN:
        return None
    begin = {"judge": judge, "order": order, "state": state, "reason": reason}
    end = b',"label":' + bodies.dumps(label) + b',"said":'
    return order or "", b"," + bodies.dumps(begin)[:-1] + b',"value":', end
