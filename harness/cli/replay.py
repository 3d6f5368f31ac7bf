"""`harness replay`: send the sampled requests to the candidates."""

from typing import Any

import typer

from harness.cli import options
from harness.cli.stage_commands import print_counts, run_stage


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay", help="Send the sampled requests to candidates and replica; asks only what is missing.")(
        replay
    )


def replay(
    experiment: options.ExperimentFile,
    run_id: options.RunId = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    engine: options.EngineName = "local",
    processes: options.Processes = None,
    address: options.Address = None,
    retry_errors: options.RetryErrors = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> int:
    """Replay and print the endings by arm."""
    from harness.pipeline import stages

    where: dict[str, Any] = {
        "run_id": run_id,
        "store": store,
        "runs_dir": runs_dir,
        "retry_errors": retry_errors,
        "quiet": quiet,
    }
    where |= {"engine": engine, "processes": processes, "address": address}
    print_counts(*run_stage(experiment, stages.replay_stage, as_json=as_json, **where), as_json=as_json)
    return 0
