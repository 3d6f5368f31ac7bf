"""From a RolloutReport to the view objects of its page."""

import json
from collections.abc import Sequence

from harness.domain.formatting import format_usd
from harness.domain.rollout import EventKind, RolloutStatus
from harness.domain.rollout_report import (
    ActionEntry,
    ApprovalEntry,
    ApprovalState,
    Entry,
    PhaseEntry,
    PhaseOutcome,
    RolloutReport,
    RunLink,
)
from reports.glossary import anchor_of
from reports.page_parts import NONE, table, when, words
from reports.page_rollout_first import facts_of, next_of, sentence_of, warnings_of
from reports.page_rollout_parts import (
    GIVEN_UP,
    NOT_RECORDED,
    checks_of,
    hashed,
    lasted,
    link_to,
    moment,
    planned,
    run_link,
    share,
    term,
    times,
    who,
)
from reports.page_rollout_sums import affected_of, alpha_facts_of, alpha_of, spend_facts_of, spend_of
from reports.rollout_words import (
    APPROVAL_BADGES,
    EVENT_BADGES,
    GATES,
    GLOSSARY,
    KINDS,
    OUTCOME_BADGES,
    STATUS_BADGES,
    USED,
)
from reports.text import cut, one_line, plural
from reports.views import Badge, Cell, Fact, Table
from reports.views_ramp import ramps
from reports.views_rollout import EventView, PhaseRow, RolloutProvenance, RolloutView, RunView

MAX_EVENTS = 200
"""Events that the page shows in full; all are in the JSON."""
MAX_ROWS = 200
"""Rows of every table that grows with the history."""
_FEW = 12
"""Rows of a table that need not be folded."""
MAX_PAIRS = 40
REASON_LIMIT = 2_000
_CONFIGURATION_LIMIT = 100_000


def view_of(report: RolloutReport) -> RolloutView:
    """What the page shows of the report."""
    shown = frozenset(entry.number for entry in report.entries[-MAX_EVENTS:])
    return RolloutView(
        title=f"Rollout of {report.candidate}",
        overline=f"Gradual rollout · {report.name} · as of {when(report.at)}",
        badge=STATUS_BADGES[report.status],
        sentence=sentence_of(report),
        next=next_of(report),
        warnings=warnings_of(report),
        facts=facts_of(report),
        ramps=ramps(report),
        ramp_note=_ramp_note(report),
        ramp_table=_ramp_table(report),
        phases=tuple(_phase(report, number, entry, shown) for number, entry in enumerate(report.phases, start=1)),
        events=_events(report),
        events_note=_events_note(report),
        approvals=_approvals(report),
        approvals_note=_approvals_note(report),
        affected=affected_of(report),
        affected_note=_affected_note(report),
        spend=spend_of(report),
        spend_facts=spend_facts_of(report),
        alpha_facts=alpha_facts_of(report),
        alpha=alpha_of(report),
        alpha_note=(
            "Amounts were fixed before the evidence came in and are shared, not spent by looking: each test may be "
            "looked at as often as one likes. What is shown of the evidence is what was recorded last."
        ),
        actions=_actions(report.actions),
        actions_open=any(action.done_at is None for action in report.actions) or len(report.actions) <= _FEW,
        actions_note=_actions_note(report.actions),
        runs=tuple(_run(run) for run in report.runs),
        glossary=tuple((anchor_of(word), Fact(label=word, value=meaning)) for word, meaning in GLOSSARY.items()),
        terms={section: tuple(term(word) for word in used) for section, used in USED.items()},
        provenance=_provenance(report),
        footer=f"Shadow Harness {report.harness_version} · rollout report schema {report.schema}",
    )


# The ramp


def _ramp_note(report: RolloutReport) -> str:
    note = "Drawn to scale in time."
    if any(stretch.served_share > 0 for stretch in report.stretches):
        note += (
            " The line of the mirrored share ends where users are served: from there on copies are made at the live "
            "experiment's own rate, which the history does not hold."
        )
    if len(report.stretches) > MAX_ROWS:
        note += (
            " Holds and pauses that are too short to be told apart are drawn as one; the phases say how long they were."
        )
    return note


