"""Who controls a rollout, whether it was halted, and what has been done about its events."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from harness.errors import InputError
from harness.store.tables import rollout_actions as a
from harness.store.tables import rollout_control as t


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutControl:
    """Who acts on a rollout, and whether production already serves everybody whatever its history says."""

    rollout_id: str
    holder: str | None = None
    """The controller that holds it; ``None`` when it was let go, or never held."""
    held_until: datetime | None = None
    """End of the last lease; letting go leaves it, so that the next controller has that long to come."""
    halted_at: datetime | None = None
    halted_reason: str | None = None

    @property
    def is_halted(self) -> bool:
        """Whether users get production: a roll back is routed before it is recorded."""
        return self.halted_at is not None

    def is_attended(self, now: datetime) -> bool:
        """Whether a controller has looked after it within its lease."""
        return self.held_until is not None and now <= self.held_until


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutAction:
    """Something that is done once about one event of a rollout, such as a hook or an alert."""

    rollout_id: str
    number: int
    """Of the event."""
    name: str
    begun_at: datetime
    """When it was first begun; one that was begun and is not done may or may not have had its effect."""
    done_at: datetime | None = None
    outcome: str | None = None


def claim(connection: sa.Connection, rollout_id: str, holder: str, *, now: datetime, lease_s: float) -> bool:
    """Take the rollout, or hold it for longer, unless another's lease has not run out; one statement, so atomic."""
    insert = _insert(connection, t).values(
        rollout_id=rollout_id, holder=holder, held_until=now + timedelta(seconds=lease_s)
    )
    claimed = insert.on_conflict_do_update(
        index_elements=[t.c.rollout_id],
        set_={"holder": insert.excluded.holder, "held_until": insert.excluded.held_until},
        where=sa.or_(t.c.holder.is_(None), t.c.holder == insert.excluded.holder, t.c.held_until < now),
    )
    return connection.execute(claimed.returning(t.c.rollout_id)).first() is not None


def release(connection: sa.Connection, rollout_id: str, holder: str) -> None:
    """Let go of the rollout when it is this one that holds it."""
    connection.execute(sa.update(t).where(t.c.rollout_id == rollout_id, t.c.holder == holder).values(holder=None))


def halt(connection: sa.Connection, rollout_id: str, reason: str, *, now: datetime) -> None:
    """Halt the rollout for good; of several the first stays."""
    insert = _insert(connection, t).values(rollout_id=rollout_id, halted_at=now, halted_reason=reason)
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=[t.c.rollout_id],
            set_={"halted_at": insert.excluded.halted_at, "halted_reason": insert.excluded.halted_reason},
            where=t.c.halted_at.is_(None),
        )
    )


def load(connection: sa.Connection, rollout_id: str) -> RolloutControl:
    """Who holds the rollout and whether it was halted; nobody and not where nothing is known."""
    row = connection.execute(sa.select(t).where(t.c.rollout_id == rollout_id)).first()
    return RolloutControl(rollout_id=rollout_id) if row is None else RolloutControl(**_fields(row, t))


def begin(connection: sa.Connection, rollout_id: str, number: int, name: str, *, now: datetime) -> RolloutAction | None:
    """Enter the action unless it was entered before; ``None`` when it is done."""
    insert = _insert(connection, a).values(rollout_id=rollout_id, number=number, name=name, begun_at=now)
    connection.execute(insert.on_conflict_do_nothing())
    row = connection.execute(sa.select(a).where(_is(rollout_id, number, name))).one()
    return RolloutAction(**_fields(row, a)) if row.done_at is None else None


def finish(connection: sa.Connection, rollout_id: str, number: int, name: str, outcome: str, *, now: datetime) -> None:
    """Note that the action is done; what was noted first stays.

    Raises:
        InputError: it was never begun.
    """
    known = connection.scalar(sa.select(sa.func.count()).select_from(a).where(_is(rollout_id, number, name)))
    if not known:
        raise InputError(f"rollout {rollout_id}: {name} about event {number} was never begun")
    unfinished = sa.update(a).where(_is(rollout_id, number, name), a.c.done_at.is_(None))
    connection.execute(unfinished.values(done_at=now, outcome=outcome))


def actions(connection: sa.Connection, rollout_id: str) -> list[RolloutAction]:
    """Everything that was begun about the rollout, by event, in the order in which it was begun."""
    statement = sa.select(a).where(a.c.rollout_id == rollout_id).order_by(a.c.number, a.c.begun_at, a.c.name)
    return [RolloutAction(**_fields(row, a)) for row in connection.execute(statement)]


def _is(rollout_id: str, number: int, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(a.c.rollout_id == rollout_id, a.c.number == number, a.c.name == name)


def _insert(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def _fields(row: Any, table: sa.Table) -> dict[str, Any]:
    return {column.name: getattr(row, column.name) for column in table.columns}
