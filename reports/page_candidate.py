"""One candidate's part of the page."""

from collections.abc import Mapping, Sequence

from harness.domain.decision import CriterionResult, Outcome
from harness.domain.estimate import Direction, Estimate, Metric, Unit
from harness.domain.formatting import format_value
from harness.domain.judgment import UnscoredReason
from harness.domain.report import CandidateReport, EvaluationReport, JudgeReport, SliceReport
from reports.metrics import Section, answered_by, metric_of, passes_above, rule, section_of, sides
from reports.page_examples import groups_of
from reports.page_parts import NONE, OUTCOME_BADGES, VERDICT_BADGES, interval, table, words
from reports.page_traffic import funnel_of
from reports.text import plural
from reports.views import (
    Badge,
    CandidateView,
    Cell,
    CriterionView,
    Fact,
    MeasureView,
    PreferenceView,
    QualityView,
    Table,
)
from reports.views_charts import ChartView, chart, stack, strip

_JUDGE_ERRORS = frozenset({UnscoredReason.PROVIDER_ERROR, UnscoredReason.TIMEOUT, UnscoredReason.JUDGE_CRASHED})
_UNSCORED_LIMIT = 0.02
_FLIP_LIMIT = 0.2
_SLOT_LIMIT = 0.1


def view_of(report: EvaluationReport, candidate: CandidateReport, anchor: str) -> CandidateView:
    """Everything the page says about one candidate."""
    decision = candidate.decision
    noise = {estimate.metric: estimate for estimate in report.noise_floor.estimates} if report.noise_floor else {}
    criteria = tuple(_criterion(report, result, noise.get(result.criterion.metric)) for result in decision.results)
    return CandidateView(
        anchor=anchor,
        arm=candidate.arm,
        model=candidate.model,
        badge=VERDICT_BADGES[decision.verdict],
        sentence=decision.sentence,
        reasons=decision.reasons,
        facts=_facts(candidate),
        needed=_needed(report, candidate),
        warnings=_warnings(candidate),
        criteria=criteria,
        has_noise=any(view.strip is not None and view.strip.noise_x is not None for view in criteria),
        quality=_quality(report, candidate, anchor),
        latency=MeasureView(
            tables=_estimates(report, candidate, Section.LATENCY, "Latency of both arms"),
            charts=_charts(candidate, Section.LATENCY, anchor),
        ),
        errors=_errors(report, candidate, anchor),
        cost=_cost(report, candidate, anchor),
        funnel=funnel_of(report.ingest, candidate),
        slices=_slices(report, candidate),
        groups=groups_of(report, candidate.examples, candidate.arm, anchor),
    )


def dollars(value: float | None) -> str:
    """An amount; ``unknown`` when it is not known, never zero."""
    return format_value(value, Unit.USD)


def _facts(candidate: CandidateReport) -> tuple[Fact, ...]:
    funnel, cost = candidate.funnel, candidate.cost
    failed = sum(funnel.failed.values())
    return (
        Fact(label="Answered by", value=answered_by(candidate.model), note=_answered(candidate)),
        Fact(
            label="Pairs compared",
            value=f"{funnel.comparable:,}",
            note=f"of {funnel.sampled:,} sampled, {failed:,} failed",
        ),
        Fact(
            label="Cost of 1,000 requests",
            value=dollars(cost.candidate_per_1k_usd),
            note=f"production {dollars(cost.production_per_1k_usd)}",
        ),
        Fact(
            label="Spent on this run", value=dollars(cost.candidate_usd), note=f"on judges {_judges_spent(candidate)}"
        ),
    )


def _judges_spent(candidate: CandidateReport) -> str:
    """Judges without a model cost nothing, which is not the same as an unknown price."""
    paid = any(judge.model for judge in candidate.judges)
    return dollars(candidate.cost.judges_usd) if paid or candidate.cost.judges_usd is not None else "nothing"


def _answered(candidate: CandidateReport) -> str:
    names = [name for name in sorted(candidate.answered_models) if name != candidate.model]
    return f"answered as {', '.join(names[:3])}" + (", …" if len(names) > 3 else "") if names else ""


def _needed(report: EvaluationReport, candidate: CandidateReport) -> str:
    decision = candidate.decision
    binding = metric_of(report, decision.binding).title if decision.binding else ""
    if not decision.n_needed:
        return f"How many more pairs {binding} would need cannot be projected." if binding else ""
    more = decision.n_needed - candidate.funnel.comparable
    if more <= 0:
        return ""
    text = f"Still needed: about {plural(more, 'more pair')}, {decision.n_needed:,} in all"
    return text + (f"; {binding} needs most." if binding else ".")


