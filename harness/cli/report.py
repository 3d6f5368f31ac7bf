"""`harness report`: render a stored run, or a saved report.json, again."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import options
from harness.cli.output import out, out_json
from harness.cli.work import run_until_stopped, stored_session
from harness.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report", help="Render the report of a stored run, or of a saved report.json, again; asks no model.")(
        report
    )


def report(
    source: Annotated[
        str, typer.Argument(help="Run id, or a saved report.json.", envvar="HARNESS_RUN", metavar="RUN|REPORT.json")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to write to; by default the run's.", envvar="HARNESS_OUTPUT"),
    ] = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> int:
    """Write every format and print the paths."""
    if source.endswith(".json"):
        files = _render_saved(Path(source), output)
    else:
        from harness.pipeline import stages

        with stored_session(source, store=store, runs_dir=runs_dir, quiet=quiet) as session:
            files = dict(run_until_stopped(lambda: stages.report_stage(session, folder=output), session.stop))
    if as_json:
        out_json({name: str(path) for name, path in files.items()})
    else:
        for path in files.values():
            out(str(path))
    return 0


def _render_saved(path: Path, output: Path | None) -> dict[str, Path]:
    import reports
    from harness.pipeline.reporting import write_report

    try:
        saved = reports.load_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a readable report.json ({error}); render it from the store by run id") from error
    return dict(write_report(saved, output or path.parent))
