"""`harness serve`: the gateway in front of production."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import options, output
from harness.cli.work import settings_for
from harness.errors import InfrastructureError, Interrupted


def serve(
    live: Annotated[Path, typer.Argument(help="The live experiment (YAML).", envvar="HARNESS_LIVE")],
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
) -> None:
    """Pass requests through to production, byte for byte, and copy a sample of them to the spool.

    The application changes only its base URL. The process runs until SIGTERM or Ctrl-C, then lets requests in flight
    finish. Health, metrics and the kill switch are on the admin port. The store is only looked at where the file has a
    `canary` section: rollouts are followed from it.
    """
    from harness.config import load_live
    from harness.gateway.supervisor import Supervisor
    from harness.ops import logs
    from harness.ops.server import bind, shown

    config = load_live(live)
    logs.configure()
    gateway, admin = config.gateway, config.admin
    with (
        bind(gateway.host, gateway.port, "gateway", "gateway") as sock,
        bind(admin.host, admin.port, "admin port", "admin") as admin_sock,
    ):
        output.err(
            f"gateway on {shown(sock)} for {gateway.upstream}, mirroring {config.mirror.rate:g} of "
            f"the requests; admin on {shown(admin_sock)}"
        )

        async def run() -> tuple[bool, bool]:
            supervisor = Supervisor(config, live, store=settings_for(store, runs_dir).store)
            clean = await supervisor.run(sock, admin_sock)
            return clean, supervisor.was_interrupted

        clean, interrupted = asyncio.run(run())
    if interrupted:
        raise Interrupted("interrupted; requests in flight were " + ("answered" if clean else "cut off"))
    if not clean:
        raise InfrastructureError("requests in flight were cut off: they took longer than `gateway.drain_s`")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)
