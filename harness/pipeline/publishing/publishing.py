"""Publishes runs: files first, then the run's own small file, the index last.

A run without its small file is not there yet, so whatever is interrupted is done again by the same command. The index
holds nothing that is not in those files: two that publish at once lose nothing, because each looks again after it has
written the index.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import reports
from harness.domain.decision import Verdict
from harness.domain.published import LeftOut, PublishedComparison, PublishedFile, PublishedIndex, PublishedRun
from harness.domain.report import EvaluationReport, Readers
from harness.errors import ConfigurationError, InfrastructureError, InputError
from harness.pipeline.publishing.comparisons import Comparisons
from harness.pipeline.publishing.data import Data, data_files
from harness.pipeline.publishing.place import Place
from harness.pipeline.session import check_run_id
from reports import comparison, index, outside, published
from reports.addresses import address

RUN_FILE, INDEX_PAGE, INDEX_DATA = "run.json", "index.html", "index.json"
_TRIES = 20
_MOST_FOLDERS = 5000
_AT_ONCE = 100


@dataclass(frozen=True, kw_only=True)
class Source:
    """A report to be published."""

    report: EvaluationReport
    folder: Path | None = None
    """Where it was found, with its data beside it; ``None`` when it came alone."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How runs are published."""

    readers: Readers = Readers.INSIDE
    data: Data | None = None
    """``None``: numbers for readers inside, none for readers outside."""
    replace: bool = False
    """Whether another run of the same id may be written over."""

    @property
    def chosen_data(self) -> Data:
        """How much data goes along."""
        if self.data is not None:
            return self.data
        return Data.NONE if self.readers is Readers.OUTSIDE else Data.NUMBERS


@dataclass(frozen=True, kw_only=True)
class Done:
    """What became of one run."""

    run_id: str
    state: str
    """``published``, ``updated`` or ``unchanged``."""
    report: EvaluationReport
    """As it was published."""
    verdict: Verdict
    files: tuple[str, ...]
    page: str
    """Its page, seen from the index."""


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What lies in the place now."""

    runs: tuple[Done, ...]
    """Those of this call."""
    index: PublishedIndex
    compared: Mapping[str, PublishedComparison] = field(default_factory=dict)
    """By run id: the page that holds it against the run before it."""


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What was found in the place."""

    runs: Mapping[str, PublishedRun]
    left_out: tuple[LeftOut, ...]
    digests: Mapping[str, str]
    """SHA-256 of the small files, by folder."""


def prepared(sources: Sequence[Source], terms: Terms) -> list[EvaluationReport]:
    """The reports as their readers may have them.

    Raises:
        ConfigurationError: two of one id, an id that cannot name a folder, more data than readers outside may have, or
            a report for readers outside that should become one for readers inside.
    """
    if terms.readers is Readers.OUTSIDE and terms.data is Data.ALL:
        raise ConfigurationError(
            "--data all holds what users and models wrote; for readers outside take --data numbers or --data none"
        )
    seen: set[str] = set()
    for source in sources:
        run_id = source.report.run_id
        check_run_id(run_id)
        if run_id in {comparison.FOLDER, INDEX_PAGE, INDEX_DATA}:
            raise ConfigurationError(f"a run called {run_id!r} cannot be published: the index needs that name")
        if run_id in seen:
            raise ConfigurationError(f"run {run_id!r} is named twice; a place holds one run of each id")
        seen.add(run_id)
        if source.report.readers is Readers.OUTSIDE and terms.readers is Readers.INSIDE:
            raise ConfigurationError(
                f"the report of run {run_id!r} was made for readers outside, and what it leaves out cannot be put "
                "back; publish it with --readers outside, or the run itself"
            )
    if terms.readers is Readers.INSIDE:
        return [source.report for source in sources]
    return [outside.for_outside(source.report) for source in sources]


def publish(sources: Sequence[Source], place: Place, terms: Terms) -> Publication:
    """Publish the runs and write the index anew; without runs only the index.

    Nothing is written before all runs have been checked against what is there.

    Raises:
        ConfigurationError: a run may not be published like this; says why and what to do.
        InputError: its data cannot be read.
        InfrastructureError: the place cannot be read or written.
    """
    shown = prepared(sources, terms)
    known = _known(place)
    for source, report in zip(sources, shown, strict=True):
        _check(source, report, place, known, terms)
    done = [_publish(source, report, place, known, terms) for source, report in zip(sources, shown, strict=True)]
    written = rebuild(place, {report.run_id: report for report in shown})
    compared = {item.after: item for item in written.comparisons}
    return Publication(
        runs=tuple(done), index=written, compared={d.run_id: compared[d.run_id] for d in done if d.run_id in compared}
    )


