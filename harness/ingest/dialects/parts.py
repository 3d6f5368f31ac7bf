"""Halves of calls waiting for each other, on disk: a join holds one call in memory, not an export."""

import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

_TABLE = """
CREATE TABLE part (
    seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL,
    file TEXT NOT NULL, line INTEGER, sha256 TEXT, body BLOB NOT NULL
);
CREATE INDEX part_by_key ON part (kind, key);
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One half of a call, with where it stood."""

    key: str
    file: str
    line: int | None
    sha256: str | None
    value: Any


class Halves:
    """A temporary table of parts by kind and key; a context manager, gone when left."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._database: sqlite3.Connection | None = None

    def __enter__(self) -> "Halves":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._database is not None:
            self._database.close()
        if self._folder is not None:
            self._folder.cleanup()

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self._folder = tempfile.TemporaryDirectory(prefix="harness-ingest-")
            self._database = sqlite3.connect(Path(self._folder.name) / "parts.db")
            # Nothing here outlives the process, so durability would only cost time.
            self._database.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _TABLE)
        return self._database

    def put(self, kind: str, part: Part) -> None:
        """Keep one part; several may share a key."""
        self._open().execute(
            "INSERT INTO part (kind, key, file, line, sha256, body) VALUES (?, ?, ?, ?, ?, ?)",
            (kind, part.key, part.file, part.line, part.sha256, orjson.dumps(part.value, default=str)),
        )

    def has(self, kind: str, key: str) -> bool:
        """Whether there is a part of this kind with this key."""
        if self._database is None:
            return False
        sql = "SELECT 1 FROM part WHERE kind = ? AND key = ? LIMIT 1"
        return self._database.execute(sql, (kind, key)).fetchone() is not None

    def parts(self, kind: str, key: str | None = None) -> Iterator[Part]:
        """Parts of a kind in the order they were put, those with one key when it is given."""
        if self._database is None:
            return
        where, values = ("kind = ?", [kind]) if key is None else ("kind = ? AND key = ?", [kind, key])
        sql = f"SELECT key, file, line, sha256, body FROM part WHERE {where} ORDER BY seq"  # noqa: S608  no input in it
        for name, file, line, sha256, body in self._database.execute(sql, values):
            yield Part(key=name, file=file, line=line, sha256=sha256, value=orjson.loads(body))

    def first(self, kind: str, key: str) -> Part | None:
        """The part that was put first under this key."""
        return next(self.parts(kind, key), None)
