"""Tables and charts of the measures, one section at a time."""

from collections.abc import Collection

from harness.domain.estimate import Estimate
from harness.domain.formatting import format_value
from harness.domain.report import CandidateReport, EvaluationReport
from reports.deciding import decided_on
from reports.metrics import Section, is_quiet_error_class, metric_of, section_of, sides
from reports.page_decision import judges_spent
from reports.page_glance import month_of
from reports.page_noise import DISTANCES
from reports.page_parts import NONE, dollars, interval, percent, table, words
from reports.page_rates import shown_rates
from reports.text import plural
from reports.views import Cell, Fact, Table
from reports.views_charts import ChartView, chart
from reports.views_page import MeasureView


def latency_of(report: EvaluationReport, candidate: CandidateReport, anchor: str) -> MeasureView:
    """How long both arms take."""
    return MeasureView(
        tables=estimates_of(report, candidate, Section.LATENCY, "Latency of both arms"),
        charts=charts_of(candidate, Section.LATENCY, anchor),
    )


def errors_of(report: EvaluationReport, candidate: CandidateReport, anchor: str) -> MeasureView:
    """What fails on both sides, and what the candidate's provider does not take."""
    tables = list(estimates_of(report, candidate, Section.ERRORS, "Error rate and coverage"))
    notes = []
    if candidate.errors:
        asked = asked_of(candidate)
        rows = [
            (Cell(text=words(kind)), _count(production, asked), _count(own, asked))
            for kind, (production, own) in sorted(candidate.errors.items(), key=lambda item: (-item[1][1], item[0]))
        ]
        total = [sum(pair[side] for pair in candidate.errors.values()) for side in (0, 1)]
        rows.append((Cell(text="All errors"), _count(total[0], asked), _count(total[1], asked)))
        note = f"Counts, and shares of the {plural(asked, 'request')} that the candidate was asked." if asked else ""
        tables.append(table("Errors by class", ["Class", "Production", "Candidate"], rows, numeric=(1, 2), note=note))
    else:
        notes.append("Neither production nor the candidate failed on any sampled request.")
    if candidate.dropped_params:
        lost = [(Cell(text=name), Cell(text=f"{count:,}")) for name, count in sorted(candidate.dropped_params.items())]
        tables.append(
            table(
                "Parameters the candidate's provider does not take",
                ["Parameter", "Requests that lost it"],
                lost,
                numeric=(1,),
                note="These requests were asked without the parameter, so the comparison is not of the same request.",
            )
        )
    return MeasureView(tables=tuple(tables), charts=charts_of(candidate, Section.ERRORS, anchor), notes=tuple(notes))


def asked_of(candidate: CandidateReport) -> int:
    """Requests that the candidate was asked: completed or failed."""
    return candidate.funnel.completed + sum(candidate.funnel.failed.values())


def _count(errors: int, asked: int) -> Cell:
    return Cell(text=f"{errors:,}", sub=percent(errors / asked) if asked else "")


def cost_of(report: EvaluationReport, candidate: CandidateReport, anchor: str) -> MeasureView:
    """What was spent, and what production traffic would cost."""
    cost = candidate.cost
    month = month_of(candidate)
    facts = (
        Fact(
            label="A month on the candidate",
            value=month.candidate,
            note=", ".join(part for part in (month.interval, f"production {month.production}") if part),
        ),
        Fact(
            label="1,000 requests",
            value=dollars(cost.candidate_per_1k_usd),
            note=f"production {dollars(cost.production_per_1k_usd)}",
        ),
        Fact(label="Spent on the candidate", value=dollars(cost.candidate_usd), note="in this run"),
        Fact(label="Spent on judges", value=judges_spent(candidate), note="in this run, not part of the above"),
    )
    notes = [month.assumption]
    if cost.unpriced_calls:
        are = "is" if cost.unpriced_calls == 1 else "are"
        calls = plural(cost.unpriced_calls, "call")
        notes.append(f"{calls} without a known price {are} missing from every amount; unknown is not free.")
    return MeasureView(
        facts=facts,
        tables=estimates_of(report, candidate, Section.COST, "Cost and tokens"),
        charts=charts_of(candidate, Section.COST, anchor),
        notes=tuple(notes),
    )


def estimates_of(
    report: EvaluationReport, candidate: CandidateReport, section: Section, caption: str
) -> tuple[Table, ...]:
    """Every estimate of the section, with both arms' values when any has them; nothing known is no table.

    What a criterion is about is shown with the criterion's own bounds: one metric has one interval on the page.
    """
    decided = decided_on(candidate.decision)
    elsewhere = DISTANCES | shown_rates(candidate)
    chosen = [decided.get(e.metric, e) for e in candidate.estimates if _is_of(e, section, elsewhere)]
    if all(estimate.value is None for estimate in chosen):
        return ()
    two_sided = any(e.production is not None or e.candidate is not None for e in chosen)
    rows = [_row(report, e, is_decided=e.metric in decided, two_sided=two_sided) for e in chosen]
    heads = ["Measure", *(("Production", "Candidate") if two_sided else ()), "Estimate and interval", "Pairs"]
    return (table(caption, heads, rows, numeric=range(1, len(heads)), note=_note(chosen, decided)),)


def _is_of(estimate: Estimate, section: Section, elsewhere: Collection[str]) -> bool:
    if estimate.metric in elsewhere or estimate.metric.partition(":")[0] in DISTANCES:
        return False
    return section_of(estimate.metric) is section and not is_quiet_error_class(estimate)


def _row(report: EvaluationReport, estimate: Estimate, *, is_decided: bool, two_sided: bool) -> tuple[Cell, ...]:
    metric = metric_of(report, estimate.metric)
    both = ("", "")
    if two_sided:
        known = estimate.production is not None or estimate.candidate is not None
        both = sides(estimate, metric) if known else (NONE, NONE)
    bounds = interval(estimate, metric.unit)
    if is_decided:
        bounds = f"{bounds}\nas decided on".strip()
    return (
        Cell(text=metric.title, sub="; ".join(estimate.notes)),
        *((Cell(text=both[0]), Cell(text=both[1])) if two_sided else ()),
        Cell(text=format_value(estimate.value, metric.unit), sub=bounds),
        Cell(text=f"{estimate.n:,}", sub=f"{estimate.n_missing:,} missing" if estimate.n_missing else ""),
    )


def _note(chosen: list[Estimate], decided: dict[str, Estimate]) -> str:
    """What the intervals are, where there are two kinds of them."""
    levels = sorted({e.level for e in chosen if e.metric not in decided and (e.low is not None or e.high is not None)})
    described = " and ".join(f"{100 * level:.4g}%" for level in levels)
    parts = []
    if any(estimate.metric in decided for estimate in chosen):
        parts.append("As decided on: with the bounds of its criterion.")
    if described:
        parts.append(f"{'Other intervals' if parts else 'Intervals'} are {described} for one look, and decide nothing.")
    return " ".join(parts)


def charts_of(candidate: CandidateReport, section: Section, anchor: str) -> tuple[ChartView, ...]:
    """The distributions of the section."""
    found = []
    for number, distribution in enumerate(candidate.distributions, start=1):
        if section_of(distribution.metric) is section:
            drawing = chart(distribution, f"{anchor}-chart-{number}", f"candidate {candidate.arm}")
            if drawing is not None:
                found.append(drawing)
    return tuple(found)
