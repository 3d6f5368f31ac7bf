"""`harness rollout`: a candidate's way to all users, step by step."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import options
from harness.cli.output import err, out, out_json
from harness.cli.work import opened_store, settings_for
from harness.cli.worker import LiveRun
from harness.errors import Interrupted

if TYPE_CHECKING:
    from harness.config import Live
    from harness.config.rollout import Rollout
    from harness.controller.people import Standing
    from harness.domain.rollout import Event

RolloutFile = Annotated[
    Path, typer.Argument(help="The rollout (YAML); it names the live experiment.", envvar="HARNESS_ROLLOUT")
]
By = Annotated[str, typer.Option("--by", help="Who does it; recorded.", envvar="HARNESS_BY")]
Reason = Annotated[str, typer.Option("--reason", help="Why; recorded.", envvar="HARNESS_REASON")]
_ENDS = {"rolled_back": 1, "stopped": 1, "expired": 3}
"""Exit codes of `status`; 0 while it goes on and when it is completed."""
_PATIENCE_S = 5.0
"""How long a step of the controller waits for a store that is away; a step that failed is taken again."""


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="Bring a candidate to all users, step by step.")
    group.command("start", help="Begin a rollout in its first phase.")(start)
    group.command("control", help="Collect the evidence, rule on it and act; runs until stopped.")(control)
    group.command("status", help="Where it stands. Ends with 1 when it was rolled back or stopped, 3 when it expired.")(
        status
    )
    group.command("approve", help="Agree to the next phase.")(approve)
    group.command("pause", help="Stop the clock; users are served as they were.")(pause)
    group.command("resume", help="Let a paused rollout go on.")(resume)
    group.command("abort", help="End it: production serves everybody.")(abort)
    group.command("report", help="Write the report: what happened, on which evidence, and who agreed.")(report)
    group.command("history", help="Every event, with who did it and why.")(history)
    app.add_typer(group, name="rollout")


def start(
    rollout: RolloutFile,
    by: By,
    reason: Reason,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Record the start; a controller takes it up."""
    from harness.controller import people

    policy, live = _loaded(rollout)
    with opened_store(settings_for(store, runs_dir)) as opened:
        record, event = people.start(opened, live, policy, by=by, reason=reason)
        standing = people.standing(opened, live.name)
    if as_json:
        out_json(people.as_json(standing))
        return 0
    out(f"rollout {record.id} of {record.candidate} has begun in phase {event.phase}")
    out(f"  phases: {' -> '.join(phase.name for phase in policy.steps)}")
    err(f"it goes on while `harness rollout control {rollout}` runs")
    return 0


def control(
    rollout: RolloutFile,
    run_id: LiveRun = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
) -> int:
    """Control the rollouts of the live experiment until Ctrl-C or SIGTERM; several may run, one acts."""
    from harness.controller.acting import Acting
    from harness.controller.hooks import Subscribed
    from harness.controller.reporting import ReportHook
    from harness.controller.service import Service
    from harness.ops import logs
    from harness.ops.server import bind, shown

    policy, live = _loaded(rollout)
    logs.configure()
    settings = settings_for(store, runs_dir)
    admin = policy.admin
    with (
        bind(admin.host, admin.port, "controller's admin port", "admin") as sock,
        opened_store(settings, patience_s=_PATIENCE_S) as opened,
    ):
        report = ReportHook(opened, settings.runs_dir, run_id or live.name)
        acts = Acting.of(policy, live, opened, more=[Subscribed(hook=report)])
        service = Service(
            opened, live, Path(policy.live), policy, acts, runs_dir=settings.runs_dir, run_id=run_id or live.name
        )
        err(f"controlling the rollouts of {live.name}; admin on {shown(sock)}")
        with service.running(sock) as stopping:
            interrupted = _until_signal(stopping)
    if interrupted:
        raise Interrupted(
            "interrupted; gateways fall back to production when the lease has passed, unless another controls"
        )
    return 0