def _ramp_table(report: RolloutReport) -> Table:
    stretches = report.stretches[-MAX_ROWS:]
    left_out = len(report.stretches) - len(stretches)
    rows = [
        (
            Cell(text=moment(stretch.begin)),
            Cell(text=stretch.phase),
            Cell(text="", badge=STATUS_BADGES[stretch.status]),
            Cell(text=NONE if stretch.mirror_rate is None else share(stretch.mirror_rate)),
            Cell(text=share(stretch.served_share)),
            Cell(text=lasted((stretch.end - stretch.begin).total_seconds())),
        )
        for stretch in stretches
    ]
    return table(
        "Shares over time",
        ["From", "Phase", "Standing", "Mirrored", "Served", "For"],
        rows,
        numeric=(3, 4),
        note=f"{plural(left_out, 'earlier row')} only in the JSON." if left_out else "",
    )


# Phases


def _phase(report: RolloutReport, number: int, entry: PhaseEntry, shown: frozenset[int]) -> PhaseRow:
    phase = entry.phase
    reached = entry.outcome is not PhaseOutcome.NOT_REACHED
    return PhaseRow(
        number=str(number),
        name=phase.name,
        what=KINDS[phase.kind].format(share=share(phase.share)),
        plan=_plan(entry),
        reached=when(entry.entered_at) if entry.entered_at else "",
        went=_went(entry) if reached else (),
        badge=_phase_badge(report, entry),
        sentence=_phase_sentence(report, entry),
        by=link_to(entry.left_by, shown) if entry.left_by else None,
    )


def _plan(entry: PhaseEntry) -> tuple[str, ...]:
    phase = entry.phase
    unit = "conversations per arm" if phase.kind.serves_users else "pairs"
    lines = [
        f"gate: {words(phase.gate)} ({GATES[phase.gate]})",
        f"at least {phase.min_pairs:,} {unit}",
        f"bake {planned(phase.min_bake_s)}, limit {planned(phase.max_s)}",
        f"when undecided: {phase.when_inconclusive}"
        + (f", after {planned(phase.ask_after_s)}" if phase.when_inconclusive == "ask" else ""),
    ]
    return (*lines, "then a person has to approve") if phase.approval else tuple(lines)


def _went(entry: PhaseEntry) -> tuple[str, ...]:
    unit = "conversations per arm" if entry.phase.kind.serves_users else "pairs"
    lines = [
        f"ran {lasted(entry.ran_s)}" if entry.ran_s is not None else "",
        f"{entry.evidence_n:,} {unit}" if entry.evidence_n is not None else f"{unit} {NOT_RECORDED}",
        f"on hold {times(entry.holds)}, {lasted(entry.held_s)}" if entry.holds else "",
        f"paused {times(entry.pauses)}, {lasted(entry.paused_s)}" if entry.pauses else "",
    ]
    return tuple(line for line in lines if line)


def _phase_badge(report: RolloutReport, entry: PhaseEntry) -> Badge:
    if entry.outcome is PhaseOutcome.CURRENT and report.status is not RolloutStatus.RUNNING:
        badge = STATUS_BADGES[report.status]
        return Badge(word=badge.word.lower(), tone=badge.tone, icon=badge.icon)
    if entry.outcome is PhaseOutcome.ENDED:
        badge = STATUS_BADGES[report.status]
        return Badge(word=f"{badge.word.lower()} here", tone=badge.tone, icon=badge.icon)
    return OUTCOME_BADGES[entry.outcome]


def _phase_sentence(report: RolloutReport, entry: PhaseEntry) -> str:
    if entry.sentence:
        return cut(entry.sentence, REASON_LIMIT).text
    if entry.outcome is PhaseOutcome.CURRENT:
        return next((check.sentence for check in report.latest if check.speaks_for), "")
    return ""


# Timeline


def _events(report: RolloutReport) -> tuple[EventView, ...]:
    runs = {run.run_id: run for run in report.runs}
    newest = list(reversed(report.entries[-MAX_EVENTS:]))
    return tuple(_event(entry, runs.get(_run_of(entry)), is_open=index == 0) for index, entry in enumerate(newest))


def _run_of(entry: Entry) -> str:
    return (entry.decision.run_id if entry.decision else None) or ""


