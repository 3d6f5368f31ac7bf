"""`harness db delete`: what is too old, or somebody's."""

import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import options
from harness.cli.output import err, out, out_json, table
from harness.cli.work import is_locked, opened_store, settings_for
from harness.errors import ConfigurationError

if TYPE_CHECKING:
    from harness.domain.run import Run
    from harness.pipeline.retention import Planned
    from harness.store import Store

_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(h|d|w)")
_HOURS = {"h": 1, "d": 24, "w": 168}

Run_ = Annotated[
    list[str] | None, typer.Option("--run", help="Only this run; may be given several times.", envvar="HARNESS_RUN")
]


def age(text: str) -> timedelta:
    """``90d``, ``36h``, ``2w``.

    Raises:
        ConfigurationError: anything else.
    """
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(f"--older-than {text!r} is no age; write 90d, 36h or 2w")
    return timedelta(hours=float(match[1]) * _HOURS[match[2]])


def delete(
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            help="Exchanges whose request is older than this: 90d, 36h, 2w.",
            envvar="HARNESS_OLDER_THAN",
        ),
    ] = None,
    user_id: Annotated[
        str | None,
        typer.Option(
            "--user-id", help="Everything about this user's exchanges, in every run.", envvar="HARNESS_USER_ID"
        ),
    ] = None,
    apply_policy: Annotated[
        bool,
        typer.Option("--apply-policy", help="What each run's own `retention` says.", envvar="HARNESS_APPLY_POLICY"),
    ] = False,
    strays: Annotated[
        bool,
        typer.Option(
            "--strays",
            help="Answers to exchanges that are no longer in their run, and rows of runs that are gone.",
            envvar="HARNESS_STRAYS",
        ),
    ] = False,
    bodies_only: Annotated[
        bool,
        typer.Option("--bodies-only", help="With --older-than: texts go, numbers stay.", envvar="HARNESS_BODIES_ONLY"),
    ] = False,
    run_id: Run_ = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also from runs that are under way.", envvar="HARNESS_FORCE")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go; delete nothing.", envvar="HARNESS_DRY_RUN")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", envvar="HARNESS_YES")] = False,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Show what would go, ask, and delete it."""
    from harness.pipeline.retention import replaced_in

    if sum((older_than is not None, user_id is not None, apply_policy, strays)) != 1:
        raise ConfigurationError("name one of --older-than, --user-id, --apply-policy and --strays")
    if bodies_only and older_than is None:
        raise ConfigurationError("--bodies-only goes with --older-than")
    if user_id is not None and not user_id.strip():
        raise ConfigurationError("--user-id is empty")
    with opened_store(settings_for(store, runs_dir)) as opened:
        runs = _runs(opened, run_id)
        if strays:
            runless = {} if run_id else opened.runless()
            return _strays(opened, runs, runless, dry_run=dry_run, yes=yes, as_json=as_json)
        planned = _plan(
            opened, runs, runs_dir, older_than=older_than, user=user_id, bodies_only=bodies_only, force=force
        )
        if user_id is not None:
            _say_where(planned, replaced_in(runs, user_id), quiet=as_json)
        return _done(opened, planned, dry_run=dry_run, yes=yes, as_json=as_json)


def _runs(store: "Store", wanted: Sequence[str] | None) -> "list[Run]":
    from harness.pipeline.session import stored_run

    return [stored_run(store, run_id) for run_id in wanted] if wanted else store.runs()


def _plan(
    store: "Store",
    runs: "Sequence[Run]",
    runs_dir: Path,
    *,
    older_than: str | None,
    user: str | None,
    bodies_only: bool,
    force: bool,
) -> "list[Planned]":
    from harness.domain.reduction import Reduced
    from harness.pipeline import retention

    def locked(run: str) -> bool:
        return is_locked(runs_dir / run)

    if user is not None:
        planned = retention.plan_for_user(store, runs, runs_dir, user)
        busy = [item.run_id for item in planned if locked(item.run_id)]
        if busy and not force:
            raise ConfigurationError(
                f"a process is at work on {', '.join(busy)} and may store more about this user meanwhile; nothing was "
                "deleted. Stop it, or add --force and repeat this command with --strays once its calls have ended"
            )
        return planned
    if older_than is not None:
        return retention.plan_by_age(
            store, runs, runs_dir, older_than=datetime.now(UTC) - age(older_than),
            what=Reduced.TEXTS if bodies_only else Reduced.EXCHANGES, force=force, is_locked=locked,
        )  # fmt: skip
    return retention.plan_by_policy(store, runs, runs_dir, force=force, is_locked=locked)


