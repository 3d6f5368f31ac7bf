"""The report as JSON, and back: a saved value renders again without the store."""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from harness.domain.report import REPORT_SCHEMA, EvaluationReport
from harness.errors import InputError
from reports.derived import derived_of
from reports.privacy import publishable

MAX_DEPTH = 100
"""Levels of a tool call's arguments that are kept: a model can nest as deeply as it likes, a reader's stack cannot."""


def render_json(report: EvaluationReport) -> str:
    """The whole value as JSON with sorted keys; ``schema`` is its version, ``derived`` what the page reckons from it.

    NaN becomes ``null`` (unknown) and an infinity the text ``"Infinity"`` or ``"-Infinity"`` (a latency ratio whose
    candidate fails too often is infinite, which is not unknown): JSON has no numbers for them. Lone surrogates become
    U+FFFD: they are not UTF-8.
    """
    shown = publishable(report)
    value = {item.name: getattr(shown, item.name) for item in fields(shown)}
    return as_json(value | {"derived": derived_of(shown)})


def as_json(value: Any) -> str:
    """A value of dataclasses, enumerations, dates and numbers as JSON with sorted keys."""
    return json.dumps(_plain(value), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def load_json(text: str) -> EvaluationReport:
    """What :func:`render_json` wrote.

    Raises:
        InputError: not JSON, not a report, or written by a newer version of this program.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        raw = json.loads(text)
    except ValueError as error:
        raise InputError(f"this is not a saved report: {error}") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("schema"), int):
        raise InputError("this is not a saved report: it has no schema number; expected what `harness report` writes")
    if raw["schema"] > REPORT_SCHEMA:
        raise InputError(
            f"the report has schema {raw['schema']} and this version reads up to {REPORT_SCHEMA}; upgrade "
            "shadow-harness"
        )
    _restore_unknown_numbers(raw)
    try:
        return TypeAdapter(EvaluationReport).validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"this is not a saved report: {where}: {first['msg']}") from None


def _plain(value: Any, depth: int = 0) -> Any:  # noqa: PLR0911  one return per kind of value
    """The value as what the ``json`` module knows."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode() if not value.isascii() and _has_surrogate(value) else value
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if depth > MAX_DEPTH:
        return "[nested too deeply]"
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name), depth + 1) for item in fields(value)}
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    return _plain(str(value))


def _number(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _restore_unknown_numbers(value: Any) -> None:
    """Put NaN back where a plain number is required."""
    if isinstance(value, list):
        for item in value:
            _restore_unknown_numbers(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if item is None and key in {"estimate", "evidence"} and "flagged" in value:
                value[key] = math.nan
            elif key in {"production", "candidate", "replica", "probabilities"} and isinstance(item, list):
                value[key] = [math.nan if number is None else number for number in item]
            elif isinstance(item, dict) and (key == "figures" or (key == "extra" and "method" in value)):
                value[key] = {name: number for name, number in item.items() if number is not None}
            else:
                _restore_unknown_numbers(item)
