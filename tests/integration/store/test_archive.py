"""A run as Parquet files says what the store says."""

import hashlib
import json
import tracemalloc
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from harness.errors import ConfigurationError
from harness.store import Store, archive, bodies, schema, tables
from tests.integration.store.upkeep import RUN, filled


def test_every_table_comes_back_as_it_is_stored(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_ROWS", 7)
    monkeypatch.setattr(archive, "_BODY_ROWS", 4)
    filled(store, 30)
    filled(store, 2, run_id="r2")
    done = archive.export_parquet(store.database, RUN, str(tmp_path / "out"), texts=True)

    manifest = json.loads((tmp_path / "out" / archive.MANIFEST).read_text())
    assert manifest["schema_revision"] == schema.HEAD
    assert manifest["run_id"] == RUN
    assert not manifest["changed_meanwhile"]
    wanted = {name for name, table in tables.metadata.tables.items() if "run_id" in table.c}
    assert {item["table"] for item in manifest["tables"]} == wanted
    for item in done.tables:
        path = tmp_path / "out" / item.file
        assert hashlib.sha256(path.read_bytes()).hexdigest() == item.sha256
        assert path.stat().st_size == item.size_bytes
        frame = pd.read_parquet(path)
        table = tables.metadata.tables[item.table]
        with store.database.engine.connect() as connection:
            statement = sa.select(table).where(table.c.run_id == RUN).order_by(*table.primary_key.columns)
            stored = [dict(row._mapping) for row in connection.execute(statement)]
        assert len(frame) == item.rows == len(stored)
        assert list(frame.columns) == table.columns.keys()
        for have, want in zip(frame.to_dict("records"), stored, strict=True):
            for name, value in want.items():
                if name == "body":
                    assert json.loads(have[name]) == bodies.decode(value)
                else:
                    assert (pd.isna(have[name]) and value is None) or have[name] == value, (item.table, name)


def test_types_are_those_of_the_columns_also_where_nothing_is_known(store: Store, tmp_path: Path) -> None:
    filled(store, 3)
    archive.export_parquet(store.database, RUN, str(tmp_path / "out"))
    frame = pd.read_parquet(tmp_path / "out" / "exchanges.parquet")
    assert str(frame["timestamp"].dtype) == "datetime64[us, UTC]"
    assert frame["n_messages"].dtype == "int64"
    assert frame["has_tools"].dtype == "bool"
    empty = pd.read_parquet(tmp_path / "out" / "looks.parquet")
    assert len(empty) == 0
    assert empty["value"].dtype == "float64"
    assert not (tmp_path / "out" / "exchange_bodies.parquet").exists()


def test_an_export_is_never_written_over(store: Store, tmp_path: Path) -> None:
    filled(store, 1)
    archive.export_parquet(store.database, RUN, f"file://{tmp_path}/out")
    with pytest.raises(ConfigurationError, match="holds an export already"):
        archive.export_parquet(store.database, RUN, f"file://{tmp_path}/out")
    with pytest.raises(ConfigurationError, match="no run"):
        archive.export_parquet(store.database, "other", str(tmp_path / "other"))
    with pytest.raises(ConfigurationError, match="no address"):
        archive.export_parquet(store.database, RUN, "nosuch://x/y")


def test_memory_does_not_grow_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_ROWS", 500)
    peaks = []
    with Store.open(f"sqlite:///{tmp_path}/harness.db") as store:
        for n in (1_000, 8_000):
            filled(store, n, run_id=f"n{n}")
            tracemalloc.start()
            archive.export_parquet(store.database, f"n{n}", str(tmp_path / str(n)))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]