def rebuild(place: Place, reports_at_hand: Mapping[str, EvaluationReport] | None = None) -> PublishedIndex:
    """Write comparisons and index from what lies in the place; again until nothing has come in between.

    Args:
        place: Where.
        reports_at_hand: Reports that need not be read again, by run id.

    Raises:
        InfrastructureError: the place cannot be read or written, or others never stop writing to it.
    """
    comparisons = Comparisons(place, reports_at_hand or {})
    known = _known(place)
    for _ in range(_TRIES):
        listed = in_order(known.runs.values())
        compared, problems = comparisons.written(listed)
        found = PublishedIndex(
            runs=listed, comparisons=compared, left_out=tuple(sorted((*known.left_out, *problems), key=_folder))
        )
        place.write(
            {
                INDEX_DATA: index.render_json(found).encode(),
                INDEX_PAGE: index.render_html(found).encode(),
            }
        )
        # Whoever has published since may have written the index before us and without us, or we without them: the last
        # to write has to have seen everybody.
        again = _known(place)
        if again.digests == known.digests and again.left_out == known.left_out:
            return found
        known = again
    raise InfrastructureError(f"{place.shown}: others keep publishing; the runs are there, and `harness publish --to` "
                              "alone writes the index")  # fmt: skip


def in_order(runs: Iterable[PublishedRun]) -> tuple[PublishedRun, ...]:
    """Newest decision first."""
    return tuple(sorted(runs, key=lambda run: (run.decided_at, run.created_at, run.run_id), reverse=True))


def _folder(item: LeftOut) -> str:
    return item.folder


def _known(place: Place) -> _Known:
    folders = [name for name in place.folders() if name != comparison.FOLDER]
    left_out = [
        LeftOut(folder=name, why=f"there are more than {_MOST_FOLDERS:,} folders") for name in folders[_MOST_FOLDERS:]
    ]
    folders = folders[:_MOST_FOLDERS]
    runs, digests = {}, {}
    for start in range(0, len(folders), _AT_ONCE):
        paths = {f"{name}/{RUN_FILE}": name for name in folders[start : start + _AT_ONCE]}
        # A folder without the file is some other one, or of a run whose publishing has not ended.
        for path, content in place.read(list(paths), limit=published.MOST_BYTES + 1).items():
            name = paths[path]
            digests[name] = hashlib.sha256(content).hexdigest()
            try:
                runs[name] = published.load(content, folder=name)
            except InputError as error:
                left_out.append(LeftOut(folder=name, why=f"{RUN_FILE}: {error}"))
    return _Known(runs=runs, left_out=tuple(left_out), digests=digests)


def _check(source: Source, report: EvaluationReport, place: Place, known: _Known, terms: Terms) -> None:
    """Raise ConfigurationError when publishing this run would destroy or disclose something."""
    run_id = report.run_id
    if place.folder is not None and source.folder is not None and _same(place.folder / run_id, source.folder):
        raise ConfigurationError(
            f"run {run_id!r} would be published over the files it comes from; name another folder than {place.shown}"
        )
    other = next((run for run in known.runs.values() if run.readers is not terms.readers), None)
    if other is not None:
        raise ConfigurationError(
            f"{place.shown} holds runs for readers {other.readers.value}, such as {other.run_id!r}; one place is for "
            f"one kind of readers, so name another one for readers {terms.readers.value}"
        )
    if terms.replace:
        return
    if any(item.folder == run_id for item in known.left_out):
        raise ConfigurationError(
            f"{place.shown} holds a run {run_id!r} that cannot be read; look at it, then write over it with --replace"
        )
    there = known.runs.get(run_id)
    if there is None:
        return
    if there.fingerprint != published.fingerprint(report):
        raise ConfigurationError(
            f"{place.shown} holds another run {run_id!r}, begun {there.created_at:%Y-%m-%d %H:%M} UTC; publish to "
            "another folder, or write over it with --replace"
        )
    if there.decided_at > published.of(report, ()).decided_at:
        raise ConfigurationError(
            f"{place.shown} holds a later decision of run {run_id!r}, of {there.decided_at:%Y-%m-%d %H:%M} UTC; go "
            "back to this one with --replace"
        )


def _same(one: Path, two: Path) -> bool:
    return one.resolve() == two.resolve()


def _publish(source: Source, report: EvaluationReport, place: Place, known: _Known, terms: Terms) -> Done:
    files: dict[str, bytes | Path] = {
        "report.html": reports.render_html(report).encode(),
        "report.json": reports.render_json(report).encode(),
        "report.md": reports.render_markdown(report).encode(),
        "junit.xml": reports.render_junit(report).encode(),
        **data_files(source.folder, report, terms.chosen_data),
    }
    run = published.of(report, [_file(name, content) for name, content in files.items()])
    run_id, small = run.run_id, published.render_json(run).encode()
    there = set(place.names(run_id))
    before = known.digests.get(run_id)
    if before == hashlib.sha256(small).hexdigest() and set(files) <= there:
        state = "unchanged"
    else:
        state = "published" if before is None else "updated"
        place.write({f"{run_id}/{name}": content for name, content in files.items()})
        place.write({f"{run_id}/{RUN_FILE}": small})
        old = known.runs.get(run_id)
        # Only what an earlier publication names and is really in the folder: its file may say anything.
        stale = {file.name for file in old.files} & there - set(files) - {RUN_FILE} if old else set()
        place.remove([f"{run_id}/{name}" for name in sorted(stale)])
    return Done(
        run_id=run_id,
        state=state,
        report=report,
        verdict=run.verdict,
        files=(*sorted(files), RUN_FILE),
        page=f"{address(run_id)}/report.html",
    )


def _file(name: str, content: bytes | Path) -> PublishedFile:
    if isinstance(content, bytes):
        return PublishedFile(name=name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    with content.open("rb") as file:
        return PublishedFile(
            name=name, sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=content.stat().st_size
        )
