"""Copies of a SQLite store: taken while others write, and put back.

PostgreSQL brings its own tools for both, which docs/operations.md shows.
"""

import itertools
import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigurationError, InfrastructureError
from harness.store import schema
from harness.store.connection import DAMAGED, Database, is_damage, parse
from harness.store.sizes import path_of


def backup(database: Database, to: Path) -> int:
    """Copy the store as it is at one moment, check the copy, and return its size in bytes.

    Writers go on meanwhile. The file appears under its name once it is whole and on the disk.

    Raises:
        ConfigurationError: the store is no file, or ``to`` exists.
        InfrastructureError: the copy cannot be written, or is damaged because the store is.
    """
    if not database.is_sqlite:
        raise ConfigurationError(
            "a store on PostgreSQL is backed up with its own tools: "
            f"pg_dump --format=custom --file={to} DATABASE; docs/operations.md says more"
        )
    if to.exists():
        raise ConfigurationError(f"{to} exists; a backup is never written over another file")
    scratch = to.with_name(f".{to.name}.tmp")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        scratch.unlink(missing_ok=True)
        with (
            closing(sqlite3.connect(path_of(database), timeout=30)) as source,
            closing(sqlite3.connect(scratch)) as copy,
        ):
            # In one step: step by step it would begin again whenever somebody has written.
            source.backup(copy, pages=-1)
            # Not WAL: the copy is one file, wherever it is taken.
            copy.execute("PRAGMA journal_mode=DELETE")
            _check(copy, database.label)
        with scratch.open("rb+") as file:
            os.fsync(file.fileno())
        size = scratch.stat().st_size
        scratch.replace(to)
    except (OSError, sqlite3.Error) as error:
        if is_damage(error):
            raise InfrastructureError(f"store {database.label}: {error}; {DAMAGED}") from error
        raise InfrastructureError(f"{to} cannot be written ({error}); make room and take it again") from error
    finally:
        scratch.unlink(missing_ok=True)
    return size


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """A store that is what a backup holds."""

    revision: str
    """The backup's schema."""
    aside: Path | None = None
    """Where the file is that was there, when it was too damaged to be written to."""


def restore(source: Path, url: str, *, overwrite: bool = False) -> Restored:
    """Make the store at ``url`` what the backup holds.

    One transaction: who has the store open sees all of the old or all of the new. A file that is too damaged for that
    is moved aside, and who has it open has to open the store again.

    Raises:
        ConfigurationError: not a SQLite store, or it exists and was not to be replaced.
        InfrastructureError: the backup is damaged, no store, or of a newer version; or the store cannot be written.
    """
    parsed = parse(url)
    if parsed.get_backend_name() != "sqlite":
        raise ConfigurationError(
            "a store on PostgreSQL is restored with its own tools: "
            f"pg_restore --clean --if-exists --dbname=DATABASE {source}; docs/operations.md says more"
        )
    target = Path(str(parsed.database))
    if not source.is_file():
        raise ConfigurationError(f"{source}: no such file")
    if target.exists() and not overwrite:
        raise ConfigurationError(f"store {target} exists; add --overwrite to lose what it holds, or name another store")
    try:
        with closing(sqlite3.connect(f"file:{source.resolve()}?mode=ro", uri=True)) as copy:
            found = _check(copy, str(source))
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = None
            try:
                _put(copy, target)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                aside = _instead(copy, target)
    except (OSError, sqlite3.Error) as error:
        raise InfrastructureError(
            f"store {target} cannot be restored from {source} ({error}); is it a backup, and is the store at rest?"
        ) from error
    return Restored(revision=found, aside=aside)


def _put(copy: sqlite3.Connection, target: Path) -> None:
    with closing(sqlite3.connect(target, timeout=30)) as opened:
        copy.backup(opened, pages=-1)


def _instead(copy: sqlite3.Connection, target: Path) -> Path:
    """Make the copy in place of a damaged file; returns where that is now."""
    fresh = target.with_name(f".{target.name}.tmp")
    aside = next(
        path for n in itertools.count(1) if not (path := target.with_name(f"{target.name}.damaged-{n}")).exists()
    )
    try:
        fresh.unlink(missing_ok=True)
        _put(copy, fresh)
        # What is in the log belongs to the old file, and must never be read into the new one.
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{target}{suffix}").replace(f"{aside}{suffix}")
        target.rename(aside)
        fresh.rename(target)
    finally:
        fresh.unlink(missing_ok=True)
    return aside


def _check(copy: sqlite3.Connection, name: str) -> str:
    """Refuse a file that is damaged or no store of ours; returns its revision."""
    damage = [row[0] for row in copy.execute("PRAGMA quick_check(3)")]
    if damage != ["ok"]:
        raise InfrastructureError(f"{name} is damaged ({'; '.join(damage)}); `harness db check` says what of it")
    try:
        found = copy.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        found = None
    if found is None:
        raise InfrastructureError(f"{name} holds no store of shadow-harness")
    if found[0] not in schema.KNOWN:
        raise InfrastructureError(
            f"{name} is of a newer version (schema {found[0]}, this version knows {schema.HEAD}); "
            "upgrade with `pip install -U shadow-harness`"
        )
    return str(found[0])