def _warnings(candidate: CandidateReport) -> tuple[str, ...]:
    found = list(candidate.warnings)
    for judge in candidate.judges:
        lost = sum(count for reason, count in judge.unscored.items() if reason != UnscoredReason.NOT_APPLICABLE.value)
        if judge.pairs and lost / judge.pairs > _UNSCORED_LIMIT:
            found.append(
                f"Judge {judge.judge} gave no score for {lost:,} of {plural(judge.pairs, 'pair')} "
                f"({100 * lost / judge.pairs:.1f}%)."
            )
    return tuple(found)


def _criterion(report: EvaluationReport, result: CriterionResult, noise: Estimate | None) -> CriterionView:
    metric, estimate = metric_of(report, result.criterion.metric), result.estimate
    still = max(0, (result.n_needed or 0) - estimate.n)
    return CriterionView(
        title=metric.title,
        help=metric.help,
        value=format_value(estimate.value, metric.unit),
        interval=interval(estimate, metric.unit),
        level=f"{100 * estimate.level:g}% interval",
        sides=_sides(estimate, metric),
        rule=rule(result.criterion, metric),
        advisory=not result.criterion.required,
        badge=OUTCOME_BADGES[result.outcome],
        reason=result.reason,
        sample=_sample(estimate),
        needed=f"{still:,} more pairs ({result.n_needed:,} in all)" if still and result.n_needed else "",
        notes=estimate.notes,
        noise=_noise(noise, metric) if noise is not None else "",
        strip=strip(result, metric, noise) if result.outcome is not Outcome.NO_DATA else None,
    )


def _sides(estimate: Estimate, metric: Metric) -> str:
    if estimate.production is None and estimate.candidate is None:
        return ""
    production, candidate = sides(estimate, metric)
    return f"production {production}, candidate {candidate}"


def _sample(estimate: Estimate) -> str:
    text = plural(estimate.n, "pair")
    if 0 < estimate.n_clusters < estimate.n:
        text += f" in {plural(estimate.n_clusters, 'conversation')}"
    return text + (f", {estimate.n_missing:,} without a value" if estimate.n_missing else "")


def _noise(noise: Estimate, metric: Metric) -> str:
    bounds = interval(noise, metric.unit)
    return f"production against itself {format_value(noise.value, metric.unit)}" + (f" ({bounds})" if bounds else "")


def _estimates(
    report: EvaluationReport, candidate: CandidateReport, section: Section, caption: str
) -> tuple[Table, ...]:
    """Every estimate of the section; with both arms' values when any has them. Nothing known is no table."""
    chosen = [e for e in candidate.estimates if section_of(e.metric) is section and not _is_quiet_error_class(e)]
    if all(estimate.value is None for estimate in chosen):
        return ()
    two_sided = any(e.production is not None or e.candidate is not None for e in chosen)
    rows = []
    for estimate in chosen:
        metric = metric_of(report, estimate.metric)
        both = ("", "")
        if two_sided:
            known = estimate.production is not None or estimate.candidate is not None
            both = sides(estimate, metric) if known else (NONE, NONE)
        rows.append(
            (
                Cell(text=metric.title, sub="; ".join(estimate.notes)),
                *((Cell(text=both[0]), Cell(text=both[1])) if two_sided else ()),
                Cell(text=format_value(estimate.value, metric.unit), sub=interval(estimate, metric.unit)),
                Cell(text=f"{estimate.n:,}", sub=f"{estimate.n_missing:,} missing" if estimate.n_missing else ""),
            )
        )
    heads = ["Measure", *(("Production", "Candidate") if two_sided else ()), "Estimate and interval", "Pairs"]
    return (table(caption, heads, rows, numeric=range(1, len(heads))),)


def _is_quiet_error_class(estimate: Estimate) -> bool:
    """Whether it is the rate of one class of errors that happened on neither side."""
    is_class = estimate.metric.startswith("error_rate_") and estimate.metric != "error_rate_difference"
    return is_class and not estimate.production and not estimate.candidate


def _charts(candidate: CandidateReport, section: Section, anchor: str) -> tuple[ChartView, ...]:
    found = []
    for number, distribution in enumerate(candidate.distributions, start=1):
        if section_of(distribution.metric) is section:
            drawing = chart(distribution, f"{anchor}-chart-{number}", f"candidate {candidate.arm}")
            if drawing is not None:
                found.append(drawing)
    return tuple(found)


