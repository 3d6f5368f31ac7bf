"""`harness ingest`: read an export into the store, or only look at it."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import options
from harness.cli.output import err, out, out_json
from harness.cli.progress import TerminalReporter
from harness.cli.work import opened_session, run_until_stopped

if TYPE_CHECKING:
    from harness.domain.exchange import Exchange
    from harness.domain.run import IngestReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "ingest", help="Read an experiment's export into the store; or, given an export itself, only say what is in it."
    )(ingest)


class _Discard:
    """A sink that keeps nothing: what a look at an export needs."""

    def put_exchanges(self, exchanges: "Sequence[tuple[Exchange, float]]") -> None:
        del exchanges

    def remove_exchanges(self, ids: Sequence[str]) -> None:
        del ids


def ingest(
    source: Annotated[
        str,
        typer.Argument(
            help="Experiment file (.yaml), or an export to look at without storing anything.",
            envvar="HARNESS_EXPERIMENT",
            metavar="EXPERIMENT.yaml|EXPORT",
        ),
    ],
    dialect: Annotated[
        str, typer.Option("--dialect", help="Dialect of the export being looked at.", envvar="HARNESS_DIALECT")
    ] = "auto",
    run_id: options.RunId = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> int:
    """Ingest, or look."""
    if source.endswith((".yaml", ".yml")):
        from harness.config import load_experiment
        from harness.pipeline import stages

        parsed = load_experiment(Path(source))
        with opened_session(parsed, store=store, runs_dir=runs_dir, run_id=run_id, quiet=quiet) as session:
            report = run_until_stopped(lambda: stages.ingest_stage(session), session.stop)
        name: str | None = session.run_id
    else:
        report, name = _look(source, dialect, quiet=quiet), None
    if as_json:
        out_json({"run": name, "ingest": asdict(report)})
    else:
        _print(name, report)
    return 0


def _look(source: str, dialect: str, *, quiet: bool) -> "IngestReport":
    from harness.config import Traffic
    from harness.domain.stop import StopSignal
    from harness.pipeline.stages import read_export

    traffic = Traffic(source=[source], dialect=dialect)
    with tempfile.TemporaryDirectory() as folder, TerminalReporter(quiet=quiet) as reporter:
        rejects = Path(folder) / "rejects.jsonl"
        stop = StopSignal()
        report = run_until_stopped(
            lambda: read_export(traffic, _Discard(), rejects_path=rejects, reporter=reporter, stop=stop), stop
        )
        for line in rejects.read_text(encoding="utf-8").splitlines()[:5] if rejects.exists() else ():
            err(f"rejected: {_message(line)}")
    return report


def _message(line: str) -> str:
    import orjson

    record: dict[str, Any] = orjson.loads(line)
    return str(record.get("message") or record.get("reason"))


def _print(run_id: str | None, report: "IngestReport") -> None:
    if run_id:
        out(f"run: {run_id}")
    for file, dialect in report.dialects.items():
        out(f"{file}: {dialect}")
    out(f"read {report.read:,} = kept {report.kept:,} + rejected {report.rejected:,} + deduplicated "
        f"{report.deduplicated:,} + skipped {sum(report.skipped.values()):,} + ignored {report.ignored:,}")  # fmt: skip
    out(f"kept {report.kept:,} = sampled {report.sampled:,} + sampled out {report.sampled_out:,} + out of window "
        f"{report.out_of_window:,}")  # fmt: skip
    _print_counts("skipped", report.skipped)
    _print_counts("redacted", report.redactions)
    if not report.redaction_enabled:
        out("redaction is OFF: personal data and secrets are stored as they came")
    if report.rejects_file:
        out(f"rejects: {report.rejects_file}")
    for warning in report.warnings:
        err(f"! {warning}")


def _print_counts(title: str, counts: Mapping[str, int]) -> None:
    if counts:
        out(f"{title}: " + ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())))