def _event(entry: Entry, run: RunLink | None, *, is_open: bool) -> EventView:
    checks = checks_of(entry.checks, decides=entry.kind not in {EventKind.ADVANCED, EventKind.COMPLETED})
    reason = cut(entry.reason, REASON_LIMIT)
    return EventView(
        anchor=f"e{entry.number}",
        number=str(entry.number),
        badge=EVENT_BADGES[entry.kind],
        where=_where(entry),
        at=moment(entry.at),
        actor=who(entry.actor),
        reason=f"{reason.text} {reason.note}".strip(),
        notes=_notes(entry),
        decision=_decision(entry),
        run=run_link(run, f"report of run {one_line(run.run_id, 40)}") if run else None,
        checks=checks,
        checks_title=_checks_title(entry),
        hashes=(
            *hashed("evidence", entry.evidence_sha256),
            *hashed("configuration", entry.configuration_sha256),
        ),
        is_open=is_open and bool(checks),
    )


def _decision(entry: Entry) -> str:
    """Verdict and sentence; a sentence that begins with its verdict says both."""
    verdict = (entry.decision.verdict if entry.decision else None) or ""
    sentence = (entry.decision.sentence if entry.decision else None) or ""
    return one_line(sentence if sentence.startswith(verdict) else f"{verdict}: {sentence}", 600)


def _where(entry: Entry) -> str:
    if entry.phase_before is None or entry.phase_before == entry.phase:
        return entry.phase
    return f"{entry.phase_before} \N{RIGHTWARDS ARROW} {entry.phase}"


def _notes(entry: Entry) -> tuple[str, ...]:
    notes = [
        "asked for approval" if entry.asks == "approval" else "",
        f"serves {share(entry.served_share)} of the conversations" if entry.served_share else "",
        f"mirrors {share(entry.mirror_rate)} of the requests" if entry.mirror_rate is not None else "",
        f"{format_usd(entry.spend_usd)} spent so far" if entry.spend_usd is not None else "",
        "" if entry.changed else "changed nothing: the rollout was over, or paused by people",
    ]
    return tuple(note for note in notes if note)


def _checks_title(entry: Entry) -> str:
    if not entry.checks:
        return ""
    against = len(entry.objections)
    return f"{plural(len(entry.checks), 'check')}, " + (
        f"{plural(against, 'objection')}" if against else "no objection"
    )


def _events_note(report: RolloutReport) -> str:
    total, older = len(report.entries), max(len(report.entries) - MAX_EVENTS, 0)
    holds = sum(entry.kind is EventKind.HELD for entry in report.entries)
    note = f"{plural(total, 'event')} so far, newest first."
    if older:
        note += (
            f" The newest {MAX_EVENTS} are shown in full; the {older:,} before them are counted here and are in the "
            f"JSON. In all {plural(holds, 'hold')}."
        )
    return note


# People


def _approvals(report: RolloutReport) -> Table | None:
    if not report.approvals:
        return None
    shown = report.approvals[-MAX_ROWS:]
    left_out = len(report.approvals) - len(shown)
    return table(
        "Approvals",
        ["Phase", "Asked", "Who agreed", "Why", "What came of it"],
        [_approval(item) for item in shown],
        note=f"{plural(left_out, 'earlier one')} only in the JSON." if left_out else "",
    )


def _approval(item: ApprovalEntry) -> tuple[Cell, ...]:
    asked = "not asked" if item.asked_at is None else when(item.asked_at)
    evidence = one_line(item.evidence_sha256, 12) if item.evidence_sha256 else NOT_RECORDED
    waited = (
        f"after {lasted((item.approved_at - item.asked_at).total_seconds())}"
        if item.approved_at and item.asked_at
        else ""
    )
    came = {
        ApprovalState.USED: f"event {item.used_by} went on with it",
        ApprovalState.VALID: "",
        ApprovalState.LAPSED: "too old, or the rollout ended first",
        ApprovalState.AWAITED: "the rollout waits",
        ApprovalState.MOOT: "the rollout ended first",
    }[item.state]
    return (
        Cell(text=item.phase),
        Cell(text=asked, sub=f"event {item.asked_by}, evidence {evidence}" if item.asked_by else ""),
        Cell(text=who(item.approved_by) if item.approved_by else NONE,
             sub=", ".join(part for part in (when(item.approved_at) if item.approved_at else "", waited) if part)),
        Cell(text=one_line(item.reason, 300) if item.reason else NONE),
        Cell(text="", sub=came, badge=APPROVAL_BADGES[item.state]),
    )  # fmt: skip


