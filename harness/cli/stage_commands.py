"""`harness replay`, `judge` and `decide`: one stage of a run, on its own."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from harness.cli.output import out, out_json
from harness.cli.work import opened_session, run_until_stopped


def run_stage(
    experiment: Path, stage: Callable[[Any], Awaitable[Any]], *, as_json: bool, **where: Any
) -> tuple[str, Any]:
    """Run one stage of the experiment's run and return the run's id with what the stage returned."""
    from harness.config import load_experiment

    with opened_session(load_experiment(experiment), **where) as session:
        return session.run_id, run_until_stopped(lambda: stage(session), session.stop)


def print_counts(run_id: str, counts: Any, *, as_json: bool) -> None:
    """What a stage did, per arm or per judge."""
    if as_json:
        out_json({"run": run_id, "counts": counts})
        return
    out(f"run: {run_id}")
    for name, endings in counts.items():
        out(f"  {name}: " + (", ".join(f"{count:,} {ending}" for ending, count in endings.items()) or "nothing to do"))
