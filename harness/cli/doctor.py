"""`harness doctor`: will it work here, and if not, what to do."""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import options
from harness.cli.output import out, out_json
from harness.cli.work import opened_store, settings_for
from harness.errors import HarnessError

_OWNED = ("harness", "judges", "prompts", "reports")
_MIN_FREE_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    check: str
    ok: bool
    message: str


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", help="Check the installation, and an experiment's keys, judges and files if one is given.")(
        doctor
    )


def doctor(
    experiment: Annotated[
        Path | None, typer.Argument(help="Experiment file to check too.", envvar="HARNESS_EXPERIMENT")
    ] = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Print every finding and return 2 when one is bad."""
    findings = [*_installation(), *_machine(runs_dir), *_store(store, runs_dir)]
    if experiment is not None:
        findings += list(_experiment(experiment))
    if as_json:
        out_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            out(f"{'ok ' if finding.ok else 'BAD'}  {finding.check}: {finding.message}")
    return 0 if all(finding.ok for finding in findings) else 2


def _installation() -> Iterator[Finding]:
    from importlib.metadata import packages_distributions

    version = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding(check="python", ok=sys.version_info >= (3, 11), message=version)
    owners = packages_distributions()
    for package in _OWNED:
        others = sorted(set(owners.get(package, [])) - {"shadow-harness"})
        message = f"also installed by {', '.join(others)}; remove one of them" if others else "ours alone"
        yield Finding(check=f"package {package}", ok=not others, message=message)
    from harness.registry import judge_names

    try:
        names = judge_names()
        yield Finding(check="judges", ok=bool(names), message=", ".join(names) or "none; reinstall shadow-harness")
    except HarnessError as error:
        yield Finding(check="judges", ok=False, message=str(error))


def _machine(runs_dir: Path) -> Iterator[Finding]:
    folder = next(parent for parent in (runs_dir.absolute(), *runs_dir.absolute().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    yield Finding(check="disk", ok=free > _MIN_FREE_BYTES, message=f"{free / (1 << 30):.1f} GiB free for {runs_dir}")
    writable = os.access(folder, os.W_OK)
    yield Finding(check="runs folder", ok=writable, message=str(runs_dir) if writable else f"{folder} is not writable")


def _store(store: str | None, runs_dir: Path) -> Iterator[Finding]:
    settings = settings_for(store, runs_dir)
    if store is None and not (runs_dir / "harness.db").exists():
        yield Finding(check="store", ok=True, message="none yet; the first run makes it")
        return
    try:
        with opened_store(settings) as opened:
            yield Finding(check="store", ok=True, message=f"{len(opened.runs())} runs")
    except HarnessError as error:
        yield Finding(check="store", ok=False, message=str(error))


def _experiment(path: Path) -> Iterator[Finding]:
    from harness.config import load_experiment
    from harness.models.factory import preflight
    from harness.pipeline.arms import arms_of
    from harness.pipeline.checks import check_settings
    from harness.pipeline.seats import default_embedder, seat_judges

    try:
        parsed = load_experiment(path)
    except HarnessError as error:
        yield Finding(check="experiment", ok=False, message=str(error))
        return
    yield Finding(check="experiment", ok=True, message=f"run id {parsed.default_run_id}")
    specs = {arm.name: arm.spec for arm in arms_of(parsed) if arm.spec is not None}
    try:
        seats = seat_judges(parsed, default_embedder())
        for seat in seats:
            yield Finding(check=f"judge {seat.name}", ok=True, message=f"{seat.kind}, fingerprint {seat.fingerprint}")
            for number, model in enumerate(seat.models):
                specs[f"judge {seat.name}" + (f", model {number + 1}" if number else "")] = model
        check_settings(parsed, seats)
        yield Finding(check="settings", ok=True, message="criteria, slices and budgets fit together")
    except HarnessError as error:
        yield Finding(check="judges and settings of the experiment", ok=False, message=str(error))
    for name, spec in specs.items():
        try:
            preflight([spec])
            yield Finding(check=name, ok=True, message=spec.model)
        except HarnessError as error:
            yield Finding(check=name, ok=False, message=str(error))
