"""Opens what a command needs and closes it again, Ctrl-C included."""

import asyncio
import math
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

from harness.cli.output import err
from harness.cli.progress import LogReporter, TerminalReporter
from harness.errors import HarnessError, InfrastructureError, Interrupted

if TYPE_CHECKING:
    from harness.config import Experiment, Settings
    from harness.domain.stop import StopSignal
    from harness.pipeline.session import Session
    from harness.store import Store

T = TypeVar("T")
_RESUME = "interrupted; the same command goes on where it stopped"


def settings_for(store: str | None, runs_dir: Path) -> "Settings":
    """The process settings; without a store URL the database lies in the runs folder."""
    from harness.config import Settings

    return Settings(store=store or f"sqlite:///{runs_dir / 'harness.db'}", runs_dir=runs_dir)


@contextmanager
def opened_store(settings: "Settings", *, patience_s: float = 0.0) -> Iterator["Store"]:
    """The comparison database, migrated to this version; patient with a server that restarts when asked to be."""
    from harness.store import Store

    with Store.open(settings.store, patience_s=patience_s) as store:
        yield store


@contextmanager
def opened_session(
    experiment: "Experiment",
    *,
    store: str | None,
    runs_dir: Path,
    run_id: str | None,
    quiet: bool = False,
    retry_errors: bool = False,
    reporter: TerminalReporter | LogReporter | None = None,
    most_patience_s: float = math.inf,
    engine: str = "local",
    processes: int | None = 1,
    address: str | None = None,
) -> Iterator["Session"]:
    """A session with progress on stderr, or wherever ``reporter`` puts it, on an engine that ends with it.

    Its store waits out a restart.
    """
    from harness.engine import build_engine
    from harness.pipeline.session import check_run_id, open_session

    settings = settings_for(store, runs_dir)
    run_id = experiment.default_run_id if run_id is None else run_id
    check_run_id(run_id)
    with (
        closing(build_engine(engine, processes=processes, address=address)) as chosen,
        opened_store(settings, patience_s=min(settings.store_patience_s, most_patience_s)) as opened,
        _alone(settings.runs_dir / run_id, run_id),
        reporter or TerminalReporter(quiet=quiet) as told,
    ):
        known = opened.run(run_id) is not None
        try:
            session = open_session(
                experiment,
                store=opened,
                settings=settings,
                run_id=run_id,
                reporter=told,
                retry_errors=retry_errors,
                engine=chosen,
            )
            session.stop.when_abandoned(opened.give_up)
            yield session
        except HarnessError:
            # A command that was refused leaves no empty run behind.
            if not known and not opened.count_exchanges(run_id):
                opened.delete_run(run_id)
            raise


@contextmanager
def _alone(folder: Path, run_id: str) -> Iterator[None]:
    """Keep a second process on this machine from asking, and paying for, the same requests; ends with the process.

    Raises:
        InfrastructureError: there is one already, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise InfrastructureError(
            f"{folder} cannot be written ({error.strerror}); name another with --runs-dir"
        ) from error
    with lock:
        if not _locked(lock):
            raise InfrastructureError(
                f"another process is working on run {run_id!r}; wait for its end or stop it, "
                "then the same command goes on, or give this one a run of its own with --run"
            )
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process on this machine is at work on the run of that folder."""
    try:
        lock = (folder / ".lock").open("r+")
    except OSError:
        return False
    with lock:
        return not _locked(lock)


def _locked(lock: TextIO) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: nothing tells
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


@contextmanager
def stored_session(run_id: str, *, store: str | None, runs_dir: Path, quiet: bool = False) -> Iterator["Session"]:
    """A session on a run that is already stored, with the experiment as it was stored."""
    from harness.config import Experiment
    from harness.domain.stop import StopSignal
    from harness.pipeline.session import Session, stored_run

    settings = settings_for(store, runs_dir)
    with (
        opened_store(settings, patience_s=settings.store_patience_s) as opened,
        TerminalReporter(quiet=quiet) as reporter,
    ):
        run = stored_run(opened, run_id)
        yield Session(
            experiment=Experiment.model_validate(dict(run.experiment)),
            run_id=run.id,
            store=opened,
            runs_dir=settings.runs_dir,
            reporter=reporter,
            stop=StopSignal(),
        )


@contextmanager
def named_session(source: str, *, store: str | None, runs_dir: Path) -> Iterator["Session"]:
    """A session on a stored run, named by its id or by its experiment file; does not keep other commands from it.

    A file's experiment counts as it is now, so that a changed candidate's answers are those of the file.
    """
    from harness.config import Experiment, load_experiment
    from harness.pipeline.session import Session, stored_run

    settings = settings_for(store, runs_dir)
    parsed = load_experiment(Path(source)) if source.endswith((".yaml", ".yml")) else None
    with opened_store(settings) as opened:
        run = stored_run(opened, source if parsed is None else parsed.default_run_id)
        experiment = parsed or Experiment.model_validate(dict(run.experiment))
        yield Session(experiment=experiment, run_id=run.id, store=opened, runs_dir=settings.runs_dir)


def run_until_stopped(work: Callable[[], Awaitable[T]], stop: "StopSignal") -> T:
    """Run async work; the first Ctrl-C or SIGTERM finishes what is in flight, the second abandons it.

    Raises:
        Interrupted: after either, once what was finished is stored.
    """

    async def guarded() -> T:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()

        def on_signal() -> None:
            if stop.reason == "interrupted" and task is not None:
                stop.abandon()
                task.cancel()
                return
            stop.request("interrupted")
            err("stopping: calls in flight are finished and kept; press Ctrl-C again to abandon them")

        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, on_signal)
        try:
            return await work()
        finally:
            for name in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(name)

    try:
        result = asyncio.run(guarded())
    except asyncio.CancelledError:
        raise Interrupted(_RESUME) from None
    if stop.reason == "interrupted":
        raise Interrupted(_RESUME)
    return result
