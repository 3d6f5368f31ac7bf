"""`harness plan`: how many requests and dollars a decision will take, before any is spent."""

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options
from harness.cli.output import err, out, out_json, table
from harness.cli.work import opened_session, run_until_stopped
from harness.errors import ConfigurationError

if TYPE_CHECKING:
    from harness.pipeline.planning import ArmPlan, Plan


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan", help="Tell how many requests and dollars a decision will take; asks no model.")(plan)


def plan(
    experiment: options.ExperimentFile,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            "--expect",
            help="What a metric is supposed to be, as METRIC=VALUE; by default the candidate is as good as production.",
            envvar="HARNESS_EXPECT",
        ),
    ] = None,
    run_id: options.RunId = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> int:
    """Ingest the export if that has not been done, and print what every criterion will take."""
    from harness.config import load_experiment
    from harness.pipeline import planning

    truths = dict(_expected(item) for item in expect or ())
    with opened_session(
        load_experiment(experiment), run_id=run_id, store=store, runs_dir=runs_dir, quiet=quiet
    ) as session:
        found = run_until_stopped(lambda: planning.plan_stage(session, truths), session.stop)
    if as_json:
        out_json(found.as_json())
        return 0
    _print(found)
    return 0


def _expected(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise ConfigurationError(f"--expect {text!r}: expected METRIC=VALUE, such as win_rate=0.53") from None


def _print(found: "Plan") -> None:
    for arm in found.arms:
        out(_headline(arm, found.sampled))
        out(table(_rows(arm), ["criterion", "if it is", "50%", "80%", "95%", "rests on"]))
        out("")
    for note in found.notes:
        err(f"! {note}")


def _headline(arm: "ArmPlan", sampled: int) -> str:
    from harness.domain.formatting import format_usd
    from harness.pipeline.planning import POWER

    pairs = arm.pairs[POWER]
    if pairs is None:
        return f"{arm.arm}: no number of pairs settles {arm.binding}; the sample has {sampled:,} requests"
    cost = "at an unknown price" if arm.usd is None else f"for about {format_usd(arm.usd)}"
    return (
        f"{arm.arm}: about {pairs:,} pairs {cost} for a GO, {arm.binding} takes most; the sample has {sampled:,} "
        f"requests (attempt {arm.attempt}, {100 * arm.alpha:.2g}% chance of a wrong PASS)"
    )


def _rows(arm: "ArmPlan") -> list[dict[str, object]]:
    from harness.decision.criteria import metric_for, rule
    from harness.domain.formatting import format_value

    rows: list[dict[str, object]] = []
    for item in arm.forecasts:
        metric = metric_for(item.criterion.metric)
        none = "unknown" if item.spread is None else "never"
        shown = {f"{100 * power:.0f}%": none if n is None else f"{n:,}" for power, n in item.pairs.items()}
        advisory = "" if item.criterion.required else " (advisory)"
        rows.append(
            {
                "criterion": f"{item.criterion.metric} {rule(item.criterion, metric)}{advisory}",
                "if it is": format_value(item.truth, metric.unit, trim=True) if item.truth is not None else "",
                **shown,
                "rests on": item.note or item.basis,
            }
        )
    return rows