def _say_where(planned: "Sequence[Planned]", replaced: Sequence[str], *, quiet: bool) -> None:
    """How the id was looked for, and where it cannot be found."""
    if replaced and not quiet:
        err(
            f"redaction replaced this user id in {len(replaced)} runs: there its placeholder was searched for too. A "
            "run whose export held another spelling, or a hash, of it holds nothing under this id"
        )
    if not planned:
        err(
            "no exchange of this user was found; ids count as they stood in the export, and `user_id` alone is searched"
        )


def _done(store: "Store", planned: "Sequence[Planned]", *, dry_run: bool, yes: bool, as_json: bool) -> int:
    from harness.pipeline import retention

    todo = [item for item in planned if item.skipped is None]
    if not as_json:
        _show(planned)
    n = sum(item.exchanges for item in todo)
    if todo and not dry_run:
        kinds = " and ".join(sorted({item.selection.what.value for item in todo}))
        _ask(yes, f"{n:,} exchanges: lose their {kinds}, and the files named above, for good?")
    results = [] if dry_run else [retention.carry_out(store, item) for item in todo]
    if as_json:
        out_json({"dry_run": dry_run, "planned": [_json(item) for item in planned],
                  "deleted": {item.run_id: item.exchanges for item in results}})  # fmt: skip
    elif dry_run:
        out(f"{n:,} exchanges would go; nothing was deleted")
    elif todo:
        done = sum(item.exchanges for item in results)
        out(f"{done:,} exchanges done; `harness report RUN` writes reports anew, `harness db vacuum` gives room back")
    else:
        out("nothing to delete")
    return 0


def _show(planned: "Sequence[Planned]") -> None:
    rows = [
        {"run": item.run_id, "exchanges": f"{item.exchanges:,}", "what": item.selection.what.value,
         "files": ", ".join(path.name for path in item.files), "not": item.skipped}
        for item in planned
    ]  # fmt: skip
    if rows:
        out(table(rows, ["run", "exchanges", "what", "files", "not"]))
    for note in sorted({note for item in planned for note in item.notes}):
        err(note)


def _json(item: "Planned") -> dict[str, Any]:
    return {
        "run": item.run_id, "what": item.selection.what.value, "exchanges": item.exchanges,
        "request_bytes": item.request_bytes, "files": [str(path) for path in item.files],
        "notes": item.notes, "skipped": item.skipped,
    }  # fmt: skip


def _ask(yes: bool, question: str) -> None:
    if yes:
        return
    if sys.stdin is None:
        raise ConfigurationError("nobody can be asked whether to delete; add --yes, or --dry-run to look")
    typer.confirm(question, abort=True, err=True)


def _strays(
    store: "Store", runs: "Sequence[Run]", runless: Mapping[str, int], *, dry_run: bool, yes: bool, as_json: bool
) -> int:
    found = {run.id: n for run in runs if (n := store.count_strays(run.id))}
    what = f"answers to {sum(found.values()):,} exchanges that are no longer in their runs"
    if runless:
        what += f", and {sum(runless.values()):,} rows of runs that are not in the store ({', '.join(runless)})"
    if (found or runless) and not dry_run:
        _ask(yes, f"Delete {what}?")
        for run_id in found:
            while store.drop_strays(run_id):
                pass
        for run_id in runless:
            store.drop_runless(run_id)
    if as_json:
        out_json({"dry_run": dry_run, "strays" if dry_run else "deleted": found, "runless": dict(runless)})
    else:
        out(f"{what}: {'would go' if dry_run else 'done'}")
    return 0
