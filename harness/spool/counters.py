"""Counts that survive ``kill -9``: a small file mapped into memory, one per gateway process."""

import fcntl
import mmap
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from harness.domain.mirror import MirrorDrop, NotEligible
from harness.domain.served import ServedOutcome

ADDED_BOUNDS_US = (50, 100, 200, 350, 500, 1_000, 2_000, 5_000, 10_000, 50_000)
"""Upper bounds of the histogram of the time the gateway adds, in microseconds; the last bucket has none."""
ADDED = tuple(f"added_us.{bound}" for bound in (*ADDED_BOUNDS_US, "inf"))
NAMES = (
    "requests", "status.0", "status.1", "status.2", "status.3", "status.4", "status.5", "sampled_out", "sampled",
    "spooled", "spooled_bytes", "spool_errors", "upstream_unreachable", "upstream_timeout", "client_gone", "started",
    "answered", "added_us.sum", *ADDED,
    *(f"not_eligible.{reason}" for reason in NotEligible),
    *(f"dropped.{reason}" for reason in MirrorDrop),
    *(f"canary.{outcome}" for outcome in ServedOutcome), "control",
)  # fmt: skip
"""What is counted; the order is the layout of the file, so names are only ever added at the end."""
INDEX: Mapping[str, int] = {name: position for position, name in enumerate(NAMES)}
_SIZE = 8 * 128
_FOLDED = "total.json"


class CounterFile:
    """Counters of one process; ``values[INDEX[name]] += 1`` is all the hot path does.

    The page belongs to the kernel: what was counted is there after the process was killed. The file stays locked while
    its process lives.

    Raises:
        OSError: the disk refuses the file, and it is ``required``; otherwise the counts are kept in memory, and
            :meth:`keep` has them on disk as soon as that is possible.
    """

    def __init__(self, folder: Path, name: str, *, required: bool = True) -> None:
        self.path = folder / f"{name}.counts"
        self._file: int | None = None
        self._copy: int | None = None
        self._keeping = threading.Lock()
        self._closed = False
        try:
            self._file = _begin(self.path)
            self._map = mmap.mmap(self._file, _SIZE)
        except OSError:
            if required:
                raise
            self._map = mmap.mmap(-1, _SIZE)
        self.values = memoryview(self._map).cast("Q")

    def keep(self) -> None:
        """Copy the counts to a new file when theirs was removed or could not be made; to be called now and then.

        Raises:
            OSError: the disk still refuses it.
        """
        with self._keeping:
            # A thread that looks now and then may come late: it must not begin a closed file anew.
            if not self._closed:
                self._keep()

    def _keep(self) -> None:
        if self._copy is None and self._file is not None and os.fstat(self._file).st_nlink:
            return
        if self._copy is None or not os.fstat(self._copy).st_nlink:
            if self._copy is not None:
                os.close(self._copy)
                self._copy = None
            self._copy = _begin(self.path)
        os.pwrite(self._copy, self._map[:], 0)

    def close(self) -> None:
        """Let go of the file; the counts stay."""
        with self._keeping:
            self._closed = True
            if self._copy is not None:
                with suppress(OSError):
                    self._keep()
        self.values.release()
        self._map.close()
        for descriptor in (self._file, self._copy):
            if descriptor is not None:
                os.close(descriptor)
        self._file = self._copy = None


def _begin(path: Path) -> int:
    """A locked file of zeros. It gets its name last: an unlocked one would be taken for that of a dead process.

    Allocated, not only sized: a page that a full disk has no room for would end the process when it is counted in.
    """
    # The spool's own folder first: a parent that is made on the way is open to everybody.
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(".begun")
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.posix_fallocate(descriptor, 0, _SIZE)
        draft.replace(path)
    except OSError:
        os.close(descriptor)
        draft.unlink(missing_ok=True)
        raise
    return descriptor


def read(path: Path) -> dict[str, int]:
    """The counts in a file; of a file that is being written, as they stand."""
    values = memoryview(path.read_bytes().ljust(_SIZE, b"\0")[:_SIZE]).cast("Q")
    return {name: values[position] for name, position in INDEX.items()}


def totals(folder: Path) -> Counter[str]:
    """All processes' counts together, the dead ones' included."""
    state = _folded(folder)
    while True:
        total: Counter[str] = Counter(state.counts)
        for path in sorted(folder.glob("*.counts")):
            if path.name not in state.files:
                total.update(_of_one(path))
        # A file that was folded in between is in neither: counters that step back make rates shoot up.
        before, state = state, _folded(folder)
        if state == before:
            return total


def fold_dead(folder: Path, written: Mapping[str, int]) -> None:
    """Add the counts of processes that are gone to one file and remove theirs; for the one reader to call.

    ``written`` holds how many whole records each process left in the spool, for those whose files were read to their
    end. What a process had sampled beyond that and not dropped died with it, and is counted as ``unflushed``.
    """
    state = _folded(folder)
    counts: Counter[str] = Counter(state.counts)
    dead = [path for path in sorted(folder.glob("*.counts")) if path.stem in written and not is_held(path)]
    if not dead:
        return
    for path in dead:
        if path.name not in state.files:
            one = _of_one(path)
            one["spooled"] = written[path.stem]
            # Whatever it was answering has ended with it.
            one["answered"] = one["started"]
            lost = one["sampled"] - one["spooled"] - sum(number for _, number in dropped(one))
            one[f"dropped.{MirrorDrop.UNFLUSHED}"] += max(0, lost)
            counts.update(one)
    # The names are kept until the files are gone, so that being killed in between counts nothing twice.
    _save(folder, _Folded(counts=dict(counts), files=[path.name for path in dead]))
    for path in dead:
        path.unlink(missing_ok=True)


def is_held(path: Path) -> bool:
    """Whether the process that writes this file still lives."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def dropped(counts: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Reasons and numbers of what was sampled and did not stay in the spool."""
    for reason in MirrorDrop:
        if number := counts.get(f"dropped.{reason}", 0):
            yield reason.value, number


def _of_one(path: Path) -> Counter[str]:
    try:
        return Counter(read(path))
    except FileNotFoundError:
        return Counter()


@dataclass(frozen=True, kw_only=True)
class _Folded:
    counts: dict[str, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)


def _folded(folder: Path) -> _Folded:
    try:
        return _Folded(**orjson.loads((folder / _FOLDED).read_bytes()))
    except (FileNotFoundError, orjson.JSONDecodeError, TypeError):
        return _Folded()


def _save(folder: Path, state: _Folded) -> None:
    target = folder / _FOLDED
    draft = target.with_suffix(".new")
    draft.write_bytes(orjson.dumps(state))
    draft.replace(target)
