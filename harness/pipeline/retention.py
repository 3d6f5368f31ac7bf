"""Deleting from runs and from the files they wrote: by age, for a user, or as an experiment's policy says."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from harness.config import Experiment, Redaction, RetentionSection
from harness.domain.reduction import Reduced, Why
from harness.domain.run import Run, Stage
from harness.ingest.redaction import Redactor
from harness.pipeline.seats import CACHE_NAME
from harness.pipeline.session import reached
from harness.store import Store
from harness.store.retention import Selection, Wanted

WITH_TEXTS = (
    "report.html", "report.json", "report.md", "junit.xml", "pairs.jsonl.zst", "pairs.parquet", "pairs.csv",
    "rejects.jsonl", ".topics-*", ".*.tmp",
)  # fmt: skip
"""Files of a run's folder that hold texts or rows of exchanges; `harness report` writes them again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """What is to be deleted from one run."""

    run_id: str
    selection: Selection
    exchanges: int
    """How many now; more may come of age, or be spared, until they are deleted."""
    request_bytes: int
    """Stored size of their requests; answers come on top."""
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    skipped: str | None = None
    """Why nothing will be deleted from this run; ``None`` when something will."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reduction:
    """What was deleted from one run."""

    run_id: str
    exchanges: int
    files: tuple[Path, ...]


def plan_by_age(
    store: Store,
    runs: Sequence[Run],
    runs_dir: Path,
    *,
    older_than: datetime,
    what: Reduced,
    force: bool,
    is_locked: Callable[[str], bool],
) -> list[Planned]:
    """What goes from each run for its age; runs under way are left alone unless ``force``."""
    found = []
    for run in runs:
        selection = Selection(run_id=run.id, what=what, reason=Why.AGE, older_than=older_than)
        planned = _planned(store, selection, runs_dir)
        if planned is None:
            continue
        if not force and (is_locked(run.id) or not reached(run, Stage.DECIDED)):
            planned = replace(planned, skipped="the run is under way; --force deletes from it all the same")
        found.append(planned)
    return found


def plan_by_policy(
    store: Store, runs: Sequence[Run], runs_dir: Path, *, force: bool, is_locked: Callable[[str], bool]
) -> list[Planned]:
    """What goes from each run by the ``retention`` it was run with; a worker sees to its own run."""
    found, now = [], datetime.now(UTC)
    for run in runs:
        experiment = _experiment(run)
        if experiment is None:
            continue
        policy = experiment.retention
        for what, days in ((Reduced.EXCHANGES, policy.numbers_days), (Reduced.TEXTS, policy.texts_days)):
            if days is None:
                continue
            end = now - timedelta(days=days)
            planned = _planned(store, Selection(run_id=run.id, what=what, reason=Why.POLICY, older_than=end), runs_dir)
            if planned is None:
                continue
            if not force and (is_locked(run.id) or not reached(run, Stage.DECIDED)):
                planned = replace(planned, skipped="the run is under way; its worker deletes, or --force")
            found.append(planned)
    return found


def plan_for_user(store: Store, runs: Sequence[Run], runs_dir: Path, user: str) -> list[Planned]:
    """What goes from each run for one user, by the id as it was given and as its redaction stored it."""
    found = []
    for run in runs:
        names, notes = _stored_names(run, user)
        selection = Selection(run_id=run.id, what=Reduced.EXCHANGES, reason=Why.USER, users=names)
        planned = _planned(store, selection, runs_dir)
        if planned is not None:
            found.append(replace(planned, notes=notes))
    return found


def replaced_in(runs: Sequence[Run], user: str) -> list[str]:
    """Runs whose redaction turned this user id into a placeholder, under which they were searched."""
    return [run.id for run in runs if len(_stored_names(run, user)[0]) > 1]


def _stored_names(run: Run, user: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    experiment = _experiment(run)
    redaction = Redaction() if experiment is None else experiment.traffic.redaction
    name = Redactor(redaction).identifier(user)
    if name is None or name == user:
        return (user,), ()
    return (user, name), (f"redaction replaced this user id by {name}, which was searched for",)


def _experiment(run: Run) -> Experiment | None:
    """As stored; ``None`` where another version wrote it and this one cannot read it."""
    try:
        return Experiment.model_validate(dict(run.experiment))
    except ValidationError:
        return None


def _planned(store: Store, selection: Selection, runs_dir: Path) -> Planned | None:
    n, size = store.count_selected(selection)
    if not n:
        return None
    return Planned(
        run_id=selection.run_id,
        selection=selection,
        exchanges=n,
        request_bytes=size,
        # Vectors tell what a text was about, and are of all runs.
        files=(*files_with_texts(runs_dir / selection.run_id), *sorted(runs_dir.glob(f"{CACHE_NAME}*"))),
    )


def files_with_texts(folder: Path) -> Iterator[Path]:
    """What lies in a run's folder and may hold what is to be deleted."""
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if any(path.match(pattern) for pattern in WITH_TEXTS):
                yield path


def remove(files: Sequence[Path]) -> None:
    """Delete files and folders; one that is gone already is fine."""
    for path in files:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def carry_out(
    store: Store, planned: Planned, *, told: Callable[[int], None] = lambda _: None, stopped: Callable[[], bool] = bool
) -> Reduction:
    """Delete from the store batch by batch, and the files of the run that may repeat it.

    Files go first: one that is left would outlive what the store no longer knows of. Ended early, or killed, the same
    call goes on.
    """
    remove(planned.files)
    done = 0
    for n in reduce_all(store, planned.selection, stopped=stopped):
        done += n
        told(done)
    return Reduction(run_id=planned.run_id, exchanges=done, files=planned.files)


def reduce_all(
    store: Store, selection: Selection, *, sparing: Sequence[Wanted] = (), stopped: Callable[[], bool] = bool
) -> Iterator[int]:
    """The size of every batch that was deleted."""
    after: str | None = ""
    while after is not None and not stopped():
        n, after = store.reduce_next(selection, after=after, sparing=sparing)
        yield n


def apply_policy(
    store: Store,
    run_id: str,
    policy: RetentionSection,
    *,
    sparing: Sequence[Wanted] = (),
    now: datetime | None = None,
    stopped: Callable[[], bool] = bool,
) -> dict[Reduced, int]:
    """Delete what is older than the policy keeps it; returns how many exchanges lost what.

    What a candidate has not been asked or a judge not read, as ``sparing`` says, has ``grace_days`` more. Numbers that
    go take their texts with them.
    """
    now = now or datetime.now(UTC)
    found: dict[Reduced, int] = {}
    for what, days in ((Reduced.EXCHANGES, policy.numbers_days), (Reduced.TEXTS, policy.texts_days)):
        if days is None:
            continue
        end = now - timedelta(days=days)
        passes: list[tuple[datetime, Sequence[Wanted]]] = [(end, sparing)]
        if sparing:
            passes.insert(0, (end - timedelta(days=policy.grace_days), ()))
        found[what] = 0
        for older_than, spared in passes:
            selection = Selection(run_id=run_id, what=what, reason=Why.POLICY, older_than=older_than)
            found[what] += sum(reduce_all(store, selection, sparing=spared, stopped=stopped))
    return found