def _quality(report: EvaluationReport, candidate: CandidateReport, anchor: str) -> QualityView:
    tables = _estimates(report, candidate, Section.QUALITY, "Measures of quality")
    return QualityView(
        preferences=tuple(_preference(judge) for judge in candidate.judges if judge.wins is not None),
        coverage=_judge_coverage(candidate.judges),
        estimates=tables[0] if tables else None,
        charts=_charts(candidate, Section.QUALITY, anchor),
    )


def _preference(judge: JudgeReport) -> PreferenceView:
    parts = stack(
        (
            ("win", "candidate better", judge.wins or 0),
            ("tie", "tie", judge.ties or 0),
            ("loss", "production better", judge.losses or 0),
        )
    )
    said, warnings = [], []
    if judge.both_orders and judge.flips is not None:
        share = judge.flips / judge.both_orders
        said.append(
            f"{judge.flips:,} of {plural(judge.both_orders, 'pair')} read in both orders flipped ({100 * share:.1f}%)."
        )
        if share > _FLIP_LIMIT:
            warnings.append("Many verdicts follow the place of the answer, not the answer.")
    if judge.first_slot_share is not None:
        said.append(f"The answer shown first was preferred in {100 * judge.first_slot_share:.1f}% (50% is unbiased).")
        if abs(judge.first_slot_share - 0.5) > _SLOT_LIMIT:
            warnings.append(
                "The judge leans to one place. Both orders are averaged, which cancels the lean but not the noise."
            )
    if judge.model:
        said.append("Agreement of this judge with people was not measured in this run.")
    return PreferenceView(
        judge=judge.judge,
        model=judge.model or "",
        parts=parts,
        title=f"{judge.judge}: " + ", ".join(f"{part.label} {part.text}" for part in parts),
        sentence=" ".join(said),
        warnings=tuple(warnings),
    )


def _judge_coverage(judges: Sequence[JudgeReport]) -> Table | None:
    if not judges:
        return None
    rows = []
    for judge in judges:
        errors = {reason: count for reason, count in judge.unscored.items() if reason in _JUDGE_ERRORS}
        others = {reason: count for reason, count in judge.unscored.items() if reason not in errors}
        rows.append(
            (
                Cell(text=judge.judge, sub=judge.model or (judge.kind if judge.kind != judge.judge else "")),
                Cell(text=f"{judge.pairs:,}"),
                Cell(text=f"{judge.scored:,}"),
                Cell(text=f"{sum(others.values()):,}", sub=_counts(others)),
                Cell(text=f"{sum(errors.values()):,}", sub=_counts(errors)),
                Cell(text=dollars(judge.cost_usd) if judge.model else NONE,
                     sub=f"{judge.tokens_in + judge.tokens_out:,} tokens" if judge.model else ""),
            )
        )  # fmt: skip
    return table(
        "What every judge scored",
        ["Judge", "Pairs", "Scored", "Unscored", "Error", "Cost"],
        rows,
        numeric=range(1, 6),
        note="Unscored pairs and errors are left out of the measure and counted here, never as ties or zeros.",
    )


def _counts(counts: Mapping[str, int]) -> str:
    return "\n".join(f"{words(name)} {count:,}" for name, count in sorted(counts.items()) if count)


def _errors(report: EvaluationReport, candidate: CandidateReport, anchor: str) -> MeasureView:
    tables = list(_estimates(report, candidate, Section.ERRORS, "Error rate and coverage"))
    notes = []
    if candidate.errors:
        rows = [
            (Cell(text=words(kind)), Cell(text=f"{production:,}"), Cell(text=f"{own:,}"))
            for kind, (production, own) in sorted(candidate.errors.items(), key=lambda item: (-item[1][1], item[0]))
        ]
        total = [sum(pair[side] for pair in candidate.errors.values()) for side in (0, 1)]
        rows.append((Cell(text="All errors"), Cell(text=f"{total[0]:,}"), Cell(text=f"{total[1]:,}")))
        tables.append(table("Errors by class", ["Class", "Production", "Candidate"], rows, numeric=(1, 2)))
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
    return MeasureView(tables=tuple(tables), charts=_charts(candidate, Section.ERRORS, anchor), notes=tuple(notes))


