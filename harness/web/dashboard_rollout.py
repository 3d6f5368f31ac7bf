"""A rollout as it goes on, by the views of its report, and what its controller sees."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from harness.web.dashboard_reading import RolloutReading
from harness.web.dashboard_views import ActionView, ControllerView, RolloutCard
from harness.web.stream import moment
from reports.page_parts import NONE, table, words
from reports.page_rollout_first import next_of, sentence_of
from reports.rollout_words import STATUS_BADGES
from reports.text import cut, one_line
from reports.views import Badge, Cell, Fact, Table

CHANGES: Mapping[str, ActionView] = {
    action.value: action
    for action in (
        ActionView(
            value="approve", title="Approve", what="Agree to the next phase, when it is asked for.", is_final=False
        ),
        ActionView(value="pause", title="Pause", what="Stop the clock; users are served as they were.", is_final=False),
        ActionView(value="resume", title="Resume", what="Let a paused rollout go on.", is_final=False),
        ActionView(value="abort", title="Abort", what="End it for good: production serves everybody.", is_final=True),
    )
}
_SAID = 2_000
_FIGURES = 8


def rollout_url(live: str) -> str:
    """The rollout's page."""
    return f"/rollout?live={quote(live, safe='', errors='replace')}"


def card_of(report: Any) -> RolloutCard:
    """One rollout on the overview."""
    return RolloutCard(
        href=rollout_url(report.live),
        title=f"{one_line(report.candidate, 60)} on {one_line(report.live, 60)}",
        badge=STATUS_BADGES[report.status],
        sentence=sentence_of(report),
        next=next_of(report),
    )


def controller_of(found: RolloutReading) -> ControllerView:
    """Who holds the claim, and what the controller saw when it last looked."""
    control, told = found.control, found.controller
    attended = control.is_attended(datetime.now(UTC))
    facts = [
        Fact(
            label="Controller",
            value="at work" if attended else "none holds the claim",
            note="" if attended or found.report.status.is_over else "without one, production serves everybody",
        )
    ]
    if control.halted_at is not None:
        facts.append(
            Fact(label="Halted", value=moment(control.halted_at), note=one_line(control.halted_reason or "", 300))
        )
    if told is None:
        note = (
            "The controller's port does not answer, so its last look is not known."
            if found.has_address
            else "What it saw last is not known: name the rollout's file too, as in `harness dashboard rollout.yaml`."
        )
        return ControllerView(facts=tuple(facts), checks=None, note="" if found.report.status.is_over else note)
    facts += [
        Fact(label="Last step", value=_at(told.get("at"))),
        Fact(label="It would", value=words(str(told.get("action") or NONE)), note=_text(told.get("because"))),
    ]
    facts += [
        Fact(label=label, value="yes", note=_text(told.get(key)))
        for key, label in (("refused", "A hook refused"), ("problem", "Cannot be done"))
        if told.get(key)
    ]
    checks = told.get("checks")
    return ControllerView(facts=tuple(facts), checks=_checks(checks) if isinstance(checks, list) else None, note="")


def _checks(checks: Sequence[Any]) -> Table | None:
    rows = [
        (
            Cell(text=words(str(check.get("name")))),
            Cell(text="", badge=_answer(check.get("speaks_for"))),
            Cell(text=_text(check.get("sentence")), sub=_figures(check.get("figures"))),
        )
        for check in checks[:40]
        if isinstance(check, Mapping)
    ]
    return (
        table("What was asked of the evidence at the last look", ["Question", "Answer", "In words"], rows)
        if rows
        else None
    )


def _answer(speaks_for: Any) -> Badge:
    if speaks_for is None:
        return Badge(word="no objection", tone="good", icon="check")
    return Badge(word=words(str(speaks_for)), tone="open", icon="flag")


def _figures(figures: Any) -> str:
    if not isinstance(figures, Mapping):
        return ""
    known = [(name, value) for name, value in figures.items() if isinstance(value, int | float)]
    return ", ".join(f"{words(str(name))} {value:.6g}" for name, value in known[:_FIGURES])


def _text(value: Any) -> str:
    return cut(str(value), _SAID).text if value else ""


def _at(value: Any) -> str:
    try:
        return moment(datetime.fromisoformat(str(value)))
    except ValueError:
        return NONE
