"""Vectors of texts embedded before: the newest in memory, all of one experiment's in a file that may be deleted."""

import contextlib
import hashlib
import sqlite3
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]

_MEMORY = 128 << 20
_FILE = 1 << 30
_ASKED = 500
"""Keys of one query; SQLite allows 999 in its oldest builds."""


class VectorCache:
    """Least recently used vectors in at most ``memory`` bytes, and with a ``file`` also there, in at most ``disk``.

    Texts are not kept, only their hashes; vectors still tell what a text was about, so the file belongs to the
    personal data of the store and is deleted with it. A file that cannot be read or written is done without: it
    saves time and nothing depends on it. Several processes may share one file; one object is for one thread at a time.
    """

    def __init__(self, model: str, *, file: Path | None = None, memory: int = _MEMORY, disk: int = _FILE) -> None:
        self._model = model.encode()
        self._file = file
        self._memory = memory
        self._disk = disk
        self._recent: OrderedDict[bytes, Vector] = OrderedDict()
        self._bytes = 0

    def get(self, texts: Sequence[str]) -> dict[str, Vector]:
        """The vectors known of these texts."""
        keys = {self._key(text): text for text in texts}
        found = {}
        for key, text in keys.items():
            if key in self._recent:
                self._recent.move_to_end(key)
                found[text] = self._recent[key]
        missing = [key for key, text in keys.items() if text not in found]
        for key, vector in self._read(missing).items():
            found[keys[key]] = vector
            self._remember(key, vector)
        return found

    def put(self, vectors: Mapping[str, Vector]) -> None:
        """Keep these; the oldest go when there is no more room."""
        rows = {self._key(text): np.array(vector, dtype=np.float32) for text, vector in vectors.items()}
        for key, vector in rows.items():
            self._remember(key, vector)
        if self._file is None or not rows:
            return
        with contextlib.suppress(sqlite3.Error, OSError), contextlib.closing(self._open(self._file)) as db, db:
            db.executemany(
                "INSERT OR REPLACE INTO vectors (key, vector) VALUES (?, ?)",
                [(key, vector.tobytes()) for key, vector in rows.items()],
            )
            # rowid grows with time: the lowest are the oldest.
            most = max(1, self._disk // (next(iter(rows.values())).nbytes + 64))
            (newest,) = db.execute("SELECT max(rowid) FROM vectors").fetchone()
            db.execute("DELETE FROM vectors WHERE rowid <= ?", (newest - most,))

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(self._model + b"\0" + text.encode("utf-8", "surrogatepass")).digest()

    def _remember(self, key: bytes, vector: Vector) -> None:
        old = self._recent.pop(key, None)
        self._bytes += vector.nbytes - (0 if old is None else old.nbytes)
        self._recent[key] = vector
        while self._bytes > self._memory and self._recent:
            self._bytes -= self._recent.popitem(last=False)[1].nbytes

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, Vector]:
        if self._file is None or not keys or not self._file.exists():
            return {}
        found = {}
        with contextlib.suppress(sqlite3.Error, OSError), contextlib.closing(self._open(self._file)) as db:
            for start in range(0, len(keys), _ASKED):
                part = keys[start : start + _ASKED]
                marks = ",".join("?" * len(part))
                rows = db.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part)  # noqa: S608  marks
                found.update({key: np.frombuffer(vector, dtype=np.float32) for key, vector in rows})
        return found

    @staticmethod
    def _open(file: Path) -> sqlite3.Connection:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        db = sqlite3.connect(file, timeout=10)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=OFF")
        db.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB UNIQUE NOT NULL, vector BLOB NOT NULL)")
        return db
