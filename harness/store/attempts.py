"""The ledger of attempts: what every try of a candidate family may spend of the family's alpha.

It outlives the runs it names: deleting a run does not give its alpha back.
"""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from harness.domain.attempt import Attempt
from harness.store.tables import attempts as t


def begin(
    connection: sa.Connection,
    *,
    family: str,
    fingerprint: str,
    sequence: str,
    arm: str,
    run_id: str,
    alpha_of: Callable[[int], float],
    now: datetime,
) -> Attempt:
    """The attempt of this candidate on this traffic, entered as the family's next one when it is new."""
    if connection.dialect.name == "postgresql":
        # Two that begin at once must not take the same number; SQLite has one writer anyway.
        connection.exec_driver_sql(f"LOCK TABLE {t.name} IN SHARE ROW EXCLUSIVE MODE")
    found = _one(connection, family, fingerprint, sequence)
    if found is not None:
        return found
    taken = connection.scalar(sa.select(sa.func.max(t.c.number)).where(t.c.family == family)) or 0
    attempt = Attempt(
        family=family,
        fingerprint=fingerprint,
        sequence=sequence,
        number=taken + 1,
        arm=arm,
        run_id=run_id,
        alpha=alpha_of(taken + 1),
        begun_at=now,
    )
    connection.execute(sa.insert(t).values(**asdict(attempt)))
    return attempt


def record(connection: sa.Connection, attempt: Attempt, *, verdict: str, n_pairs: int, now: datetime) -> None:
    """What the attempt has come to so far."""
    connection.execute(
        sa.update(t)
        .where(
            t.c.family == attempt.family,
            t.c.fingerprint == attempt.fingerprint,
            t.c.sequence == attempt.sequence,
        )
        .values(verdict=verdict, n_pairs=n_pairs, decided_at=now)
    )


def load(connection: sa.Connection, family: str | None = None) -> list[Attempt]:
    """Every attempt, or those of one family, in the order in which they began."""
    statement = sa.select(t).order_by(t.c.family, t.c.number)
    if family is not None:
        statement = statement.where(t.c.family == family)
    return [_attempt(row) for row in connection.execute(statement)]


def _one(connection: sa.Connection, family: str, fingerprint: str, sequence: str) -> Attempt | None:
    statement = sa.select(t).where(t.c.family == family, t.c.fingerprint == fingerprint, t.c.sequence == sequence)
    row = connection.execute(statement).first()
    return _attempt(row) if row is not None else None


def _attempt(row: Any) -> Attempt:
    return Attempt(**{column.name: getattr(row, column.name) for column in t.columns})
