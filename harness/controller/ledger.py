"""What was done about the events of a rollout, so that it is not done again, and what was not, so that it is.

Everything is done at least once: a process that ends between doing something and saying so does it again, under the
same key, ``<rollout>:<number>:<name>``. Whoever is told can tell a repetition by it.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from harness.domain.rollout import Event
from harness.errors import HarnessError

_FIRST_PAUSE = timedelta(seconds=5)
_LONGEST_PAUSE = timedelta(hours=1)
_GIVE_UP = timedelta(days=1)
"""Age of an event after which nobody is told of it any more."""
_OUTCOME = 300
_log = logging.getLogger("harness.controller")


class Ledger(Protocol):
    """What was done about the events of one rollout, by the event's number and a name."""

    def begin(self, number: int, name: str) -> bool:
        """Note that it is being done; ``False`` when it is done already."""
        ...

    def finish(self, number: int, name: str, outcome: str) -> None:
        """Note that it is done, and how it went; what was noted first stays."""
        ...


LedgerOf = Callable[[str], Ledger]
"""The ledger of a rollout, by its id."""


class MemoryLedger:
    """A ledger that is forgotten with its process: for trying things out, and for tests."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, str]] = []
        """In order, repetitions included."""
        self.done: dict[tuple[int, str], str] = {}

    def begin(self, number: int, name: str) -> bool:
        """Note that it is being done; ``False`` when it is done already."""
        if (number, name) in self.done:
            return False
        self.begun.append((number, name))
        return True

    def finish(self, number: int, name: str, outcome: str) -> None:
        """Note that it is done; what was noted first stays."""
        self.done.setdefault((number, name), outcome)


class Actions(Protocol):
    """What of a store a ledger is kept in."""

    def begin_action(self, rollout_id: str, number: int, name: str, *, now: datetime) -> object | None:
        """Note that it is being done; ``None`` when it is done already."""
        ...

    def finish_action(self, rollout_id: str, number: int, name: str, outcome: str, *, now: datetime) -> None:
        """Note that it is done."""
        ...


class StoreLedger:
    """The ledger of one rollout in the store, which the next controller reads."""

    def __init__(
        self, store: Actions, rollout_id: str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store = store
        self._rollout_id = rollout_id
        self._now = now

    def begin(self, number: int, name: str) -> bool:
        """Note that it is being done; ``False`` when it is done already."""
        return self._store.begin_action(self._rollout_id, number, name, now=self._now()) is not None

    def finish(self, number: int, name: str, outcome: str) -> None:
        """Note that it is done; what was noted first stays."""
        self._store.finish_action(self._rollout_id, number, name, outcome[:_OUTCOME], now=self._now())


@dataclass(kw_only=True, slots=True)
class _Failed:
    problem: str
    pause: timedelta
    again_at: datetime


class Doer:
    """Has each thing done once, again with growing pauses where it fails, and no more a day after its event."""

    def __init__(self, ledger_of: LedgerOf, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._ledger_of = ledger_of
        self._now = now
        self._failed: dict[tuple[str, int, str], _Failed] = {}

    def waits(self, event: Event, name: str) -> str | None:
        """Why it is not tried now; ``None`` when it may be."""
        failed = self._failed.get((event.rollout_id, event.number, name))
        return failed.problem if failed is not None and self._now() < failed.again_at else None

    def once(self, event: Event, name: str, do: Callable[[], str | None]) -> str | None:
        """Do it unless it is done, or waits for its next attempt.

        Args:
            event: What it is about.
            name: Names it among everything that is done about the event.
            do: Returns why it failed, without secrets; ``None`` when it is done.

        Returns:
            Why it is not done yet; ``None`` when nothing is left to do, also when it was given up.

        Raises:
            HarnessError: the ledger cannot be read or written.
        """
        waits = self.waits(event, name)
        if waits is not None:
            return waits
        key = (event.rollout_id, event.number, name)
        ledger = self._ledger_of(event.rollout_id)
        if not ledger.begin(event.number, name):
            self._failed.pop(key, None)
            return None
        try:
            problem = do()
        except Exception as error:  # noqa: BLE001  a fault of one thing must not keep the others from being done
            _log.exception("%s: %s about event %d", event.rollout_id, name, event.number)
            problem = f"it failed ({type(error).__name__})"
        if problem is not None and self._now() - event.at < _GIVE_UP:
            known = self._failed.get(key)
            pause = min(known.pause * 2, _LONGEST_PAUSE) if known is not None else _FIRST_PAUSE
            self._failed[key] = _Failed(problem=problem, pause=pause, again_at=self._now() + pause)
            _log.warning("%s: %s about event %d: %s", event.rollout_id, name, event.number, problem)
            return problem
        if problem is not None:
            _log.error("%s: %s about event %d is given up: %s", event.rollout_id, name, event.number, problem)
        ledger.finish(event.number, name, "ok" if problem is None else f"given up: {problem}")
        self._failed.pop(key, None)
        return None


def noted(ledger: Ledger, number: int, name: str) -> None:
    """Note the beginning of what is repeated anyway, where that can be noted: it does not wait for a store."""
    try:
        ledger.begin(number, name)
    except HarnessError as error:
        _log.warning("that %s begins is not noted: %s", name, error)


def noted_end(ledger: Ledger, number: int, name: str, outcome: str) -> None:
    """Note the end of what was done, where that can be noted."""
    try:
        ledger.finish(number, name, outcome)
    except HarnessError as error:
        _log.warning("that %s ended with %s is not noted: %s", name, outcome, error)
