"""docs/database.md names every table and column there is, and none that is not."""

import re
from pathlib import Path

import harness
from harness.store import tables

PAGE = (Path(harness.__file__).parents[1] / "docs" / "database.md").read_text(encoding="utf-8")


def documented() -> dict[str, dict[str, str]]:
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    return {
        section.splitlines()[0].strip(): dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", section, flags=re.MULTILINE))
        for section in sections
        if "| column |" in section
    }


def test_every_table_and_column_is_documented_in_order() -> None:
    actual = {table.name: [column.name for column in table.columns] for table in tables.metadata.tables.values()}
    assert {name: list(columns) for name, columns in documented().items()} == actual


def test_every_number_says_its_unit() -> None:
    units = {"_ms": "ms", "_usd": "US dollars", "_chars": "characters", "_bytes": "bytes", "n_": "count",
             "tokens_": "count", "_at": "UTC"}  # fmt: skip
    for table, columns in documented().items():
        for column, meaning in columns.items():
            for affix, unit in units.items():
                if column.startswith(affix) if affix.endswith("_") else column.endswith(affix):
                    assert unit in meaning, f"{table}.{column}"
