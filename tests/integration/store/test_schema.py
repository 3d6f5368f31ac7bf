"""Opening a store: new, current, old, newer, several at once."""

import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import harness
from harness.errors import InfrastructureError
from harness.store import Store, schema, tables
from harness.store.connection import Database
from harness.testing import exchange


def structure(connection: sa.Connection) -> Mapping[str, Any]:
    """Everything the database knows about our tables."""
    if connection.dialect.name == "sqlite":
        found = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {name: "".join(sql.split()).replace('"', "") for name, sql in found}
    columns = connection.exec_driver_sql(
        "SELECT table_name, column_name, data_type, collation_name, is_nullable, numeric_precision, ordinal_position"
        " FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY 1, 2"
    ).all()
    indexes = connection.exec_driver_sql(
        "SELECT replace(indexdef, current_schema() || '.', '') FROM pg_indexes"
        " WHERE schemaname = current_schema() ORDER BY 1"
    ).all()
    return {"columns": columns, "indexes": indexes}


def test_migrations_and_tables_give_the_same_schema(store_url: str) -> None:
    database = Database(store_url)
    with database.engine.begin() as connection:
        schema.create(connection)
        created = structure(connection)
        connection.exec_driver_sql("DROP TABLE alembic_version")
        tables.metadata.drop_all(connection)
    with database.engine.begin() as connection:
        schema.upgrade(connection)
        assert structure(connection) == created
        assert schema.revision(connection) == schema.HEAD
    database.close()


def test_every_migration_is_known_and_the_last_is_the_head() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    revisions = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(revisions)) == schema.KNOWN
    assert revisions[0] == schema.HEAD


def test_a_store_that_alembic_made_is_used_as_it_is(store_url: str) -> None:
    database = Database(store_url)
    with database.engine.begin() as connection:
        schema.upgrade(connection)
    database.close()
    with Store.open(store_url) as store:
        store.put_exchanges("r1", [(exchange(), 0.0)])
        assert store.count_exchanges("r1") == 1


def test_a_failed_migration_leaves_the_store_as_it_was(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(connection: sa.Connection) -> None:
        tables.metadata.create_all(connection)
        raise InfrastructureError("half way")

    monkeypatch.setattr(schema, "create", broken)
    with pytest.raises(InfrastructureError, match="half way"):
        Store.open(store_url)
    monkeypatch.undo()
    with Store.open(store_url) as store:
        assert store.runs() == []


def test_a_newer_store_is_left_alone_and_says_what_to_do(store_url: str) -> None:
    Store.open(store_url).close()
    database = Database(store_url)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(InfrastructureError, match=r"newer version.*9999.*pip install -U"):
        Store.open(store_url)
    with database.engine.connect() as connection:
        assert schema.revision(connection) == "9999"
    database.close()


def test_somebody_elses_tables_are_left_alone(store_url: str) -> None:
    database = Database(store_url)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE runs (id int)")
    with pytest.raises(InfrastructureError, match="a table 'runs' that is not ours"):
        Store.open(store_url)
    database.close()


def test_a_new_store_can_be_opened_by_many_at_once(store_url: str) -> None:
    problems: list[BaseException] = []
    start = threading.Barrier(6)

    def open_and_write(number: int) -> None:
        try:
            start.wait()
            with Store.open(store_url) as store:
                store.put_exchanges("r1", [(exchange(id=f"e{number}"), 0.0)])
        except BaseException as error:  # noqa: BLE001  reported below, in the main thread
            problems.append(error)

    threads = [threading.Thread(target=open_and_write, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with Store.open(store_url) as store:
        assert store.count_exchanges("r1") == 6


def test_processes_that_open_a_new_store_at_once_make_it_once(store_url: str) -> None:
    script = "import sys; from harness.store import Store; Store.open(sys.argv[1]).close()"
    root = Path(harness.__file__).parents[1]
    processes = [
        subprocess.Popen([sys.executable, "-c", script, store_url], cwd=root, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.communicate(timeout=120)[1] for process in processes] == [""] * 3
    assert [process.returncode for process in processes] == [0] * 3


def test_opening_a_store_does_not_load_alembic_or_pandas(store_url: str) -> None:
    script = (
        "import sys; from harness.store import Store; Store.open(sys.argv[1]).close();"
        "print(sorted({'alembic', 'pandas', 'numpy', 'litellm', 'torch'} & set(sys.modules)))"
    )
    root = Path(harness.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", script, store_url], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
