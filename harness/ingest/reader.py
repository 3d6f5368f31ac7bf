"""Reading exports of production traffic, whatever wrote them, in constant memory."""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness.config import Mapping_
from harness.errors import ConfigurationError, InputError
from harness.ingest import detect, files
from harness.ingest.dialects import mapped
from harness.ingest.dialects.calls import MALFORMED, Call, Context, Ignore, Outcome, Reject, Repeat, Skip, rejected
from harness.ingest.dialects.parts import Halves
from harness.ingest.hashes import HashSet
from harness.ingest.records import RAW_LIMIT, Ending, Item, Record
from harness.ingest.units import UnitWatch

_LOOK_AHEAD = 20
"""Records looked at to find out the dialect."""


class ExportReader:
    """Every record of one export, as a stream of Records; iterate once.

    Files are read in the order of their names. Halves of calls that stand apart (batches, telemetry logs) wait in a
    temporary file, so those come last.

    Raises:
        InputError: nothing matches a source, a dialect is unknown, or the only file is UTF-16 or of no known format.
    """

    def __init__(self, sources: Sequence[str], *, dialect: str = "auto", mapping: Mapping_ | None = None) -> None:
        self.dialects: dict[str, str] = {}
        """File to the dialect it was read as and how that was found; filled while reading."""
        self.warnings: list[str] = []
        self._configured = None if dialect == "auto" else detect.dialect_named(dialect)
        if self._configured is not None and self._configured.name == "mapping" and mapping is None:
            raise ConfigurationError("`dialect: mapping` needs `mapping:`, which names the columns")
        self._mapping = mapping
        self._files = files.expand(sources)
        self._meter = files.Meter()
        self._guesses: dict[str, Mapping_] = {}
        self._seen = HashSet()
        self._units = UnitWatch()

    @property
    def bytes_total(self) -> int | None:
        """Bytes on disk of all files; ``None`` when a file system does not tell."""
        sizes = [file.size for file in self._files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def bytes_read(self) -> int:
        """Bytes on disk read so far."""
        return self._meter.count

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names of the files, in reading order."""
        return tuple(file.name for file in self._files)

    def __iter__(self) -> Iterator[Record]:
        """Records in reading order."""
        with Halves() as halves:
            used: dict[str, detect.Dialect] = {}
            for file in self._files:
                dialect, items = self._identify(file)
                if dialect is not None:
                    used[dialect.name] = dialect
                for item in items:
                    yield from self._convert(item, dialect, halves)
            for dialect in used.values():
                if dialect.finish is not None:
                    context = Context(file="", line=None, mapping=self._mapping, halves=halves, warn=self._warn)
                    for outcome in dialect.finish(context):
                        yield self._record(outcome, context)
        self.warnings.extend(self._units.warnings())

    def _identify(self, file: files.ExportFile) -> tuple[detect.Dialect | None, Iterator[Item]]:
        """The dialect of a file and its records; of several files, one that cannot be used costs only its records."""
        try:
            return self._recognised(file)
        except InputError as error:
            if len(self._files) == 1:
                raise
            detail = str(error).removeprefix(f"{file.name}: ")
            return None, _refused(file, self._meter, detail)

    def _recognised(self, file: files.ExportFile) -> tuple[detect.Dialect | None, Iterator[Item]]:
        items = files.read(file, self._meter)
        if self._configured is not None:
            self.dialects[file.name] = f"{self._configured.name} (configured)"
            return self._configured, items
        head: list[Item] = []
        sound: list[Item] = []
        for item in items:
            head.append(item)
            if item.value is not None:
                sound.append(item)
            if len(sound) >= _LOOK_AHEAD or len(head) >= 50 * _LOOK_AHEAD:
                break
        try:
            found = detect.detect(sound)
        except InputError:
            guess = mapped.guess(sound[0].value or {})
            if guess is None:
                raise
            self._guesses[file.name] = guess
            named = ", ".join(f"{role}: {name}" for role, name in guess.model_dump(exclude_defaults=True).items())
            self._warn(f"{file.name}: read by the names of its columns ({named}); say otherwise with `mapping:`")
            found = detect.dialect_named("mapping")
        if found is not None:
            self.dialects[file.name] = f"{found.name} (detected)"
        return found, itertools.chain(head, items)

    def _convert(self, item: Item, dialect: detect.Dialect | None, halves: Halves) -> Iterator[Record]:
        if item.value is None or dialect is None:
            yield _unread(item)
            return
        context = Context(
            file=item.file,
            line=item.line,
            position=item.position,
            sha256=hashlib.sha256(item.raw).hexdigest(),
            mapping=self._guesses.get(item.file, self._mapping),
            halves=halves,
            warn=self._warn,
        )
        is_guessed = item.file in self._guesses
        if self._configured is None and not is_guessed and not dialect.accepts(item.value):
            detail = f"is not a record of {dialect.name}, which this file was read as; read it apart, or set `dialect`"
            yield _rejected(item, "other_dialect", detail)
            return
        try:
            for outcome in dialect.read(item.value, context):
                yield self._record(outcome, context, item.raw)
        except MALFORMED as error:
            yield self._record(rejected(error), context, item.raw)

    def _record(self, outcome: Outcome, context: Context, raw: bytes = b"") -> Record:
        place = outcome.context or context
        match outcome:
            case Call():
                exchange = outcome.exchange(place)
                key = int.from_bytes(hashlib.blake2b(exchange.id.encode(), digest_size=8).digest(), "little")
                if not self._seen.add(key):
                    message = f"{place.place}: the call {exchange.id!r} was read before; the first is kept"
                    return Record(
                        ending=Ending.DUPLICATE, file=place.file, line=place.line, reason="duplicate", message=message
                    )
                self._units.watch(place.file, exchange.production.latency_ms)
                return Record(ending=Ending.EXCHANGE, file=place.file, line=place.line, exchange=exchange)
            case Skip():
                return Record(
                    ending=Ending.SKIPPED,
                    file=place.file,
                    line=place.line,
                    reason=outcome.reason,
                    message=outcome.message,
                    facts=outcome.facts,
                )
            case Repeat():
                return Record(
                    ending=Ending.DUPLICATE,
                    file=place.file,
                    line=place.line,
                    reason="duplicate",
                    message=outcome.message,
                )
            case Reject():
                return Record(
                    ending=Ending.REJECTED,
                    file=place.file,
                    line=place.line,
                    reason=outcome.code,
                    message=f"{place.place}: {outcome.message}",
                    raw=raw[:RAW_LIMIT],
                )
            case Ignore():
                return Record(ending=Ending.IGNORED, file=place.file, line=place.line)

    def _warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)


def _refused(file: files.ExportFile, meter: files.Meter, detail: str) -> Iterator[Item]:
    """The file's records, each rejected for what is wrong with the file; one for all when not even they can be told."""
    try:
        for item in files.read(file, meter):
            yield item if item.value is None else replace(item, value=None, problem="unusable_file", detail=detail)
    except InputError:
        yield Item(file=file.name, line=None, raw=b"", problem="unusable_file", detail=detail)


def _unread(item: Item) -> Record:
    if item.problem is None:
        return Record(ending=Ending.IGNORED, file=item.file, line=item.line)
    return _rejected(item, item.problem, item.detail)


def _rejected(item: Item, code: str, detail: str) -> Record:
    return Record(
        ending=Ending.REJECTED,
        file=item.file,
        line=item.line,
        reason=code,
        message=f"{item.place}: {detail}",
        raw=item.raw[:RAW_LIMIT],
    )
