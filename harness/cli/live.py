"""`harness live`: what a live experiment has come to."""

from typing import TYPE_CHECKING

import typer

from harness.cli import options
from harness.cli.output import err, out, out_json
from harness.cli.work import opened_store, settings_for
from harness.cli.worker import LiveFile, LiveRun

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.pipeline.live.funnel import Funnel


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="What a live experiment has come to.")
    group.callback()(_live)
    group.command("status", help="Where the requests went, from the gateway to judged pairs, and why.")(status)
    app.add_typer(group, name="live")


def _live() -> None:
    """A group stays one when it has a single command."""


def status(
    live: LiveFile,
    run_id: LiveRun = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Print the coverage funnel."""
    from dataclasses import asdict

    from harness.config import load_live
    from harness.pipeline.live.funnel import read_funnel

    parsed = load_live(live)
    with opened_store(settings_for(store, runs_dir)) as opened:
        found = read_funnel(parsed, opened, run_id or parsed.name)
    if as_json:
        out_json(asdict(found) | {"eligible": found.eligible})
        return 0
    _print(found)
    return 0


def _print(found: "Funnel") -> None:
    out(f"run: {found.run_id}; the worker is {'running' if found.worker_running else 'not running'}")
    if not found.mirroring:
        out("the kill switch is off: nothing is mirrored, and candidates are asked nothing")
    _line("requests", found.requests, {**found.not_eligible, "refused": found.refused})
    _line("eligible", found.eligible, {"sampled out": found.sampled_out})
    _line("sampled", found.sampled, {**found.mirror_dropped, "in progress": found.in_progress})
    _line("spooled", found.spooled, {"waiting": found.waiting})
    _line("read", found.read, {name: n for name, n in found.endings.items() if name != "exchange"})
    _line("exchanges", found.exchanges, {"deleted": found.deleted} if found.deleted else {})
    for arm in found.arms:
        out(f"{arm.arm}:")
        _line("  completed", arm.completed, {f"failed {kind}": n for kind, n in arm.failed.items()})
        _line("  dropped", sum(arm.dropped.values()), arm.dropped)
        _line("  skipped", sum(arm.skipped.values()), arm.skipped)
        _line("  pending", arm.pending, {})
        _line("  comparable", arm.comparable, {})
        for judge, number in arm.judged.items():
            _line(f"  judged by {judge}", number, {})
    for problem in found.problems:
        err(f"! does not add up: {problem}")
    if found.why is not None:
        out(found.why)


def _line(name: str, number: int, parts: "Mapping[str, int]") -> None:
    said = ", ".join(f"{n:,} {part.replace('_', ' ')}" for part, n in parts.items() if n)
    out(f"{name:<24}{number:>12,}{'   ' + said if said else ''}")