def _approvals_note(report: RolloutReport) -> str:
    wanted = [entry.phase.name for entry in report.phases if entry.phase.approval]
    if not wanted and not report.approvals:
        return "No phase needs anybody's approval."
    may = ", ".join(who(person) for person in report.people[:20]) or "anybody who gives a name"
    asked = f"Asked after {', '.join(wanted)}. " if wanted else ""
    return f"{asked}May approve: {may}. An approval holds for {planned(report.approval_valid_s)}."


def _affected_note(report: RolloutReport) -> str:
    if not any(stretch.served_share > 0 for stretch in report.stretches):
        return "No user was given an answer of the candidate."
    if not report.affected:
        return f"How many conversations the candidate answered is {NOT_RECORDED}."
    return (
        "A conversation counts as failed when one of its requests failed. The candidate's arm counts every "
        "conversation drawn for it, also where production answered in its place."
    )


# What was done


def _actions(actions: Sequence[ActionEntry]) -> Table | None:
    if not actions:
        return None
    newest = list(reversed(actions))[:MAX_ROWS]
    left_out = len(actions) - len(newest)
    return table(
        "Hooks, actuators and alerts, newest first",
        ["What", "For event", "Begun", "Took", "Outcome"],
        [_action(item) for item in newest],
        note=f"{plural(left_out, 'earlier one')} only in the JSON." if left_out else "",
    )


def _action(item: ActionEntry) -> tuple[Cell, ...]:
    took = lasted((item.done_at - item.begun_at).total_seconds()) if item.done_at and item.begun_at else NONE
    outcome = one_line(item.outcome, 300) if item.outcome else ""
    badge = _action_badge(item, outcome)
    return (
        Cell(text=one_line(item.name, 120)),
        Cell(text=str(item.number) if item.number else "none"),
        Cell(text=moment(item.begun_at) if item.begun_at else NOT_RECORDED),
        Cell(text=took),
        Cell(text="" if badge else outcome, sub=outcome if badge and outcome != "ok" else "", badge=badge),
    )


def _action_badge(item: ActionEntry, outcome: str) -> Badge | None:
    if item.done_at is None:
        return Badge(word="under way", tone="open", icon="question")
    if outcome.startswith(GIVEN_UP):
        return Badge(word="given up", tone="bad", icon="cross")
    return Badge(word="done", tone="good", icon="check") if outcome in {"", "ok"} else None


def _actions_note(actions: Sequence[ActionEntry]) -> str:
    if not actions:
        return f"Whether hooks, actuators or alerts were run is {NOT_RECORDED}."
    open_ = sum(item.done_at is None for item in actions)
    return f"{plural(len(actions), 'entry', 'entries')}; " + (f"{open_:,} not done." if open_ else "all are done.")


# Links and provenance


def _run(run: RunLink) -> RunView:
    pairs = [run_link(run, one_line(pair.title, 160), pair.anchor) for pair in run.pairs[:MAX_PAIRS]]
    return RunView(
        title=f"Run {one_line(run.run_id, 80)}",
        link=run_link(run, "its report"),
        pairs=tuple(pair for pair in pairs if pair is not None),
    )


def _provenance(report: RolloutReport) -> RolloutProvenance:
    differs = report.configuration_differs
    matches = f"the same in all {plural(report.configuration_matches, 'event')} that recorded it"
    if differs:
        listed = ", ".join(str(number) for number in differs[:10]) + (", …" if len(differs) > 10 else "")
        matches = f"another one is recorded in {plural(len(differs), 'event')}: {listed}"
    elif not report.configuration_matches:
        matches = "no event recorded it"
    return RolloutProvenance(
        facts=(
            Fact(label="Rollout", value=report.rollout_id),
            Fact(label="Live experiment", value=report.live),
            Fact(label="Candidate", value=report.candidate),
            Fact(label="Candidate's fingerprint", value=report.fingerprint,
                 note="of everything that decides what it answers"),
            Fact(label="Configuration, SHA-256", value=report.configuration_sha256, note=matches),
            Fact(label="History, SHA-256", value=report.history_sha256,
                 note=f"of all {plural(len(report.entries), 'event')}, numbered from 1 without a gap"),
            Fact(label="Started", value=moment(report.started_at), note=f"by {who(report.entries[0].actor)}"),
            Fact(label="Looked at", value=moment(report.at)),
        ),
        configuration=cut(
            json.dumps(report.configuration, indent=2, sort_keys=True, ensure_ascii=False, default=str),
            _CONFIGURATION_LIMIT,
        ).text,
    )  # fmt: skip
