"""Where a rollout stands, in plain words: the first screen of its page."""

from harness.domain.formatting import format_usd
from harness.domain.rollout import EventKind, RolloutStatus
from harness.domain.rollout_report import ArmCount, Entry, PhaseEntry, RolloutReport
from reports.page_parts import when, words
from reports.page_rollout_parts import GIVEN_UP, NOT_RECORDED, lasted, share, who
from reports.page_rollout_sums import alpha_differs
from reports.text import cut, one_line, plural
from reports.views import Fact

CONTROLLER = "controller"
_REASON = 500


def sentence_of(report: RolloutReport) -> str:
    """Which phase, since when, why it ended or waits, and what share of users the candidate serves now."""
    return f"{_stands(report)} {_served(report)}"


def _stands(report: RolloutReport) -> str:
    since, phase = when(report.since), report.phase
    match report.status:
        case RolloutStatus.RUNNING:
            return f"In phase {phase}, {_place(report)}, since {since}."
        case RolloutStatus.HOLD:
            return f"On hold in {phase} since {since}: {_reason(report)} It goes on by itself when the cause is gone."
        case RolloutStatus.PAUSED if report.asks_approval:
            return f"Waits since {since} for somebody to approve what follows {phase}: {_may(report)}."
        case RolloutStatus.PAUSED:
            return f"Paused in {phase} by {_by(report)} since {since}: {_reason(report)}"
        case RolloutStatus.COMPLETED:
            return f"Completed on {since}, {_took(report)} after its start."
        case RolloutStatus.ROLLED_BACK:
            return f"Rolled back in {phase} on {since} by {_by(report)}: {_reason(report)}"
        case RolloutStatus.STOPPED:
            return f"Stopped in {phase} on {since} by {_by(report)}: {_reason(report)}"
        case RolloutStatus.EXPIRED:
            return f"Expired in {phase} on {since}: {_reason(report)}"


def _place(report: RolloutReport) -> str:
    names = [entry.phase.name for entry in report.phases]
    return f"number {names.index(report.phase) + 1} of {len(names)}"


def _took(report: RolloutReport) -> str:
    return lasted((report.since - report.started_at).total_seconds())


def _last(report: RolloutReport) -> Entry:
    """The event that made it stand as it does."""
    return next((entry for entry in reversed(report.entries) if entry.changed), report.entries[-1])


def _by(report: RolloutReport) -> str:
    actor = _last(report).actor
    return "the controller" if actor == CONTROLLER else who(actor)


def _reason(report: RolloutReport) -> str:
    reason = one_line(_last(report).reason, _REASON)
    return reason if reason.endswith((".", "!", "?", "…")) else f"{reason}."


def _may(report: RolloutReport) -> str:
    listed = [who(person) for person in report.people]
    if not listed:
        return "anybody who gives a name may"
    shown = ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
    return f"{shown} may"


def _served(report: RolloutReport) -> str:
    """What users get now, and what they have had."""
    seen = any(stretch.served_share > 0 for stretch in report.stretches)
    if report.served_share > 0:
        rest = f"production the other {share(round(1 - report.served_share, 12))}"
        return f"The candidate serves {share(report.served_share)} of the conversations now, {rest}."
    if report.status.is_over or report.why_not_served is not None:
        return "Production serves everybody." if seen else "No user was given an answer of the candidate."
    copies = f"; it gets copies of {share(report.mirror_rate)} of the requests" if report.mirror_rate else ""
    return f"No user is given an answer of the candidate yet{copies}."


def next_of(report: RolloutReport) -> str:
    """What it waits for, by the evidence that was looked at last, else by the plan."""
    if report.status is not RolloutStatus.RUNNING:
        return ""
    against = next((check for check in report.latest if check.speaks_for is not None), None)
    if against is not None:
        looked = f" Looked at {when(report.latest_at)}." if report.latest_at else ""
        return f"Does not go on yet: {one_line(against.sentence, _REASON)}{looked}"
    phase = _current(report).phase
    unit = "conversations per arm" if phase.kind.serves_users else "pairs"
    asked = ", and somebody has to approve" if phase.approval else ""
    return (
        f"Goes on when the gate {words(phase.gate)} is passed, after at least {phase.min_pairs:,} {unit} and "
        f"{lasted(phase.min_bake_s)}{asked}."
    )


