"""One candidate's part of the page."""

from harness.domain.decision import Outcome, Verdict
from harness.domain.judgment import UnscoredReason
from harness.domain.report import CandidateReport, EvaluationReport
from reports import (
    page_criteria,
    page_decision,
    page_glance,
    page_judges,
    page_measures,
    page_noise,
    page_quality,
    page_slices,
)
from reports.page_examples import examples_of
from reports.page_parts import VERDICT_BADGES, percent
from reports.page_risk import risk_of
from reports.page_traffic import funnel_of
from reports.text import plural
from reports.views_page import CandidateView, SectionView

_UNSCORED_LIMIT = 0.02
_SECTIONS = (
    ("criteria", "Criteria"),
    ("quality", "Quality"),
    ("noise", "Noise floor"),
    ("judges", "Judge health"),
    ("people", "People"),
    ("latency", "Latency"),
    ("errors", "Errors"),
    ("cost", "Cost"),
    ("coverage", "Coverage"),
    ("slices", "Slices"),
    ("attempts", "Attempts"),
    ("examples", "Examples"),
)


def view_of(report: EvaluationReport, candidate: CandidateReport, anchor: str) -> CandidateView:
    """Everything the page says about one candidate."""
    decision = candidate.decision
    fails = decision.verdict is Verdict.NO_GO
    criteria = page_criteria.criteria_of(report, candidate, anchor)
    attempts = page_decision.attempts_of(report, candidate)
    judges = page_judges.judges_of(candidate)
    return CandidateView(
        anchor=anchor,
        arm=candidate.arm,
        model=candidate.model,
        badge=VERDICT_BADGES[decision.verdict],
        sentence=decision.sentence,
        objections=page_decision.objections_of(candidate),
        objections_lead="Also against it" if fails else "What keeps it from a GO",
        objections_first=not fails,
        ruled=page_glance.ruled_of(report, candidate),
        risk=risk_of(report, candidate),
        month=page_glance.month_of(candidate),
        reasons=_reasons(candidate),
        facts=page_decision.facts_of(candidate),
        sure=page_decision.sure_of(candidate),
        needed=page_decision.needed_of(report, candidate),
        warnings=_warnings(candidate),
        sections=tuple(
            SectionView(title=title, anchor=f"{anchor}-{key}")
            for key, title in _SECTIONS
            if key != "attempts" or attempts is not None
        ),
        criteria=criteria,
        criteria_note=page_criteria.note_of(criteria),
        glance_note=page_criteria.short_note_of(criteria),
        quality=page_quality.quality_of(report, candidate, anchor),
        noise=page_noise.noise_of(report, candidate),
        noise_note=page_noise.note_of(report),
        judges=judges,
        judges_note="" if judges else page_judges.note_of(candidate),
        people=page_judges.people_of(report, candidate),
        latency=page_measures.latency_of(report, candidate, anchor),
        errors=page_measures.errors_of(report, candidate, anchor),
        cost=page_measures.cost_of(report, candidate, anchor),
        funnel=funnel_of(report.ingest, candidate),
        slices=page_slices.slices_of(report, candidate),
        attempts=attempts,
        examples=examples_of(report, candidate, anchor),
    )


def _reasons(candidate: CandidateReport) -> tuple[str, ...]:
    """What passes, or only advises, is drawn beside its threshold and needs no sentence on the first screen."""
    said = {r.reason for r in candidate.decision.results if r.outcome is Outcome.PASS or not r.criterion.required}
    said |= {f"Advisory: {reason}" for reason in said}
    return tuple(reason for reason in page_decision.reasons_of(candidate) if reason not in said)


def _warnings(candidate: CandidateReport) -> tuple[str, ...]:
    """What limits the result; what a judge's health says is said there."""
    found = list(candidate.warnings)
    checked = {item.judge for item in candidate.health}
    for judge in candidate.judges:
        lost = sum(count for reason, count in judge.unscored.items() if reason != UnscoredReason.NOT_APPLICABLE.value)
        if judge.judge not in checked and judge.pairs and lost / judge.pairs > _UNSCORED_LIMIT:
            found.append(
                f"Judge {judge.judge} gave no score for {lost:,} of {plural(judge.pairs, 'pair')} "
                f"({percent(lost / judge.pairs)})."
            )
    return tuple(found)
