"""The candidate beside what production does to itself when it is asked again."""

from collections.abc import Mapping

from harness.domain.estimate import Estimate
from harness.domain.formatting import format_value
from harness.domain.metrics import FROM_FLOOR, WIN_RATE, latency_from_floor, latency_ratio
from harness.domain.report import CandidateReport, EvaluationReport
from reports.deciding import decided_on, is_corrected
from reports.metrics import Section, amount, is_quiet_error_class, metric_of, section_of, side_unit
from reports.page_parts import NONE, interval, table
from reports.text import plural
from reports.views import Cell, Table

_DISTANCES: Mapping[str, tuple[str, ...]] = {
    **{name: tuple(metric.name for metric in found) for name, found in FROM_FLOOR.items()},
    **{latency_ratio(p).name: (latency_from_floor(p).name,) for p in ("p50", "p95")},
}
DISTANCES = frozenset(name for names in _DISTANCES.values() for name in names)
"""Metrics that are distances from the noise floor: shown here, and among win rates, and nowhere else."""
_NO_REPLICA = (
    "Production was not asked a second time in this run, so how much it differs from itself is not known. Similarity, "
    "exact match and latency can look worse than they are. A `replica:` section in the experiment measures it."
)


_NOTE = (
    "A distance is measured on the same requests; it tells the candidate from production's own noise. Ratios of "
    "latency are divided instead of subtracted, so 1.00x is no distance. As decided on: with the bounds of its "
    "criterion. Other intervals are for one look, and decide nothing."
)


def noise_of(report: EvaluationReport, candidate: CandidateReport) -> Table | None:
    """What is known of both, with the distance between them; ``None`` without a replica or without anything of it."""
    floor = report.noise_floor
    if floor is None:
        return None
    replica = {estimate.metric: estimate for estimate in floor.estimates if estimate.value is not None}
    decided = decided_on(candidate.decision)
    described = {estimate.metric: estimate for estimate in candidate.estimates}
    # The distance is that of the judge's own rate, also where labels have taken its place in the decision.
    own = described | {name: e for name, e in decided.items() if not (is_corrected(e) and name in described)}
    rows = [row for name in replica if _is_shown(replica[name]) for row in _rows(report, name, replica, own)]
    # What has a distance is what the floor is for.
    rows.sort(key=lambda row: row[3].text == NONE)
    if not rows:
        return None
    return table(
        "Beside the noise floor",
        ["Measure", "Candidate", "Production asked again", "Distance", "Pairs"],
        rows,
        numeric=range(1, 5),
        note=_NOTE,
    )


def note_of(report: EvaluationReport) -> str:
    """How often production was asked again, and what that is good for."""
    floor = report.noise_floor
    if floor is None:
        return _NO_REPLICA
    return (
        f"{plural(floor.n, 'request')} ({100 * floor.share:.0f}% wanted) went to production a second time. A candidate "
        "cannot be expected to be closer to production than production is to itself."
    )


def _is_shown(estimate: Estimate) -> bool:
    """Comparisons with the recorded answer; what an arm does on its own, or costs, is no noise."""
    base = estimate.metric.partition(":")[0]
    is_way = base.startswith(WIN_RATE.name) and base != WIN_RATE.name
    if base in DISTANCES or is_way or is_quiet_error_class(estimate):
        return False
    is_own = base == "error_rate" or (base.startswith("latency") and "ratio" not in base)
    return section_of(base) in {Section.QUALITY, Section.LATENCY, Section.ERRORS} and base != "coverage" and not is_own


def _rows(
    report: EvaluationReport, name: str, replica: Mapping[str, Estimate], own: Mapping[str, Estimate]
) -> list[tuple[Cell, ...]]:
    base, colon, judge = name.partition(":")
    distances = [own[d + colon + judge] for d in _DISTANCES.get(base, ()) if d + colon + judge in own]
    known = [estimate for estimate in distances if estimate.value is not None]
    first = next((e for e in known if _is_of(e, base)), None)
    rows = [_row(report, name, own.get(name), replica[name], first)]
    rows += [_derived(report, estimate) for estimate in known if estimate is not first]
    return rows


def _is_of(distance: Estimate, base: str) -> bool:
    """Whether it is the distance of the measure itself, and not of something made from it."""
    return distance.metric.startswith(f"{base}_from_floor")


def _row(
    report: EvaluationReport, name: str, own: Estimate | None, replica: Estimate, distance: Estimate | None
) -> tuple[Cell, ...]:
    again = int(distance.extra.get("n_part", distance.n)) if distance is not None else replica.n
    return (
        Cell(text=metric_of(report, name).title),
        _cell(report, own),
        _cell(report, replica),
        _cell(report, distance),
        Cell(text=f"{own.n if own is not None else 0:,}", sub=f"{again:,} asked again"),
    )


def _derived(report: EvaluationReport, distance: Estimate) -> tuple[Cell, ...]:
    """A row whose two sides are known from the distance alone."""
    unit = side_unit(metric_of(report, distance.metric))
    title = metric_of(report, distance.metric).title.removesuffix(", from the noise floor")
    again = int(distance.extra.get("n_part", distance.n))
    return (
        Cell(text=title),
        Cell(text=amount(distance.candidate, unit)),
        Cell(text=amount(distance.production, unit)),
        _cell(report, distance),
        Cell(text=f"{distance.n:,}", sub=f"{again:,} asked again"),
    )


def _cell(report: EvaluationReport, estimate: Estimate | None) -> Cell:
    if estimate is None or estimate.value is None:
        return Cell(text=NONE)
    unit = metric_of(report, estimate.metric).unit
    ends = interval(estimate, unit)
    if estimate.looks != "one" and ends:
        ends += "\nas decided on"
    return Cell(text=format_value(estimate.value, unit), sub=ends)
