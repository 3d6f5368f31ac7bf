"""Which failures of a database pass by themselves, and how long they are waited for.

A transaction that failed so is run again as a whole. That is safe although nobody knows whether a commit that was
never answered took place: every write is idempotent on natural keys, and what it writes is worked out before it.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import tenacity
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

PATIENCE_S = 60.0
"""How long those wait that have nobody waiting for them: a restart, or a standby that takes over."""

_LOST_CLASS = "08"
_LOST = frozenset({"57P01", "57P02", "57P03", "57P05", "25006"})
"""Shutting down, crashed, starting up or in recovery, idle too long, and still a standby after a change of roles."""
_CONFLICT = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: one of those in each other's way was told to begin again."""
_PASSING = (
    "starting up", "shutting down", "in recovery", "not yet accepting", "not accepting", "terminating connection",
    "too many", "connection slots",
)  # fmt: skip
_FULL = "53300"
"""Too many connections: others give theirs back."""
_CONFLICTS = 8
"""How often a transaction begins again that others keep getting in the way of."""
_STRANGER_S = 5.0
"""How long at most a server is waited for that has never answered: its address may be wrong."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0
_log = logging.getLogger("harness.store")

T = TypeVar("T")


def is_lost(error: BaseException) -> bool:
    """Whether the connection or the server went away, and may come back."""
    orig = _driver_error(error)
    if orig is None:
        return False
    state = getattr(orig, "sqlstate", None)
    if isinstance(state, str):
        return state in _LOST or state.startswith(_LOST_CLASS) or state == _FULL
    if type(orig).__name__ not in {"OperationalError", "InterfaceError"}:
        return False
    # Without a state nobody answered, or the server refused to be connected to, whose codes the driver does not pass
    # on: a wrong password stays wrong.
    said = str(orig)
    return "FATAL:" not in said or any(words in said for words in _PASSING)


def is_conflict(error: BaseException) -> bool:
    """Whether the transaction was refused for the sake of another one, and only has to be run again."""
    return getattr(_driver_error(error), "sqlstate", None) in _CONFLICT


def _driver_error(error: BaseException) -> BaseException | None:
    orig = error.orig if isinstance(error, DBAPIError) else None
    # SQLite's own errors are about a file: waiting for its lock is done elsewhere, the rest does not pass.
    return None if orig is None or type(orig).__module__.startswith("sqlite3") else orig


@dataclass(kw_only=True)
class Patience:
    """Runs a transaction again while its database is away, to the end of its time."""

    label: str
    """The store as it may be shown."""
    seconds: float
    """0 for those who would rather be told at once."""
    reached: bool = False
    """Whether the database has ever answered."""
    given_up: threading.Event = field(default_factory=threading.Event)
    """Whether nothing is waited for any more."""

    def run(self, transaction: Callable[[bool], T]) -> T:
        """What the transaction gives; it is told whether an earlier try of it may have been committed.

        Raises:
            SQLAlchemyError: it failed for good, or went on failing.
        """
        began, tries = time.monotonic(), 0

        def again() -> T:
            nonlocal tries
            tries += 1
            return transaction(tries > 1)

        found: T = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self._passes),
            wait=tenacity.wait_random_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S),
            stop=self._is_enough,
            before_sleep=self._tell,
            sleep=tenacity.sleep_using_event(self.given_up),
            reraise=True,
        )(again)
        self.reached = True
        if tries > 1:
            _log.info("store %s answers again after %.1f s", self.label, time.monotonic() - began)
        return found

    def _passes(self, error: BaseException) -> bool:
        return isinstance(error, SQLAlchemyError) and (is_conflict(error) or is_lost(error))

    def _is_enough(self, state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome is not None else None
        if error is not None and is_conflict(error):
            return state.attempt_number >= _CONFLICTS
        limit = self.seconds if self.reached else min(self.seconds, _STRANGER_S)
        return self.given_up.is_set() or (state.seconds_since_start or 0.0) >= limit

    def _tell(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if state.attempt_number == 1 and error is not None and not is_conflict(error):
            words = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
            _log.warning("store %s is away, trying again for up to %g s: %s", self.label, self.seconds, words)
