"""What every stage of one run shares: the experiment, the store, where files go, who is told, when to stop."""

import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import harness
from harness.config import Experiment, Settings
from harness.domain.run import Run, Stage
from harness.domain.stop import StopSignal
from harness.engine import Engine, build_engine
from harness.errors import ConfigurationError
from harness.store import Store

_REPORTED_PACKAGES = (
    "litellm", "openai", "anthropic", "sentence-transformers", "torch", "scikit-learn", "py3langid",
    "numpy", "scipy",
)  # fmt: skip
_ORDER = tuple(Stage)
_RUN_ID = re.compile(r"(?!\.)[^\x00-\x1f\x7f/\\:]{1,100}")


class Reporter(Protocol):
    """Told how a stage is getting on; the command line draws it, a library caller may ignore it."""

    def start(self, task: str, *, total: float | None = None) -> None:
        """``task`` begins; ``total`` is in whatever unit ``update`` counts."""
        ...

    def update(self, task: str, *, done: float, total: float | None = None, note: str = "") -> None:
        """``task`` has reached ``done``."""
        ...

    def finish(self, task: str, note: str) -> None:
        """``task`` ended; ``note`` says with what, and is empty when it is not worth a line."""
        ...

    def warn(self, text: str) -> None:
        """Something the reader should know although the run goes on."""
        ...


class SilentReporter:
    """Tells nobody."""

    def start(self, task: str, *, total: float | None = None) -> None:
        """Ignored."""

    def update(self, task: str, *, done: float, total: float | None = None, note: str = "") -> None:
        """Ignored."""

    def finish(self, task: str, note: str) -> None:
        """Ignored."""

    def warn(self, text: str) -> None:
        """Ignored."""


@dataclass(frozen=True, kw_only=True)
class StageCounts:
    """What a stage did: endings by arm (and judge), and why it ended early if it did."""

    counts: Mapping[str, Mapping[str, int]]
    stop_reason: str | None = None
    errors: int = 0
    """Judgments that a judge failed to make."""


@dataclass(frozen=True, kw_only=True)
class Portion:
    """Which part of the work a stage is to do now; all of it by default."""

    first: int | None = None
    """As many of the run's requests, in their random order; all when ``None``."""
    without: frozenset[str] = frozenset()
    """Arms that need nothing more."""
    retry_errors: bool = True
    """Whether judgments that failed are made again."""


EVERYTHING = Portion()


@dataclass(frozen=True, kw_only=True)
class Session:
    """One run of one experiment against one open store."""

    experiment: Experiment
    run_id: str
    store: Store
    runs_dir: Path
    reporter: Reporter = field(default_factory=SilentReporter)
    stop: StopSignal = field(default_factory=StopSignal)
    engine: Engine = field(default_factory=partial(build_engine, processes=1))
    """Where attempts are made and texts embedded; closed by whoever chose it."""
    retry_errors: bool = False
    """Whether failed observations are asked again."""
    said: set[str] = field(default_factory=set)
    """Warnings that have been given."""
    worked_s: dict[str, float] = field(default_factory=dict)
    """Time that went into each stage."""

    def warn_once(self, text: str) -> None:
        """Warn, unless the same was said before in this session."""
        if text not in self.said:
            self.said.add(text)
            self.reporter.warn(text)

    @property
    def folder(self) -> Path:
        """Where the run's files go; made on first use."""
        folder = self.runs_dir / self.run_id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def clocked(self, stage: str) -> Iterator[StopSignal]:
        """A signal for one stage: ended by the session's, and by what is left of the stage's time limit.

        A stage that works in several parts has one limit for all of them.
        """
        limit, begin = self.experiment.budget.time_limit_s, monotonic()
        left = None if limit is None else max(limit - self.worked_s.get(stage, 0.0), 0.0)
        try:
            yield StopSignal(time_limit_s=left, parent=self.stop)
        finally:
            self.worked_s[stage] = self.worked_s.get(stage, 0.0) + monotonic() - begin

    @property
    def run(self) -> Run:
        """The run as stored.

        Raises:
            ConfigurationError: it was deleted meanwhile.
        """
        return stored_run(self.store, self.run_id)

    def advance(self, stage: Stage, *, stop_reason: str | None = None) -> Run:
        """Record that ``stage`` is done; a later stage that was already done has to be done again."""
        run = replace(self.run, stage=stage, stop_reason=stop_reason, updated_at=datetime.now(UTC))
        self.store.save_run(run)
        return run


def stored_run(store: Store, run_id: str) -> Run:
    """The run of that id.

    Raises:
        ConfigurationError: there is none; names the runs there are.
    """
    run = store.run(run_id)
    if run is None:
        known = ", ".join(item.id for item in store.runs()[:10]) or "none yet"
        raise ConfigurationError(f"no run {run_id!r} in this store; runs here: {known}")
    return run


def reached(run: Run, stage: Stage) -> bool:
    """Whether the run has got as far as ``stage``."""
    return _ORDER.index(run.stage) >= _ORDER.index(stage)


def open_session(
    experiment: Experiment,
    *,
    store: Store,
    settings: Settings,
    run_id: str | None = None,
    reporter: Reporter | None = None,
    stop: StopSignal | None = None,
    retry_errors: bool = False,
    engine: Engine | None = None,
) -> Session:
    """Continue the experiment's run, or begin it.

    The default run id holds a hash of the export, sampling and redaction, so the same command continues the same run
    and a changed sample starts a new one. Candidates, judges and criteria may change within a run: what was asked and
    judged under another configuration stays stored under its own fingerprint and is not mixed in.

    Raises:
        ConfigurationError: the named run holds another sample, or the name cannot be a folder's.
    """
    run_id = experiment.default_run_id if run_id is None else run_id
    check_run_id(run_id)
    now = datetime.now(UTC)
    existing = store.run(run_id)
    fingerprint = experiment.ingest_fingerprint
    if existing is not None and existing.ingest_fingerprint != fingerprint:
        raise ConfigurationError(
            f"run {run_id!r} holds another sample (its export, sampling or redaction differs); "
            f"leave out --run to use {experiment.default_run_id!r}, or name a new one"
        )
    fields: dict[str, Any] = {
        "name": experiment.name,
        "experiment": experiment.model_dump(mode="json"),
        "seed": experiment.traffic.sample.seed,
        "versions": versions(),
        "updated_at": now,
    }
    if existing is not None:
        run = replace(existing, **fields)
    else:
        run = Run(id=run_id, created_at=now, stage=Stage.CREATED, ingest_fingerprint=fingerprint, **fields)
    store.save_run(run)
    return Session(
        experiment=experiment,
        run_id=run_id,
        store=store,
        runs_dir=settings.runs_dir,
        reporter=reporter or SilentReporter(),
        stop=stop or StopSignal(),
        retry_errors=retry_errors,
        engine=engine or build_engine(processes=1),
    )


def check_run_id(run_id: str) -> None:
    """Raise ConfigurationError when the run's folder, which is called like it, could lie outside the runs folder."""
    if not _RUN_ID.fullmatch(run_id):
        raise ConfigurationError(
            f"--run {run_id!r} cannot name a folder: use up to 100 characters, no /, \\ or :, and no dot in front"
        )


def versions() -> Mapping[str, str]:
    """Versions that may change a result, for the provenance section."""
    found = {"shadow-harness": harness.__version__, "python": platform.python_version()}
    for package in _REPORTED_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
