"""Options several commands share; each is also an environment variable, shown in the help."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

ExperimentFile: TypeAlias = Annotated[
    Path, typer.Argument(help="The experiment file (YAML); `harness init` writes one.", envvar="HARNESS_EXPERIMENT")
]
RunId: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--run",
        help="Id of the run; by default the name and a hash of the sample, so the same command resumes.",
        envvar="HARNESS_RUN",
    ),
]
StoreUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="Comparison database: sqlite:///PATH or postgresql://USER@HOST/DB; else harness.db in the runs folder.",
        envvar="HARNESS_STORE",
    ),
]
RunsDir: TypeAlias = Annotated[
    Path,
    typer.Option("--runs-dir", help="Folder for reports and rejects files.", envvar="HARNESS_RUNS_DIR"),
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON document on stdout.", envvar="HARNESS_JSON")
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.", envvar="HARNESS_QUIET")]
RetryErrors: TypeAlias = Annotated[
    bool,
    typer.Option("--retry-errors", help="Ask requests again that failed before.", envvar="HARNESS_RETRY_ERRORS"),
]
StoredRun: TypeAlias = Annotated[
    str,
    typer.Argument(
        help="Run id (`harness runs list`), or the experiment file of the run.",
        envvar="HARNESS_RUN",
        metavar="RUN|EXPERIMENT.yaml",
    ),
]
Arm: TypeAlias = Annotated[
    str | None,
    typer.Option("--arm", help="Candidate, or replica; by default the only candidate.", envvar="HARNESS_ARM"),
]
EngineName: TypeAlias = Annotated[
    str,
    typer.Option(
        "--engine", help="Where calls are made: local (this machine) or ray (a cluster).", envvar="HARNESS_ENGINE"
    ),
]
Processes: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--processes",
        help="Processes that make the calls, on each node with Ray; 1 with the local engine: this one alone. By "
        "default one per core, started when calls keep this one's core busy.",
        min=1,
        envvar="HARNESS_PROCESSES",
    ),
]
Address: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="Address of the Ray cluster (HOST:PORT, ray://HOST:PORT or auto); without it one on this machine.",
        envvar="HARNESS_ADDRESS",
    ),
]
RUNS_DIR = Path("runs")
