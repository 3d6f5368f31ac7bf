"""All runs and rollouts at a glance."""

from collections.abc import Sequence

from harness.web.dashboard_live import alerts_note, alerts_of, worker_state
from harness.web.dashboard_reading import Reading, RunLine
from harness.web.dashboard_rollout import card_of
from harness.web.dashboard_run import KINDS, run_url
from harness.web.dashboard_views import AlertView, OverviewView, RunCard
from harness.web.stream import moment
from reports.page_parts import NONE, VERDICT_BADGES
from reports.text import one_line, plural
from reports.views import Fact


def overview_of(reading: Reading) -> tuple[OverviewView, str]:
    """The view, and the verdicts in a few words."""
    lines, total = reading.runs()
    rollouts = reading.rollouts()
    alerts, note = _alerts(reading)
    shown = f"{plural(total, 'run')} in the store" + (
        f"; the newest {len(lines)} are shown" if total > len(lines) else ""
    )
    view = OverviewView(
        rollouts=tuple(card_of(report) for report in rollouts),
        runs=tuple(_card(line) for line in lines),
        note=f"{shown}, worked on last first." if total else "No run is in the store yet.",
        alerts=alerts,
        alerts_note=note,
    )
    return view, _announced(lines)


def _card(line: RunLine) -> RunCard:
    run, decisions = line.run, line.decisions
    only = next(iter(decisions.values())) if len(decisions) == 1 else None
    return RunCard(
        href=run_url(run.id),
        id=one_line(run.id, 120),
        badges=tuple((one_line(name, 60), VERDICT_BADGES[one.verdict]) for name, one in decisions.items()),
        undecided="" if decisions else "nothing decided yet",
        sentence=only.sentence if only is not None else "",
        facts=(
            Fact(label="Kind", value=KINDS[line.kind]),
            Fact(label="Reached", value=run.stage.value, note=moment(run.updated_at)),
            Fact(label="Requests sampled", value=NONE if line.exchanges is None else f"{line.exchanges:,}"),
            Fact(label="Decided", value=moment(line.decided_at) or NONE),
        ),
    )


def _announced(lines: Sequence[RunLine]) -> str:
    decided = [
        f"{one_line(line.run.id, 60)}, {one_line(name, 60)}: {one.verdict.value}"
        for line in lines[:20]
        for name, one in line.decisions.items()
    ]
    return "; ".join(decided)


def _alerts(reading: Reading) -> tuple[tuple[AlertView, ...], str]:
    """Of every live experiment whose file was given."""
    if not reading.lives:
        return (), alerts_note(None, None)
    found, notes = [], []
    for own in reading.lives:
        state = worker_state(own.worker.status())
        found += [
            AlertView(
                kind=alert.kind,
                subject=f"{own.live.name}, {alert.subject}" if alert.subject else own.live.name,
                text=alert.text,
                since=alert.since,
            )
            for alert in alerts_of(own, state)
        ]
        note = alerts_note(own, state)
        notes += [f"{own.live.name}: {note}"] if note else []
    return tuple(found), " ".join(notes)
