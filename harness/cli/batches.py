"""`harness batches`: requests that were handed to a vendor's batch API."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options
from harness.cli.output import out, out_json, table
from harness.cli.work import opened_store, settings_for
from harness.errors import ConfigurationError

if TYPE_CHECKING:
    from harness.domain.batch import VendorBatch

Run = Annotated[
    str | None, typer.Option("--run", help="Only batches of this run; by default of all.", envvar="HARNESS_RUN")
]
Ids = Annotated[
    list[str] | None,
    typer.Argument(help="Batches by our id or the vendor's (`harness batches list`).", envvar="HARNESS_BATCHES"),
]


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="Requests that were handed to a vendor's batch API.")
    group.command("list", help="Every batch, newest first, as last seen by the run that submitted it.")(list_batches)
    group.command("cancel", help="Have the vendor end open batches; what is finished is kept.")(cancel)
    group.command("forget", help="Have requests of batches that the vendor no longer knows asked anew.")(forget)
    app.add_typer(group, name="batches")


def list_batches(
    run_id: Run = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Those that have ended too.", envvar="HARNESS_BATCHES_ALL")
    ] = False,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Print the batches."""
    with opened_store(settings_for(store, runs_dir)) as opened:
        found = [batch for batch in opened.batches(run_id) if show_all or _is_open(batch)]
    rows = [
        {
            "batch": batch.id,
            "run": batch.run_id,
            "model": batch.model,
            "vendor_id": batch.vendor_id,
            "state": batch.state.value,
            "requests": batch.requests,
            "done": batch.done,
            "failed": batch.failed,
            "created": batch.created_at.isoformat(timespec="seconds"),
        }
        for batch in reversed(found)
    ]
    if as_json:
        out_json(rows)
    elif rows:
        out(table(rows, ["batch", "run", "model", "vendor_id", "state", "requests", "done", "failed", "created"]))
    else:
        out("no batches" if show_all else "no open batches")
    return 0


def cancel(
    ids: Ids = None,
    run_id: Run = None,
    show_all: Annotated[bool, typer.Option("--all", help="Every open batch.", envvar="HARNESS_BATCHES_ALL")] = False,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Cancel batches at their vendors."""
    from harness.domain.batch import BatchState

    with opened_store(settings_for(store, runs_dir)) as opened:
        wanted = _wanted(opened.batches(run_id), ids, every=show_all or (run_id is not None and not ids))
        for batch in wanted:
            asyncio.run(_cancel(batch))
            opened.update_batch(replace(batch, state=BatchState.CANCELLING, updated_at=datetime.now(UTC)))
    return _told("cancelled", wanted, as_json=as_json)


def forget(
    ids: Ids = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Give up batches, finished ones too; their requests are asked, and paid, again."""
    from harness.domain.batch import BatchState

    with opened_store(settings_for(store, runs_dir)) as opened:
        wanted = _wanted(opened.batches(), ids, every=False, ended=True)
        for batch in wanted:
            opened.update_batch(replace(batch, state=BatchState.ABANDONED, updated_at=datetime.now(UTC)))
    return _told("forgotten", wanted, as_json=as_json)


def _wanted(
    known: "list[VendorBatch]", ids: list[str] | None, *, every: bool, ended: bool = False
) -> "list[VendorBatch]":
    if every:
        return [batch for batch in known if _is_open(batch) and batch.vendor_id is not None]
    if not ids:
        raise ConfigurationError(
            "name the batches, or give --all for every open one; `harness batches list` shows them"
        )
    found = []
    for name in ids:
        batch = next((item for item in known if name in {item.id, item.vendor_id}), None)
        if batch is None:
            raise ConfigurationError(f"no batch {name!r} in this store; `harness batches list --all` shows them")
        if not ended and not _is_open(batch):
            raise ConfigurationError(f"batch {name} is {batch.state.value} already")
        if not ended and batch.vendor_id is None:
            raise ConfigurationError(
                f"batch {name} may not have reached the vendor; run the experiment again, which finds that out"
            )
        found.append(batch)
    return found


def _is_open(batch: "VendorBatch") -> bool:
    from harness.domain.batch import BatchState

    return batch.state in {BatchState.INTENDED, BatchState.OPEN, BatchState.CANCELLING}


async def _cancel(batch: "VendorBatch") -> None:
    from harness.models.batch.vendors import cancel_batch

    await cancel_batch(batch)


def _told(what: str, batches: "list[VendorBatch]", *, as_json: bool) -> int:
    if as_json:
        out_json({what: [batch.id for batch in batches]})
    else:
        out(f"{what} " + (", ".join(batch.vendor_id or batch.id for batch in batches) or "nothing: no batch is open"))
    return 0
