"""What the renderers need to know about a metric: its words, its rule in words, and where it is shown."""

import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

from harness.domain.decision import Bound, Criterion
from harness.domain.estimate import Direction, Estimate, Metric, Unit
from harness.domain.formatting import format_interval, format_value

_FILE = re.compile(r"\.(jsonl?|csv|parquet|ndjson)(\.(gz|zst))?$")
_BOUND_WORDS = {
    Bound.BELOW: "below",
    Bound.ABOVE: "above",
    Bound.AT_LEAST: "at least",
    Bound.AT_MOST: "at most",
}


class Section(StrEnum):
    """The part of the report a metric belongs to."""

    QUALITY = "quality"
    LATENCY = "latency"
    ERRORS = "errors"
    COST = "cost"


class Described(Protocol):
    """What describes metrics: a report, or whoever shows criteria without one."""

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Metrics by name."""


def metric_of(report: Described, name: str) -> Metric:
    """The metric by name; one without a description is shown as a bare number under its own name."""
    known = report.metrics.get(name)
    return known or Metric(name=name, title=name, unit=Unit.SCORE, direction=Direction.NEUTRAL)


def rule(criterion: Criterion, metric: Metric) -> str:
    """The criterion in words: ``below 1.20x``."""
    return f"{_BOUND_WORDS[criterion.bound]} {format_value(criterion.threshold, metric.unit, trim=True)}"


def passes_above(criterion: Criterion) -> bool:
    """Whether the good side of the threshold is the upper one."""
    return criterion.bound in {Bound.ABOVE, Bound.AT_LEAST}


def section_of(metric: str) -> Section:
    """Where an estimate or a distribution is shown, by the beginning of its metric's name."""
    if metric.startswith(("latency", "ttft")):
        return Section.LATENCY
    if metric.startswith(("error", "coverage", "timeout", "truncat")):
        return Section.ERRORS
    if metric.startswith(("cost", "tokens", "usd")):
        return Section.COST
    return Section.QUALITY


def is_quiet_error_class(estimate: Estimate) -> bool:
    """Whether it is the rate of one class of errors that happened on neither side."""
    is_class = estimate.metric.startswith("error_rate_") and estimate.metric != "error_rate_difference"
    return is_class and not estimate.production and not estimate.candidate


def side_unit(metric: Metric) -> Unit:
    """What either side of a comparison is counted in: a ratio of latencies compares milliseconds."""
    if metric.unit is Unit.POINTS:
        return Unit.SHARE
    if metric.unit is not Unit.RATIO:
        return metric.unit
    if metric.name.startswith(("latency", "ttft")):
        return Unit.MILLISECONDS
    if metric.name.startswith("cost"):
        return Unit.USD
    return Unit.TOKENS if metric.name.startswith("tokens") else Unit.COUNT


def amount(value: float | None, unit: Unit) -> str:
    """One side's own quantity, which unlike a difference carries no sign."""
    if unit is Unit.CHARACTERS and value is not None and math.isfinite(value):
        return f"{value:,.0f} characters"
    return format_value(value, unit)


def span(low: float | None, high: float | None, unit: Unit) -> str:
    """An interval with its unit said once: ``-0.64 to +0.43 points``; an open end reads ``no lower limit``."""
    text = format_interval(low, high, unit)
    suffix = {Unit.POINTS: " points", Unit.CHARACTERS: " characters"}.get(unit)
    return text.replace(f"{suffix} to ", " to ") if suffix and text.endswith(suffix) else text


def score(value: float | None) -> str:
    """A judge's score on its own scale, without zeros at the end."""
    if value is None or not math.isfinite(value):
        return format_value(value, Unit.SCORE)
    text = f"{value:,.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def answered_by(model: str) -> str:
    """The model's name; of a file of recorded answers the file's name, because its folder says nothing to a reader."""
    files = [re.split(r"[/\\]", part)[-1] for part in model.split(", ") if _FILE.search(part)]
    return "recorded answers: " + ", ".join(files) if files else model


def sides(estimate: Estimate, metric: Metric) -> tuple[str, str]:
    """Production's and the candidate's own value as text; ``unknown`` where there is none."""
    unit = side_unit(metric)
    return amount(estimate.production, unit), amount(estimate.candidate, unit)