def _cost(report: EvaluationReport, candidate: CandidateReport, anchor: str) -> MeasureView:
    cost = candidate.cost
    month = ""
    if cost.candidate_month_low_usd is not None and cost.candidate_month_high_usd is not None:
        month = f"{dollars(cost.candidate_month_low_usd)} to {dollars(cost.candidate_month_high_usd)}, "
    facts = (
        Fact(
            label="A month on the candidate",
            value=dollars(cost.candidate_month_usd),
            note=f"{month}production {dollars(cost.production_month_usd)}",
        ),
        Fact(
            label="1,000 requests",
            value=dollars(cost.candidate_per_1k_usd),
            note=f"production {dollars(cost.production_per_1k_usd)}",
        ),
        Fact(label="Spent on the candidate", value=dollars(cost.candidate_usd), note="in this run"),
        Fact(label="Spent on judges", value=_judges_spent(candidate), note="in this run, not part of the above"),
    )
    if cost.requests_per_month is None:
        notes = [f"No monthly figure: the monthly volume is {cost.requests_per_month_source}."]
    elif cost.candidate_month_usd is None:
        notes = ["No monthly figure: what a request costs is not known on both sides."]
    else:
        notes = [
            f"The month assumes {cost.requests_per_month:,.0f} requests ({cost.requests_per_month_source}) like "
            "the sampled ones "
            "at today's prices."
        ]
    if cost.unpriced_calls:
        are = "is" if cost.unpriced_calls == 1 else "are"
        calls = plural(cost.unpriced_calls, "call")
        notes.append(f"{calls} without a known price {are} missing from every amount; unknown is not free.")
    return MeasureView(
        facts=facts,
        tables=_estimates(report, candidate, Section.COST, "Cost and tokens"),
        charts=_charts(candidate, Section.COST, anchor),
        notes=tuple(notes),
    )


def _slices(report: EvaluationReport, candidate: CandidateReport) -> tuple[Table, ...]:
    by_attribute: dict[str, list[SliceReport]] = {}
    for item in candidate.slices:
        by_attribute.setdefault(item.attribute, []).append(item)
    outcome = {result.criterion.metric: result for result in candidate.decision.results}
    return tuple(_slice_table(report, attribute, items, outcome) for attribute, items in by_attribute.items())


def _slice_table(
    report: EvaluationReport, attribute: str, items: Sequence[SliceReport], criteria: Mapping[str, CriterionResult]
) -> Table:
    names = list(dict.fromkeys(estimate.metric for item in items for estimate in item.estimates))
    names.sort(key=lambda name: not name.startswith(("win_rate", "similarity", "exact")))
    ranked_by = metric_of(report, names[0]) if names else None

    def badness(item: SliceReport) -> tuple[bool, float, str]:
        value = next((e.value for e in item.estimates if names and e.metric == names[0]), None)
        if value is None or ranked_by is None:
            return True, float(-item.n), item.value
        return False, value if ranked_by.direction is not Direction.LOWER_IS_BETTER else -value, item.value

    rows = []
    for item in sorted(items, key=badness):
        found = {estimate.metric: estimate for estimate in item.estimates}
        cells = [_slice_cell(report, found.get(name), criteria.get(name), item) for name in names]
        head = Cell(text=item.value, sub="too small for a rate" if item.too_small else "")
        rows.append((head, Cell(text=f"{item.n:,}"), *cells))
    heads = [attribute, "Requests", *(metric_of(report, name).title for name in names)]
    ordered = f", worst {ranked_by.title.lower()} first" if ranked_by else ""
    return table(f"By {words(attribute)}{ordered}", heads, rows, numeric=range(1, len(heads)))


def _slice_cell(
    report: EvaluationReport, estimate: Estimate | None, criterion: CriterionResult | None, item: SliceReport
) -> Cell:
    if estimate is None:
        return Cell(text="too few" if item.too_small else NONE)
    metric = metric_of(report, estimate.metric)
    badge = _beyond(estimate, criterion) if criterion is not None else None
    return Cell(text=format_value(estimate.value, metric.unit), sub=interval(estimate, metric.unit), badge=badge)


def _beyond(estimate: Estimate, result: CriterionResult) -> Badge | None:
    """A mark for a slice whose whole interval lies on the failing side of the criterion's threshold."""
    threshold = result.criterion.threshold
    end = estimate.high if passes_above(result.criterion) else estimate.low
    if end is None:
        return None
    fails = end < threshold if passes_above(result.criterion) else end > threshold
    return Badge(word="beyond the limit", tone="bad", icon="cross") if fails else None
