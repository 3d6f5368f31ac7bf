"""`harness calibrate`: production against production, before anything is compared with it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import options
from harness.cli.output import err, out, out_json
from harness.cli.work import opened_session, run_until_stopped
from harness.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from harness.pipeline.calibration import Calibration


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("calibrate")(calibrate)


def calibrate(
    experiment: options.ExperimentFile,
    requests: Annotated[
        int,
        typer.Option("--requests", min=1, help="Requests to ask production again.", envvar="HARNESS_REQUESTS"),
    ] = 500,
    run_id: options.RunId = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    engine: options.EngineName = "local",
    processes: options.Processes = None,
    address: options.Address = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> int:
    """Run the experiment with production in the candidate's place: noise floor, judge noise, criteria it cannot meet.

    Ends with 0 when production meets or may meet every criterion, and with 2 when one cannot be met by production
    itself or a figure shows a difference where there is none.
    """
    from harness.config import load_experiment
    from harness.pipeline import calibration, stages

    prepared = calibration.calibration_of(load_experiment(experiment), requests=requests)
    on: dict[str, Any] = {"engine": engine, "processes": processes, "address": address}
    with opened_session(prepared, run_id=run_id, store=store, runs_dir=runs_dir, quiet=quiet, **on) as session:
        command = f"harness calibrate {experiment}"
        result = run_until_stopped(lambda: stages.run_all(session, command=command), session.stop)
        judges, evaluations = stages.evaluated(session)
        found = calibration.summary(evaluations, judges)
    if not found.pairs:
        raise ConfigurationError("production could not be asked again: no pair has two answers; see the report")
    if as_json:
        out_json(found.as_json() | {"report": str(result.files["html"])})
    else:
        _print(found, result.files["html"])
    return 0 if found.sound else 2


def _print(found: "Calibration", report: "Path") -> None:
    from harness.decision.criteria import metric_for
    from harness.domain.formatting import format_estimate

    out(f"production against itself on {found.pairs:,} pairs")
    for estimate in found.floor:
        metric = metric_for(estimate.metric)
        out(f"  {metric.title}: {format_estimate(estimate, metric.unit)}")
    for noise in found.noise:
        spread = "unknown" if noise.spread is None else f"{noise.spread:.3f}"
        out(f"  judge {noise.judge}: spread of one pair's score {spread}")
    out(f"  design effect of conversations: {found.design_effect:.2f}")
    for result in found.unattainable:
        err(f"! production itself fails: {result.reason}")
    for deviation in found.deviations:
        err(f"! {deviation.meaning}")
    for result in found.open:
        out(f"  not settled: {result.reason}")
    out(f"report: {report}")
