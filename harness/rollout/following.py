"""From the store to the gateways of this machine: who serves whom, renewed for as long as the store says so."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.domain.rollout import RolloutState, RolloutStatus
from harness.errors import HarnessError
from harness.rollout.histories import stored_policy, stored_state
from harness.spool import assignment
from harness.spool.assignment import Assignment
from harness.store import RolloutControl, RolloutRecord, Store

LOOK_S = 0.5
"""How often the store is looked at, so that a roll back is honoured within a second."""
_CLOSE_S = 5.0
"""How long a look that hangs in the store is waited for at the end."""
_log = logging.getLogger("harness.rollout")


class Follower:
    """Writes the assignment of the latest rollout of one live experiment beside the spool, again and again.

    Every look is one write that holds for a lease. While the store cannot be reached nothing is renewed, so gateways
    fall to production when the lease has passed. Production also serves everybody once the rollout was halted, which
    is done before a roll back is recorded, and while no controller looks after it: then nobody would roll it back. A
    completed rollout needs none, and is followed until another begins: its candidate goes on serving.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        live: str,
        *,
        salt: str,
        lease_s: float,
        state_of: Callable[[Store, RolloutRecord], RolloutState] = stored_state,
        look_s: float = LOOK_S,
    ) -> None:
        """Nothing happens before :meth:`start` or :meth:`look`.

        Args:
            store: Where rollouts are kept.
            folder: Of the spool.
            live: Name of the live experiment.
            salt: What conversations are shared out by, together with the rollout; the same on every machine.
            lease_s: How long gateways may act on one look, seconds.
            state_of: Where a rollout stands.
            look_s: Time between two looks, seconds.
        """
        self.problem: str | None = None
        """Why the last look renewed nothing."""
        self.withheld: str | None = None
        """Why production serves everybody although the history says otherwise."""
        self._store = store
        self._folder = folder
        self._live = live
        self._salt = salt
        self._lease_s = lease_s
        self._state_of = state_of
        self._look_s = look_s
        self._held_until: tuple[str, datetime | None] = ("", None)
        self._renewed_at = 0.0
        """When that was first seen, by a clock that nobody sets."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="rollout-follower", daemon=True)

    def start(self) -> None:
        """Look now and then in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking; what was written holds to the end of its lease."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)

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
        state = self._state_of(self._store, rollout)
        share = state.served_share
        reason = self._reason_against(rollout, state, now) if share > 0 else None
        self._tell(reason, serves=share > 0)
        share = share if reason is None else 0.0
        return assignment.write(
            self._folder,
            Assignment(
                rollout_id=rollout.id,
                number=state.number,
                candidate=rollout.candidate,
                share=share,
                control_share=assignment.control_beside(share),
                mirror_rate=state.mirror_rate,
                # Each rollout draws anew: not the same users are the first to meet every candidate.
                salt=f"{self._salt}/{rollout.id}",
                written_at=now,
                valid_until=now + self._lease_s,
            ),
        )

    def _reason_against(self, rollout: RolloutRecord, state: RolloutState, now: float) -> str | None:
        control = self._store.rollout_control(rollout.id)
        if control.halted_at is not None:
            return f"rollout {rollout.id} was halted: {control.halted_reason}"
        if state.status is RolloutStatus.COMPLETED or self._is_attended(control, rollout, now):
            return None
        return f"no controller looks after rollout {rollout.id}"

    def _is_attended(self, control: RolloutControl, rollout: RolloutRecord, now: float) -> bool:
        known = (control.rollout_id, control.held_until)
        if known != self._held_until:
            self._held_until, self._renewed_at = known, time.monotonic()
        # By the time of day alone, a clock that was set back would keep a controller alive that is long gone.
        fresh = time.monotonic() - self._renewed_at <= stored_policy(rollout).lease_s
        return fresh and control.is_attended(datetime.fromtimestamp(now, UTC))

    def _tell(self, reason: str | None, *, serves: bool) -> None:
        if reason is not None and reason != self.withheld:
            _log.error("production serves everybody of %s: %s", self._live, reason)
        elif reason is None and self.withheld is not None and serves:
            _log.info("the candidate serves %s again", self._live)
        self.withheld = reason
