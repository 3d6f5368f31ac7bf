"""`harness runs`: the runs in the store."""

import sys
from typing import Annotated

import typer

from harness.cli import options
from harness.cli.output import out, out_json, table
from harness.cli.work import opened_store, settings_for
from harness.errors import ConfigurationError


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="The runs in the store.")
    group.command("list", help="Every run, newest first.")(list_runs)
    group.command("show", help="One run: stage, counts, spend and the last decision.")(show)
    group.command("delete", help="Remove a run with everything stored for it.")(delete)
    app.add_typer(group, name="runs")


def list_runs(
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Print the runs."""
    with opened_store(settings_for(store, runs_dir)) as opened:
        rows = [
            {
                "run": run.id,
                "stage": run.stage.value,
                "exchanges": opened.count_exchanges(run.id),
                "updated": run.updated_at.isoformat(timespec="seconds"),
                "stopped": run.stop_reason,
            }
            for run in sorted(opened.runs(), key=lambda run: run.updated_at, reverse=True)
        ]
    if as_json:
        out_json(rows)
    else:
        out(table(rows, ["run", "stage", "exchanges", "updated", "stopped"]) if rows else "no runs yet")
    return 0


def show(
    run_id: Annotated[str, typer.Argument(help="Id of the run.", envvar="HARNESS_RUN")],
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Print one run."""
    from harness.pipeline.session import stored_run

    with opened_store(settings_for(store, runs_dir)) as opened:
        run = stored_run(opened, run_id)
        value = {
            "run": run.id,
            "stage": run.stage.value,
            "created": run.created_at.isoformat(timespec="seconds"),
            "updated": run.updated_at.isoformat(timespec="seconds"),
            "stopped": run.stop_reason,
            "exchanges": opened.count_exchanges(run.id),
            "spent_usd": dict(opened.spent(run.id)),
            "seed": run.seed,
            "experiment": dict(run.experiment),
        }
    if as_json:
        out_json(value)
    else:
        import yaml

        out(yaml.safe_dump(value, sort_keys=False, allow_unicode=True).rstrip())
    return 0


def delete(
    run_id: Annotated[str, typer.Argument(help="Id of the run.", envvar="HARNESS_RUN")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", envvar="HARNESS_YES")] = False,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Delete one run after asking."""
    from harness.pipeline.session import stored_run

    with opened_store(settings_for(store, runs_dir)) as opened:
        stored_run(opened, run_id)
        if not yes:
            if sys.stdin is None:
                raise ConfigurationError(f"nobody can be asked whether to delete {run_id}; add --yes")
            typer.confirm(f"Delete run {run_id} with all its observations and judgments?", abort=True, err=True)
        opened.delete_run(run_id)
    if as_json:
        out_json({"deleted": run_id})
    else:
        out(f"deleted {run_id}")
    return 0
