"""Pages that hold each published run against the one of the same experiment before it."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import reports
from harness.domain.comparison import RunComparison
from harness.domain.published import LeftOut, PublishedComparison, PublishedRun
from harness.domain.report import EvaluationReport
from harness.errors import InputError
from harness.pipeline.publishing.place import Place
from reports import comparing, comparison
from reports.addresses import address

_MOST = 50
"""Comparisons of one experiment that are kept up to date, the newest ones."""
_MOST_REPORT = 64_000_000
_MOST_PAGE = 4_000_000
_Pair = tuple[PublishedRun, PublishedRun]


class Comparisons:
    """Writes those that are missing or about an older report; remembers what it has read."""

    def __init__(self, place: Place, at_hand: Mapping[str, EvaluationReport]) -> None:
        self._place = place
        self._reports: dict[str, EvaluationReport | LeftOut] = {
            hashlib.sha256(reports.render_json(report).encode()).hexdigest(): report for report in at_hand.values()
        }
        self._written: dict[str, RunComparison] = {}

    def written(self, runs: Sequence[PublishedRun]) -> tuple[tuple[PublishedComparison, ...], list[LeftOut]]:
        """The comparisons there are, newest first, and reports that could not be used.

        Args:
            runs: Every published run, newest first.

        Raises:
            InfrastructureError: the place cannot be read or written.
        """
        pairs = list(_pairs(runs))
        there = self._there(pairs)
        found: list[PublishedComparison] = []
        problems: list[LeftOut] = []
        for before, after in pairs:
            name = comparison.name_of(before.run_id, after.run_id)
            held = there.get(name) or self._written.get(name)
            if held is None or not _is_about(held, before, after):
                olds, news = self._report(before), self._report(after)
                problems += [item for item in (olds, news) if isinstance(item, LeftOut)]
                if isinstance(olds, LeftOut) or isinstance(news, LeftOut):
                    continue
                held = comparing.compare(olds, news, sha256=(_sha256(before), _sha256(after)))
                self._place.write(
                    {
                        f"{comparison.FOLDER}/{name}.json": comparison.render_json(held).encode(),
                        f"{comparison.FOLDER}/{name}.html": comparison.render_html(held, published=True).encode(),
                    }
                )
                self._written[name] = held
            found.append(
                PublishedComparison(
                    before=before.run_id,
                    after=after.run_id,
                    page=f"{comparison.FOLDER}/{address(name)}.html",
                    comparable=held.comparable,
                    hindrances=tuple(item.kind for item in held.hindrances),
                )
            )
        return tuple(found), list(dict.fromkeys(problems))

    def _there(self, pairs: Iterable[_Pair]) -> dict[str, RunComparison]:
        """Comparisons that were written before and can be read."""
        names = [comparison.name_of(before.run_id, after.run_id) for before, after in pairs]
        paths = {f"{comparison.FOLDER}/{name}.json": name for name in names}
        found = {}
        for path, content in self._place.read(list(paths), limit=_MOST_PAGE).items():
            try:
                found[paths[path]] = comparison.load(content)
            except InputError:
                continue  # whatever it is, it is written anew
        return found

    def _report(self, run: PublishedRun) -> EvaluationReport | LeftOut:
        """The report of a published run, if it is the one its small file names; else why it is not used."""
        sha256 = _sha256(run)
        if sha256 not in self._reports:
            self._reports[sha256] = self._read(run, sha256)
        return self._reports[sha256]

    def _read(self, run: PublishedRun, sha256: str) -> EvaluationReport | LeftOut:
        name = f"{run.run_id}/report.json"
        content = self._place.read([name], limit=_MOST_REPORT).get(name, b"")
        if hashlib.sha256(content).hexdigest() != sha256:
            # Somebody is publishing it just now, or it was changed by hand: either way it is not what was published.
            why = "is not the one that run.json names"
        else:
            try:
                report = reports.load_json(content.decode("utf-8", "replace"))
            except (InputError, RecursionError) as error:
                why = str(error) or "is nested too deeply"
            else:
                if report.run_id == run.run_id and report.readers is run.readers:
                    return report
                why = "is of another run, or for other readers"
        return LeftOut(folder=run.run_id, why=f"not compared: report.json {why}")


def _pairs(runs: Sequence[PublishedRun]) -> Iterable[_Pair]:
    """Consecutive runs of each experiment, earlier one first, newest pairs first."""
    experiments: dict[str, list[PublishedRun]] = {}
    for run in runs:
        experiments.setdefault(run.name, []).append(run)
    for listed in experiments.values():
        for after, before in pairwise(listed[: _MOST + 1]):
            yield before, after


def _is_about(comparison: RunComparison, before: PublishedRun, after: PublishedRun) -> bool:
    sides = comparison.before, comparison.after
    return [(side.run_id, side.report_sha256) for side in sides] == [
        (run.run_id, _sha256(run)) for run in (before, after)
    ]


def _sha256(run: PublishedRun) -> str:
    return next((file.sha256 for file in run.files if file.name == "report.json"), "")
