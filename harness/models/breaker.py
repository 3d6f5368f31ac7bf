"""Stops asking a deployment that is down, and lets one call at a time find out whether it is back."""

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from harness.config.live import BreakerSection

_JITTER = 0.2


class BreakerState(StrEnum):
    """Whether calls are let through."""

    CLOSED = "closed"
    """They are."""
    OPEN = "open"
    """None is."""
    HALF_OPEN = "half_open"
    """One is, to find out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Permit:
    """Leave for one call; it has to be given back through :meth:`Breaker.record` or :meth:`Breaker.forgo`."""

    generation: int
    is_probe: bool


class Breaker:
    """One deployment's breaker.

    It opens after so many failures in a row, or when their share among the last outcomes is too large, stays open for
    a time that doubles with every probe that fails (up to a limit, with jitter, so that several workers do not probe as
    one), and closes with a probe that works. Only failures of the deployment are failures here: a request that the
    model refuses is an outcome, and evidence.
    """

    def __init__(
        self,
        settings: BreakerSection,
        *,
        rng: random.Random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._rng = rng
        self._clock = clock
        self.on_change: Callable[[BreakerState], None] | None = None
        """Told about every change of state."""
        self._state = BreakerState.CLOSED
        self._generation = 0
        self._in_a_row = 0
        self._window: deque[bool] = deque(maxlen=settings.window)
        self._pause_s = settings.open_s
        self._until = 0.0

    @property
    def state(self) -> BreakerState:
        """As it is; an open breaker whose time is over is half open only once a call comes."""
        return self._state

    @property
    def remaining_s(self) -> float:
        """How long it stays open."""
        return max(0.0, self._until - self._clock()) if self._state is BreakerState.OPEN else 0.0

    def admit(self) -> Permit | None:
        """Leave to call, or ``None``."""
        if self._state is BreakerState.CLOSED:
            return Permit(generation=self._generation, is_probe=False)
        if self._state is BreakerState.OPEN and self._clock() >= self._until:
            self._change(BreakerState.HALF_OPEN)
            return Permit(generation=self._generation, is_probe=True)
        return None

    def record(self, permit: Permit, *, is_failure: bool) -> None:
        """What came of the call; a call from before the last change of state says nothing about now."""
        if permit.generation != self._generation:
            return
        if permit.is_probe:
            if is_failure:
                self._pause_s = min(self._settings.max_open_s, 2 * self._pause_s)
                self._open()
            else:
                self._close()
            return
        self._in_a_row = self._in_a_row + 1 if is_failure else 0
        self._window.append(is_failure)
        full = len(self._window) == self._settings.window
        share = sum(self._window) / self._settings.window
        # A success opens nothing, whatever the window still holds.
        if is_failure and (self._in_a_row >= self._settings.consecutive or (full and share >= self._settings.share)):
            self._open()

    def forgo(self, permit: Permit) -> None:
        """The call was not made after all; a probe is left to the next one."""
        if permit.is_probe and permit.generation == self._generation:
            self._until = self._clock()
            self._change(BreakerState.OPEN)

    def _open(self) -> None:
        self._until = self._clock() + self._pause_s * (1 + self._rng.uniform(0, _JITTER))
        self._change(BreakerState.OPEN)

    def _close(self) -> None:
        self._pause_s = self._settings.open_s
        self._in_a_row = 0
        self._window.clear()
        self._change(BreakerState.CLOSED)

    def _change(self, state: BreakerState) -> None:
        self._state = state
        self._generation += 1
        if self.on_change is not None:
            self.on_change(state)
