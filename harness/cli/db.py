"""`harness db`: the store as a whole: its size, upkeep, soundness, copies and what it keeps."""

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli import db_delete, options
from harness.cli.output import err, out, out_json, table
from harness.cli.work import opened_store, settings_for

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="The store: size, upkeep, soundness, copies, deletion.")
    group.command("size", help="Bytes by table, rows and texts by run.")(size)
    group.command("vacuum", help="Give back the room of what was deleted.")(vacuum)
    group.command("migrate", help="Bring the store to this version's schema, or say what that would do.")(migrate)
    group.command("check", help="Look for damage and for rows that do not fit together; 1 when there are any.")(check)
    group.command("backup", help="Copy a SQLite store into a file, also while it is written.")(backup)
    group.command("restore", help="Make a SQLite store what a backup holds.")(restore)
    group.command("export", help="Write a run's tables as Parquet files, for analysis elsewhere.")(export)
    group.command("delete", help="Delete by age, for a user, or as the retention of the runs says.")(db_delete.delete)
    app.add_typer(group, name="db")


def readable(n: int | None) -> str:
    """Bytes for people."""
    if n is None:
        return "?"
    value = float(n)
    for unit in _UNITS:
        if value < 1_000 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1_000
    raise AssertionError


def size(
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Print how large the store is."""
    from dataclasses import asdict

    from harness.store import sizes

    with opened_store(settings_for(store, runs_dir)) as opened:
        measured = sizes.measure(opened.database)
    if as_json:
        out_json(asdict(measured))
        return 0
    by_table: list[dict[str, Any]] = [
        {
            "table": item.table, "kind": item.kind, "rows": f"{item.rows:,}",
            "data": readable(item.data_bytes), "indexes": readable(item.index_bytes),
        }
        for item in measured.tables
    ]  # fmt: skip
    by_run = [
        {"run": item.run_id, "rows": f"{item.rows:,}", "texts": readable(item.body_bytes)} for item in measured.runs
    ]
    out(table(by_table, ["table", "kind", "rows", "data", "indexes"]))
    if by_run:
        out("\n" + table(by_run, ["run", "rows", "texts"]))
    out(
        f"\nin all {readable(measured.total_bytes)}, of which {readable(measured.free_bytes)} can be given back "
        f"(`harness db vacuum`) and {readable(measured.log_bytes)} are the log"
    )
    return 0


def vacuum(
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Give room back and say how much."""
    from harness.store import sizes

    with opened_store(settings_for(store, runs_dir)) as opened:
        done = sizes.vacuum(opened.database)
    if as_json:
        out_json(
            {"before_bytes": done.before_bytes, "after_bytes": done.after_bytes, "gained_bytes": done.gained_bytes}
        )
    else:
        out(
            f"{readable(max(done.gained_bytes, 0))} given back: "
            f"{readable(done.before_bytes)} before, {readable(done.after_bytes)} now"
        )
    return 0


def migrate(
    only_check: Annotated[
        bool,
        typer.Option(
            "--check", help="Change nothing; 0 when the store is up to date, 1 when it is not.", envvar="HARNESS_CHECK"
        ),
    ] = False,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Show where the schema stands, and migrate it."""
    from harness.store import schema
    from harness.store.connection import Database

    database = Database(settings_for(store, runs_dir).store, create=not only_check, read_only=only_check)
    try:
        found = schema.standing(database)
        if not only_check:
            schema.ensure(database)
    finally:
        database.close()
    due = schema.pending(found)
    if as_json:
        out_json({"revision": found, "head": schema.HEAD, "pending": due, "migrated": bool(due) and not only_check})
    elif not due:
        out(f"the store is at {found}, which this version wants; nothing to do")
    elif only_check:
        out(
            f"the store is at {found or 'nothing yet'}; to do: {', '.join(due)}. Take a backup first "
            "(`harness db backup`, or pg_dump): an older version cannot open the store afterwards"
        )
    else:
        out(f"migrated from {found or 'nothing'} to {schema.HEAD}")
    return 1 if due and only_check else 0


def check(
    everything: Annotated[
        bool,
        typer.Option("--all", help="Read every text, not 1,000 of each table.", envvar="HARNESS_CHECK_ALL"),
    ] = False,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="SQLite: do not compare indexes with their tables.", envvar="HARNESS_CHECK_QUICK"),
    ] = False,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Print every finding; 0 when there is none, 1 when there is."""
    from dataclasses import asdict

    from harness.store import integrity

    with opened_store(settings_for(store, runs_dir)) as opened:
        findings = integrity.check(opened.database, every_body=everything, quick=quick)
    if as_json:
        out_json([asdict(finding) for finding in findings])
        return 1 if findings else 0
    for finding in findings:
        run = f"run {finding.run_id}: " if finding.run_id else ""
        count = f"{finding.n:,} × " if finding.keys else ""
        out(f"{finding.check}: {run}{count}{finding.message}")
        for key in finding.keys:
            out(f"    {key}")
        out(f"    {finding.todo}")
    out(f"{len(findings)} findings" if findings else "nothing wrong")
    return 1 if findings else 0


def backup(
    to: Annotated[Path, typer.Argument(help="File to write; it must not exist.", envvar="HARNESS_BACKUP")],
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Copy the store."""
    from harness.store import backup as copies
    from harness.store.connection import Database

    # Not opened as a store: that would migrate it, and a backup is what one takes before.
    database = Database(settings_for(store, runs_dir).store, create=False)
    try:
        written = copies.backup(database, to)
    finally:
        database.close()
    if as_json:
        out_json({"file": str(to), "bytes": written})
    else:
        out(f"{to}: {readable(written)}, checked")
    return 0


def restore(
    source: Annotated[Path, typer.Argument(help="The backup.", envvar="HARNESS_BACKUP")],
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Lose what the store holds now.", envvar="HARNESS_OVERWRITE"),
    ] = False,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Put a backup back."""
    from harness.store import backup as copies
    from harness.store.connection import shown

    url = settings_for(store, runs_dir).store
    restored = copies.restore(source, url, overwrite=overwrite)
    if restored.aside is not None:
        err(f"the store was too damaged to be written to; it is {restored.aside} now. Start again whatever had it open")
    if as_json:
        aside = None if restored.aside is None else str(restored.aside)
        out_json({"store": shown(url), "revision": restored.revision, "damaged": aside})
    else:
        out(
            f"{shown(url)} is what {source} holds (schema {restored.revision}); "
            "the same `harness run` goes on from there"
        )
    return 0


def export(
    run_id: Annotated[str, typer.Option("--run", help="Id of the run.", envvar="HARNESS_RUN")],
    to: Annotated[
        str,
        typer.Option("--to", help="Folder, or an address such as s3://bucket/folder.", envvar="HARNESS_EXPORT_TO"),
    ],
    file_format: Annotated[
        str, typer.Option("--format", help="parquet; there is no other.", envvar="HARNESS_EXPORT_FORMAT")
    ] = "parquet",
    texts: Annotated[
        bool,
        typer.Option("--texts", help="Requests, answers and judges' words too.", envvar="HARNESS_EXPORT_TEXTS"),
    ] = False,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
) -> int:
    """Export one run."""
    from dataclasses import asdict

    from harness.errors import ConfigurationError
    from harness.store import archive

    if file_format != "parquet":
        raise ConfigurationError(f"--format {file_format}: a run is exported as parquet")
    with opened_store(settings_for(store, runs_dir)) as opened:
        done = archive.export_parquet(opened.database, run_id, to, texts=texts)
    if as_json:
        out_json(asdict(done))
        return 0
    rows = [{"file": t.file, "rows": f"{t.rows:,}", "size": readable(t.size_bytes)} for t in done.tables]
    out(table(rows, ["file", "rows", "size"]))
    out(f"{to}: {len(rows)} tables and {archive.MANIFEST}")
    if done.changed_meanwhile:
        err("the run went on meanwhile: tables may be of different moments; export again once it has ended")
    return 0
