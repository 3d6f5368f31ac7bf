"""One judge's win rate in every way of counting, beside each other, with the one that decides marked."""

import math
from collections.abc import Mapping
from dataclasses import replace

from harness.decision.people import ENOUGH_LABELS, FEWEST_LABELS
from harness.domain.decision import CriterionResult, Outcome
from harness.domain.estimate import Estimate, Metric
from harness.domain.formatting import format_value
from harness.domain.metrics import (
    WIN_RATE,
    WIN_RATE_CONTROLLED,
    WIN_RATE_CORRECTED,
    WIN_RATE_FROM_FLOOR,
    WIN_RATE_GIVEN_ANSWER,
)
from harness.domain.report import CandidateReport, JudgeReport
from reports.deciding import bounds, decided_on, deciding, is_corrected
from reports.metrics import passes_above
from reports.page_parts import e_value, interval, percent
from reports.text import plural
from reports.views import Badge
from reports.views_strips import Rate, rate_strips
from reports.views_trust import RatesView, RateView

_DECIDES = Badge(word="decides", tone="mark", icon="flag")
_NOT_COUNTED = Badge(word="does not count", tone="open", icon="warn")
_ADVISES = Badge(word="advisory", tone="none", icon="flag")
_SET_ASIDE = Badge(word="set aside", tone="void", icon="dash")
_LARGEST_LOG = 700.0
"""A log e-value beyond which its exponential is no number any more."""
_WAYS: tuple[tuple[Metric, str, str], ...] = (
    (WIN_RATE, "As judged", "Every pair; a failed request is a loss, a tie counts half."),
    (
        WIN_RATE_GIVEN_ANSWER,
        "Where both answered",
        "The same without failed requests: what the answers alone are worth.",
    ),
    (WIN_RATE_CONTROLLED, "At equal length", "What would be left if both answers were of the same length and style."),
    (WIN_RATE_CORRECTED, "Corrected by people", "With the judge's bias, as measured on labelled pairs, taken out."),
    (WIN_RATE_FROM_FLOOR, "From the noise floor", "Less the win rate of production, asked again, against itself."),
)


def shown_rates(candidate: CandidateReport) -> frozenset[str]:
    """Metrics that are shown here and nowhere else."""
    verdicts = {judge.judge for judge in candidate.judges if judge.wins is not None}
    names = [name for judge, name in rate_names(candidate).items() if judge in verdicts]
    return frozenset(name.replace(WIN_RATE.name, metric.name, 1) for name in names for metric, _, _ in _WAYS)


def rate_names(candidate: CandidateReport) -> dict[str, str]:
    """Judge to the name of its win rate: the first preference judge owns it, further ones have their own."""
    names: dict[str, str] = {}
    for judge in candidate.judges:
        if judge.metric == WIN_RATE.name:
            names[judge.judge] = f"{WIN_RATE.name}:{judge.judge}" if names else WIN_RATE.name
    return names


def rates_of(candidate: CandidateReport, judge: JudgeReport) -> RatesView | None:
    """Every way in which this judge's win rate is known; ``None`` when it is known in none."""
    name = rate_names(candidate).get(judge.judge)
    if name is None:
        return None
    found = _estimates(candidate, name)
    known = {metric.name: found[metric.name] for metric, _, _ in _WAYS if metric.name in found}
    if all(estimate.value is None for estimate in known.values()):
        return None
    # Of several rules about one way, the one that decides.
    rules = sorted(candidate.decision.results, key=lambda result: result.criterion.required)
    results = {_base(result, name): result for result in rules if _base(result, name)}
    shown = [way for way in _WAYS if way[0].name in known]
    rates = {
        metric.name: _rate(metric, title, known[metric.name], _rule_for(metric, results))
        for metric, title, _ in shown
        if _is_known(known[metric.name])
    }
    strips = dict(zip(rates, rate_strips(list(rates.values())), strict=True))
    return RatesView(
        caption=_caption(has_rule=any(rate.threshold is not None for rate in rates.values())),
        rows=tuple(
            replace(
                _row(metric, title, text, known[metric.name], _badge(metric, results)),
                strip=strips.get(metric.name),
            )
            for metric, title, text in shown
        ),
        length=_length(known.get(WIN_RATE_CONTROLLED.name)),
    )


def _caption(*, has_rule: bool) -> str:
    text = (
        "The win rate in every way of counting. The drawings share one line; its broken mark is where neither side is "
        "preferred, 50% or no distance from the noise floor"
    )
    return text + (", and the upright one the threshold of the rule." if has_rule else ".")


def _estimates(candidate: CandidateReport, name: str) -> dict[str, Estimate]:
    """Estimates of one judge by the metric's base name, those of the decision where it has any.

    When labels have taken the judge's place in the decision, its criterion's estimate is the corrected rate, and the
    judge's own is the one that only describes.
    """
    decided = decided_on(candidate.decision)
    described = {estimate.metric: estimate for estimate in candidate.estimates}
    found = {}
    for metric, _, _ in _WAYS:
        own = name.replace(WIN_RATE.name, metric.name, 1)
        estimate = decided.get(own, described.get(own))
        if estimate is not None:
            found[metric.name] = estimate
    rate = found.get(WIN_RATE.name)
    if rate is not None and is_corrected(rate):
        found[WIN_RATE_CORRECTED.name] = rate
        found.pop(WIN_RATE.name)
        if name in described:
            found[WIN_RATE.name] = described[name]
    return found


