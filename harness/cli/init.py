"""`harness init`: a commented experiment file to start from."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import options
from harness.cli.output import err, out, out_json
from harness.errors import ConfigurationError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init", help="Write a commented experiment file.")(init)


def init(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="File to write; experiment.yaml, or live.yaml or rollout.yaml with those options, when not given.",
            envvar="HARNESS_EXPERIMENT",
            show_default=False,
        ),
    ] = None,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="A live experiment, for `harness serve` and `harness worker`.", envvar="HARNESS_INIT_LIVE"
        ),
    ] = False,
    rollout: Annotated[
        bool, typer.Option("--rollout", help="A rollout, for `harness rollout`.", envvar="HARNESS_INIT_ROLLOUT")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that is there.", envvar="HARNESS_FORCE")
    ] = False,
    as_json: options.AsJson = False,
) -> int:
    """Write the template, never over somebody's work unless told.

    Raises:
        ConfigurationError: the file exists, or its folder does not, or two templates are asked for.
    """
    if live and rollout:
        raise ConfigurationError("--live and --rollout are two files; write one after the other")
    template = "rollout.yaml" if rollout else "live.yaml" if live else "experiment.yaml"
    path = path or Path(template)
    if path.exists() and not force:
        raise ConfigurationError(f"{path} exists; name another file or add --force")
    if not path.parent.exists():
        raise ConfigurationError(f"{path.parent} is no folder; make it first")
    path.write_text(files("harness.cli").joinpath(template).read_text(encoding="utf-8"), encoding="utf-8")
    if as_json:
        out_json({"experiment": str(path)})
    else:
        out(str(path))
    if rollout:
        err(f"Edit {path}, then: harness rollout start {path} --by YOU --reason WHY && harness rollout control {path}")
    elif live:
        err(f"Edit {path}, then: harness serve {path}, and beside it: harness worker {path}")
    else:
        err(f"Edit {path}, then: harness doctor {path} && harness run {path}")
    return 0
