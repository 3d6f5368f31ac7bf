"""What running processes say of themselves: coverage from the gateway on, breakers, alerts."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.models.breaker import BreakerState
from harness.ops import alerts
from harness.pipeline.live.funnel import ArmFunnel, Funnel
from harness.pipeline.live.intake import EXCHANGE
from harness.pipeline.live.operations import standing
from harness.pipeline.live.state import ArmState, WorkerState
from harness.web.dashboard_reading import ArmReading, RunReading, Watched
from harness.web.dashboard_views import AlertView, CoverageView, FunnelView, ProcessView
from harness.web.stream import moment
from reports.page_parts import NONE, table, words
from reports.page_traffic import funnel_step, funnel_steps
from reports.text import plural
from reports.views import Badge, Cell, Fact, Table

NOT_KNOWN = "not known"
_STATE = TypeAdapter(WorkerState)
_FUNNEL_FILES = ("alerts-gateway.json", "alerts-worker.json")
_BREAKERS = {
    BreakerState.CLOSED: Badge(word="closed", tone="good", icon="check"),
    BreakerState.OPEN: Badge(word="open", tone="bad", icon="cross"),
    BreakerState.HALF_OPEN: Badge(word="trying", tone="open", icon="question"),
}
_RUNNING = Badge(word="asked", tone="good", icon="check")


# Coverage


def coverage_of(found: RunReading) -> CoverageView:
    """Every stage with its losses and the sums written out."""
    if found.funnel is not None:
        return _live_coverage(found.funnel)
    if found.ingest is None:
        return CoverageView(shared=None, arms=(), note="The export has not been read to its end yet.", problems=())
    ingest = found.ingest
    arms = tuple(
        FunnelView(title=f"{one.arm.name}: {one.arm.title}", funnel=funnel_steps(ingest, _funnel(one), _judged(one)))
        for one in found.arms
    )
    note = ""
    if found.kind != "offline":
        note = "From the gateway to the spool: not known here. Name the live file, as in `harness dashboard live.yaml`."
    return CoverageView(shared=None, arms=arms, note=note, problems=())


def _funnel(one: ArmReading) -> Any:
    from harness.domain.report import Funnel as Stored

    counts = one.counts
    skipped = dict(counts.skipped)
    unasked = counts.sampled - counts.asked
    if unasked > 0:
        skipped["not_replayed"] = skipped.get("not_replayed", 0) + unasked
    return Stored(
        sampled=counts.sampled, completed=counts.completed, failed=counts.failed, dropped=counts.dropped,
        skipped=skipped, comparable=counts.comparable,
    )  # fmt: skip


def _judged(one: ArmReading) -> list[tuple[str, int, int, Mapping[str, int]]]:
    found: list[tuple[str, int, int, Mapping[str, int]]] = []
    for name, counts in one.judged:
        lost = dict(counts.unscored)
        waiting = one.counts.comparable - counts.scored - sum(lost.values())
        if waiting > 0:
            lost["not_judged_yet"] = waiting
        found.append((name, counts.scored, one.counts.comparable, lost))
    return found


def _live_coverage(f: Funnel) -> CoverageView:
    widest = max(f.requests, f.spooled, f.read, 1)
    parts = (
        funnel_step("Requests at the gateway", f.requests, f.requests, {}, widest, group="Production's requests"),
        funnel_step("Eligible", f.eligible, f.requests, {**f.not_eligible, "refused": f.refused}, widest),
        funnel_step("Sampled", f.sampled, f.eligible, {"sampled out": f.sampled_out}, widest),
        funnel_step(
            "Written to the spool", f.spooled, f.sampled, {**f.mirror_dropped, "in progress": f.in_progress}, widest
        ),
        funnel_step("Read by the worker", f.read, f.spooled, {"waiting": f.waiting}, widest),
        funnel_step(
            "Exchanges", f.endings.get(EXCHANGE, 0), f.read,
            {name: n for name, n in f.endings.items() if name != EXCHANGE}, widest,
        ),
    )  # fmt: skip
    return CoverageView(
        shared=FunnelView(title="From the gateway to the store", funnel=parts),
        arms=tuple(_arm_funnel(arm) for arm in f.arms),
        note=f.why or "",
        problems=tuple(f"Does not add up: {problem}." for problem in f.problems),
    )


def _arm_funnel(arm: ArmFunnel) -> FunnelView:
    widest = max(arm.exchanges, 1)
    lost = {
        **{f"failed: {kind}": n for kind, n in arm.failed.items()},
        **{f"dropped: {kind}": n for kind, n in arm.dropped.items()},
        **{f"skipped: {kind}": n for kind, n in arm.skipped.items()},
        "not asked yet": arm.pending,
    }
    steps = [
        funnel_step("Exchanges in the store", arm.exchanges, arm.exchanges, {}, widest,
                    group=f"Of the {plural(arm.exchanges, 'exchange')}"),
        funnel_step("Completed by the candidate", arm.completed, arm.exchanges, lost, widest),
        funnel_step("Comparable: both sides answered", arm.comparable, arm.completed,
                    {"production had no answer": arm.completed - arm.comparable}, widest),
        *(
            funnel_step(f"Scored by {judge}", n, arm.comparable, {"without a score so far": arm.comparable - n}, widest)
            for judge, n in arm.judged.items()
        ),
    ]  # fmt: skip
    return FunnelView(title=arm.arm, funnel=tuple(steps))


# Processes


def worker_state(told: Mapping[str, Any] | None) -> WorkerState | None:
    """What a worker says, as this version understands it; ``None`` when it is not known."""
    if told is None:
        return None
    try:
        return _STATE.validate_python(told)
    except ValidationError:
        return None


def process_of(found: RunReading) -> ProcessView:
    """Gateway, worker, breakers and alerts; what nobody says is said to be not known."""
    state = worker_state(found.worker)
    own = found.watched
    return ProcessView(
        facts=(_gateway(found), _worker(found, state), _mirroring(found, state), *_lags(state)),
        breakers=_breakers(state.arms) if state is not None and state.arms else None,
        alerts=alerts_of(own, state) if own is not None else (),
        alerts_note=alerts_note(own, state),
    )


def _gateway(found: RunReading) -> Fact:
    if found.gateway is None:
        return Fact(label="Gateway", value=NOT_KNOWN, note=_why(found.watched, "gateway"))
    problem = found.gateway.get("configuration_problem")
    return Fact(
        label="Gateway",
        value="running",
        note=f"the changed file is not in force: {problem}" if problem else f"for {found.gateway.get('upstream')}",
    )


def _worker(found: RunReading, state: WorkerState | None) -> Fact:
    if state is not None:
        return Fact(label="Worker", value="stopping" if state.stopping else "running",
                    note=f"since {moment(state.started_at)}")  # fmt: skip
    if found.funnel is not None:
        # Who holds the spool's lock is known on its own host without asking anybody.
        value = "running" if found.funnel.worker_running else "not running"
        return Fact(label="Worker", value=value, note="" if found.funnel.worker_running else "start `harness worker`")
    return Fact(label="Worker", value=NOT_KNOWN, note=_why(found.watched, "worker"))


def _mirroring(found: RunReading, state: WorkerState | None) -> Fact:
    told = found.gateway.get("mirroring") if found.gateway is not None else None
    if told is None and found.funnel is not None:
        told = found.funnel.mirroring
    if told is None and state is not None:
        told = state.mirroring
    rate = found.gateway.get("rate") if found.gateway is not None else None
    if told is None:
        return Fact(label="Mirroring", value=NOT_KNOWN)
    note = f"{100 * float(rate):g}% of the requests" if told and isinstance(rate, int | float) else ""
    return Fact(
        label="Mirroring", value="on" if told else "off", note=note if told else "by the kill switch or the file"
    )


def _lags(state: WorkerState | None) -> tuple[Fact, ...]:
    if state is None:
        return ()
    return (
        Fact(label="In the spool, not read", value=f"{state.lag_bytes:,} bytes"),
        Fact(label="Last look", value=moment(state.looked_at) or NONE),
    )


def _why(own: Watched | None, process: str) -> str:
    if own is None:
        return "its live file was not given"
    port = own.gateway if process == "gateway" else own.worker
    if not port.is_known:
        return "its admin port is chosen by the system"
    return f"no answer at {port.host}:{port.port}"


def _breakers(arms: Sequence[ArmState]) -> Table:
    return table(
        "Breakers and what is being asked",
        ["Candidate", "Breaker", "Asked", "In flight", "Why it waits"],
        [
            (
                Cell(text=arm.arm, sub=arm.model),
                Cell(text="", badge=_BREAKERS[arm.breaker]),
                Cell(text="", badge=_RUNNING if not _waits(arm) else Badge(word="waits", tone="open", icon="dash")),
                Cell(text=f"{arm.in_flight:,}"),
                Cell(text=_waits(arm) or NONE),
            )
            for arm in arms
        ],
        numeric=(3,),
    )


def _waits(arm: ArmState) -> str:
    if arm.stopped is not None:
        return f"stopped: {arm.stopped}"
    if arm.budget_exhausted is not None:
        return f"its budget of the {arm.budget_exhausted} is spent, {arm.budget_exhausted.until}"
    if arm.breaker is BreakerState.OPEN:
        return "its deployment is down; it is tried again by itself"
    if arm.quota_remaining_s > 0:
        return "production was told to slow down at the same provider"
    return ""


# Alerts


def alerts_of(own: Watched, state: WorkerState | None) -> tuple[AlertView, ...]:
    """What the worker says holds, and what was told by either process and is not known to be over."""
    now = standing(state) if state is not None else []
    found = [AlertView(kind=words(one.kind), subject=one.subject, text=one.text, since="") for one in now]
    known = {_title(one.kind, one.subject) for one in found}
    for name in _FUNNEL_FILES:
        for title, told_at in alerts.told(own.folder / name):
            if title not in known:
                known.add(title)
                at = moment(datetime.fromtimestamp(told_at, UTC))
                found.append(AlertView(kind=title, subject="", text="Told, and not known to be over.", since=at))
    return tuple(found)


def _title(kind: str, subject: str) -> str:
    return f"{kind} ({subject})" if subject else kind


def alerts_note(own: Watched | None, state: WorkerState | None) -> str:
    """What is known of alerts."""
    if own is None:
        return "Alerts are not known here: name the live file, as in `harness dashboard live.yaml`."
    if state is None and not any((own.folder / name).exists() for name in _FUNNEL_FILES):
        return "Alerts are not known: the worker does not answer, and nothing was told from this machine's spool."
    return "" if state is not None else "The worker does not answer; what was told is shown."
