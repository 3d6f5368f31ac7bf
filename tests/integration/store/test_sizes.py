"""What a store takes, and gives back."""

import random
import shutil
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.domain.exchange import ChatRequest
from harness.domain.reduction import Reduced, Why
from harness.errors import InfrastructureError
from harness.store import Store, sizes, tables
from harness.store.retention import Selection
from harness.testing import exchange
from tests.integration.store.upkeep import NOW, RUN, filled, run


def test_every_table_and_run_is_measured(store: Store) -> None:
    filled(store, 20)
    filled(store, 5, run_id="r2")
    measured = sizes.measure(store.database)
    by_name = {item.table: item for item in measured.tables}
    assert set(by_name) >= set(tables.metadata.tables)
    assert (by_name["exchanges"].rows, by_name["exchanges"].kind) == (25, "narrow")
    assert (by_name["judgment_bodies"].rows, by_name["judgment_bodies"].kind) == (50, "bodies")
    assert by_name["exchange_bodies"].data_bytes
    assert by_name["exchanges"].index_bytes
    assert [run.run_id for run in measured.runs] == [RUN, "r2"]
    first, second = measured.runs
    assert first.rows > 3 * second.rows
    assert first.body_bytes > 3 * second.body_bytes > 0
    assert measured.total_bytes >= sum((item.data_bytes or 0) for item in measured.tables) / 2


def test_what_was_deleted_is_given_back(store: Store) -> None:
    store.save_run(run())
    rng = random.Random(0)
    texts = [rng.randbytes(20_000).hex() for _ in range(60)]
    items = []
    for i, text in enumerate(texts):
        request = ChatRequest(model="m", messages=({"role": "user", "content": text},))
        items.append((exchange(id=f"e{i}", request=request, timestamp=NOW), float(i)))
    store.put_exchanges(RUN, items)
    store.reduce_next(Selection(run_id=RUN, what=Reduced.TEXTS, reason=Why.AGE, older_than=NOW + timedelta(days=1)))
    done = sizes.vacuum(store.database)
    assert done.gained_bytes > 1_000_000
    assert done.after_bytes < done.before_bytes / 2
    assert sizes.measure(store.database).free_bytes == 0
    assert store.count_exchanges(RUN) == 60


def test_without_room_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(f"sqlite:///{tmp_path}/harness.db") as store:
        filled(store)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
        with pytest.raises(InfrastructureError, match="1,000 are free; make room there"):
            sizes.vacuum(store.database)


def test_a_partitioned_table_is_measured_as_one(postgres: Any) -> None:
    postgres.psql("CREATE SCHEMA in_parts;")
    with Store.open(f"{postgres.get_uri()}&options=-csearch_path%3Din_parts") as store:
        with store.database.engine.begin() as connection:
            for statement in (
                "CREATE TABLE wide (run_id text, body bytea, PRIMARY KEY (run_id)) PARTITION BY LIST (run_id)",
                "CREATE TABLE wide_a PARTITION OF wide FOR VALUES IN ('a')",
                "CREATE TABLE wide_rest PARTITION OF wide DEFAULT",
                "INSERT INTO wide VALUES ('a', ''), ('b', '')",
            ):
                connection.exec_driver_sql(statement)
        measured = {item.table: item for item in sizes.measure(store.database).tables}
    assert not {"wide_a", "wide_rest"} & set(measured)
    # A page of each partition, and one with its root in each index.
    assert (measured["wide"].data_bytes or 0) >= 2 * 8192
    assert (measured["wide"].index_bytes or 0) >= 4 * 8192
    assert measured["wide"].kind == "other"
