"""`harness publish`: reports where others can read them, with an index; a summary, and a message to a chat."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import options, sources
from harness.cli.output import err, out, out_json, write_file
from harness.errors import ConfigurationError, Interrupted

if TYPE_CHECKING:
    from harness.pipeline.publishing.publishing import Publication, Source, Terms

_STDOUT = "-"
_READERS = ("inside", "outside")
_DATA = ("none", "numbers", "all")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "publish", help="Put reports into a folder or object store, with an index of all runs there; asks no model."
    )(publish)


def publish(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Run ids, folders of runs, or saved report.json files; without any, the index alone is written anew.",
            envvar="HARNESS_RUN",
            metavar="[RUN|FOLDER|REPORT.json]...",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="Folder, or URL of any fsspec file system (s3://, gs://, abfs://, sftp://); each run goes into a "
            "folder of its own there.",
            envvar="HARNESS_PUBLISH_TO",
            metavar="URL",
        ),
    ] = None,
    readers: Annotated[
        str,
        typer.Option(
            "--readers",
            help="inside: as the run has it. outside: figures, verdict, criteria and method alone, without any text, "
            "id, file name or address.",
            envvar="HARNESS_READERS",
        ),
    ] = "inside",
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="none; numbers: every pair as a row of numbers; all: whatever lies beside the report. By default "
            "numbers for readers inside and none for those outside.",
            envvar="HARNESS_PUBLISH_DATA",
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Write over another run of the same id, or a later decision.", envvar="HARNESS_REPLACE"
        ),
    ] = False,
    base_url: Annotated[
        str | None,
        typer.Option(
            "--base-url",
            help="Where readers open the place (https://...), for links in summary and message.",
            envvar="HARNESS_BASE_URL",
            metavar="URL",
        ),
    ] = None,
    summary: Annotated[
        str | None,
        typer.Option(
            "--summary",
            help="Write a summary for a pull request (Markdown) to this file, or to stdout with -.",
            envvar="HARNESS_SUMMARY",
            metavar="FILE|-",
        ),
    ] = None,
    notify: Annotated[
        bool,
        typer.Option(
            "--notify",
            help="Send a message to the apprise addresses in HARNESS_NOTIFY_URLS, separated by spaces.",
            envvar="HARNESS_NOTIFY",
        ),
    ] = False,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> int:
    """Publish and print where; 0 whatever the verdict is, because publishing is none."""
    named = list(runs or ())
    _check(named, to=to, readers=readers, data=data, summary=summary, notify=notify, as_json=as_json)
    from reports.addresses import base_url as checked

    base = checked(base_url) if base_url else ""
    try:
        value = _publish(
            [_source(run, store, runs_dir, quiet) for run in named],
            to=to,
            terms=_terms(readers, data, replace=replace),
            base=base,
            summary=summary,
            notify=notify,
            quiet=quiet,
        )
    except KeyboardInterrupt:
        raise Interrupted("interrupted; the same command goes on where it stopped") from None
    if as_json:
        out_json(value)
    elif summary != _STDOUT:
        for line in _lines(value):
            out(line)
    return 0


def _check(
    runs: list[str],
    *,
    to: str | None,
    readers: str,
    data: str | None,
    summary: str | None,
    notify: bool,
    as_json: bool,
) -> None:
    """Raise ConfigurationError for what cannot be meant."""
    if readers not in _READERS:
        raise ConfigurationError(f"--readers {readers!r}: expected one of {', '.join(_READERS)}")
    if data is not None and data not in _DATA:
        raise ConfigurationError(f"--data {data!r}: expected one of {', '.join(_DATA)}")
    if to is None and summary is None and not notify:
        raise ConfigurationError("nothing to do: name a place with --to, a file with --summary, or add --notify")
    if not runs and (to is None or summary is not None or notify):
        raise ConfigurationError("name the runs: their ids (`harness runs list`), folders or report.json files")
    if summary == _STDOUT and as_json:
        raise ConfigurationError("--summary - and --json both write to stdout; give the summary a file")
    if notify:
        from harness.pipeline.publishing import telling

        if not telling.addresses():
            raise ConfigurationError(
                f"--notify: {telling.VARIABLE} is not set; it holds the addresses, which are secret"
            )


def _source(run: str, store: str | None, runs_dir: Path, quiet: bool) -> "Source":
    from harness.pipeline.publishing.publishing import Source

    report, folder = sources.load(run, store=store, runs_dir=runs_dir, quiet=quiet)
    return Source(report=report, folder=folder)


def _terms(readers: str, data: str | None, *, replace: bool) -> "Terms":
    from harness.domain.report import Readers
    from harness.pipeline.publishing.data import Data
    from harness.pipeline.publishing.publishing import Terms

    return Terms(readers=Readers(readers), data=None if data is None else Data(data), replace=replace)


def _publish(
    found: list["Source"],
    *,
    to: str | None,
    terms: "Terms",
    base: str,
    summary: str | None,
    notify: bool,
    quiet: bool,
) -> dict[str, Any]:
    from harness.pipeline.publishing import publishing, telling
    from harness.pipeline.publishing.place import Place

    place = None if to is None else Place(to)
    publication = None if place is None else publishing.publish(found, place, terms)
    value: dict[str, Any] = {"readers": terms.readers.value}
    if place is not None and publication is not None:
        value |= _placed(place.shown, publication, base)
        for item in publication.index.left_out:
            err(f"warning: {place.shown}: {item.folder}: {item.why}")
    shown = publishing.prepared(found, terms)
    links = _links(publication, base)
    if summary is not None:
        from reports.summary import render_summary

        text = "\n".join(
            render_summary(
                report, link=links.get(report.run_id, ("", ""))[0], compared=links.get(report.run_id, ("", ""))[1]
            )
            for report in shown
        )
        _write_summary(summary, text)
        value["summary"] = summary
    if notify:
        unchanged = set() if publication is None else {d.run_id for d in publication.runs if d.state == "unchanged"}
        problems = []
        for report in shown:
            if report.run_id not in unchanged:
                problems += telling.tell(report, telling.addresses(), link=links.get(report.run_id, ("", ""))[0])
        for problem in problems:
            err(f"warning: {problem}; the publication stands")
        value["not_told"] = problems
        if unchanged and not quiet:
            err(f"nobody was told of what had not changed: {', '.join(sorted(unchanged))}")
    return value


def _placed(place: str, publication: "Publication", base: str) -> dict[str, Any]:
    """What lies there now, for programs."""
    return {
        "place": place,
        "index": f"{base or place.rstrip('/')}/index.html",
        "runs": [
            {
                "run": done.run_id,
                "state": done.state,
                "verdict": done.verdict.value,
                "report": f"{base or place.rstrip('/')}/{done.page if base else done.run_id + '/report.html'}",
                "files": list(done.files),
                "compared": publication.compared[done.run_id].page if done.run_id in publication.compared else None,
                "comparable": publication.compared[done.run_id].comparable
                if done.run_id in publication.compared
                else None,
            }
            for done in publication.runs
        ],
        "published_runs": len(publication.index.runs),
        "left_out": [{"folder": item.folder, "why": item.why} for item in publication.index.left_out],
    }


def _links(publication: "Publication | None", base: str) -> dict[str, tuple[str, str]]:
    """By run: the addresses of its report and of its comparison, as far as readers can open them."""
    if publication is None or not base:
        return {}
    return {
        done.run_id: (
            f"{base}/{done.page}",
            f"{base}/{publication.compared[done.run_id].page}" if done.run_id in publication.compared else "",
        )
        for done in publication.runs
    }


def _write_summary(target: str, text: str) -> None:
    if target == _STDOUT:
        # As it is: the text is Markdown with everything in it made visible, and goes into a file as often as not.
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    write_file(Path(target).expanduser(), text)


def _lines(value: dict[str, Any]) -> list[str]:
    lines = [f"{run['state']:<10} {run['verdict']:<12} {run['report']}" for run in value.get("runs", [])]
    if "index" in value:
        lines.append(f"{'index':<10} {value['published_runs']:<12} {value['index']}")
    if "summary" in value:
        lines.append(f"summary    {value['summary']}")
    return lines
