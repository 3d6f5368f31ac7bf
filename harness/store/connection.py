"""From a store URL to a SQLAlchemy engine, with short transactions that name the store when they fail."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
import tenacity
from sqlalchemy.exc import ArgumentError, DataError, SQLAlchemyError

from harness.errors import ConfigurationError, InfrastructureError
from harness.store import partitions
from harness.store.patience import Patience

P = ParamSpec("P")
T = TypeVar("T")
AGAIN = "harness_again"
"""Option of a connection: whether an earlier try of this transaction may have been committed unnoticed."""
_BUSY_TIMEOUT_MS = 30_000
_FIRST_ANALYZE = 500
_SAME_STATE_TRIES = 20
_TOUCH = "SELECT count(*) FROM sqlite_master"
DAMAGED = (
    "the file is damaged: stop every writer, keep it, check the disk, and put a backup in its place "
    "(`harness db restore FILE --overwrite`)"
)
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_DATA_STATES = ("22", "54")
"""Classes of SQLSTATE that blame the rows: data exceptions, and limits such as that of a row of an index."""


class DataRefusedError(InfrastructureError):
    """The database works, and does not take these rows, however often they are offered."""


class Database:
    """An engine and its transactions; safe to share between threads."""

    def __init__(self, url: str, *, create: bool = True, read_only: bool = False, patience_s: float = 0.0) -> None:
        parsed = parse(url)
        self.label = shown(url)
        """The URL as it may be shown: no password."""
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite:
            _prepare_file(parsed, create=create)
        self.engine = _engine(parsed)
        if read_only:
            sa.event.listen(self.engine, "connect", _on_connect_to_read)
        # SQLite has one writer at a time: waiting here is fair, waiting in SQLite is a poll with sleeps.
        self._writer = threading.Lock() if self.is_sqlite else None
        self._patience = Patience(label=self.label, seconds=patience_s)
        self._written: dict[str, int] = {}
        self._analyze_at: dict[str, int] = {}
        self._partitioned: set[str] = set()

    def reading(self, work: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``work`` finds in one transaction, in one consistent state; run again while the database is away.

        Raises:
            InfrastructureError: the database refused, or stayed away.
        """

        def once(_again: bool) -> T:
            with self._transaction(write=False) as connection:
                return work(connection, *args, **kwargs)

        return self._patiently(once)

    def reading_twice(
        self, work: Callable[Concatenate[sa.Connection, sa.Connection | None, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As :meth:`reading`, with a second connection that sees the same rows, for another thread.

        It is ``None`` where others write so fast that no two transactions on SQLite begin at the same state.
        """

        def once(_again: bool) -> T:
            with self._transaction(write=False) as first:
                if self.is_sqlite:
                    return self._beside(first, work, *args, **kwargs)
                snapshot = first.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
                with self._transaction(write=False) as second:
                    # The server's own word, of hexadecimal digits and hyphens.
                    second.exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
                    return work(first, second, *args, **kwargs)

        return self._patiently(once)

    def _beside(
        self,
        first: sa.Connection,
        work: Callable[Concatenate[sa.Connection, sa.Connection | None, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        with self.engine.connect() as watch:
            # A transaction sees what is there when it first reads. Nobody committed between two equal versions.
            state: Any = watch.connection.cursor()
            for _ in range(_SAME_STATE_TRIES):
                version = state.execute("PRAGMA data_version").fetchone()
                first.exec_driver_sql("COMMIT")
                first.exec_driver_sql("BEGIN")
                first.exec_driver_sql(_TOUCH)
                with self._transaction(write=False) as second:
                    second.exec_driver_sql(_TOUCH)
                    if state.execute("PRAGMA data_version").fetchone() == version:
                        return work(first, second, *args, **kwargs)
        return work(first, None, *args, **kwargs)

    def writing(self, work: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``work`` gives, done in one transaction as a whole or not at all; run again while the database is away.

        ``work`` has to be idempotent: a commit that was not answered may have taken place. Where it is not by its
        keys, the connection's option ``AGAIN`` tells a repetition from a first try.

        Raises:
            DataRefusedError: the database cannot hold what was written.
            InfrastructureError: the database refused, or stayed away.
        """

        def once(again: bool) -> T:
            with self._locked(), self._transaction(write=True, again=again) as connection:
                return work(connection, *args, **kwargs)

        return self._patiently(once)

    def _patiently(self, once: Callable[[bool], T]) -> T:
        try:
            return self._patience.run(once)
        except (SQLAlchemyError, OverflowError) as error:
            raise self.failure(error) from error

    def _locked(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._writer is None else self._writer

    @contextmanager
    def _transaction(self, *, write: bool, again: bool = False) -> Iterator[sa.Connection]:
        with self.engine.connect() as connection:
            if write:
                connection = connection.execution_options(harness_write=True, **{AGAIN: again})
            elif not self.is_sqlite:
                # One snapshot for all statements of a read, as SQLite gives it unasked.
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    def make_room(self, run_id: str) -> None:
        """Give the run partitions of its own on PostgreSQL, before its first rows are written."""
        if not self.is_sqlite and run_id not in self._partitioned:
            self.writing(partitions.ensure, run_id)
            self._partitioned.add(run_id)

    def forget(self, run_id: str) -> None:
        """Note that the run was removed."""
        self._partitioned.discard(run_id)
        self._written.pop(run_id, None)
        self._analyze_at.pop(run_id, None)

    def wrote(self, n_rows: int, run_id: str = "") -> None:
        """Note that rows were committed, and have PostgreSQL look at the run's tables once they have doubled.

        Its own housekeeping comes a minute late, and until then it takes the tables for empty and joins them row by
        row with row. Only the run's own partitions are looked at, in samples of fixed size: what that costs does not
        grow with the store. Rows of no run are in tables without partitions.
        """
        if self.is_sqlite:
            return
        written = self._written[run_id] = self._written.get(run_id, 0) + n_rows
        if written >= self._analyze_at.get(run_id, _FIRST_ANALYZE):
            self._analyze_at[run_id] = 2 * written
            # What was written is there, whether or not this succeeds.
            with suppress(InfrastructureError):
                self.writing(partitions.analyze, run_id)

    def failure(self, error: SQLAlchemyError | OverflowError) -> InfrastructureError:
        """What the user is told; the driver's own words without statement, parameters or password."""
        if _blames_rows(error):
            # Not the driver's words: they may hold what was written.
            return DataRefusedError(f"store {self.label}: it cannot hold what was written ({_sort(error)})")
        words = " ".join(str(getattr(error, "orig", None) or error).split())
        if "no such table" in words or "does not exist" in words:
            hint = "the store's tables are missing; restore it from a backup or name a new store"
        elif is_damage(getattr(error, "orig", None)):
            hint = DAMAGED
        elif "disk" in words or "space" in words or "readonly" in words or "read-only" in words:
            hint = "make room or make it writable and run the same command again; finished work is kept"
        elif "locked" in words:
            hint = "another process holds the store; wait for it and run the same command again"
        else:
            hint = "check that the store is reachable and run the same command again; finished work is kept"
        return InfrastructureError(f"store {self.label}: {words[:500]}; {hint}")

    def give_up(self) -> None:
        """Wait no longer for a server that is away."""
        self._patience.given_up.set()

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def is_damage(error: BaseException | None) -> bool:
    """Whether SQLite says that a file is not, or no longer, one of its own."""
    # The extended codes tell where; the first byte what.
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def _blames_rows(error: SQLAlchemyError | OverflowError) -> bool:
    # SQLite's driver refuses integers above 64 bits with Python's own error.
    if isinstance(error, OverflowError | DataError):
        return True
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return isinstance(state, str) and state.startswith(_DATA_STATES)


def _sort(error: SQLAlchemyError | OverflowError) -> str:
    return type(getattr(error, "orig", None) or error).__name__


def parse(url: str) -> sa.URL:
    """A store URL with the driver we ship.

    Raises:
        ConfigurationError: neither a SQLite file nor PostgreSQL.
    """
    # Never echo the URL: what is wrong with it may be that it holds a password in an odd place.
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            "the store URL cannot be read; write sqlite:///path/to/file.db or postgresql://user@host/database"
        ) from None
    backend = parsed.get_backend_name()
    if backend in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ConfigurationError(f"a store is sqlite:///path or postgresql://..., not {backend}://")
    if not parsed.database or parsed.database == ":memory:":
        raise ConfigurationError("a store has to outlive the process: name a file, as in sqlite:///runs/harness.db")
    return parsed.set(drivername="sqlite+pysqlite")


def shown(url: str) -> str:
    """A store URL as it may be shown: as people write it, without a password.

    Raises:
        ConfigurationError: neither a SQLite file nor PostgreSQL.
    """
    parsed = parse(url)
    return parsed.set(drivername=parsed.get_backend_name()).render_as_string(hide_password=True)


def _prepare_file(url: sa.URL, *, create: bool) -> None:
    path = Path(str(url.database))
    if not create and not path.is_file():
        raise InfrastructureError(f"store {path} does not exist; `harness run` or `harness ingest` creates it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InfrastructureError(f"store {path}: the folder cannot be made ({error.strerror})") from error


def _engine(url: sa.URL) -> sa.Engine:
    options: dict[str, Any] = {"hide_parameters": True}
    if url.get_backend_name() == "postgresql":
        try:
            engine = sa.create_engine(url.difference_update_query(["prepare_threshold"]), **_pooled(url), **options)
        except ModuleNotFoundError as error:
            raise ConfigurationError("PostgreSQL needs psycopg: pip install 'shadow-harness[postgres]'") from error
        sa.event.listen(engine, "connect", _on_postgresql_connect)
        return engine
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000}, **options)
    sa.event.listen(engine, "connect", _on_sqlite_connect)
    sa.event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def _pooled(url: sa.URL) -> dict[str, Any]:
    """How connections are made and kept; ``prepare_threshold=none`` in the URL is for poolers between transactions."""
    arguments: dict[str, Any] = {"connect_timeout": 10}
    threshold = url.query.get("prepare_threshold")
    if threshold is not None:
        try:
            arguments["prepare_threshold"] = None if threshold == "none" else int(str(threshold))
        except ValueError:
            raise ConfigurationError(f"prepare_threshold is a number or `none`, not {threshold!r}") from None
    # Threads of one process wait for each other rather than take all that the server has: 15 at most.
    return {"pool_pre_ping": True, "pool_size": 5, "max_overflow": 10, "connect_args": arguments}


def _on_postgresql_connect(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # A generic plan is one for all partitions: it locks each of them, and looks at none by its run.
    cursor.execute("SET plan_cache_mode = force_custom_plan")
    # Compiling takes longer than most of what we ask, and is decided by estimates of the worst case.
    cursor.execute("SET jit = off")
    connection.commit()
    cursor.close()


def _on_sqlite_connect(connection: Any, _record: Any) -> None:
    # The driver's own implicit BEGIN would start writes as reads, and two of those upgrading at once fail.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
    _use_wal(cursor)
    for pragma in (
        # In WAL mode a crash of the process loses nothing at NORMAL; a power cut may lose the last commits, never
        # the file, and those calls are simply made again.
        "synchronous=NORMAL",
        "cache_size=-65536",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


@tenacity.retry(
    retry=tenacity.retry_if_exception_message(match=".*locked"),
    wait=tenacity.wait_random(0.002, 0.02),
    stop=tenacity.stop_after_delay(_BUSY_TIMEOUT_MS / 1000),
    reraise=True,
)
def _use_wal(cursor: sqlite3.Cursor) -> None:
    # Of several that open a new file at once one changes its mode; the others are refused at once, whatever the
    # timeout says, because each of them holds the lock that the one waits for.
    cursor.execute("PRAGMA journal_mode=WAL")


def _on_connect_to_read(connection: Any, _record: Any) -> None:
    """Have the database itself refuse to write, whatever it is asked."""
    cursor = connection.cursor()
    if hasattr(connection, "pgconn"):
        cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        connection.commit()
    else:
        cursor.execute("PRAGMA query_only=1")
    cursor.close()


def _on_sqlite_begin(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("harness_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
