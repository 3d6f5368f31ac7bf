"""From the store to the gateways of this machine: who serves whom, renewed for as long as the store says so."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.domain.rollout import Event, RolloutState
from harness.errors import HarnessError
from harness.spool import assignment
from harness.spool.assignment import Assignment
from harness.store import Store

LOOK_S = 0.5
"""How often the store is looked at, so that a roll back is honoured within a second."""
_log = logging.getLogger("harness.rollout")


class Follower:
    """Writes the assignment of the latest rollout of one live experiment beside the spool, again and again.

    Every look is one write that holds for a lease. While the store cannot be reached nothing is renewed, so gateways
    fall to production when the lease has passed. A completed rollout is followed until another begins: its candidate
    goes on serving.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        live: str,
        *,
        salt: str,
        lease_s: float,
        state_of: Callable[[Sequence[Event]], RolloutState],
        look_s: float = LOOK_S,
    ) -> None:
        """Nothing happens before :meth:`start` or :meth:`look`.

        Args:
            store: Where rollouts are kept.
            folder: Of the spool.
            live: Name of the live experiment.
            salt: What conversations are shared out by; the same on every machine.
            lease_s: How long gateways may act on one look, seconds.
            state_of: From a history to the state; events name the rollout whose phases they are about.
            look_s: Time between two looks, seconds.
        """
        self.problem: str | None = None
        """Why the last look renewed nothing."""
        self._store = store
        self._folder = folder
        self._live = live
        self._salt = salt
        self._lease_s = lease_s
        self._state_of = state_of
        self._look_s = look_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="rollout-follower", daemon=True)

    def start(self) -> None:
        """Look now and then in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking; what was written holds to the end of its lease."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def look(self) -> bool:
        """Look once, now: also for whoever has just rolled back; whether anything was written. Never raises."""
        try:
            written, problem = self._renew(), None
        except (HarnessError, OSError) as error:
            written, problem = False, str(error)
        except Exception as error:  # noqa: BLE001  a thread that dies would take the candidate away for good, and tell nobody
            _log.exception("the rollout of %s could not be followed", self._live)
            written, problem = False, repr(error)
        if problem != self.problem:
            if problem is None:
                _log.info("the rollout of %s is followed again", self._live)
            else:
                _log.error("who serves %s is not renewed, production will: %s", self._live, problem)
        self.problem = problem
        return written

    def _follow(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(self._look_s)

    def _renew(self) -> bool:
        # The clock before the store: however long it takes to answer, the lease counts from when it was asked.
        now = time.time()
        rollout = self._store.latest_rollout(self._live)
        if rollout is None:
            return False
        state = self._state_of(self._store.rollout_events(rollout.id))
        share = state.served_share
        return assignment.write(
            self._folder,
            Assignment(
                rollout_id=rollout.id,
                number=state.number,
                candidate=rollout.candidate,
                share=share,
                control_share=assignment.control_beside(share),
                mirror_rate=state.mirror_rate,
                salt=self._salt,
                written_at=now,
                valid_until=now + self._lease_s,
            ),
        )
