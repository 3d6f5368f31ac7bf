"""Reading exports in tests: sample files, and records written on the spot."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from harness.ingest.reader import ExportReader
from harness.ingest.records import Ending, Record

SAMPLES = Path(__file__).parents[2] / "data" / "exports"


@pytest.fixture
def sample() -> Callable[..., list[Record]]:
    """Records of sample exports, read together."""

    def read(*names: str, **options: Any) -> list[Record]:
        return list(ExportReader([str(SAMPLES / name) for name in names], **options))

    return read


@pytest.fixture
def records_of(tmp_path: Path) -> Callable[..., list[Record]]:
    """Records of lines written to a file."""

    def read(*lines: Any, name: str = "log.jsonl", **options: Any) -> list[Record]:
        (tmp_path / name).write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
        return list(ExportReader([str(tmp_path / name)], **options))

    return read


@pytest.fixture
def endings() -> Callable[[Sequence[Record]], list[tuple[int | None, str, str | None]]]:
    """Line, ending, and the exchange's id or the reason of every record."""

    def short(records: Sequence[Record]) -> list[tuple[int | None, str, str | None]]:
        return [
            (item.line, str(item.ending), item.exchange.id if item.exchange else item.reason)
            for item in records
            if item.ending is not Ending.IGNORED or item.line is not None
        ]

    return short


@pytest.fixture
def by_id() -> Callable[[Sequence[Record]], dict[str, Any]]:
    """Exchanges by id."""
    return lambda records: {item.exchange.id: item.exchange for item in records if item.exchange is not None}
