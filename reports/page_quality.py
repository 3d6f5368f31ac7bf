"""How good one candidate's answers are: what judges prefer, and what they could not score."""

from collections.abc import Mapping, Sequence

from harness.domain.judgment import UnscoredReason
from harness.domain.report import CandidateReport, EvaluationReport, JudgeReport
from reports.metrics import Section
from reports.page_judges import agreement_in_short
from reports.page_measures import charts_of, estimates_of
from reports.page_parts import NONE, dollars, percent, table, words
from reports.page_rates import rates_of
from reports.text import plural
from reports.views import Cell, Table
from reports.views_charts import stack
from reports.views_page import PreferenceView, QualityView

_JUDGE_ERRORS = frozenset({UnscoredReason.PROVIDER_ERROR, UnscoredReason.TIMEOUT, UnscoredReason.JUDGE_CRASHED})
_FLIP_LIMIT = 0.2
_SLOT_LIMIT = 0.1


def quality_of(report: EvaluationReport, candidate: CandidateReport, anchor: str) -> QualityView:
    """Preferences judge by judge, then everything else that says something about the answers."""
    tables = estimates_of(report, candidate, Section.QUALITY, "Further measures of quality")
    return QualityView(
        preferences=tuple(_preference(candidate, judge) for judge in candidate.judges if judge.wins is not None),
        coverage=_coverage(candidate.judges),
        estimates=tables[0] if tables else None,
        charts=charts_of(candidate, Section.QUALITY, anchor),
    )


def _preference(candidate: CandidateReport, judge: JudgeReport) -> PreferenceView:
    parts = stack(
        (
            ("win", "candidate better", judge.wins or 0),
            ("tie", "tie", judge.ties or 0),
            ("loss", "production better", judge.losses or 0),
        )
    )
    said, warnings = _conduct(judge) if judge.judge not in {item.judge for item in candidate.health} else ([], [])
    if judge.model:
        said.append(agreement_in_short(candidate, judge.judge))
    return PreferenceView(
        judge=judge.judge,
        model=judge.model or "",
        parts=parts,
        title=f"{judge.judge}: " + ", ".join(f"{part.label} {part.text}" for part in parts),
        sentence=" ".join(said),
        rates=rates_of(candidate, judge),
        warnings=tuple(warnings),
    )


def _conduct(judge: JudgeReport) -> tuple[list[str], list[str]]:
    """What its verdicts say about the judge, and what makes it suspect, where its health was not checked."""
    said, warnings = [], []
    if judge.both_orders and judge.flips is not None:
        share = judge.flips / judge.both_orders
        said.append(
            f"{judge.flips:,} of {plural(judge.both_orders, 'pair')} read in both orders flipped ({percent(share)})."
        )
        if share > _FLIP_LIMIT:
            warnings.append("Many verdicts follow the place of the answer, not the answer.")
    if judge.first_slot_share is not None:
        said.append(f"The answer shown first was preferred in {percent(judge.first_slot_share)} (50% is unbiased).")
        if abs(judge.first_slot_share - 0.5) > _SLOT_LIMIT:
            warnings.append(
                "The judge leans to one place. Both orders are averaged, which cancels the lean but not the noise."
            )
    return said, warnings


def _coverage(judges: Sequence[JudgeReport]) -> Table | None:
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
                Cell(text=dollars(judge.cost_usd) if judge.model else NONE, sub=_spent_on(judge)),
            )
        )
    return table(
        "What every judge scored",
        ["Judge", "Pairs", "Scored", "Unscored", "Error", "Cost"],
        rows,
        numeric=range(1, 6),
        note="Unscored pairs and errors are left out of the measure and counted here, never as ties or zeros.",
    )


def _spent_on(judge: JudgeReport) -> str:
    if not judge.model:
        return ""
    tokens = f"{judge.tokens_in + judge.tokens_out:,} tokens"
    canaries = judge.canaries_usd
    return tokens if canaries is None else f"{tokens}\nknown answers {dollars(canaries)}, once per run"


def _counts(counts: Mapping[str, int]) -> str:
    return "\n".join(f"{words(name)} {count:,}" for name, count in sorted(counts.items()) if count)
