"""Reads a spool while it is being written, remembers how far it got, and removes what was read."""

import fcntl
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from harness.domain.mirror import SkipReason
from harness.errors import ConfigurationError
from harness.spool import counters, record
from harness.spool.writer import MARK_BYTES, SUFFIX, mark_of, writer_of

COUNTERS = "counters"
"""Folder of the counters inside the spool."""
POSITION = "position.json"
"""How far the spool was read."""
LOCK = "reader.lock"
"""Held by whoever reads the spool."""
_CHUNK = 4 << 20
_log = logging.getLogger("harness.spool")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a record stood."""

    segment: str
    offset: int


@dataclass(kw_only=True)
class Position:
    """How far a spool has been read and what became of its records; saved as one."""

    offsets: dict[str, int] = field(default_factory=dict)
    """Bytes read, by segment."""
    written: dict[str, int] = field(default_factory=dict)
    """Whole records found, by writer."""
    counts: dict[str, int] = field(default_factory=dict)
    """Whatever the caller counts, such as records by ending; saved together with the offsets."""
    damaged_bytes: int = 0
    """Bytes of segments that are no whole record: the torn end of a file whose writer was killed, or damage."""

    @property
    def records(self) -> int:
        """Whole records read so far."""
        return sum(self.written.values())


class SpoolReader:
    """The one reader of a spool folder; a context manager that holds the folder's lock.

    Records that were read again after a crash are the caller's to recognise, by their ids.

    Raises:
        ConfigurationError: another process reads this spool.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self._lock = (folder / LOCK).open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise _taken(folder) from None
        self.position = _load(folder / POSITION)
        self._refused: set[str] = set()
        """Files that could not be opened, each told of once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    def read(self, limit: int) -> Iterator[tuple[Place, record.Captured]]:
        """Up to ``limit`` records that were not read before, one writer's files after the other, as far as they go."""
        left = limit
        for path in self._segments():
            for found in self._read_segment(path):
                yield found
                left -= 1
                if left <= 0:
                    return

    def save(self) -> None:
        """Remember the position, then remove segments that were read to their end and whose writer is done."""
        finished = [path for path in self._segments() if self._is_finished(path)]
        _store(self.folder / POSITION, self.position)
        for path in finished:
            path.unlink(missing_ok=True)
        there = {path.name for path in self._segments()}
        self.position.offsets = {name: read for name, read in self.position.offsets.items() if name in there}
        self._fold()
        _store(self.folder / POSITION, self.position)

    def expire(self, max_age_s: float) -> int:
        """Remove closed files that were last written to longer ago, and return how many unread records they held."""
        oldest = time.time() - max_age_s
        expired, is_old = 0, False
        for path in self._segments():
            try:
                if path.stat().st_mtime >= oldest or counters.is_held(path):
                    continue
            except OSError:
                continue
            is_old = True
            expired += sum(1 for _ in self._read_segment(path))
        if expired:
            add(self.position.counts, Counter({SkipReason.TOO_OLD.value: expired}))
        if is_old:
            self.save()
        return expired

    @property
    def waiting_bytes(self) -> int:
        """Bytes in the spool that have not been read."""
        return waiting_bytes(self.folder, self.position)

    def _segments(self) -> list[Path]:
        return _segments(self.folder)

    def _read_segment(self, path: Path) -> Iterator[tuple[Place, record.Captured]]:
        writer, mark = writer_of(path), mark_of(path)
        assert mark is not None  # noqa: S101  segments are listed by it
        # Asked before reading: a writer that ends in between leaves bytes that are read next time.
        try:
            held = counters.is_held(path)
            file = path.open("rb")
        except FileNotFoundError:
            return
        except OSError as error:
            # Another's files go on being read; this one is tried again.
            if path.name not in self._refused:
                self._refused.add(path.name)
                _log.warning("%s cannot be read, and is left where it is: %s", path, error)
            return
        with file:
            offset = self.position.offsets.get(path.name, 0)
            file.seek(offset)
            buffer, start = file.read(_CHUNK), 0
            while True:
                length = _length_at(buffer, start, mark)
                missing = MARK_BYTES + record.OVERHEAD if length is None else length
                if len(buffer) - start < missing and (more := file.read(max(_CHUNK, missing))):
                    buffer, start = buffer[start:] + more, 0
                    continue
                if start >= len(buffer):
                    return
                found = None if length is None else record.decode(buffer, start + MARK_BYTES)
                if found is None:
                    step = _gap(buffer, start, mark, length, held=held)
                    if step is None:
                        return
                    self.position.damaged_bytes += step
                    offset, start = offset + step, start + step
                    self.position.offsets[path.name] = offset
                    continue
                assert length is not None  # noqa: S101  a record was decoded by it
                place = Place(segment=path.name, offset=offset)
                offset, start = offset + length, start + length
                self.position.offsets[path.name] = offset
                self.position.written[writer] = self.position.written.get(writer, 0) + 1
                yield place, found

    def _is_finished(self, path: Path) -> bool:
        try:
            if counters.is_held(path):
                return False
            return self.position.offsets.get(path.name, 0) >= path.stat().st_size
        except OSError:
            return False

    def _fold(self) -> None:
        """Settle the counts of writers that are gone and have nothing left to read."""
        folder = self.folder / COUNTERS
        if not folder.is_dir():
            return
        reading = {writer_of(path) for path in self._segments()}
        gone = {
            path.stem: self.position.written.get(path.stem, 0)
            for path in folder.glob("*.counts")
            if path.stem not in reading
        }
        counters.fold_dead(folder, gone)


