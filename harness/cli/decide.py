"""`harness decide`: hold the criteria against what is stored now."""

from typing import Any

import typer

from harness.cli import options
from harness.cli.run import print_result
from harness.cli.stage_commands import run_stage
from harness.cli.work import opened_session, run_until_stopped


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("decide", help="Estimate, decide and write the report from what is stored; asks no model.")(decide)


def decide(
    experiment: options.ExperimentFile,
    run_id: options.RunId = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> int:
    """Decide and return the exit code of the verdict."""
    from harness.config import is_live, load_live
    from harness.pipeline import stages

    where: dict[str, Any] = {"run_id": run_id, "store": store, "runs_dir": runs_dir, "quiet": quiet}
    if is_live(experiment):
        live = load_live(experiment)
        with opened_session(live.experiment, **(where | {"run_id": run_id or live.name})) as session:
            result = run_until_stopped(lambda: stages.decide_stage(session), session.stop)
        print_result(result, as_json=as_json)
        return int(result.verdict.exit_code)
    _, result = run_stage(experiment, stages.decide_stage, as_json=as_json, **where)
    print_result(result, as_json=as_json)
    return int(result.verdict.exit_code)
