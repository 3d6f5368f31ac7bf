"""``harness models``: the local models, and serving one on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import output

app = typer.Typer(no_args_is_help=True, help="Local models that need no key: list them, serve one.")


def register(root: typer.Typer) -> None:
    """Add the commands to the command line."""
    root.add_typer(app, name="models")


@app.command("list")
def list_models(
    as_json: Annotated[
        bool, typer.Option("--json", envvar="HARNESS_JSON", help="Print JSON instead of a table.")
    ] = False,
) -> None:
    """Show the local models, where they are, or how to install them."""
    from harness.local.weights import BUNDLED

    rows = [
        {
            "name": model.name,
            "use": model.use,
            "license": model.license,
            "path": str(model.path) if model.path is not None else None,
            "install": None if model.path is not None else model.install,
        }
        for model in BUNDLED
    ]
    if as_json:
        output.out_json(rows)
        return
    for row in rows:
        row["where"] = row["path"] or f"not installed; run: {row['install']}"
    output.out(output.table(rows, ["name", "use", "license", "where"]))


@app.command("serve")
def serve(
    host: Annotated[
        str,
        typer.Option(
            envvar="HARNESS_MODELS_HOST",
            help="Address to listen on. The default answers this machine alone; there is no password, so think twice.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="HARNESS_MODELS_PORT", min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8080,
    gguf: Annotated[
        Path | None,
        typer.Option(
            envvar="HARNESS_MODELS_GGUF",
            exists=True,
            dir_okay=False,
            help="Your own weights in GGUF form instead of the bundled SmolLM2.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(envvar="HARNESS_MODELS_NAME", help="Model name in the answers; the weights' own when not given."),
    ] = None,
    parallel: Annotated[
        int, typer.Option(envvar="HARNESS_MODELS_PARALLEL", min=1, help="Requests answered at the same time.")
    ] = 4,
    context: Annotated[
        int,
        typer.Option(envvar="HARNESS_MODELS_CONTEXT", min=256, help="Tokens per request, prompt and answer together."),
    ] = 4096,
    threads: Annotated[
        int | None,
        typer.Option(envvar="HARNESS_MODELS_THREADS", min=1, help="Processor threads; all cores by default."),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", envvar="HARNESS_VERBOSE", help="Show the model server's own log.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", envvar="HARNESS_JSON", help="Print the addresses as one JSON document.")
    ] = False,
) -> None:
    """Serve a local model over the OpenAI and Anthropic protocols until Ctrl-C."""
    from harness.errors import InfrastructureError
    from harness.local.server import ServerOptions, local_server

    output.err("loading the model ...")
    options = ServerOptions(
        host=host, port=port, gguf=gguf, name=name, parallel=parallel, context=context, threads=threads, verbose=verbose
    )
    with local_server(options) as server:
        if as_json:
            output.out_json(
                {
                    "model": server.name,
                    "openai": {"model": f"openai/{server.name}", "api_base": server.openai_base},
                    "anthropic": {"model": f"anthropic/{server.name}", "api_base": server.base_url},
                }
            )
        else:
            output.out(_how_to_reach(server.name, server.openai_base, server.base_url))
        output.err("Ctrl-C stops it")
        code = server.wait()
    raise InfrastructureError(f"the model server ended by itself with code {code}; -v shows its log")


def _how_to_reach(name: str, openai_base: str, anthropic_base: str) -> str:
    return (
        f"{name} answers; any key is accepted. In an experiment:\n\n"
        f"  model: openai/{name}\n"
        f"  api_base: {openai_base}\n\n"
        f"or, over Anthropic messages:\n\n"
        f"  model: anthropic/{name}\n"
        f"  api_base: {anthropic_base}"
    )
