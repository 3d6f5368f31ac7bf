"""Which data go with a published report."""

import io
from enum import StrEnum
from pathlib import Path

from harness.domain.report import EvaluationReport, Readers
from harness.errors import InputError
from harness.pipeline.table import FILE

_REPORTS = frozenset({"report.html", "report.json", "report.md", "junit.xml"})
_KINDS = (".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".csv", ".html", ".json")
_NEVER = frozenset({"rejects.jsonl"})
"""Records as they came, before anything in them was replaced."""
_IDENTIFYING = ("exchange_id", "timestamp", "cluster")


class Data(StrEnum):
    """How much data goes with a report."""

    NONE = "none"
    NUMBERS = "numbers"
    """Every pair as one row of numbers."""
    ALL = "all"
    """Whatever lies beside the report, what users and models wrote included."""


def data_files(folder: Path | None, report: EvaluationReport, data: Data) -> dict[str, bytes | Path]:
    """The files to go with a report, by name, or their content where it is changed for readers outside.

    Args:
        folder: Where the report was found; ``None`` when it came alone.
        report: As it is published.
        data: How much is wanted.

    Raises:
        InputError: the table of pairs is not one of ours.
    """
    if data is Data.NONE or folder is None:
        return {}
    found: dict[str, bytes | Path] = {}
    table = folder / FILE
    if table.is_file():
        found[FILE] = for_outside(table, report) if report.readers is Readers.OUTSIDE else table
    if data is Data.ALL:
        for path in sorted(folder.iterdir()):
            taken = path.name in _REPORTS or path.name in found or path.name in _NEVER or path.name.startswith(".")
            if not taken and path.is_file() and path.name.endswith(_KINDS):
                found[path.name] = path
    return found


def for_outside(table: Path, report: EvaluationReport) -> bytes:
    """The table of pairs without ids, times, conversations, and slice values that the report does not show.

    Rows are put in an order that follows from their figures, so that their place does not tell which request they
    were.

    Raises:
        InputError: it cannot be read as a table.
    """
    import pandas as pd

    try:
        frame = pd.read_parquet(table)
    except (OSError, ValueError) as error:
        raise InputError(f"{table} cannot be read ({error}); leave it out with --data none") from error
    frame = frame.drop(columns=[name for name in _IDENTIFYING if name in frame])
    shown: dict[str, set[str]] = {}
    for candidate in report.candidates:
        for item in candidate.slices:
            shown.setdefault(item.attribute, set()).add(item.value)
    for column in [name for name in frame if str(name).startswith("slice_")]:
        values = shown.get(str(column).removeprefix("slice_"), set())
        kept = frame[column].where(frame[column].isin(values))
        if kept.notna().any():
            frame[column] = kept
        else:
            frame = frame.drop(columns=[column])
    known = {"arm", "production_status", "candidate_status", "production_error_kind", "candidate_error_kind"}
    texts = [
        name
        for name in frame
        if not pd.api.types.is_numeric_dtype(frame[name]) and name not in known and not str(name).startswith("slice_")
    ]
    frame = frame.drop(columns=texts)
    frame = frame.sort_values(by=list(frame.columns), kind="stable", key=lambda column: column.astype(str))
    content = io.BytesIO()
    frame.to_parquet(content, index=False)
    return content.getvalue()
