"""From the published runs to the view objects of the index."""

import re
from collections.abc import Mapping, Sequence

from harness.domain.published import PublishedComparison, PublishedIndex, PublishedRun
from harness.domain.report import Readers
from reports.addresses import address
from reports.metrics import answered_by
from reports.page_parts import VERDICT_BADGES, when
from reports.text import one_line, plural
from reports.trends import MOST_POINTS, Series, trend
from reports.views_index import CandidateLine, ExperimentView, IndexView, LinkView, RunLine, TrendGroup

_MOST_EXPERIMENTS = 40
_MOST_RUNS = 30
_MOST_CANDIDATES = 12
_MOST_CRITERIA = 20
_MOST_LEFT_OUT = 20
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}")
_FILE_WORDS = {
    "report.json": "JSON", "report.md": "Markdown", "junit.xml": "JUnit", "pairs.parquet": "pairs (Parquet)",
}  # fmt: skip
_OTHERS = frozenset({"experiment", "production", "traffic", "judge", "readers"})
_READING = (
    "Each drawing is one criterion of one candidate, the oldest run on the left. The shaded side passes, the dashed "
    "line is the threshold, each upright line runs between the bounds that decided that run, and the shape on it is "
    "the outcome: a dot passed, a square failed, a diamond is open, a triangle says that not even production meets it. "
    "Runs have their own traffic, which moves figures too. The line is broken where production or the judge became "
    "another one: figures on both sides of a break cannot be compared."
)


def view_of(index: PublishedIndex) -> IndexView:
    """What the page shows of the index."""
    experiments: dict[str, list[PublishedRun]] = {}
    for run in index.runs:
        experiments.setdefault(run.name, []).append(run)
    compared = {item.after: item for item in index.comparisons}
    shown = list(experiments.items())[:_MOST_EXPERIMENTS]
    outside = any(run.readers is Readers.OUTSIDE for run in index.runs)
    left = len(experiments) - len(shown)
    return IndexView(
        overline=f"{plural(len(index.runs), 'run')} of {plural(len(experiments), 'experiment')}",
        readers="For readers outside: no message, answer or example is on any of these pages." if outside else "",
        warnings=tuple(
            f"{one_line(item.folder, 80)} is left out: {one_line(item.why, 160)}"
            if not item.why.startswith("not compared")
            else f"{one_line(item.folder, 80)} is {one_line(item.why, 160)}"
            for item in index.left_out[:_MOST_LEFT_OUT]
        )
        + (
            (f"{len(index.left_out) - _MOST_LEFT_OUT:,} more are in index.json.",)
            if len(index.left_out) > _MOST_LEFT_OUT
            else ()
        ),
        experiments=tuple(
            _experiment(name, runs, compared, f"e{number}") for number, (name, runs) in enumerate(shown, start=1)
        ),
        experiments_note=f"{plural(left, 'more experiment')} in index.json." if left else "",
        empty="" if index.runs else "Nothing has been published here yet.",
        reading=_READING,
        footer=f"Built from the run.json of every run · index schema {index.schema} · all figures are in index.json",
    )


def _experiment(
    name: str, runs: Sequence[PublishedRun], compared: Mapping[str, PublishedComparison], anchor: str
) -> ExperimentView:
    newest = runs[0]
    several = len(newest.candidates) > 1
    older = len(runs) - _MOST_RUNS
    return ExperimentView(
        anchor=anchor,
        name=one_line(name, 120),
        badge=VERDICT_BADGES[newest.verdict],
        sentences=tuple(
            f"{one_line(candidate.arm, 60)}: {one_line(candidate.sentence, 600)}"
            if several and not candidate.sentence.startswith(candidate.arm)
            else one_line(candidate.sentence, 600)
            for candidate in newest.candidates[:_MOST_CANDIDATES]
        ),
        latest=LinkView(href=_page(newest), text=f"Report of {one_line(newest.run_id, 60)}, {when(newest.decided_at)}"),
        groups=_groups(runs, anchor),
        runs=tuple(_line(run, compared.get(run.run_id)) for run in runs[:_MOST_RUNS]),
        runs_note=f"{plural(older, 'older run')} in index.json." if older > 0 else "",
    )


def _page(run: PublishedRun) -> str:
    return f"{address(run.run_id)}/report.html"


def _line(run: PublishedRun, compared: PublishedComparison | None) -> RunLine:
    pairs = [candidate.comparable for candidate in run.candidates]
    return RunLine(
        link=LinkView(href=_page(run), text=one_line(run.run_id, 100)),
        decided=when(run.decided_at),
        candidates=tuple(
            CandidateLine(
                arm=one_line(candidate.arm, 60),
                badge=VERDICT_BADGES[candidate.verdict],
            )
            for candidate in run.candidates[:_MOST_CANDIDATES]
        ),
        pairs="none" if not pairs else f"{min(pairs):,}" + (f" to {max(pairs):,}" if min(pairs) != max(pairs) else ""),
        compared=LinkView(href=compared.page, text=f"with {one_line(compared.before, 100)}") if compared else None,
        warning=_warning(compared),
        files=tuple(
            LinkView(href=f"{address(run.run_id)}/{address(file.name)}", text=_FILE_WORDS.get(file.name, file.name))
            for file in run.files
            if _FILE.fullmatch(file.name) and file.name != "report.html"
        )[:10],
    )


def _warning(compared: PublishedComparison | None) -> str:
    if compared is None or compared.comparable:
        return ""
    others = ", ".join(f"other {kind}" for kind in compared.hindrances if kind in _OTHERS)
    return f"not comparable: {others}" if others else "not comparable"


def _groups(runs: Sequence[PublishedRun], anchor: str) -> tuple[TrendGroup, ...]:
    """Candidates of the newest run first, in its order."""
    newest = runs[0]
    arms = list(dict.fromkeys(candidate.arm for run in runs for candidate in run.candidates))
    found = []
    for arm_number, arm in enumerate(arms[:_MOST_CANDIDATES], start=1):
        collected = _series(runs, arm)
        model = next(c.model for run in runs for c in run.candidates if c.arm == arm)
        shown = list(collected.items())[:_MOST_CRITERIA]
        if not shown:
            continue
        many = max(len(points) for _, points in shown) - MOST_POINTS
        gone = arm not in {candidate.arm for candidate in newest.candidates}
        notes = [
            "Not a candidate of the newest run." if gone else "",
            f"The newest {MOST_POINTS} runs are drawn; all are in index.json." if many > 0 else "",
            f"{len(collected) - len(shown)} more criteria are in index.json." if len(collected) > len(shown) else "",
        ]
        found.append(
            TrendGroup(
                title=one_line(arm, 80),
                model="" if model == arm else one_line(answered_by(model), 100),
                trends=tuple(
                    trend(points, f"{anchor}-{arm_number}-{number}", newest=newest)
                    for number, (_, points) in enumerate(shown, start=1)
                ),
                note=" ".join(note for note in notes if note),
            )
        )
    return tuple(found)


def _series(runs: Sequence[PublishedRun], arm: str) -> dict[str, Series]:
    """Every criterion of a candidate over its runs, oldest first; those of the newest run in its order, then others."""
    order: dict[str, None] = {}
    for run in runs:
        for candidate in run.candidates:
            if candidate.arm == arm:
                order |= dict.fromkeys(one.metric for one in candidate.criteria)
    return {
        metric: [
            (run, one)
            for run in reversed(runs)
            for candidate in run.candidates
            if candidate.arm == arm
            for one in candidate.criteria
            if one.metric == metric
        ]
        for metric in order
    }