def waiting_bytes(folder: Path, position: Position) -> int:
    """Bytes in a spool that have not been read at this position."""
    total = 0
    for path in _segments(folder):
        try:
            total += max(0, path.stat().st_size - position.offsets.get(path.name, 0))
        except FileNotFoundError:
            continue
    return total


def _segments(folder: Path) -> list[Path]:
    """Segments of all writers; those of one in the order they were begun."""
    entries = folder.iterdir() if folder.is_dir() else ()
    return sorted((entry for entry in entries if entry.suffix == SUFFIX and mark_of(entry)), key=lambda path: path.name)


def _length_at(buffer: bytes, start: int, mark: bytes) -> int | None:
    """Length of the record with its mark that begins here; ``None`` when none does, or not enough of it is there."""
    if not buffer.startswith(mark, start):
        return None
    length = record.length_at(buffer, start + MARK_BYTES)
    return None if length is None else MARK_BYTES + length


def _gap(buffer: bytes, start: int, mark: bytes, length: int | None, *, held: bool) -> int | None:
    """Bytes to leave out after a damaged place; ``None`` to wait, because the record may still be on its way."""
    ahead = buffer.find(mark, start + 1)
    if ahead >= 0:
        return ahead - start
    left = len(buffer) - start
    if not held:
        return left
    whole = length is not None and length <= left
    beginning = buffer.startswith(mark, start) or mark.startswith(buffer[start : start + MARK_BYTES])
    if beginning and not whole:
        return None
    # The last bytes may be the beginning of the next mark.
    return max(0, left - MARK_BYTES + 1) or None


def check_free(folder: Path) -> None:
    """Raise ConfigurationError when another process reads this spool, before anything else is done."""
    if (folder / LOCK).exists() and counters.is_held(folder / LOCK):
        raise _taken(folder)


def _taken(folder: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{folder} is being read by another worker; a spool has one reader, so stop that one first"
    )


def saved_position(folder: Path) -> Position:
    """The position as last saved, for whoever only wants to know."""
    return _load(folder / POSITION)


def add(counts: dict[str, int], more: Counter[str]) -> None:
    """Add counts in place."""
    for name, number in more.items():
        counts[name] = counts.get(name, 0) + number


def _load(path: Path) -> Position:
    try:
        stored: dict[str, Any] = orjson.loads(path.read_bytes())
        return Position(**stored)
    except FileNotFoundError:
        return Position()
    except (orjson.JSONDecodeError, TypeError) as error:
        raise ConfigurationError(
            f"{path} is damaged ({error}); when it is removed, the spool is read again from its beginning"
        ) from error


def _store(path: Path, position: Position) -> None:
    draft = path.with_suffix(".new")
    with draft.open("wb") as file:
        file.write(orjson.dumps(position))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
