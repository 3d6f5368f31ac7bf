"""Reading values as exports write them: nested JSON, times, numbers, texts. Unknown is ``None``, never zero."""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson

from harness.domain.json import Json

_LARGEST = (1 << 53) - 1
"""The largest whole number that JSON and every database agree on."""

_ISO = re.compile(
    r"^\s*(\d{4})-(\d\d)-(\d\d)(?:[Tt ]+(\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{0,9})\d*)?)?)?"
    r"\s*(Z|z|UTC|[+-]\d\d(?::?\d\d)?)?\s*$"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DOTNET = datetime(1, 1, 1, tzinfo=UTC)
_EMPTY: tuple[Json, ...] = (None, "", "{}", "[]", "null", "None")


def is_stored(value: Json) -> bool:
    """Whether anything was recorded here; exporters write ``"{}"``, ``[]``, ``""`` and ``null`` for nothing."""
    if isinstance(value, list | dict):
        return bool(value)
    return value not in _EMPTY


def decoded(value: Json) -> Json:
    """A list or object out of a string that holds its JSON, however often it was encoded.

    For places where structure must stand; never for message text, where JSON is just text.
    """
    if not isinstance(value, str):
        return value
    for _ in range(8):
        if not isinstance(value, str) or value.lstrip()[:1] not in {"[", "{", '"'}:
            return value
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def as_object(value: Json) -> dict[str, Json]:
    """The object that must stand here, decoded; an empty one when there is none."""
    value = decoded(value)
    return value if isinstance(value, dict) else {}


def as_list(value: Json) -> list[Json]:
    """The list that must stand here, decoded; an empty one when there is none."""
    value = decoded(value)
    return value if isinstance(value, list) else []


def text(value: Json) -> str | None:
    """Text of a field that should be text; other JSON keeps its spelling. Empty text stays."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value, default=str).decode()


def label(value: Json) -> str | None:
    """A name or id as text, ``None`` when there is nothing to see in it."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        # Ids beyond 64 bits come as floats, and are no JSON to write again.
        return str(value)
    found = value.isoformat() if isinstance(value, datetime) else text(value)
    return found.strip() or None if found and found not in {"None", "null"} else None


def number(value: Json) -> float | None:
    """A finite number, also out of a string; anything else is unknown."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def count(value: Json) -> int | None:
    """A whole number that is not negative, and that a database can hold."""
    found = number(value)
    return int(found) if found is not None and 0 <= found <= _LARGEST else None


def flag(value: Json) -> bool:
    """Whether a field that may be ``true``, ``"True"`` or ``1`` says yes; ``"None"`` and the like say no."""
    return value is True or str(value).strip().lower() in {"true", "1", "yes", "hit"}


def scaled(value: Json, factor: float) -> float | None:
    """A number that is not negative, in another unit."""
    found = number(value)
    return found * factor if found is not None and found >= 0 else None


def duration(value: Json, factor: float) -> float | None:
    """A time in milliseconds, ``factor`` of them in one unit of ``value``; a zero is how exports write unknown."""
    return scaled(value, factor) or None


def time(value: Json, warn: Callable[[], object] | None = None) -> datetime | None:
    """An instant in UTC out of epoch seconds, ms, us or ns, .NET ticks or ISO text; ``None`` when it is none.

    Text without a zone is taken as UTC, and ``warn`` is called.
    """
    if isinstance(value, datetime):
        if value.tzinfo is None and warn is not None:
            warn()
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, str) and (match := _ISO.match(value)):
        return _from_iso(match, warn)
    found = number(value)
    if found is None or found <= 0:
        return None
    try:
        return _from_number(value, found)
    except OverflowError:
        return None


def _from_number(value: Json, found: float) -> datetime:
    # A float has no room for nanoseconds since 1970; integers and their texts are read exactly.
    whole = int(value) if isinstance(value, int) or (isinstance(value, str) and value.strip().isdigit()) else None
    if found < 1e11:
        return _EPOCH + timedelta(seconds=found)
    if found < 1e14:
        return _EPOCH + timedelta(milliseconds=found)
    if found < 1e17:
        return _EPOCH + timedelta(microseconds=whole or found)
    if 4e17 <= found < 9e17:
        return _DOTNET + timedelta(microseconds=(whole or int(found)) // 10)
    return _EPOCH + timedelta(microseconds=(whole or int(found)) // 1000)


def _from_iso(match: re.Match[str], warn: Callable[[], object] | None) -> datetime | None:
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        found = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), min(int(second or 0), 59),
            int((fraction or "").ljust(6, "0")[:6]), tzinfo=UTC,
        )  # fmt: skip
        if zone is None:
            if warn is not None:
                warn()
        elif zone not in {"Z", "z", "UTC"}:
            digits = zone[1:].replace(":", "").ljust(4, "0")
            offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
            found += offset if zone[0] == "-" else -offset
    except (ValueError, OverflowError):
        return None
    return found


def between_ms(start: datetime | None, end: datetime | None) -> float | None:
    """Milliseconds from start to end; unknown when either is, when they are the same or the wrong way round."""
    if start is None or end is None or end <= start:
        return None
    return (end - start) / timedelta(milliseconds=1)


def total(*counts: int | None) -> int | None:
    """Sum of the counts that are known; unknown when none is."""
    known = [item for item in counts if item is not None]
    return sum(known) if known else None


def pick(record: Mapping[str, Json], *names: str) -> Json:
    """The first of these fields that holds anything."""
    for name in names:
        value = record.get(name)
        if value is not None and value != "":
            return value
    return None


def reach(record: Json, path: str) -> Json:
    """A field by its name, or by a dotted path into nested records and lists; ``None`` when it is not there."""
    if isinstance(record, dict) and path in record:
        return record[path]
    first, _, rest = path.partition(".")
    record = decoded(record)
    inner: Any = None
    if isinstance(record, dict):
        inner = record.get(first)
    elif isinstance(record, list) and first.lstrip("-").isdigit() and -len(record) <= int(first) < len(record):
        inner = record[int(first)]
    return reach(inner, rest) if rest and inner is not None else (None if rest else inner)


def labels(values: Mapping[str, Json], *, without: frozenset[str] = frozenset()) -> dict[str, str]:
    """The scalar fields as text, for slices; nested values and empty ones are left out."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if key in without or is_private(key) or isinstance(value, dict | list):
            continue
        shown = label(value)
        if shown is not None:
            found[key] = shown
    return found


_PRIVATE = re.compile(
    r"(?i)api[_-]?key|authorization|cookie|secret|password|bearer|ip_?addr|(^|[_.-])ip$|hashed_ip|(^|[_.-])headers?$"
    r"|(^|[_.-])arn$|user_agent|user-agent|(access|auth|session)[_-]token|e-?mail"
)


@lru_cache(maxsize=4096)
def is_private(name: str) -> bool:
    """Whether a field of this name holds keys, their hashes, addresses or headers, which are never stored."""
    return _PRIVATE.search(name) is not None


def tags_and_metadata(value: Json) -> tuple[tuple[str, ...], dict[str, str]]:
    """Tags given as a list stay tags; given as an object they are metadata."""
    value = decoded(value)
    if isinstance(value, dict):
        return (), labels(value)
    if isinstance(value, list):
        return tuple(shown for item in value if (shown := label(item)) is not None), {}
    shown = label(value)
    return ((shown,) if shown and is_stored(value) else ()), {}
