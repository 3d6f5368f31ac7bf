"""What is waited for, how long, and what is not."""

import time

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from harness.errors import ConfigurationError
from harness.store import Store
from harness.store.patience import Patience, is_conflict, is_lost


def failed(orig: Exception) -> DBAPIError:
    found = DBAPIError.instance(None, None, orig, psycopg.Error)
    assert isinstance(found, DBAPIError)
    return found


@pytest.mark.parametrize(
    ("orig", "lost", "conflict"),
    [
        (psycopg.errors.AdminShutdown("terminating connection"), True, False),
        (psycopg.errors.CrashShutdown("crash of another process"), True, False),
        (psycopg.errors.CannotConnectNow("starting up"), True, False),
        (psycopg.errors.ConnectionFailure("gone"), True, False),
        (psycopg.errors.TooManyConnections("too many"), True, False),
        (psycopg.OperationalError("server closed the connection unexpectedly"), True, False),
        (psycopg.OperationalError('connection failed: FATAL:  password authentication failed'), False, False),
        (psycopg.OperationalError("connection failed: FATAL:  the database system is in recovery mode"), True, False),
        (psycopg.errors.SerializationFailure("again"), False, True),
        (psycopg.errors.DeadlockDetected("again"), False, True),
        (psycopg.errors.DiskFull("no space"), False, False),
        (psycopg.errors.UniqueViolation("there"), False, False),
        (psycopg.errors.UndefinedTable("none"), False, False),
    ],
)  # fmt: skip
def test_what_passes(orig: Exception, lost: bool, conflict: bool) -> None:
    assert (is_lost(failed(orig)), is_conflict(failed(orig))) == (lost, conflict)


def test_a_file_is_not_waited_for(tmp_path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}")
    with pytest.raises(OperationalError) as found:
        engine.connect()
    assert not is_lost(found.value)


def test_a_transaction_is_run_again_and_told_so() -> None:
    told: list[bool] = []

    def transaction(again: bool) -> str:
        told.append(again)
        if len(told) < 3:
            raise failed(psycopg.errors.AdminShutdown("down"))
        return "done"

    assert Patience(label="s", seconds=30).run(transaction) == "done"
    assert told == [False, True, True]


def test_without_patience_only_conflicts_are_run_again() -> None:
    told: list[bool] = []

    def lost(again: bool) -> None:
        told.append(again)
        raise failed(psycopg.errors.AdminShutdown("down"))

    def in_the_way(again: bool) -> str:
        told.append(again)
        if not again:
            raise failed(psycopg.errors.DeadlockDetected("again"))
        return "done"

    with pytest.raises(OperationalError):
        Patience(label="s", seconds=0).run(lost)
    assert told == [False]
    assert Patience(label="s", seconds=0).run(in_the_way) == "done"
    assert told == [False, False, True]


def test_conflicts_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.store.patience._LONGEST_WAIT_S", 0.01)
    told: list[bool] = []

    def in_the_way(again: bool) -> None:
        told.append(again)
        raise failed(psycopg.errors.DeadlockDetected("again"))

    with pytest.raises(OperationalError):
        Patience(label="s", seconds=0).run(in_the_way)
    assert len(told) == 8


def test_who_gives_up_does_not_wait_for_the_end_of_its_time() -> None:
    patience = Patience(label="s", seconds=600)

    def lost(again: bool) -> None:
        if again:
            patience.given_up.set()
        raise failed(psycopg.errors.AdminShutdown("down"))

    begin = time.monotonic()
    with pytest.raises(OperationalError):
        patience.run(lost)
    assert time.monotonic() - begin < 60


def test_what_is_wrong_is_not_tried_again() -> None:
    told: list[bool] = []

    def wrong(again: bool) -> None:
        told.append(again)
        raise failed(psycopg.errors.UniqueViolation("there"))

    with pytest.raises(IntegrityError):
        Patience(label="s", seconds=30).run(wrong)
    assert told == [False]


def test_how_statements_are_prepared_is_said_in_the_address() -> None:
    with pytest.raises(ConfigurationError, match="prepare_threshold is a number or `none`"):
        Store.open("postgresql://u@127.0.0.1:1/db?prepare_threshold=never")