def _current(report: RolloutReport) -> PhaseEntry:
    return next(entry for entry in report.phases if entry.phase.name == report.phase)


def warnings_of(report: RolloutReport) -> tuple[str, ...]:
    """What a reader must not miss."""
    found: list[str] = []
    if report.why_not_served is not None:
        found.append(
            f"The history gives the candidate users, and gateways serve it to nobody: "
            f"{one_line(report.why_not_served, _REASON)}"
        )
    severe = [action for action in report.actions if action.name.startswith("severe:")]
    if severe:
        what = one_line(severe[0].outcome or severe[0].name, 200)
        found.append(f"{plural(len(severe), 'severe event was', 'severe events were')} reported: {what}")
    if not report.automatic:
        found.append("The controller may not roll back by itself here: it pauses and says so, and people roll back.")
    if report.configuration_differs:
        listed = ", ".join(str(number) for number in report.configuration_differs[:5])
        found.append(f"Events were written under another configuration than the rollout was started with: {listed}.")
    if report.fingerprint_differs:
        found.append(f"Another artefact of the candidate is recorded from event {report.fingerprint_differs[0]} on.")
    if report.alpha.changes:
        found.append("The alpha ledger changed while the rollout went on, which the guarantees do not allow.")
    given_up = [action for action in report.actions if (action.outcome or "").startswith(GIVEN_UP)]
    if given_up:
        found.append(
            f"{plural(len(given_up), 'hook, actuator or alert was', 'hooks, actuators or alerts were')} given up: "
            f"{one_line(given_up[0].name, 80)} for event {given_up[0].number}."
        )
    if odd := alpha_differs(report):
        found.append(f"{odd[0]} was asked at another alpha than the ledger gives it.")
    idle = [entry.number for entry in report.entries if not entry.changed and entry.kind is not EventKind.APPROVED]
    if idle:
        found.append(f"{plural(len(idle), 'event')} changed nothing; the first is event {idle[0]}.")
    return tuple(cut(warning, 1_000).text for warning in found)


def facts_of(report: RolloutReport) -> tuple[Fact, ...]:
    """Numbers of the first screen."""
    current, first = _current(report), report.entries[0]
    answered, control = report.candidate_total, report.control_total
    spent, budget = report.spend_usd, report.budget_usd
    approved = [item for item in report.approvals if item.approved_by]
    facts = [
        Fact(label="Candidate serves now", value=share(report.served_share) if report.served_share else "nobody",
             note="of the conversations" if report.served_share else "" if report.mirror_rate is None
             else f"it gets copies of {share(report.mirror_rate)} of the requests"),
        Fact(label="Phase", value=report.phase, note=_place(report)
             + (f", ran {lasted(current.ran_s)}" if current.ran_s is not None else "")),
        Fact(label="Conversations drawn for the candidate", value=_begun(report, answered),
             note=f"{answered.failed:,} failed; control's {control.failed:,} of {control.begun:,}"
             if answered is not None and control is not None else ""),
        Fact(label="Spent", value=NOT_RECORDED if spent is None else format_usd(spent),
             note=f"of {format_usd(budget)}" if budget is not None else "there is no budget"),
        Fact(label="Started", value=when(report.started_at), note=f"by {who(first.actor)}"),
        Fact(label="Approved", value=who(approved[-1].approved_by or "") if approved else "nobody yet",
             note=f"{when(approved[-1].approved_at)}, after {approved[-1].phase}"
             if approved and approved[-1].approved_at else ""),
    ]  # fmt: skip
    return tuple(facts)


def _begun(report: RolloutReport, answered: ArmCount | None) -> str:
    if answered is not None:
        return f"{answered.begun:,}"
    return NOT_RECORDED if any(stretch.served_share > 0 for stretch in report.stretches) else "none"
