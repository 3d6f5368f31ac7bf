"""Asking long work to end early, and remembering why."""

from collections.abc import Callable
from time import monotonic


class StopSignal:
    """Tells every stage to start nothing new; the first reason given is the one that counts.

    Reasons are ``interrupted``, ``time_limit`` and ``budget``. What is in flight is finished and kept. A child ends
    with its parent and not the other way round: a stage whose budget is spent does not end the stages after it.
    """

    def __init__(self, *, time_limit_s: float | None = None, parent: "StopSignal | None" = None) -> None:
        self._parent = parent
        self._reason: str | None = None
        self._when_abandoned: list[Callable[[], None]] = []
        self._ends_at = None if time_limit_s is None else monotonic() + time_limit_s

    def request(self, reason: str) -> None:
        """Ask for the end; a second reason changes nothing."""
        if self._reason is None:
            self._reason = reason

    def when_abandoned(self, action: Callable[[], None]) -> None:
        """Have something done when what is in flight is not waited for any more."""
        self._when_abandoned.append(action)

    def abandon(self) -> None:
        """Wait for nothing any more."""
        for action in self._when_abandoned:
            action()

    @property
    def reason(self) -> str | None:
        """Why to stop, or ``None`` to go on; a passed time limit counts as ``time_limit``."""
        if self._reason is None and self._parent is not None:
            self._reason = self._parent.reason
        if self._reason is None and self._ends_at is not None and monotonic() >= self._ends_at:
            self._reason = "time_limit"
        return self._reason

    @property
    def remaining_s(self) -> float | None:
        """Seconds until the time limit, or ``None`` without one."""
        return None if self._ends_at is None else max(0.0, self._ends_at - monotonic())
