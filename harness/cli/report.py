"""`harness report`: render a stored run, or a saved report.json, again."""

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import options, sources
from harness.cli.output import err, out, out_json, write_file
from harness.cli.work import run_until_stopped, stored_session


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
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            help="An earlier run, as its id, folder or report.json: write a page that holds this one against it.",
            envvar="HARNESS_AGAINST",
            metavar="RUN|FOLDER|REPORT.json",
        ),
    ] = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> int:
    """Write every format and print the paths; with ``--against`` the comparison, whatever it says, and exit with 0."""
    if against is not None:
        return _compare(source, against, output, store=store, runs_dir=runs_dir, as_json=as_json, quiet=quiet)
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


def _compare(
    source: str, against: str, output: Path | None, *, store: str | None, runs_dir: Path, as_json: bool, quiet: bool
) -> int:
    from reports import comparing, comparison

    before, _ = sources.load(against, store=store, runs_dir=runs_dir, quiet=quiet)
    after, folder = sources.load(source, store=store, runs_dir=runs_dir, quiet=quiet)
    found = comparing.compare(before, after)
    files = {
        "comparison.html": comparison.render_html(found),
        "comparison.json": comparison.render_json(found),
    }
    written = [write_file((output or folder) / name, text) for name, text in files.items()]
    if as_json:
        out_json({"files": [str(path) for path in written], **json.loads(files["comparison.json"])})
        return 0
    for item in found.hindrances:
        err(f"NOT COMPARABLE: {item.sentence}")
    for candidate in found.candidates:
        sides = [
            verdict.value if verdict else "none" for verdict in (candidate.verdict_before, candidate.verdict_after)
        ]
        turned = [item.title for item in candidate.criteria if item.outcome_changed]
        out(f"{candidate.arm}: {' -> '.join(sides)}" + (f"; changed: {', '.join(turned)}" if turned else ""))
    for path in written:
        out(str(path))
    return 0


def _render_saved(path: Path, output: Path | None) -> dict[str, Path]:
    from harness.pipeline.reporting import write_report

    return dict(write_report(sources.saved(path), output or path.parent))
