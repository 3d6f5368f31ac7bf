"""Results to stdout, everything else to stderr; text from models and files is made safe for a terminal."""

import sys
from typing import Any

_VISIBLE = {code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A)} | {0x7F: 0x2421}
_VISIBLE |= dict.fromkeys((*range(128, 160), *range(8234, 8239), *range(8294, 8298)), 65533)
_ESCAPED = {code: f"\\u{code:04x}" for code in _VISIBLE if code > 0x20}


def safe(text: str) -> str:
    """``text`` with control characters and direction overrides made visible, so that it cannot drive a terminal."""
    return text.translate(_VISIBLE).encode("utf-8", "replace").decode("utf-8")


def out(text: str) -> None:
    """One result, to stdout."""
    sys.stdout.write(safe(text) + "\n")
    sys.stdout.flush()


def err(text: str) -> None:
    """A message for the person at the terminal, to stderr."""
    sys.stderr.write(safe(text) + "\n")
    sys.stderr.flush()


def out_json(value: Any) -> None:
    """One JSON document, to stdout; times as ISO 8601, NaN as null, whatever could drive a terminal escaped."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    text = orjson.dumps(value, option=options, default=str).decode()
    sys.stdout.write(text.translate(_ESCAPED) + "\n")
    sys.stdout.flush()


def table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """A plain table that survives pipes, grep and narrow terminals."""
    cells = [columns, *[["" if row.get(c) is None else str(row[c]) for c in columns] for row in rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )
