"""`harness run`: every stage, from export to report."""

from typing import Annotated, Any

import typer

from harness.cli import options
from harness.cli.output import err, out, out_json
from harness.cli.work import opened_session, run_until_stopped

_NEXT = {
    "budget": "what is left of the budget does not cover the next request; raise budget.candidates_usd or "
    "budget.judges_usd, and the same command goes on",
    "time_limit": "the time limit was reached; the same command goes on",
    "settled": "the decision stands; budget.stop_when_settled: false asks the rest all the same",
    "out_of_reach": "this sample and budget cannot settle it; `harness plan` says what would, and "
    "budget.stop_when_out_of_reach: false asks the rest all the same",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run", help="Ingest, replay, judge, decide and report; goes on where it stopped.")(run)


def run(
    experiment: options.ExperimentFile,
    run_id: options.RunId = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    engine: options.EngineName = "local",
    processes: options.Processes = None,
    address: options.Address = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Ingest, show what replay would cost, and ask no model.", envvar="HARNESS_DRY_RUN"
        ),
    ] = False,
    retry_errors: options.RetryErrors = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> int:
    """Run the experiment and return the exit code of its verdict."""
    from harness.config import load_experiment

    parsed = load_experiment(experiment)
    return run_parsed(
        parsed,
        run_id=run_id,
        store=store,
        runs_dir=runs_dir,
        dry_run=dry_run,
        retry_errors=retry_errors,
        as_json=as_json,
        quiet=quiet,
        engine=engine,
        processes=processes,
        address=address,
        command=f"harness run {experiment}",
    )


def run_parsed(parsed: Any, *, dry_run: bool, as_json: bool, quiet: bool, command: str, **where: Any) -> int:
    """Run an experiment however it was written down."""
    from harness.pipeline import stages

    with opened_session(parsed, quiet=quiet, **where) as session:
        if dry_run:
            estimates = run_until_stopped(lambda: stages.estimate_stage(session), session.stop)
            _print_estimates(session.run_id, estimates, as_json=as_json)
            return 0
        result = run_until_stopped(lambda: stages.run_all(session, command=command), session.stop)
    print_result(result, as_json=as_json)
    return result.verdict.exit_code


def print_result(result: Any, *, as_json: bool) -> None:
    """The decisions, how several candidates compare, and where the report is."""
    from harness.cli.side_by_side import lines

    if as_json:
        out_json(result.as_json())
        return
    for decision in result.decisions:
        out(f"{decision.verdict.value:<12}  {decision.arm}: {decision.sentence}")
        for reason in decision.reasons:
            out(f"              - {reason}")
    if result.side_by_side is not None:
        for line in lines(result.side_by_side):
            out(line)
    if result.stop_reason:
        err(f"! stopped early: {_NEXT.get(result.stop_reason, 'interrupted; the same command goes on')}")
    out(f"report: {result.files['html']}")


def _print_estimates(run_id: str, estimates: Any, *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        out_json({"run": run_id, "estimates": [asdict(item) for item in estimates]})
        return
    for item in estimates:
        out(f"{item.who}: {item.line()}")