def _base(result: CriterionResult, name: str) -> str:
    """The way a criterion is about; empty when it is about none of this judge's."""
    for metric, _, _ in _WAYS:
        if result.criterion.metric == name.replace(WIN_RATE.name, metric.name, 1):
            corrected = metric.name == WIN_RATE.name and is_corrected(deciding(result))
            return WIN_RATE_CORRECTED.name if corrected else metric.name
    return ""


def _badge(metric: Metric, results: Mapping[str, CriterionResult]) -> Badge | None:
    """Whether this way decides, or would have if labels had not taken its place."""
    result = results.get(metric.name)
    if result is not None and result.objection is not None and result.outcome is Outcome.INCONCLUSIVE:
        return _NOT_COUNTED
    if result is not None:
        return _DECIDES if result.criterion.required else _ADVISES
    corrected = results.get(WIN_RATE_CORRECTED.name)
    about_the_judges = corrected is not None and corrected.criterion.metric.partition(":")[0] == WIN_RATE.name
    return _SET_ASIDE if metric is WIN_RATE and about_the_judges else None


def _rule_for(metric: Metric, results: Mapping[str, CriterionResult]) -> CriterionResult | None:
    """The rule a way is drawn against: its own, or the one about the win rate, since all of them are win rates."""
    if metric.name in results or metric is WIN_RATE_FROM_FLOOR:
        return results.get(metric.name)
    return next(
        (results[way.name] for way, _, _ in _WAYS if way.name in results and way is not WIN_RATE_FROM_FLOOR), None
    )


def _is_known(estimate: Estimate) -> bool:
    return estimate.value is not None and math.isfinite(estimate.value)


def _rate(metric: Metric, title: str, estimate: Estimate, rule: CriterionResult | None) -> Rate:
    """The rate as a distance from no preference: 50%, or no distance from the noise floor."""
    even = 0.0 if metric is WIN_RATE_FROM_FLOOR else 0.5

    def off(value: float | None) -> float | None:
        return None if value is None else value - even

    shown = format_value(estimate.value, metric.unit)
    ends = interval(estimate, metric.unit)
    return Rate(
        title=title,
        value=(estimate.value or 0.0) - even,
        low=off(estimate.low),
        high=off(estimate.high),
        text=f"{shown}, {ends}" if ends else shown,
        even_label=format_value(even, metric.unit, trim=True),
        threshold=None if rule is None else off(rule.criterion.threshold),
        threshold_label="" if rule is None else format_value(rule.criterion.threshold, metric.unit, trim=True),
        above=rule is None or passes_above(rule.criterion),
    )


def _row(metric: Metric, title: str, text: str, estimate: Estimate, badge: Badge | None) -> RateView:
    sample = plural(estimate.n, "pair")
    labels = estimate.extra.get("n_labels")
    if labels:
        sample += f", {labels:,.0f} of them labelled"
    part = estimate.extra.get("n_part")
    if part:
        sample += f", {part:,.0f} of them asked again"
    return RateView(
        title=title,
        help=text,
        value=format_value(estimate.value, metric.unit),
        interval=bounds(estimate, metric.unit),
        sample=sample if estimate.value is not None else "",
        notes=_notes(metric, estimate, is_deciding=badge is _DECIDES),
        badge=badge,
        strip=None,
    )


def _notes(metric: Metric, estimate: Estimate, *, is_deciding: bool) -> tuple[str, ...]:
    if estimate.value is None and not estimate.notes:
        is_floor = metric is WIN_RATE_FROM_FLOOR
        return (
            "this judge has not scored production asked again" if is_floor else "there is nothing to reckon it from",
        )
    if metric is WIN_RATE:
        return (*estimate.notes, *_signs(estimate))
    labels = estimate.extra.get("n_labels", 0.0)
    if metric is WIN_RATE_CORRECTED and not is_deciding and 0 < labels < ENOUGH_LABELS and estimate.value is not None:
        more = f"{FEWEST_LABELS} labels let it contradict the judge, {ENOUGH_LABELS:,} let it decide"
        return (*estimate.notes, more)
    return estimate.notes


def _signs(estimate: Estimate) -> tuple[str, ...]:
    """The exact sign test, where it was made: it holds at any look however few the pairs are."""
    logs = [estimate.extra.get(f"log_e_{name}") for name in ("more_wins", "more_losses")]
    more, fewer = (None if log is None else e_value(math.exp(min(log, _LARGEST_LOG))) for log in logs)
    if more is None or fewer is None:
        return ()
    return (f"exact sign test without ties: e-value {more} for more wins than losses, {fewer} for fewer",)


def _signed(number: float) -> str:
    text = f"{number:+.2f}"
    return text[1:] if float(text) == 0 else text


def _length(estimate: Estimate | None) -> str:
    """What length does to the verdicts, in counts first."""
    if estimate is None:
        return ""
    extra = estimate.extra
    parts = []
    for name in ("longer", "shorter"):
        count, won = extra.get(f"n_{name}"), extra.get(f"win_{name}")
        if count:
            parts.append(f"it is {name} on {plural(int(count), 'pair')} and wins {percent(won)} of them outright")
    text = f"Length of the candidate's answer: {'; '.join(parts)}." if parts else ""
    slope = extra.get("length_coefficient")
    if slope is None or not math.isfinite(slope):
        return text
    low, high = extra.get("length_coefficient_low"), extra.get("length_coefficient_high")
    level = f"{100 * estimate.level:.4g}%"
    span = f" ({level} interval {_signed(low)} to {_signed(high)})" if low is not None and high is not None else ""
    return f"{text} Coefficient of length {_signed(slope)}{span}: above zero, longer answers win more often.".strip()
