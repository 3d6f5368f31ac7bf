"""What all loops of a worker share: the session, who is told, and what holds them up."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from harness.config import Live
from harness.domain.stop import StopSignal
from harness.errors import InfrastructureError
from harness.pipeline.live.state import Event, EventKind, OnEvent
from harness.pipeline.session import Session
from harness.store import DataRefusedError

T = TypeVar("T")
TICK_S = 0.2
"""How soon a loop hears that it has to stop."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 10.0
_GRACE_S = 10.0
"""How long a store that is down is waited for after somebody asked for the end."""


@dataclass(kw_only=True)
class Room:
    """Shared by the loops of one worker."""

    live: Live
    session: Session
    stop: StopSignal
    """Ends the loops; the session's own, or a child of it."""
    events: list[OnEvent] = field(default_factory=list)
    mirroring: bool = True
    """Whether candidates may be asked; the kill switch as last seen."""
    abandoned: threading.Event = field(default_factory=threading.Event)
    """Set when nothing is waited for any more, so that no thread goes on waiting for the store."""
    store_down_since: datetime | None = None

    @property
    def stopping(self) -> bool:
        """Whether the loops have to come to an end."""
        return self.stop.reason is not None

    def tell(self, kind: EventKind, message: str, *, arm: str | None = None, value: float | None = None) -> None:
        """Tell everybody who wants to know; a listener that fails is no reason to stop."""
        event = Event(kind=kind, at=datetime.now(UTC), message=message, arm=arm, value=value)
        for listener in tuple(self.events):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001  an alert that cannot be sent must not end the experiment
                self.session.warn_once(f"an event listener failed: {type(error).__name__}: {error}")

    @contextmanager
    def abandoned_when_cancelled(self) -> Iterator[None]:
        """Let threads that wait for the store know at once that nobody waits for what they do.

        Who is cancelled waits for its threads before it ends, so it cannot be told later.
        """
        try:
            yield
        except asyncio.CancelledError:
            self.abandoned.set()
            raise

    def persist(self, work: Callable[[], T]) -> T:
        """Do something with the store, again and again while it is down; for a thread, which may block.

        Raises:
            DataRefusedError: it works, and does not take these rows.
            InfrastructureError: it is still down some time after the end was asked for, or at once when nothing is
                waited for any more.
        """
        wait, ends_at = _FIRST_WAIT_S, None
        while True:
            try:
                found = work()
            except DataRefusedError:
                self._up()
                raise
            except InfrastructureError as error:
                now = time.monotonic()
                if ends_at is None and self.stopping:
                    ends_at = now + _GRACE_S
                if self.abandoned.is_set() or (ends_at is not None and now >= ends_at):
                    raise
                self._down(error)
                self.abandoned.wait(min(wait, TICK_S) if self.stopping else wait)
                wait = min(2 * wait, _LONGEST_WAIT_S)
                continue
            self._up()
            return found

    def _down(self, error: InfrastructureError) -> None:
        if self.store_down_since is None:
            self.store_down_since = datetime.now(UTC)
            self.session.reporter.warn(f"{error} (the worker waits; what was captured stays in the spool)")
            self.tell(EventKind.STORE_DOWN, str(error))

    def _up(self) -> None:
        if self.store_down_since is not None:
            since, self.store_down_since = self.store_down_since, None
            seconds = (datetime.now(UTC) - since).total_seconds()
            self.session.reporter.warn(f"the store is back after {seconds:.0f} s")
            self.tell(EventKind.STORE_BACK, f"the store is back after {seconds:.0f} s", value=seconds)
