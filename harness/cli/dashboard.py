"""`harness dashboard`: experiments and rollouts as they run, in a browser."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options
from harness.cli.output import err, out, out_json
from harness.cli.work import settings_for
from harness.errors import ConfigurationError, Interrupted

if TYPE_CHECKING:
    from harness.web.dashboard_reading import Watched

TOKEN = "HARNESS_ADMIN_TOKEN"  # noqa: S105  the name of the variable, not the token


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("dashboard", help="Serve a page that shows experiments and rollouts as they run.")(dashboard)


def dashboard(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Live experiments and rollouts (YAML) whose processes are to be shown too.",
            envvar="HARNESS_DASHBOARD_FILES",
            metavar="[LIVE.yaml|ROLLOUT.yaml]...",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            help=f"Address to listen on; the default is this machine alone, others need a token in {TOKEN}.",
            envvar="HARNESS_DASHBOARD_HOST",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port", help="Port to listen on; 0 takes a free one.", min=0, max=65535, envvar="HARNESS_DASHBOARD_PORT"
        ),
    ] = 9093,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> int:
    """Serve until SIGTERM (0) or Ctrl-C (130). The store is read only; numbers need no token, texts and changes do."""
    from harness.ops.admin import token_from
    from harness.store.connection import shown
    from harness.web.dashboard_app import dashboard as made
    from harness.web.dashboard_reading import Reading
    from harness.web.serving import listening, serve_beside

    token, settings = token_from(TOKEN), settings_for(store, runs_dir)
    # One that cannot be read is a fault of the command line; one that is not there yet is waited for.
    label = shown(settings.store)
    lives = _watched(files or [])
    with listening(host, port) as where:
        if where.is_open_to_others and token is None:
            raise ConfigurationError(
                f"other machines can reach {host}: set {TOKEN}, without which nothing is shown to them, or leave out "
                "--host"
            )
        reading = Reading(url=settings.store, lives=lives)
        access = replace(where.access, reads_freely=True)
        app, hub = made(
            reading, access, token=token, change=_change(settings.store), is_private=where.is_open_to_others
        )

        def on_start() -> None:
            if as_json:
                out_json({
                    "url": where.open_address, "store": label,
                    "live": [one.live.name for one in lives], "changes": token is not None,
                })  # fmt: skip
            else:
                out(where.open_address)
            if not quiet:
                _tell(token, is_open=where.is_open_to_others)

        try:
            interrupted = serve_beside(app, where, on_start, hub)
        finally:
            reading.close()
    if interrupted:
        raise Interrupted("stopped; nothing that runs depends on it")
    return 0


def _tell(token: str | None, *, is_open: bool) -> None:
    if is_open:
        err("! this page is open to other machines, unencrypted: put a proxy with TLS in front of it")
    if token is None:
        err(f"read only: without {TOKEN} no texts are shown and nothing can be changed")
    err("Open the address in a browser. Ctrl-C ends this.")


def _watched(files: list[Path]) -> "list[Watched]":
    """The live experiments of the files, each once, with the controllers of the rollouts among them."""
    from harness.config import load_live
    from harness.config.live import is_live
    from harness.config.rollout import load_rollout
    from harness.web.admin_ports import AdminPort
    from harness.web.dashboard_reading import watched

    found: dict[str, Watched] = {}
    for path in files:
        controller = None
        live_path = path
        # A file that is not there is spoken of as a live experiment.
        if path.exists() and not is_live(path):
            policy = load_rollout(path)
            live_path = Path(policy.live)
            controller = AdminPort(name="rollout", host=policy.admin.host, port=policy.admin.port, path="/rollout")
        own = watched(load_live(live_path), controller)
        before = found.get(own.live.name)
        if before is not None and before.controller is not None and controller is None:
            continue
        found[own.live.name] = own
    return list(found.values())


def _change(store_url: str) -> Callable[[str, str, str, str], str]:
    """Does what people do to a rollout by name and reason; the store is opened to be written for that alone."""

    def change(live: str, what: str, by: str, reason: str) -> str:
        from harness.controller import people
        from harness.store import Store

        known = {"approve": people.approve, "pause": people.pause, "resume": people.resume, "abort": people.abort}
        with Store.open(store_url, create=False) as store:
            event = known[what](store, live, by=by, reason=reason)
        return f"Recorded as event {event.number}: {event.kind.value.replace('_', ' ')} by {event.actor}."

    return change
