"""Progress of the stages on stderr: live bars on a terminal, plain lines elsewhere."""

import logging
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from harness.cli.output import mute, safe

if TYPE_CHECKING:
    from rich.progress import TaskID

_LINE_EVERY_S = 15.0


class TerminalReporter:
    """Draws progress with rich on a terminal; prints a line now and then when stderr is a file or a CI log."""

    def __init__(self, *, quiet: bool = False) -> None:
        from rich.console import Console

        class QuietlyBroken(Console):
            """rich would end the process with 1, which is a verdict, when the reader of stderr has gone."""

            def on_broken_pipe(self) -> None:
                self.quiet = True
                mute(sys.stderr)

        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._quiet = quiet
        self._console = QuietlyBroken(file=sys.stderr, highlight=False, markup=False)
        self._live = self._console.is_terminal and not quiet
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._console,
            transient=True,
            disable=not self._live,
        )
        self._tasks: dict[str, TaskID] = {}
        self._printed: dict[str, float] = {}
        self._begun: set[str] = set()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def start(self, task: str, *, total: float | None = None) -> None:
        """A bar, or a line, for ``task``."""
        self._tasks[task] = self._progress.add_task(safe(task), total=total, note="")
        self._printed[task] = time.monotonic()
        if not self._live and task not in self._begun:
            self._begun.add(task)
            self._print(f"{task} …")

    def update(self, task: str, *, done: float, total: float | None = None, note: str = "") -> None:
        """Move the bar; elsewhere print at most every 15 seconds."""
        self._progress.update(self._tasks[task], completed=done, total=total, note=safe(note))
        now = time.monotonic()
        if not self._live and now - self._printed[task] >= _LINE_EVERY_S:
            self._printed[task] = now
            share = f" of {total:,.0f}" if total else ""
            self._print(f"{task}: {done:,.0f}{share}{' · ' + note if note else ''}")

    def finish(self, task: str, note: str) -> None:
        """Replace the bar by one line that stays, if there is something to say."""
        if task in self._tasks:
            self._progress.remove_task(self._tasks.pop(task))
        if note:
            self._print(f"✓ {task}: {note}")

    def warn(self, text: str) -> None:
        """One line that stays."""
        self._print(f"! {text}")

    def _print(self, text: str) -> None:
        if not self._quiet:
            try:
                self._console.print(safe(text), soft_wrap=True)
            except OSError:  # a full disk under the log is no reason to end the work
                mute(sys.stderr)


class LogReporter:
    """Says what a service does as log records; progress is for metrics."""

    def __init__(self, source: str) -> None:
        self._log = logging.getLogger(source)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def start(self, task: str, *, total: float | None = None) -> None:
        """Not worth a line."""

    def update(self, task: str, *, done: float, total: float | None = None, note: str = "") -> None:
        """Not worth a line."""

    def finish(self, task: str, note: str) -> None:
        """One line, if there is something to say."""
        if note:
            self._log.info("%s", safe(f"{task}: {note}"))

    def warn(self, text: str) -> None:
        """One line."""
        self._log.warning("%s", safe(text))
