"""Bringing a store to the schema this version knows."""

from pathlib import Path

import sqlalchemy as sa

from harness.errors import InfrastructureError
from harness.store import partitions, tables
from harness.store.connection import Database

HEAD = "0008"
"""Revision of the newest migration, which is what ``tables`` describes."""
KNOWN = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", HEAD)
"""Every revision this version can open, oldest first."""

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x5AD0_11A2
"""Key of the advisory lock that lets one process at a time migrate a PostgreSQL store."""
_VERSIONS = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def ensure(database: Database) -> None:
    """Create or migrate the tables; a no-op, and one small query, on a current store.

    Raises:
        InfrastructureError: a newer version wrote the store, or the database holds something else.
    """
    if database.reading(revision) != HEAD:
        database.writing(_bring_up, database)


def _bring_up(connection: sa.Connection, database: Database) -> None:
    # The write transaction of SQLite keeps other processes out; PostgreSQL needs to be asked to.
    if not database.is_sqlite:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    found = revision(connection)
    if found == HEAD:
        return
    if found is not None and found not in KNOWN:
        raise InfrastructureError(
            f"store {database.label} was written by a newer version (schema {found}, this version knows {HEAD}); "
            "upgrade with `pip install -U shadow-harness` or name another store"
        )
    if found is None:
        create(connection)
    else:
        upgrade(connection)


def standing(database: Database) -> str | None:
    """The schema revision the store is at; ``None`` for an empty one.

    Raises:
        InfrastructureError: a newer version wrote it.
    """
    found = database.reading(revision)
    if found is not None and found not in KNOWN:
        raise InfrastructureError(
            f"store {database.label} was written by a newer version (schema {found}, this version knows {HEAD}); "
            "upgrade with `pip install -U shadow-harness`"
        )
    return found


def pending(found: str | None) -> list[str]:
    """The migrations between a revision and this version, oldest first."""
    return list(KNOWN if found is None else KNOWN[KNOWN.index(found) + 1 :])


def require(database: Database) -> None:
    """Refuse a store that is not at this version's schema, without changing it.

    Raises:
        InfrastructureError: another version wrote it, or nothing has been stored yet.
    """
    found = database.reading(revision)
    if found == HEAD:
        return
    if found is None:
        raise InfrastructureError(f"store {database.label} is empty; `harness run` or `harness worker` fills it")
    if found in KNOWN:
        raise InfrastructureError(
            f"store {database.label} is of an older version (schema {found}); `harness runs list` brings it up to date"
        )
    raise InfrastructureError(
        f"store {database.label} was written by a newer version (schema {found}, this version knows {HEAD}); "
        "upgrade with `pip install -U shadow-harness`"
    )


def revision(connection: sa.Connection) -> str | None:
    """The schema revision the store is at; ``None`` for an empty database."""
    if not sa.inspect(connection).has_table(_VERSIONS.name):
        return None
    version: str | None = connection.scalar(sa.select(_VERSIONS.c.version_num))
    return version


def create(connection: sa.Connection) -> None:
    """All tables at once in an empty database: the same as every migration in turn, without loading Alembic."""
    clash = set(sa.inspect(connection).get_table_names()) & set(tables.metadata.tables)
    if clash:
        raise InfrastructureError(
            f"the database already has a table {sorted(clash)[0]!r} that is not ours; "
            "give the store a database or schema of its own"
        )
    tables.metadata.create_all(connection)
    if connection.dialect.name == "postgresql":
        partitions.create_rest(connection)
    _VERSIONS.create(connection)
    connection.execute(sa.insert(_VERSIONS).values(version_num=HEAD))


def upgrade(connection: sa.Connection, target: str = "head") -> None:
    """Run the migrations from where the store stands, inside the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, target)
