"""Results to stdout, everything else to stderr; text from models and files is made safe for a terminal."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from harness.errors import InfrastructureError

_VISIBLE = {code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A)} | {0x7F: 0x2421}
_VISIBLE |= dict.fromkeys((*range(128, 160), *range(8234, 8239), *range(8294, 8298)), 65533)
_ESCAPED = {code: f"\\u{code:04x}" for code in _VISIBLE if code > 0x20}


def safe(text: str) -> str:
    """``text`` with control characters and direction overrides made visible, so that it cannot drive a terminal."""
    return text.translate(_VISIBLE).encode("utf-8", "replace").decode("utf-8")


def out(text: str) -> None:
    """One result, to stdout."""
    _write(sys.stdout, safe(text) + "\n")


def err(text: str) -> None:
    """A message for the person at the terminal, to stderr."""
    try:
        _write(sys.stderr, safe(text) + "\n")
    except InfrastructureError:
        return  # there is nowhere left to say it


def out_json(value: Any) -> None:
    """One JSON document, to stdout; times as ISO 8601, NaN as null, whatever could drive a terminal escaped."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    text = orjson.dumps(value, option=options, default=str).decode()
    _write(sys.stdout, text.translate(_ESCAPED) + "\n")


def out_json_lines(values: Iterable[Any]) -> None:
    """JSON lines, to stdout; whatever could drive a terminal escaped."""
    import orjson

    _write(sys.stdout, "".join(orjson.dumps(value).decode().translate(_ESCAPED) + "\n" for value in values))


def write_file(path: Path, text: str) -> Path:
    """A file that a reader never sees half written; its folder is made.

    Raises:
        InfrastructureError: it cannot be written.
    """
    scratch = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise InfrastructureError(f"{path} cannot be written ({error.strerror})") from error
    return path


def mute(stream: TextIO) -> None:
    """Send what is still written to ``stream`` nowhere, so that neither we nor the interpreter trip over it again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _write(stream: TextIO | None, text: str) -> None:
    """Write and flush; a reader that has gone or a closed stream changes nothing about what the command returns.

    Raises:
        InfrastructureError: the text cannot be written, as on a full disk.
    """
    if stream is None:
        return
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        mute(stream)
    except OSError as error:
        mute(stream)
        raise InfrastructureError(f"the output cannot be written: {error.strerror}; make room and try again") from error


def table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """A plain table that survives pipes, grep and narrow terminals."""
    cells = [columns, *[["" if row.get(c) is None else str(row[c]) for c in columns] for row in rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )
