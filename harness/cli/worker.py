"""`harness worker`: ask, judge and decide on what the gateway captures, continuously."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options
from harness.cli.output import out, out_json
from harness.cli.progress import LogReporter
from harness.cli.work import opened_session, run_until_stopped

if TYPE_CHECKING:
    from harness.pipeline.live.state import WorkerState

LiveFile = Annotated[
    Path, typer.Argument(help="The live experiment (YAML), the same as the gateway's.", envvar="HARNESS_LIVE")
]
LiveRun = Annotated[
    str | None,
    typer.Option("--run", help="Id of the run; by default the name of the experiment.", envvar="HARNESS_RUN"),
]

_NICE = 10
_PATIENCE_S = 5.0
"""How long its store waits for a database that is away; what is read and asked is tried again by the worker itself."""


def _give_way() -> None:
    """On a host it shares with the gateway, production goes first."""
    with suppress(OSError):
        os.nice(_NICE)
    # Where Linux groups processes by session, priorities only count within one. A session that is ours alone is told
    # as a whole; in a terminal it is the shell's.
    if os.getsid(0) == os.getpid():
        with suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(_NICE), encoding="ascii")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("worker", help="Ask the candidates what the gateway captures, judge and decide; runs until stopped.")(
        worker
    )


def worker(
    live: LiveFile,
    run_id: LiveRun = None,
    drain: Annotated[
        bool,
        typer.Option("--drain", help="Deal with what is in the spool now, decide, and end.", envvar="HARNESS_DRAIN"),
    ] = False,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> int:
    """Work until Ctrl-C or SIGTERM; 0 when everything there was has been dealt with."""
    _give_way()
    from harness.config import load_live
    from harness.ops import logs
    from harness.ops.server import bind, shown
    from harness.pipeline.live.operations import Operations
    from harness.pipeline.live.worker import LiveWorker, WorkerOptions
    from harness.spool.reader import check_free

    parsed = load_live(live)
    check_free(Path(parsed.spool.folder))
    admin = parsed.worker_admin
    # A service's log is for machines; somebody at a terminal reads lines.
    reporter = None
    if not (sys.stderr.isatty() or quiet or drain):
        logs.configure()
        reporter = LogReporter("harness.worker")
    with (
        bind(admin.host, admin.port, "worker's admin port", "worker_admin") as sock,
        opened_session(
            parsed.experiment,
            run_id=run_id or parsed.name,
            store=store,
            runs_dir=runs_dir,
            quiet=quiet,
            reporter=reporter,
            most_patience_s=_PATIENCE_S,
        ) as session,
    ):
        session.reporter.finish("worker", f"{parsed.name}; admin on {shown(sock)}")
        at_work = LiveWorker(parsed, session, options=WorkerOptions(drain=drain, command=f"harness worker {live}"))
        with Operations(parsed, at_work).running(sock):
            state = run_until_stopped(at_work.run, session.stop)
    print_state(state, as_json=as_json)
    return 0


def print_state(state: "WorkerState", *, as_json: bool) -> None:
    """What a worker has come to."""
    if as_json:
        from dataclasses import asdict

        out_json(asdict(state))
        return
    out(f"run: {state.run_id}")
    out(f"  {state.records:,} records read, {state.exchanges:,} exchanges")
    for arm in state.arms:
        ends = [
            f"{n:,} {status}{' ' + reason if reason else ''}"
            for status, reasons in arm.outcomes.items()
            for reason, n in sorted(reasons.items())
        ]
        out(f"  {arm.arm}: {', '.join(ends) or 'nothing asked'}")
        if arm.verdict is not None:
            out(f"  {arm.arm}: {arm.verdict.value}: {arm.sentence}")
