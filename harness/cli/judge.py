"""`harness judge`: judge the pairs that have not been judged yet."""

from typing import Any

import typer

from harness.cli import options
from harness.cli.stage_commands import print_counts, run_stage


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("judge", help="Judge the pairs a judge has not read yet; a changed judge reads them again.")(judge)


def judge(
    experiment: options.ExperimentFile,
    run_id: options.RunId = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    engine: options.EngineName = "local",
    processes: options.Processes = None,
    address: options.Address = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> int:
    """Judge and print what every judge concluded, by count."""
    from harness.pipeline import stages

    where: dict[str, Any] = {"run_id": run_id, "store": store, "runs_dir": runs_dir, "quiet": quiet}
    where |= {"engine": engine, "processes": processes, "address": address}
    print_counts(*run_stage(experiment, stages.judge_stage, as_json=as_json, **where), as_json=as_json)
    return 0
