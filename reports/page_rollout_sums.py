"""What the rollout cost, whom it touched, and what its tests may spend."""

import math

from harness.domain.estimate import Unit
from harness.domain.formatting import format_usd, format_value
from harness.domain.rollout_report import AlphaTest, ArmCount, RolloutReport
from reports.page_parts import NONE, e_value, table
from reports.page_rollout_parts import NOT_RECORDED, title_of
from reports.rollout_words import ACTION_BADGES, NO_OBJECTION
from reports.text import one_line, plural
from reports.views import Cell, Fact, Table


def affected_of(report: RolloutReport) -> Table | None:
    """Conversations by phase and arm, with their sum."""
    if not report.affected:
        return None
    rows = [
        (
            Cell(text=item.phase, sub=recorded_in(item.number)),
            *_arm(item.candidate),
            *_arm(item.control),
            Cell(text=NONE if item.difference is None else format_value(item.difference, Unit.POINTS)),
        )
        for item in report.affected
    ]
    if len(rows) > 1:
        rows.append(
            (
                Cell(text="All phases"),
                *_arm(report.candidate_total),
                *_arm(report.control_total),
                Cell(text=NONE, sub="phases are not pooled"),
            )
        )
    return table(
        "Conversations that users had",
        ["Phase", "Candidate's", "Candidate's failed", "Control's", "Control's failed", "Difference of shares"],
        rows,
        numeric=(1, 2, 3, 4, 5),
    )


def _arm(arm: ArmCount | None) -> tuple[Cell, Cell]:
    if arm is None:
        return Cell(text=NOT_RECORDED), Cell(text=NOT_RECORDED)
    rate = NONE if arm.failed_share is None else format_value(arm.failed_share, Unit.SHARE)
    return Cell(text=f"{arm.begun:,}"), Cell(text=f"{arm.failed:,}", sub=rate)


def recorded_in(number: int | None) -> str:
    """Where a figure is from."""
    return "as collected last" if number is None else f"as of event {number}"


def spend_of(report: RolloutReport) -> Table | None:
    """What was spent by phase."""
    if not report.spend:
        return None
    rows = [
        (
            Cell(text=item.phase, sub=recorded_in(item.number)),
            Cell(text=NONE if item.phase_usd is None else format_usd(item.phase_usd)),
            Cell(text=format_usd(item.total_usd)),
        )
        for item in report.spend
    ]
    return table("Spend by phase", ["Phase", "In the phase", "Since the start"], rows, numeric=(1, 2))


def spend_facts_of(report: RolloutReport) -> tuple[Fact, ...]:
    """Spent and budget."""
    spent, budget = report.spend_usd, report.budget_usd
    used = "" if report.spend_share is None else f"{100 * report.spend_share:.0f}% of the budget"
    return (
        Fact(label="Spent on candidate and judges", value=NOT_RECORDED if spent is None else format_usd(spent),
             note=used),
        Fact(label="Budget", value="none" if budget is None else format_usd(budget),
             note="" if budget is None else "more ends the rollout"),
    )  # fmt: skip


def alpha_facts_of(report: RolloutReport) -> tuple[Fact, ...]:
    """The attempt and what it may spend."""
    ledger = report.alpha
    first = f"a first one may spend {_alpha(ledger.configured_alpha)}"
    return (
        Fact(label="Attempt", value=NOT_RECORDED if ledger.attempt is None else str(ledger.attempt),
             note="of this candidate at users"),
        Fact(label="Alpha of its roll-back tests",
             value=NOT_RECORDED if ledger.attempt_alpha is None else _alpha(ledger.attempt_alpha), note=first),
        Fact(label="Alpha of the gate serves_as_well", value=_alpha(ledger.gate_alpha),
             note="chance of promising too much at a margin"),
        Fact(label="Alpha of the test of assignment", value=_alpha(ledger.sample_ratio_alpha),
             note="chance of ever doubting one that works"),
    )  # fmt: skip


def _alpha(value: float) -> str:
    return format_value(value, Unit.SHARE, trim=True) if value >= 1e-6 else f"{value:.2g}"


def alpha_of(report: RolloutReport) -> Table:
    """By test: what it may spend and how far its evidence has gone."""
    tests = report.alpha.tests
    rows = [
        (
            Cell(text=title_of(test.name), sub=one_line(test.name, 80)),
            Cell(text=NOT_RECORDED if test.alpha is None else _short(test.alpha)),
            Cell(text=_standing(test), sub=recorded_in(test.number) if test.check else ""),
            _answer(test),
        )
        for test in tests
    ]
    together = report.alpha.tests_alpha
    if together is not None:
        rows.append(
            (
                Cell(text="Together"),
                Cell(text=_short(together)),
                Cell(text=NONE),
                Cell(text="", sub="the chance that a candidate like production is ever rolled back by one of them"),
            )
        )
    changes = report.alpha.changes
    return table(
        "Roll-back tests",
        ["Test", "May spend", "Evidence", "Says"],
        rows,
        numeric=(1,),
        note=f"The recorded amounts changed {plural(changes, 'time')} on the way; they must not." if changes else "",
    )


def _short(value: float) -> str:
    return f"{100 * value:.3g}%" if value >= 1e-6 else f"{value:.2g}"


def _standing(test: AlphaTest) -> str:
    check = test.check
    if check is None:
        return NOT_RECORDED
    figures = check.figures
    if "log_e" in figures and "threshold" in figures:
        needed = math.exp(min(figures["threshold"], 700.0))
        return f"e-value {e_value(math.exp(min(figures['log_e'], 700.0)))} of {needed:,.0f} needed"
    if "margin" in figures and ("low" in figures or "high" in figures):
        unit = Unit.RATIO if test.name.endswith("latency") else Unit.POINTS
        low = figures.get("low")
        bound = "no lower bound" if low is None else f"lower bound {format_value(low, unit)}"
        return f"{bound}, margin {format_value(figures['margin'], unit, trim=True)}"
    return NONE


def _answer(test: AlphaTest) -> Cell:
    check = test.check
    if check is None:
        return Cell(text=NONE)
    badge = NO_OBJECTION if check.speaks_for is None else ACTION_BADGES.get(check.speaks_for, NO_OBJECTION)
    return Cell(text="", sub=one_line(check.sentence, 400), badge=badge)


def alpha_differs(report: RolloutReport) -> list[str]:
    """Tests whose last answer was given at another alpha than the ledger gives them."""
    return [
        title_of(test.name)
        for test in report.alpha.tests
        if test.alpha is not None
        and test.check is not None
        and not math.isclose(test.check.figures.get("alpha", test.alpha), test.alpha, rel_tol=1e-6)
    ]
