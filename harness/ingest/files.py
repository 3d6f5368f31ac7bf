"""Finding, opening and splitting export files: bytes on a disk or object store in, Items out, in constant memory."""

import csv
import io
import json
import math
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import orjson

from harness.errors import InputError
from harness.ingest import splitting
from harness.ingest.records import Item
from harness.ingest.splitting import LINE_LIMIT
from harness.ingest.unpacking import DAMAGES, Unpacked, is_packed

_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".parquet")
_PACKED = (".gz", ".gzip", ".zst", ".zstd")
_CHUNK = 1 << 20
_BOM = b"\xef\xbb\xbf"
_ROWS = 256
"""Parquet rows decoded at once."""
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass
class Meter:
    """Bytes read from disk so far."""

    count: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportFile:
    """One file to read."""

    url: str
    """Path, or URL of any fsspec file system."""
    name: str
    """How messages and the audit call it: its base name, or a longer path where that would be ambiguous."""
    size: int | None = None

    @property
    def suffix(self) -> str:
        """File type by name, compression suffix left out; empty when there is none we know."""
        parts = [f".{part}" for part in self.name.lower().rsplit("/", 1)[-1].split(".")[1:]]
        known = [part for part in parts if part not in _PACKED]
        return known[-1] if known and known[-1] in _SUFFIXES else ""


def expand(sources: Iterable[str]) -> tuple[ExportFile, ...]:
    """The files behind paths, folders, globs and URLs, each once, in the order of the sources, then of their names.

    Raises:
        InputError: a source matches nothing.
    """
    found: dict[str, int | None] = {}
    for source in sources:
        matches = _remote(source) if _URL.match(source) else _local(source)
        if not matches:
            raise InputError(f"no export file matches {source!r}; give a file, a folder, a glob or a URL")
        for url, size in matches:
            found.setdefault(url, size)
    if not found:
        raise InputError("no export file is named; give a file, a folder, a glob or a URL")
    names = _names(list(found))
    return tuple(ExportFile(url=url, name=names[url], size=size) for url, size in found.items())


def _local(source: str) -> list[tuple[str, int | None]]:
    path = Path(source).expanduser()
    if path.is_dir():
        paths = [file for file in path.rglob("*") if file.is_file() and _is_export(file.name)]
    elif path.is_file():
        paths = [path]
    else:
        pattern = str(path.relative_to(path.anchor)) if path.anchor else str(path)
        paths = [file for file in Path(path.anchor or ".").glob(pattern) if file.is_file() and file.name[0] != "."]
    return [(str(file), file.stat().st_size) for file in sorted(paths)]


def _remote(source: str) -> list[tuple[str, int | None]]:
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(source)
        if any(sign in path for sign in "*?["):
            details = system.glob(path, detail=True)
        elif system.isdir(path):
            details = {name: info for name, info in system.find(path, detail=True).items() if _is_export(name)}
        else:
            details = {path: system.info(path)} if system.exists(path) else {}
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"{source!r} cannot be listed: {error}") from error
    found = [(system.unstrip_protocol(name), info.get("size")) for name, info in details.items()
             if info.get("type") == "file"]  # fmt: skip
    return sorted(found)


def _is_export(name: str) -> bool:
    return bool(ExportFile(url=name, name=name).suffix) and not Path(name).name.startswith(".")


def _names(urls: list[str]) -> dict[str, str]:
    split = {url: url.replace("\\", "/").split("/") for url in urls}
    names = {}
    for url, parts in split.items():
        taken = 1
        while taken < len(parts) and any(
            other != url and others[-taken:] == parts[-taken:] for other, others in split.items()
        ):
            taken += 1
        names[url] = "/".join(parts[-taken:])
    return names


class _Metered(io.RawIOBase):
    """Counts what is read from disk, so that progress is known whatever the compression."""

    def __init__(self, inner: IO[bytes], meter: Meter) -> None:
        self._inner = inner
        self._meter = meter

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._inner.read(len(buffer))
        buffer[: len(data)] = data
        self._meter.count += len(data)
        return len(data)


@contextmanager
def _opened(file: ExportFile, meter: Meter) -> Iterator[BinaryIO]:
    """The file's content, unpacked: by its first bytes, so that a wrong suffix does no harm."""
    try:
        inner = _open_raw(file)
    except OSError as error:
        raise InputError(f"{file.name}: cannot be opened ({error})") from error
    with inner:
        raw = io.BufferedReader(_Metered(inner, meter), _CHUNK)
        magic = raw.peek(4)[:4]
        if is_packed(magic):
            yield cast("BinaryIO", io.BufferedReader(Unpacked(raw, magic), _CHUNK))
        else:
            yield cast("BinaryIO", raw)


