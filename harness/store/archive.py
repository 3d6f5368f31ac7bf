"""Every table of a run as Parquet files, for analysis elsewhere; a backup it is not."""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from harness.errors import ConfigurationError, InfrastructureError
from harness.store import bodies, paging, schema, tables
from harness.store.connection import Database
from harness.store.tables import UtcTime

MANIFEST = "manifest.json"
_ROWS = 5_000
"""Rows of numbers in memory at a time; a row group of the file has as many."""
_BODY_ROWS = 200
_BODIES = "_bodies"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedTable:
    """One file of an export."""

    table: str
    file: str
    rows: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """What was written, and of what; the manifest holds the same."""

    run_id: str
    schema_revision: str
    exported_at: datetime
    stage: str
    """Of the run when the export began."""
    changed_meanwhile: bool
    """Whether the run went on while it was read, so that tables may be of different moments."""
    texts: bool
    tables: tuple[ExportedTable, ...]


def export_parquet(database: Database, run_id: str, to: str, *, texts: bool = False) -> Export:
    """Write one Parquet file for each table with rows about the run, and the manifest last.

    Memory does not grow with the run. Times are UTC; texts, where wanted, are JSON.

    Args:
        database: Where the run is.
        run_id: The run.
        to: A folder, or an address fsspec knows (``s3://bucket/folder``).
        texts: Write the texts too.

    Raises:
        ConfigurationError: the address is none, there is no such run, or an export is there already.
        InfrastructureError: a file cannot be written.
    """
    system, folder = _folder(to)
    before = _state(database, run_id)
    if before is None:
        raise ConfigurationError(f"no run {run_id!r} in this store; `harness runs list` names those there are")
    written = []
    try:
        if system.exists(f"{folder}/{MANIFEST}"):
            raise ConfigurationError(f"{to} holds an export already; name another folder")
        system.makedirs(folder, exist_ok=True)
        for table in tables.metadata.sorted_tables:
            if "run_id" not in table.c or (table.name.endswith(_BODIES) and not texts):
                continue
            with system.open(f"{folder}/{table.name}.parquet", "wb") as file:
                written.append(_write(database, table, run_id, file))
        done = Export(
            run_id=run_id,
            schema_revision=schema.HEAD,
            exported_at=datetime.now(UTC),
            stage=before[0],
            changed_meanwhile=_state(database, run_id) != before,
            texts=texts,
            tables=tuple(written),
        )
        with system.open(f"{folder}/{MANIFEST}", "wb") as file:
            file.write(json.dumps(asdict(done), indent=2, default=lambda value: value.isoformat()).encode())
    except OSError as error:
        raise InfrastructureError(
            f"{to} cannot be written ({error.strerror or error}); make room and export again"
        ) from error
    return done


def _folder(to: str) -> tuple[Any, str]:
    import fsspec

    try:
        system, folder = fsspec.core.url_to_fs(to)
    except (ImportError, ValueError) as error:
        raise ConfigurationError(f"{to}: no folder and no address that can be written to ({error})") from error
    return system, str(folder).rstrip("/")


def _state(database: Database, run_id: str) -> tuple[Any, ...] | None:
    """What changes when a run goes on."""
    r, o, j = tables.runs, tables.observations, tables.judgments
    counts = [sa.select(sa.func.count()).where(t.c.run_id == run_id).scalar_subquery() for t in (o, j)]
    found = database.reading(paging.fetch, sa.select(r.c.stage, r.c.updated_at, *counts).where(r.c.run_id == run_id))
    return tuple(found[0]) if found else None


class _Hashing(io.RawIOBase):
    """A file that knows what was written to it."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._file.write(data)
        self.digest.update(data)
        self.size += memoryview(data).nbytes
        return memoryview(data).nbytes


def _write(database: Database, table: sa.Table, run_id: str, file: Any) -> ExportedTable:
    import pyarrow as pa
    from pyarrow import parquet

    arrow = pa.schema(
        [pa.field(column.name, _type(column), nullable=bool(column.nullable)) for column in table.columns]
    )
    hashing = _Hashing(file)
    rows = 0
    with parquet.ParquetWriter(pa.PythonFile(hashing, mode="w"), arrow, compression="zstd") as writer:
        for page in _pages(database, table, run_id):
            columns = dict(zip(arrow.names, zip(*page, strict=True), strict=True))
            if "body" in columns:
                columns["body"] = tuple(bodies.unpack(body).decode() for body in columns["body"])
            arrays = [pa.array(columns[field.name], field.type) for field in arrow]
            writer.write_table(pa.Table.from_arrays(arrays, schema=arrow))
            rows += len(page)
    return ExportedTable(
        table=table.name,
        file=f"{table.name}.parquet",
        rows=rows,
        size_bytes=hashing.size,
        sha256=hashing.digest.hexdigest(),
    )


def _pages(database: Database, table: sa.Table, run_id: str) -> Iterator[Sequence[Any]]:
    """The run's rows by key, in transactions so short that nobody waits for them."""
    keys = list(table.primary_key.columns)
    limit = _BODY_ROWS if table.name.endswith(_BODIES) else _ROWS
    ordered = sa.select(table).where(table.c.run_id == run_id).order_by(*keys).limit(limit)
    statement, at = ordered, [table.columns.keys().index(column.name) for column in keys]
    while True:
        page = database.reading(paging.fetch, statement)
        if page:
            yield page
        if len(page) < limit:
            return
        last = sa.tuple_(*(sa.literal(page[-1][i], column.type) for i, column in zip(at, keys, strict=True)))
        statement = ordered.where(sa.tuple_(*keys) > last)


def _type(column: sa.Column[Any]) -> Any:
    import pyarrow as pa

    if isinstance(column.type, UtcTime):
        return pa.timestamp("us", tz="UTC")
    for kind, arrow in (
        (sa.LargeBinary, pa.large_string()),  # unpacked to JSON
        (sa.Boolean, pa.bool_()),
        (sa.BigInteger, pa.int64()),
        (sa.Integer, pa.int32()),
        (sa.Double, pa.float64()),
    ):
        if isinstance(column.type, kind):
            return arrow
    return pa.string()
