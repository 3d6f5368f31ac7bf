"""The go/no-go rules of one candidate, each held against the bounds that decide it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.domain.decision import CriterionResult, Objection, Outcome
from harness.domain.estimate import Estimate, Metric
from harness.domain.formatting import format_estimate, format_value
from harness.domain.report import CandidateReport, EvaluationReport
from reports.deciding import COUNT, bound, claim, confidence, deciding, is_corrected
from reports.metrics import Described, metric_of, rule, sides
from reports.page_parts import OUTCOME_BADGES, interval
from reports.text import plural
from reports.views_page import CriterionView
from reports.views_strips import strip
from reports.views_trust import ObjectionView

_OBJECTIONS: Mapping[str, str] = {
    "judge": "The judge cannot be believed",
    "people": "People say otherwise",
    "length": "A matter of length",
    "slice": "A part of the traffic loses",
    "unscored": "Too much was left unscored",
}


def criteria_of(report: EvaluationReport, candidate: CandidateReport, anchor: str = "c1") -> tuple[CriterionView, ...]:
    """Every rule in the order of the experiment."""
    noise = {estimate.metric: estimate for estimate in report.noise_floor.estimates} if report.noise_floor else {}
    # What labels have corrected is people's rate; production against itself is known by the judge alone.
    return tuple(
        replace(
            _criterion(report, result, None if is_corrected(deciding(result)) else noise.get(result.criterion.metric)),
            anchor=f"{anchor}-criterion-{number}",
        )
        for number, result in enumerate(candidate.decision.results, start=1)
    )


def criterion_of(described: Described, result: CriterionResult) -> CriterionView:
    """One rule, for a page that has no report and so no noise floor."""
    return _criterion(described, result, None)


def note_of(criteria: Sequence[CriterionView]) -> str:
    """How to read the drawings, as far as these ones need it."""
    strips = [view.strip for view in criteria if view.strip is not None]
    parts = [
        "Each rule held against what was measured. In the drawings the shaded side passes, the upright line is the "
        "threshold and the bar runs between the bounds that decide"
    ]
    if any(strip.noise_x is not None for strip in strips):
        parts.append("the hatched band is what production does to itself")
    if any(strip.wider_low is not None or strip.wider_high is not None for strip in strips):
        parts.append("the thin line goes on to the wider bounds that a fail needs")
    text = "; ".join(parts) + "."
    if any(view.advisory for view in criteria):
        text += " An advisory rule is shown and never decides."
    return text


def short_note_of(criteria: Sequence[CriterionView]) -> str:
    """How to read the drawings, in the room that the first screen has."""
    strips = [view.strip for view in criteria if view.strip is not None]
    if not strips:
        return ""
    text = "Upright line: threshold. Shaded: passes. Bar: between the bounds that decide."
    if any(strip.noise_x is not None for strip in strips):
        text += " Hatched: what production does to itself."
    return f"{text} A name leads to the whole story."


def objection_of(objection: Objection, *, said: str) -> ObjectionView:
    """The objection without what ``said`` tells already."""
    return ObjectionView(
        title=_OBJECTIONS.get(objection.kind, objection.kind),
        sentence="" if objection.sentence in said else _sentence(objection.sentence),
        remedy=objection.remedy,
        section="slices" if objection.kind == "slice" else "",
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _criterion(report: Described, result: CriterionResult, noise: Estimate | None) -> CriterionView:
    metric, estimate = metric_of(report, result.criterion.metric), deciding(result)
    still = max(0, (result.n_needed or 0) - estimate.n)
    counted = estimate.method == COUNT
    return CriterionView(
        title=metric.title,
        help=metric.help,
        value=format_value(estimate.value, metric.unit),
        claim=claim(result, metric),
        bound=bound(result, metric),
        anchor="",
        bounds="" if counted else interval(estimate, metric.unit),
        method="" if counted else estimate.method,
        wider=_wider(result, metric),
        sides=_sides(estimate, metric),
        rule=rule(result.criterion, metric),
        advisory=not result.criterion.required,
        badge=OUTCOME_BADGES[result.outcome],
        reason=result.reason,
        objection=objection_of(result.objection, said=result.reason) if result.objection is not None else None,
        sample=_sample(estimate),
        needed=f"{still:,} more pairs ({result.n_needed:,} in all)" if still and result.n_needed else "",
        notes=tuple(note for note in estimate.notes if note not in result.reason),
        noise=_noise(noise, metric) if noise is not None and noise.value is not None else "",
        strip=strip(result, metric, noise) if result.outcome is not Outcome.NO_DATA else None,
    )


def _wider(result: CriterionResult, metric: Metric) -> str:
    """The bounds a fail needs, where the rule is open and they are others."""
    strict, estimate = result.strict, result.estimate
    is_open = result.outcome is Outcome.INCONCLUSIVE and result.objection is None
    if strict is None or not is_open or not interval(strict, metric.unit):
        return ""
    if (strict.low, strict.high) == (estimate.low, estimate.high):
        return ""
    return f"a fail needs {interval(strict, metric.unit)}, {confidence(strict)}"


def _sides(estimate: Estimate, metric: Metric) -> str:
    if estimate.production is None and estimate.candidate is None:
        return ""
    production, candidate = sides(estimate, metric)
    # Beside the noise floor the other side is production asked again, not what was recorded.
    other = "production asked again" if "_from_floor" in metric.name else "production"
    return f"{other} {production}, candidate {candidate}"


def _sample(estimate: Estimate) -> str:
    """``1,182 pairs in 731 conversations, worth 690 independent ones, 14 without a value``."""
    text = plural(estimate.n, "pair")
    if 0 < estimate.n_clusters < estimate.n:
        text += f" in {plural(estimate.n_clusters, 'conversation')}"
    worth = estimate.n_effective
    if worth is not None and math.isfinite(worth) and round(worth) != estimate.n:
        text += f", worth {worth:,.0f} independent ones"
    return text + (f", {estimate.n_missing:,} without a value" if estimate.n_missing else "")


def _noise(noise: Estimate, metric: Metric) -> str:
    return f"production against itself {format_estimate(noise, metric.unit)}"