def _open_raw(file: ExportFile) -> IO[bytes]:
    if not _URL.match(file.url):
        return Path(file.url).open("rb", buffering=0)
    import fsspec

    return cast("IO[bytes]", fsspec.open(file.url, "rb").open())


def read(file: ExportFile, meter: Meter) -> Iterator[Item]:
    """Every record of one file, read or rejected; nothing but a file in UTF-16 stops it.

    Raises:
        InputError: the file cannot be opened, or is UTF-16.
    """
    held: Item | None = None
    damage: Exception | None = None
    try:
        with _opened(file, meter) as stream:
            for item in _items(file, stream):
                if held is not None:
                    yield held
                held = item
            damage = getattr(getattr(stream, "raw", None), "damage", None)
    except DAMAGES as error:
        damage = error
    if damage is None:
        if held is not None:
            yield held
        return
    detail = f"the file is damaged or cut off from here on ({damage}); export it again. What came before is kept"
    if held is not None and held.problem is not None:
        # The record the damage cut through: one rejection says it.
        yield replace(held, problem="damaged_file", detail=detail)
        return
    if held is not None:
        yield held
    line = 1 if held is None else None if held.line is None else held.line + 1
    yield Item(file=file.name, line=line, raw=b"", problem="damaged_file", detail=detail)


def _items(file: ExportFile, stream: BinaryIO) -> Iterator[Item]:
    head = cast("io.BufferedReader", stream).peek(_CHUNK)
    if head[:2] in {b"\xff\xfe", b"\xfe\xff"} or (len(head) > 3 and b"\x00" in head[:2]):
        raise InputError(f"{file.name}: is UTF-16, exports are UTF-8; convert it: iconv -f UTF-16 -t UTF-8 IN > OUT")
    if head[:4] == b"PAR1":
        return _parquet(file, stream)
    head = head.removeprefix(_BOM).lstrip()
    if _is_table(file.suffix, head):
        return _csv(file, stream)
    if _is_document(file.suffix, head):
        return _documents(file, stream)
    return _lines(file, stream)


def _is_table(suffix: str, head: bytes) -> bool:
    """Whether this is CSV: by its content where the name does not say, and never when it begins as JSON does."""
    if head[:2] in {b'{"', b"[{"} or suffix not in {"", ".csv"}:
        return False
    return suffix == ".csv" or (head[:1] not in b"{[" and any(sign in head.partition(b"\n")[0] for sign in b",;\t"))


def _is_document(suffix: str, head: bytes) -> bool:
    """Whether this is one JSON value, perhaps over many lines, and not a record per line."""
    line, _, rest = head.partition(b"\n")
    line = line.strip()
    if line in {b"[", b"{"}:
        return True
    if suffix in {".jsonl", ".ndjson"}:
        return line[:1] == b"[" and (line[-1:] == b"," or not rest.strip())
    if line[:1] != b"{":
        return line[:1] == b"["
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return True
    return not rest.strip()


def _lines(file: ExportFile, stream: BinaryIO) -> Iterator[Item]:
    for number, (raw, size, is_last) in enumerate(splitting.lines(stream), 1):
        if number == 1:
            raw = raw.removeprefix(_BOM)
        if size > LINE_LIMIT:
            yield _too_long(file, number, raw, size)
        elif not raw.strip():
            yield Item(file=file.name, line=number, raw=b"")
        else:
            yield parse(file.name, number, raw, is_last=is_last)


def _documents(file: ExportFile, stream: BinaryIO) -> Iterator[Item]:
    for position, (raw, size, is_whole) in enumerate(splitting.values(stream), 1):
        if size > LINE_LIMIT:
            yield _too_long(file, None, raw, size)
        else:
            yield replace(parse(file.name, None, raw, is_last=not is_whole), position=position)


def _too_long(file: ExportFile, line: int | None, raw: bytes, size: int) -> Item:
    detail = f"the record is too long: {size / 2**20:,.1f} MB, the limit is {LINE_LIMIT >> 20} MB; leave it out"
    return Item(file=file.name, line=line, raw=raw, problem="too_long", detail=detail)