def status(
    rollout: RolloutFile,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Print where it stands."""
    from harness.controller import people

    with _standing(rollout, store, runs_dir) as standing:
        if as_json:
            out_json(people.as_json(standing))
        else:
            _print(standing)
        return _ENDS.get(standing.state.status.value, 0)


def approve(
    rollout: RolloutFile, by: By, reason: Reason,
    store: options.StoreUrl = None, runs_dir: options.RunsDir = options.RUNS_DIR, as_json: options.AsJson = False,
) -> int:  # fmt: skip
    """Agree to the next phase."""
    return _done(rollout, store, runs_dir, "approve", by, reason, as_json=as_json)


def pause(
    rollout: RolloutFile, by: By, reason: Reason,
    store: options.StoreUrl = None, runs_dir: options.RunsDir = options.RUNS_DIR, as_json: options.AsJson = False,
) -> int:  # fmt: skip
    """Stop the clock."""
    return _done(rollout, store, runs_dir, "pause", by, reason, as_json=as_json)


def resume(
    rollout: RolloutFile, by: By, reason: Reason,
    store: options.StoreUrl = None, runs_dir: options.RunsDir = options.RUNS_DIR, as_json: options.AsJson = False,
) -> int:  # fmt: skip
    """Go on."""
    return _done(rollout, store, runs_dir, "resume", by, reason, as_json=as_json)


def abort(
    rollout: RolloutFile, by: By, reason: Reason,
    store: options.StoreUrl = None, runs_dir: options.RunsDir = options.RUNS_DIR, as_json: options.AsJson = False,
) -> int:  # fmt: skip
    """End it."""
    return _done(rollout, store, runs_dir, "abort", by, reason, as_json=as_json)


def history(
    rollout: RolloutFile,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Print every event."""
    from dataclasses import asdict

    with _standing(rollout, store, runs_dir) as standing:
        if as_json:
            out_json([asdict(event) for event in standing.events])
            return 0
        for event in standing.events:
            out(_line(event))
    return 0


def report(
    rollout: RolloutFile,
    run_id: LiveRun = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Write page and data, and print where."""
    from harness.controller import people
    from harness.controller.reporting import DATA, write_report

    _, live = _loaded(rollout)
    settings = settings_for(store, runs_dir)
    with opened_store(settings) as opened:
        record = people.standing(opened, live.name).record
        page = write_report(opened, record, settings.runs_dir, run_id=run_id or live.name)
    if as_json:
        out_json({"html": str(page), "json": str(page.with_name(DATA))})
    else:
        out(str(page))
    return 0


def _loaded(rollout: Path) -> "tuple[Rollout, Live]":
    from harness.config import load_live
    from harness.config.rollout import load_rollout

    policy = load_rollout(rollout)
    return policy, load_live(Path(policy.live))


@contextmanager
def _standing(rollout: Path, store: str | None, runs_dir: Path) -> "Iterator[Standing]":
    from harness.controller import people

    _, live = _loaded(rollout)
    with opened_store(settings_for(store, runs_dir)) as opened:
        yield people.standing(opened, live.name)


def _done(rollout: Path, store: str | None, runs_dir: Path, what: str, by: str, reason: str, *, as_json: bool) -> int:
    from dataclasses import asdict

    from harness.controller import people

    changes: dict[str, Any] = {
        "approve": people.approve, "pause": people.pause, "resume": people.resume, "abort": people.abort,
    }  # fmt: skip
    _, live = _loaded(rollout)
    with opened_store(settings_for(store, runs_dir)) as opened:
        event = changes[what](opened, live.name, by=by, reason=reason)
    if as_json:
        out_json(asdict(event))
    else:
        out(_line(event))
    return 0


def _until_signal(stopping: threading.Event) -> bool:
    """Wait; whether it was Ctrl-C."""
    seen: list[int] = []

    def stop(number: int, _: object) -> None:
        seen.append(number)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    stopping.wait()
    return signal.SIGINT in seen


def _print(standing: "Standing") -> None:
    state, policy = standing.state, standing.policy
    out(f"rollout: {standing.record.id} of {standing.record.candidate} ({standing.record.live})")
    out(f"  {state.status.value} in {state.phase.name} since {state.phase_since:%Y-%m-%d %H:%M:%S} UTC")
    out(f"  the candidate serves {state.served_share:.0%} of the conversations")
    if state.mirror_rate >= 0:
        out(f"  {state.mirror_rate:.0%} of the requests are mirrored")
    if state.asks_approval:
        out("  waits for approval: `harness rollout approve`")
    out(f"  {_line(standing.events[-1])}")
    names = [phase.name for phase in policy.steps]
    out(f"  phases: {' -> '.join(f'[{name}]' if name == state.phase.name else name for name in names)}")


def _line(event: "Event") -> str:
    when, where = f"{event.at:%Y-%m-%d %H:%M:%S}", f"{event.kind.value:<11}  {event.phase:<12}"
    return f"{event.number:>3}  {when}  {where}  {event.actor}: {event.reason}"
