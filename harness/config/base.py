"""What every section of the experiment shares."""

import hashlib
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"


def as_list(value: Any) -> Any:
    """One text is a list of one."""
    return [value] if isinstance(value, str) else value


class Section(BaseModel):
    """A part of the experiment; unknown keys are errors."""

    # JSON has no infinity, and the serving processes get their configuration as JSON.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def digest(value: Any) -> str:
    """First 16 hex digits of the SHA-256 of a value's canonical JSON."""
    canonical = orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str)
    return hashlib.sha256(canonical).hexdigest()[:16]


def dump(section: BaseModel | None) -> Any:
    """A section as plain values, or nothing."""
    return section.model_dump(mode="json") if section is not None else None


def is_remote(pattern: str) -> bool:
    """Whether the pattern is a URL."""
    return "://" in pattern


def identity(pattern: str) -> list[list[Any]]:
    """Size and edges of the files behind a pattern: cheap, and changes when an export does."""
    if is_remote(pattern):
        return [[pattern]]
    path = Path(pattern)
    files = sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor)) if path.anchor else pattern))
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
    identities: list[list[Any]] = []
    for file in files:
        if not file.is_file():
            continue
        size = file.stat().st_size
        with file.open("rb") as stream:
            head = stream.read(1 << 20)
            stream.seek(max(0, size - (1 << 20)))
            tail = stream.read(1 << 20)
        identities.append([file.name, size, hashlib.sha256(head + tail).hexdigest()])
    return identities
