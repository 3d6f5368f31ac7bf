"""Rollouts and their histories, which are only ever added to.

They outlive the runs they were decided on, as the ledger of attempts does.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from harness.domain.json import Json
from harness.domain.rollout import Event, EventKind
from harness.errors import HarnessError, InputError
from harness.store.connection import AGAIN
from harness.store.tables import rollout_events as e
from harness.store.tables import rollouts as t

_ENDS = (EventKind.ROLLED_BACK, EventKind.STOPPED, EventKind.EXPIRED, EventKind.COMPLETED)


class EventRefusedError(HarnessError):
    """The history has moved on, or its next number is another: read it again and rule on what it says now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutRecord:
    """What a rollout was started with; never changes."""

    id: str
    live: str
    """Name of the live experiment that mirrors and serves."""
    candidate: str
    fingerprint: str
    """Of the candidate's artefact: everything that decides what it answers."""
    configuration: Mapping[str, Json]
    started_at: datetime

    @property
    def configuration_sha256(self) -> str:
        """Hash of the configuration; the order of its keys does not matter."""
        return hashlib.sha256(_text(self.configuration).encode()).hexdigest()


def create(connection: sa.Connection, record: RolloutRecord, first: Event) -> None:
    """Enter a rollout together with the first event of its history.

    Raises:
        InputError: the live experiment has an active rollout, or the id is taken.
        EventRefusedError: the event is not the first of this rollout.
    """
    if (first.rollout_id, first.number, first.kind) != (record.id, 1, EventKind.STARTED):
        raise EventRefusedError(
            f"rollout {record.id}: a history begins with event 1 `started`, "
            f"not with event {first.number} `{first.kind}` of {first.rollout_id}"
        )
    if _is_there(connection, record, first):
        return
    if connection.dialect.name == "postgresql":
        # Two that start at once must not both find nothing active; SQLite has one writer anyway.
        connection.exec_driver_sql(f"LOCK TABLE {t.name} IN SHARE ROW EXCLUSIVE MODE")
    going = active(connection, record.live)
    if going is not None:
        raise InputError(f"rollout {going.id} of {record.live} is under way; abort it before another is started")
    if load(connection, record.id) is not None:
        raise InputError(f"there is a rollout {record.id} already; give the new one another id")
    connection.execute(
        sa.insert(t).values(
            rollout_id=record.id,
            live=record.live,
            candidate=record.candidate,
            fingerprint=record.fingerprint,
            configuration=_text(record.configuration),
            configuration_sha256=record.configuration_sha256,
            started_at=record.started_at,
        )
    )
    _insert(connection, first)


def append(connection: sa.Connection, event: Event) -> None:
    """Add the next event to a history.

    Raises:
        EventRefusedError: its number is taken, also by somebody who appends at the same moment, or is not the next.
        InputError: there is no such rollout.
    """
    if _repeats(connection, event):
        return
    last = connection.scalar(sa.select(sa.func.max(e.c.number)).where(e.c.rollout_id == event.rollout_id))
    if last is None:
        raise InputError(f"there is no rollout {event.rollout_id}; start it first")
    if event.number != last + 1:
        raise EventRefusedError(
            f"rollout {event.rollout_id}: event {event.number} does not follow event {last}; read its history again"
        )
    _insert(connection, event)


def _is_there(connection: sa.Connection, record: RolloutRecord, first: Event) -> bool:
    """Whether an earlier try of this very call has entered it, although the answer was lost."""
    if not _repeats(connection, first):
        return False
    there = load(connection, record.id)
    return there is not None and (there.configuration_sha256, there.started_at, there.live) == (
        record.configuration_sha256,
        record.started_at,
        record.live,
    )


def _repeats(connection: sa.Connection, event: Event) -> bool:
    if not connection.get_execution_options().get(AGAIN):
        return False
    statement = sa.select(e).where(e.c.rollout_id == event.rollout_id, e.c.number == event.number)
    row = connection.execute(statement).first()
    return row is not None and dict(row._mapping) == _row(event)


def load(connection: sa.Connection, rollout_id: str) -> RolloutRecord | None:
    """The rollout, or ``None``."""
    return _first(connection, sa.select(t).where(t.c.rollout_id == rollout_id))


def of_live(connection: sa.Connection, live: str) -> list[RolloutRecord]:
    """Every rollout of this live experiment, oldest first."""
    statement = sa.select(t).where(t.c.live == live).order_by(t.c.started_at, t.c.rollout_id)
    return [_record(row) for row in connection.execute(statement)]


def events(connection: sa.Connection, rollout_id: str) -> list[Event]:
    """The rollout's history, oldest first; empty when there is no such rollout."""
    statement = sa.select(e).where(e.c.rollout_id == rollout_id).order_by(e.c.number)
    return [_event(row) for row in connection.execute(statement)]


def active(connection: sa.Connection, live: str) -> RolloutRecord | None:
    """The rollout of this live experiment that has not ended."""
    ended = sa.select(e.c.rollout_id).where(e.c.kind.in_(_ENDS))
    return _first(connection, sa.select(t).where(t.c.live == live, t.c.rollout_id.not_in(ended)))


def latest(connection: sa.Connection, live: str) -> RolloutRecord | None:
    """The rollout of this live experiment that gateways follow: the active one, else the one that ended last."""
    going = active(connection, live)
    return going if going is not None else _last_ended(connection, t.c.live == live)


def last_ended(connection: sa.Connection, fingerprint: str) -> RolloutRecord | None:
    """The rollout of this candidate's artefact that ended last, on whatever live experiment."""
    return _last_ended(connection, t.c.fingerprint == fingerprint)


def _last_ended(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> RolloutRecord | None:
    statement = (
        sa.select(t)
        .join(e, e.c.rollout_id == t.c.rollout_id)
        .where(condition, e.c.kind.in_(_ENDS))
        .order_by(e.c.happened_at.desc(), t.c.started_at.desc(), t.c.rollout_id.desc())
    )
    return _first(connection, statement)


def _insert(connection: sa.Connection, event: Event) -> None:
    try:
        connection.execute(sa.insert(e).values(_row(event)))
    except IntegrityError as error:
        raise EventRefusedError(
            f"rollout {event.rollout_id}: somebody else has written event {event.number}; read its history again"
        ) from error


def _row(event: Event) -> dict[str, Any]:
    return {
        "rollout_id": event.rollout_id,
        "number": event.number,
        "kind": event.kind.value,
        "phase": event.phase,
        "happened_at": event.at,
        "actor": event.actor,
        "reason": event.reason,
        "evidence": _text(event.evidence),
    }


def _first(connection: sa.Connection, statement: sa.Select[Any]) -> RolloutRecord | None:
    row = connection.execute(statement.limit(1)).first()
    return None if row is None else _record(row)


def _record(row: Any) -> RolloutRecord:
    return RolloutRecord(
        id=row.rollout_id,
        live=row.live,
        candidate=row.candidate,
        fingerprint=row.fingerprint,
        configuration=json.loads(row.configuration),
        started_at=row.started_at,
    )


def _event(row: Any) -> Event:
    return Event(
        rollout_id=row.rollout_id,
        number=row.number,
        kind=EventKind(row.kind),
        phase=row.phase,
        at=row.happened_at,
        actor=row.actor,
        reason=row.reason,
        evidence=json.loads(row.evidence),
    )


def _text(value: Mapping[str, Json]) -> str:
    # ASCII, so that no text in it is one a column cannot hold.
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
