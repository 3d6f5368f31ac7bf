"""Reports by the names a user gives them: a run's id, its folder, or a saved report.json."""

from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.work import run_until_stopped, stored_session
from harness.errors import InputError

if TYPE_CHECKING:
    from harness.domain.report import EvaluationReport

FILE = "report.json"


def load(source: str, *, store: str | None, runs_dir: Path, quiet: bool) -> tuple["EvaluationReport", Path]:
    """The report and the folder it lies in; a run whose report was never written, or is gone, is rendered first.

    Raises:
        InputError: there is no such file, or it is no report.
        ConfigurationError: there is no such run.
    """
    path = Path(source).expanduser()
    if source.endswith(".json"):
        return saved(path), path.parent
    if path.is_dir() and (path / FILE).is_file():
        return saved(path / FILE), path
    folder = runs_dir / source
    if "/" not in source and "\\" not in source and (folder / FILE).is_file():
        return saved(folder / FILE), folder
    if path.is_dir():
        raise InputError(f"{source}: there is no {FILE} in this folder; `harness report RUN` writes one")
    from harness.pipeline import stages

    with stored_session(source, store=store, runs_dir=runs_dir, quiet=quiet) as session:
        files = dict(run_until_stopped(lambda: stages.report_stage(session), session.stop))
    return saved(files["json"]), files["json"].parent


def saved(path: Path) -> "EvaluationReport":
    """The report in a file.

    Raises:
        InputError: it cannot be read, or is no report.
    """
    import reports

    try:
        return reports.load_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: not a readable report.json ({error}); render it from the store by run id") from error