def parse(name: str, line: int | None, raw: bytes, *, is_last: bool = False) -> Item:
    """One JSON record, or what is wrong with it."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        value = _with_controls(raw)
        if value is None:
            problem, detail = _cause(raw, str(error), is_last)
            return Item(file=name, line=line, raw=raw, problem=problem, detail=detail)
    if not isinstance(value, dict):
        detail = f"expected a JSON object, found {_kind(value)}; a record per line, or one list of records, is read"
        return Item(file=name, line=line, raw=raw, problem="not_an_object", detail=detail)
    return Item(file=name, line=line, raw=raw, value=value)


def _with_controls(raw: bytes) -> Any:
    """The value of JSON that is sound but for control characters in its texts, as careless writers leave them."""
    if _CONTROL.search(raw) is None:
        return None
    try:
        value = json.loads(raw, strict=False, parse_constant=_refuse)
        orjson.dumps(value)
    except (ValueError, TypeError, RecursionError):
        return None
    return value


def _refuse(name: str) -> None:
    raise ValueError(name)


def _kind(value: object) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _cause(raw: bytes, error: str, is_last: bool) -> tuple[str, str]:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as bad:
        if is_last and bad.reason == "unexpected end of data":
            return "truncated", "is truncated, cut off within a character; the export was probably interrupted"
        return "bad_utf8", f"is not UTF-8 at byte {bad.start}; export it as UTF-8"
    if "surrogate" in error:
        return "lone_surrogate", f"holds half of a surrogate pair ({error}), which no model can be sent"
    if re.search(rb"[\s:,\[](?:NaN|-?Infinity)\b", raw):
        return "bad_number", "holds NaN or Infinity, which JSON does not know; write null instead"
    if is_last:
        return "truncated", f"is truncated, cut off before its end ({error}); the export was probably interrupted"
    return "bad_json", f"is not valid JSON: {error}"


def _csv(file: ExportFile, stream: BinaryIO) -> Iterator[Item]:
    # The limit is the csv module's own global; ours is the one every export needs.
    csv.field_size_limit(LINE_LIMIT)
    # surrogateescape keeps a row that is not UTF-8 readable enough to be rejected alone.
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    first = next((line for line in iter(text.readline, "") if line.strip()), "")
    separator = max(",;\t", key=first.count) if first.strip() else ","
    header = next(csv.reader(io.StringIO(first), delimiter=separator), [])
    if first.count('"') % 2:
        raise InputError(f"{file.name}: the header of the table holds a line break; rename that column")
    rows = csv.reader(text, delimiter=separator, strict=True)
    number = 0
    while True:
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            number += 1
            yield Item(
                file=file.name,
                line=number,
                raw=b"",
                problem="bad_row",
                detail=f"is not a whole CSV row: {error}; it is cut off or badly quoted",
            )
            continue
        # A blank line is no data record, so it has no number of its own.
        number += bool(cells)
        yield _row(file.name, number, header, cells)


def _row(name: str, number: int, header: list[str], cells: list[str]) -> Item:
    if not cells:
        return Item(file=name, line=None, raw=b"")
    raw = "\x1f".join(cells).encode("utf-8", "surrogateescape")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return Item(file=name, line=number, raw=raw, problem="bad_utf8", detail="is not UTF-8; export it as UTF-8")
    if len(cells) != len(header):
        detail = (
            f"has {len(cells)} columns, the header has {len(header)}; the row is truncated (cut off) or badly quoted"
        )
        return Item(file=name, line=number, raw=raw, problem="short_row", detail=detail)
    return Item(file=name, line=number, raw=raw, value=dict(zip(header, (c or None for c in cells), strict=True)))


def _parquet(file: ExportFile, stream: BinaryIO) -> Iterator[Item]:
    import pyarrow
    import pyarrow.parquet

    with tempfile.TemporaryFile() as seekable:
        # The footer comes last: a stream from a network or a packed file has to be on disk to be read by row group.
        shutil.copyfileobj(stream, seekable, _CHUNK)
        seekable.seek(0)
        try:
            table = pyarrow.parquet.ParquetFile(seekable)
            number = 0
            for batch in table.iter_batches(batch_size=_ROWS, use_threads=False):
                for row in batch.to_pylist():
                    number += 1
                    raw = repr(row).encode("utf-8", "replace")
                    value = {name: plain(cell) for name, cell in row.items()}
                    yield Item(file=file.name, line=number, raw=raw, value=value)
        except pyarrow.ArrowException as error:
            raise EOFError(str(error)) from error


def plain(value: Any) -> Any:
    """A Parquet cell as JSON would have it: NaN is null, bytes are text, maps are objects; times stay times.

    Fields that a nested record lacks are nulls in Parquet, so nulls inside one are left out.
    """
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        if value and all(isinstance(item, tuple) and len(item) == 2 for item in value):
            return {str(key): plain(item) for key, item in value}
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime):
        # Nanoseconds come as a subclass of their own, which nothing behind this knows.
        return value if type(value) is datetime else datetime.fromisoformat(value.isoformat(timespec="microseconds"))
    return value
