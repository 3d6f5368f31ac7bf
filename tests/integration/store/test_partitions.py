"""Partitions of runs on PostgreSQL: made, used, dropped; and stores from before there were any."""

from typing import Any

import pytest
import sqlalchemy as sa

from harness.store import Store, partitions, schema, tables
from harness.store.connection import Database
from harness.testing import exchange, observation

_numbers = iter(range(1_000))


@pytest.fixture
def url(postgres: Any) -> str:
    name = f"parts_{next(_numbers)}"
    postgres.psql(f"CREATE SCHEMA {name};")
    return f"{postgres.get_uri()}&options=-csearch_path%3D{name}"


def ingest(store: Store, run: str, n: int = 30) -> None:
    store.put_exchanges(run, [(exchange(id=f"e{i:03}"), float(i)) for i in range(n)])


def rows_in(store: Store, name: str) -> int:
    with store._database.engine.connect() as connection:
        return connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one()  # noqa: S608


def names(store: Store) -> set[str]:
    with store._database.engine.connect() as connection:
        return {name for name in sa.inspect(connection).get_table_names() if "_p" in name or name.endswith("_rest")}


def test_a_run_has_its_own_and_gives_them_back(url: str) -> None:
    strange = "it's a :run — " + "x" * 100
    with Store.open(url) as store:
        nothing = names(store)
        ingest(store, strange)
        ingest(store, "other")
        for table in (tables.exchanges, tables.observation_bodies):
            assert rows_in(store, partitions.name(table, strange)) == 30
            assert rows_in(store, partitions.rest(table)) == 0
        store.delete_run(strange)
        assert store.count_exchanges(strange) == 0
        assert store.count_exchanges("other") == 30
        ingest(store, strange)
        assert rows_in(store, partitions.name(tables.exchanges, strange)) == 30
        store.delete_run(strange)
        store.delete_run("other")
        assert names(store) == nothing


def test_a_run_that_is_read_meanwhile_is_emptied_all_the_same(url: str) -> None:
    with Store.open(url) as store, Store.open(url) as other:
        ingest(store, "r1")
        ingest(store, "r2")
        with other._database.engine.connect() as connection:
            connection.execute(sa.select(tables.exchanges).where(tables.exchanges.c.run_id == "r2")).all()
            store.delete_run("r1")
        assert store.count_exchanges("r1") == 0
        # Its partitions were left, since somebody read the tables; the run may come back to them.
        ingest(store, "r1")
        assert store.count_exchanges("r1") == rows_in(store, partitions.name(tables.exchanges, "r1")) == 30


def test_rows_are_kept_wherever_they_are(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(url) as store:
        monkeypatch.setattr(partitions, "MOST_RUNS", 0)
        ingest(store, "r1")
        assert rows_in(store, partitions.rest(tables.exchanges)) == 30
        monkeypatch.undo()
    with Store.open(url) as store:
        # There is room now, and its rows stay together.
        store.put_observations("r1", [observation("ok", arm="a", exchange_id=f"e{i:03}") for i in range(30)])
        assert rows_in(store, partitions.rest(tables.observations)) == 60
        assert [found.id for found in store.exchanges("r1")] == [f"e{i:03}" for i in range(30)]
        store.delete_run("r1")
        assert rows_in(store, partitions.rest(tables.exchanges)) == 0


def test_a_store_from_before_keeps_what_it_has(url: str) -> None:
    database = Database(url)
    run_ids = ["r1", "it's: r2"]
    with database.engine.begin() as connection:
        schema.upgrade(connection, "0005")
        for table in (tables.exchanges, tables.exchange_bodies):
            for run_id in run_ids:
                row = {
                    "run_id": run_id, "exchange_id": "e000", "position": 0.0, "cluster": "c", "model": "m",
                    "n_messages": 1, "n_turns": 1, "has_tools": False, "prompt_chars": 3, "body_bytes": 2, "body": b"x",
                }  # fmt: skip
                connection.execute(sa.insert(table), [{key: value for key, value in row.items() if key in table.c}])
    database.close()
    with Store.open(url) as store:
        assert [store.count_exchanges(run_id) for run_id in run_ids] == [1, 1]
        # The old runs go on where they are, also in tables that had nothing of them; new ones get their own.
        for run_id in [*run_ids, "new"]:
            ingest(store, run_id)
            assert [found.id for found in store.exchanges(run_id)] == [f"e{i:03}" for i in range(30)]
        assert rows_in(store, "exchanges_before") == 60
        assert rows_in(store, partitions.rest(tables.observations)) == 60
        assert rows_in(store, partitions.name(tables.exchanges, "new")) == 30
        for run_id in run_ids:
            store.delete_run(run_id)
            assert store.count_exchanges(run_id) == 0
            ingest(store, run_id)
            assert store.count_exchanges(run_id) == 30
        assert store.count_exchanges("new") == 30


def test_pages_look_into_the_run_alone_and_by_its_index(url: str) -> None:
    from harness.domain.judgment import Order
    from harness.store import exchanges, judgments, paging
    from harness.store.tables import exchanges as e

    with Store.open(url) as store:
        for run in ("r1", "r2"):
            ingest(store, run, 600)
            asked = [observation("ok", arm="a", exchange_id=f"e{i:03}") for i in range(600)]
            store.put_observations(run, asked)
        statements = (
            exchanges.pending("r1", "a", "f1", retry_setup_errors=True, retry_errors=False),
            judgments.pending("r1", "a", "f1", judge_fingerprint="j", orders=[Order.NONE], retry_errors=True),
        )
        for statement in statements:
            page = statement.order_by(e.c.position, e.c.exchange_id).limit(100)
            with store._database.engine.connect() as connection:
                connection.execute(paging._IN_ORDER)
                sql = page.compile(connection, compile_kwargs={"literal_binds": True})
                plan = "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {sql}"))
            own = partitions.name(tables.exchanges, "r1").removeprefix("exchanges")
            assert "Seq Scan" not in plan, plan
            assert "Sort" not in plan, plan
            scanned = [line for line in plan.splitlines() if " Scan " in line and "_p" in line]
            assert scanned, plan
            assert all(own in line for line in scanned), plan
            assert "_rest" not in plan, plan
