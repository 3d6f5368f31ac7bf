"""`harness demo`: the whole way from a sample export to a report, with local models and no key."""

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options, output

if TYPE_CHECKING:
    from harness.config import Experiment

FOLDER = Path(__file__).resolve().parent.parent / "demo"
PORT = 8080
"""Where demo/experiment.yaml expects the server; `harness models serve` listens there too."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    port: Annotated[
        int,
        typer.Option(
            envvar="HARNESS_DEMO_PORT",
            min=1,
            max=65535,
            help="Port of the local model server; when it is taken, a free one is used and nothing can be resumed.",
        ),
    ] = PORT,
    run_id: options.RunId = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> int:
    """Compare local models on a sample export: replay, judge, decide, report.

    Needs no key and no network. The exit code is 0 whatever the verdict; `harness run` is the one to gate on.
    """
    from harness.cli.run import run_parsed
    from harness.domain.decision import Verdict
    from harness.local.server import ServerOptions, local_server

    if not _is_free(port):
        output.err(f"! port {port} is taken; with another one, everything is asked again")
        port = 0
    if not quiet:
        output.err("starting the local model ...")
    with local_server(ServerOptions(port=port)) as server:
        code = run_parsed(
            experiment_at(server.base_url),
            run_id=run_id,
            store=store,
            runs_dir=runs_dir,
            dry_run=False,
            retry_errors=False,
            as_json=as_json,
            quiet=quiet,
            command="harness demo",
        )
    if code in {verdict.exit_code for verdict in Verdict}:
        output.err(f"(`harness run` would have ended with exit code {code}; the demo ends with 0)")
        return 0
    return code


def experiment_at(base_url: str) -> "Experiment":
    """The demo's experiment with its models at ``base_url``."""
    import yaml

    from harness.config import parse_experiment

    file = FOLDER / "experiment.yaml"
    text = file.read_text(encoding="utf-8").replace(f"http://127.0.0.1:{PORT}", base_url)
    return parse_experiment(yaml.safe_load(text), base=FOLDER, origin=str(file))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
