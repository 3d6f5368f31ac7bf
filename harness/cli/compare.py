"""`harness compare`: several vendor models on one export, from the command line alone."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli import options
from harness.cli.run import run_parsed
from harness.errors import ConfigurationError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare", help="Compare vendor models on one export, without an experiment file.")(compare)


def compare(
    export: Annotated[str, typer.Argument(help="Export file, glob or URL.", envvar="HARNESS_EXPORT")],
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            "-m",
            help="Candidate as litellm names it, or NAME=MODEL, or NAME=MODEL@API_BASE; repeat for several.",
            envvar="HARNESS_MODELS",
        ),
    ],
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge", help="Model of a blind pairwise judge (MODEL or MODEL@API_BASE).", envvar="HARNESS_JUDGE"
        ),
    ] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", help="Use at most this many requests.", min=1, envvar="HARNESS_SAMPLE")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the sample.", envvar="HARNESS_SEED")] = 0,
    dialect: Annotated[
        str, typer.Option("--dialect", help="Dialect of the export.", envvar="HARNESS_DIALECT")
    ] = "auto",
    budget_usd: Annotated[
        float | None,
        typer.Option(
            "--budget-usd",
            help="Spend at most this on candidates, and again on judges.",
            min=0,
            envvar="HARNESS_BUDGET_USD",
        ),
    ] = None,
    min_requests: Annotated[
        int,
        typer.Option("--min-requests", help="Comparable pairs wanted for a GO.", min=1, envvar="HARNESS_MIN_REQUESTS"),
    ] = 10_000,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of the experiment; by default the export's.", envvar="HARNESS_NAME"),
    ] = None,
    run_id: options.RunId = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    engine: options.EngineName = "local",
    processes: options.Processes = None,
    address: options.Address = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what it would cost, ask no model.", envvar="HARNESS_DRY_RUN")
    ] = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> int:
    """Compare and return the exit code of the verdict: 0 only when every candidate is GO."""
    from harness.config import DEFAULT_JUDGES, PROFILES, parse_experiment

    judges: list[dict[str, Any]] = [section.model_dump() for section in DEFAULT_JUDGES]
    criteria = [section.model_dump(exclude_none=True) for section in PROFILES["non_inferiority"]]
    if judge is not None:
        judges.append({"use": "pairwise", "options": {"model": named_model(judge)}})
    else:
        criteria = [section for section in criteria if section["metric"] != "win_rate"]
    for section in criteria:
        if section["metric"] == "coverage":
            section["above"] = min_requests - 1
    raw = {
        "name": name or _slug(Path(export).name),
        "traffic": {"source": [export], "dialect": dialect, "sample": {"size": sample, "seed": seed}},
        "candidates": [_candidate(item) for item in model],
        "judges": judges,
        "budget": {"candidates_usd": budget_usd, "judges_usd": budget_usd},
        "decision": {"criteria": criteria},
    }
    return run_parsed(
        parse_experiment(raw, base=Path.cwd(), origin="the command line"),
        run_id=run_id,
        store=store,
        runs_dir=runs_dir,
        dry_run=dry_run,
        as_json=as_json,
        quiet=quiet,
        engine=engine,
        processes=processes,
        address=address,
        command="harness compare " + " ".join([export, *(f"--model {item}" for item in model)]),
    )


def _candidate(text: str) -> dict[str, Any]:
    name, _, model = text.rpartition("=")
    if not model or (name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name)):
        raise ConfigurationError(f"--model {text!r}: expected MODEL, NAME=MODEL or NAME=MODEL@API_BASE")
    fields = named_model(model)
    return {"name": name or _slug(fields["model"]), **fields}


def named_model(text: str) -> dict[str, Any]:
    """A model as options name it, MODEL or MODEL@API_BASE."""
    model, _, base = text.partition("@http")
    return {"model": model, "api_base": f"http{base}"} if base else {"model": model}


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:60] or "comparison"
