"""`harness labels`: people's labels in and out of the store, and how far they are."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options
from harness.cli.output import err, out, out_json, out_json_lines, table
from harness.cli.work import named_session
from harness.errors import ConfigurationError, InfrastructureError

if TYPE_CHECKING:
    from harness.pipeline.label_files import Imported
    from harness.pipeline.label_status import ArmStatus

_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="People's labels: progress, and files in and out.")
    group.command("status", help="Per arm and person: planned, labelled, skipped, verdicts, agreement.")(status)
    group.command("export", help="Write every label as JSON lines or CSV.")(export)
    group.command("import", help="Read labels from JSON lines, a JSON list, CSV or Parquet, plain or packed.")(import_)
    app.add_typer(group, name="labels")


def status(
    run: options.StoredRun,
    arm: options.Arm = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Print how far people are."""
    from harness.pipeline.label_status import status_of
    from harness.pipeline.labelling import arms_with_labels

    with named_session(run, store=store, runs_dir=runs_dir) as session:
        found = [status_of(session, item) for item in arms_with_labels(session.experiment, arm)]
    if as_json:
        out_json(
            [asdict(item) | {"agreement": [asdict(a) | {"share": a.share} for a in item.agreement]} for item in found]
        )
        return 0
    for item in found:
        _print_status(item)
    return 0


def export(
    run: options.StoredRun,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File to write: .csv, or .jsonl (default: stdout).", envvar="HARNESS_OUTPUT"
        ),
    ] = None,
    arm: options.Arm = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Write the labels of all arms, or of one.

    Raises:
        ConfigurationError: the file's suffix says neither.
        InfrastructureError: the file cannot be written.
    """
    from harness.pipeline.label_files import as_csv, as_jsonl, export_rows
    from harness.pipeline.labelling import arms_with_labels

    if output is not None and output.suffix not in {".csv", ".jsonl", ".ndjson"}:
        raise ConfigurationError(f"{output}: name a file that ends in .csv or .jsonl")
    with named_session(run, store=store, runs_dir=runs_dir) as session:
        rows = list(export_rows(session, arms_with_labels(session.experiment, arm)))
    if output is None:
        if as_json:
            out_json(rows)
        else:
            out_json_lines(rows)
        return 0
    text = as_csv(rows) if output.suffix == ".csv" else as_jsonl(rows)
    try:
        output.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise InfrastructureError(f"{output} cannot be written: {error.strerror}") from error
    if as_json:
        out_json({"file": str(output), "labels": len(rows)})
    else:
        out(f"{output}: {len(rows):,} labels")
    return 0


def import_(
    run: options.StoredRun,
    file: Annotated[str, typer.Argument(help="File, glob or URL.", envvar="HARNESS_LABELS_FILE")],
    arm: options.Arm = None,
    id_column: Annotated[
        str | None,
        typer.Option("--id", help="Column with the exchange id; exchange_id, else id.", envvar="HARNESS_LABELS_ID"),
    ] = None,
    label_column: Annotated[
        str, typer.Option("--label", help="Column with the label.", envvar="HARNESS_LABELS_LABEL")
    ] = "label",
    labeller_column: Annotated[
        str, typer.Option("--labeller", help="Column with the person's name.", envvar="HARNESS_LABELS_LABELLER")
    ] = "labeller",
    probability_column: Annotated[
        str,
        typer.Option(
            "--probability",
            help="Column with the chance the pair had to be labelled.",
            envvar="HARNESS_LABELS_PROBABILITY",
        ),
    ] = "probability",
    labeller_name: Annotated[
        str | None,
        typer.Option(
            "--labeller-name",
            help="Name for rows that name nobody; by default the file's name.",
            envvar="HARNESS_LABELS_LABELLER_NAME",
        ),
    ] = None,
    win: Annotated[
        list[str] | None,
        typer.Option("--win", help="Word for: the candidate is better; repeatable.", envvar="HARNESS_LABELS_WIN"),
    ] = None,
    tie: Annotated[
        list[str] | None, typer.Option("--tie", help="Word for a tie; repeatable.", envvar="HARNESS_LABELS_TIE")
    ] = None,
    loss: Annotated[
        list[str] | None,
        typer.Option("--loss", help="Word for: production is better; repeatable.", envvar="HARNESS_LABELS_LOSS"),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option("--skip", help="Word for a skipped pair; repeatable.", envvar="HARNESS_LABELS_SKIP"),
    ] = None,
    as_random_sample: Annotated[
        bool,
        typer.Option(
            "--as-random-sample",
            help="The rows are a simple random sample of the pairs, drawn before anybody looked.",
            envvar="HARNESS_LABELS_AS_RANDOM_SAMPLE",
        ),
    ] = False,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Read the labels; bad rows are told and kept out."""
    from harness.pipeline.label_files import Reading, import_labels, meanings
    from harness.pipeline.labelling import arm_to_label

    reading = Reading(
        id=id_column,
        label=label_column,
        labeller=labeller_column,
        probability=probability_column,
        words=meanings(win or ["win"], tie or ["tie"], loss or ["loss"], skip or ["skip"]),
        nameless=labeller_name,
        random_sample=as_random_sample,
    )
    with named_session(run, store=store, runs_dir=runs_dir) as session:
        imported = import_labels(session, arm_to_label(session.experiment, arm), file, reading)
    if as_json:
        out_json(asdict(imported))
    else:
        _print_import(imported)
    return 0


def _print_import(imported: "Imported") -> None:
    for problem in imported.problems[:_SHOWN]:
        err(f"! {problem.place}: {problem.message}")
    bad = sum(
        count for ending, count in imported.endings.items() if ending not in {"imported", "replaced", "unchanged"}
    )
    if bad > _SHOWN:
        err(f"! and {bad - _SHOWN:,} more rows were kept out; --json lists them")
    out(
        f"{imported.rows:,} rows: " + ", ".join(f"{count:,} {name}" for name, count in sorted(imported.endings.items()))
    )
    out(f"{imported.n_pairs:,} of {imported.n_comparable:,} comparable pairs, by {', '.join(imported.labellers)}")
    if not imported.with_probability:
        err(
            "! nothing says how these pairs were chosen: they tell how far judges agree with people and correct no "
            "estimate; see docs/labelling.md"
        )


def _print_status(item: "ArmStatus") -> None:
    plan = f"{item.planned:,} pairs planned ({item.design})" if item.planned else "no plan"
    out(f"{item.arm}: {plan}, {item.pairs_labelled:,} pairs labelled")
    if item.labellers:
        columns = ["labeller", "planned_done", "labelled", "skipped", "wins", "ties", "losses"]
        out(table([asdict(person) for person in item.labellers], columns))
    for pair in item.agreement:
        people = " and ".join(pair.labellers)
        out(f"{people}: the same label on {pair.equal:,} of {pair.n:,} pairs ({pair.share:.1%})")
