"""Assembles the commands and turns errors into exit codes."""

import importlib
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import harness
from harness.cli import output
from harness.errors import HarnessError, Interrupted

COMMANDS = (
    "init", "doctor", "demo", "plan", "calibrate", "run", "compare", "ingest", "replay", "judge", "label", "labels",
    "decide", "report", "publish",
    "serve", "worker", "live", "rollout", "dashboard", "runs", "batches", "db", "judges", "models",
)  # fmt: skip

# typer carries a copy of click of its own in some versions; its public names lead to the one in use.
_UsageError: type[Any] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

_CRASHED = (
    "error: this is a fault of shadow-harness and says nothing about a candidate; what was finished is stored. "
    "Please report the lines above"
)

app = typer.Typer(
    name="harness",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help=(
        "Find out, with evidence, whether another model, prompt or setting may take over from your production LLM.\n\n"
        "Exit codes: 0 GO or success, 1 NO_GO, 2 usage or configuration, 3 INCONCLUSIVE, 4 infrastructure, "
        "130 interrupted."
    ),
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"shadow-harness {harness.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version


for _name in COMMANDS:
    importlib.import_module(f"harness.cli.{_name}").register(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; never prints a traceback for an error the user can mend."""
    try:
        result = app(args=list(argv) if argv is not None else None, standalone_mode=False)
    except typer.Exit as stop:
        return stop.exit_code
    except _UsageError as error:
        error.show(file=sys.stderr)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        output.err("interrupted")
        return Interrupted.exit_code
    except Interrupted as stop:
        output.err(str(stop))
        return stop.exit_code
    except HarnessError as error:
        output.err(f"error: {error}")
        return error.exit_code
    except Exception:  # noqa: BLE001  the interpreter would end with 1, which is a verdict
        output.err(traceback.format_exc().rstrip())
        output.err(_CRASHED)
        return HarnessError.exit_code
    return result if isinstance(result, int) else 0
