"""Brings together what a ruling is made on: what serving has shown, and what the shadow pairs say."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Protocol

from harness.config.rollout import Rollout
from harness.controller.serving import Serving
from harness.controller.shadowing import ShadowLook
from harness.domain.rollout import Event, Phase, RolloutState
from harness.domain.served import Served
from harness.errors import HarnessError
from harness.rollout.evidence import RolloutEvidence

_log = logging.getLogger("harness.controller")

LookNow = Callable[[RolloutState, datetime], ShadowLook]
"""Looks at the shadow pairs for a state, of a rollout that began at the given time; may take its time, and raise."""


class Answers(Protocol):
    """Where the requests of a rollout's arms are kept."""

    def served(self, rollout_id: str, *, stored_from: datetime | None = None) -> Iterator[tuple[Served, datetime]]:
        """Those that were stored from then on, in the order in which they were stored, and when each was."""
        ...


class Collector:
    """The evidence of one rollout; a context manager that ends its thread.

    What users have met is read at every call. The shadow pairs are looked at in a thread, again and again, because
    that takes as long as a decision does, and a breaker must not wait for it.
    """

    def __init__(
        self, answers: Answers, look: LookNow, policy: Rollout, *, rollout_id: str, begun: datetime, look_every_s: float
    ) -> None:
        self.problem: str | None = None
        """Why the last look at the shadow pairs failed."""
        self.severe: int = 0
        """Events that were reported to end the rollout by themselves."""
        self._answers = answers
        self._look = look
        self._rollout_id = rollout_id
        self._begun = begun
        self._every = timedelta(seconds=look_every_s)
        self.serving = Serving(policy.rollback)
        self._stored_to: datetime | None = None
        self._shadow: ShadowLook | None = None
        self._shadow_of = ""
        """The phase it is about."""
        self._looked_at: datetime | None = None
        self._looking: Future[ShadowLook] | None = None
        self._looking_of = ""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shadow-look")

    def close(self) -> None:
        """Wait for no look that is under way."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def collect(
        self, state: RolloutState, events: Sequence[Event], phases: Sequence[Phase], now: datetime
    ) -> RolloutEvidence:
        """Everything known at this moment.

        Raises:
            InfrastructureError: the store cannot be reached.
        """
        self._read()
        self._look_again(state, now)
        shadow = self._shadow if self._shadow_of == state.phase.name else None
        forced = in_force(events, phases)
        decision = None if shadow is None else shadow.decision
        common = {
            "decisions": {} if decision is None else {state.phase.name: decision},
            "pairs": None if shadow is None else shadow.pairs,
            "judges": () if shadow is None else shadow.judges,
            "flagged": () if shadow is None else shadow.flagged,
            "spend_usd": None if shadow is None else shadow.spend_usd,
            "severe": self.severe,
            "last_traffic": max((at for at in (self.serving.last_at, shadow and shadow.last_at) if at), default=None),
        }
        if not state.phase.kind.serves_users:
            # Nothing is known before the first look; then the evidence is as old as the phase.
            return RolloutEvidence(at=state.phase_since if shadow is None else shadow.at, **common)  # type: ignore[arg-type]
        bounds = self.serving.bounds(state.phase, forced)
        return RolloutEvidence(
            at=now,
            window=self.serving.window(now, baseline=None if shadow is None else shadow.production_error_rate),
            stages=self.serving.stages(forced),
            error_difference=None if bounds is None else bounds[0],
            latency_p95_ratio=None if bounds is None else bounds[1],
            assigned=self.serving.assigned(state.phase, forced),
            **common,  # type: ignore[arg-type]
        )

    def _read(self) -> None:
        # Those of the last moment come once more, and are known.
        for item, stored_at in self._answers.served(self._rollout_id, stored_from=self._stored_to):
            self.serving.take([item])
            self._stored_to = stored_at

    def _look_again(self, state: RolloutState, now: datetime) -> None:
        looking = self._looking
        if looking is not None and looking.done():
            self._looking = None
            try:
                self._shadow, self._shadow_of, self.problem = looking.result(), self._looking_of, None
            except HarnessError as error:
                self._failed(str(error))
            except Exception as error:  # noqa: BLE001  users are watched over whatever the pairs hold
                _log.exception("the shadow pairs could not be looked at")
                self._failed(repr(error))
        changed = self._looking_of != state.phase.name
        due = self._looked_at is None or now - self._looked_at >= self._every or changed
        if self._looking is None and due:
            self._looking_of, self._looked_at = state.phase.name, now
            self._looking = self._thread.submit(self._look, state, self._begun)

    def _failed(self, said: str) -> None:
        if said != self.problem:
            _log.error("the shadow pairs could not be looked at: %s", said)
        self.problem = said


def in_force(events: Sequence[Event], phases: Sequence[Phase]) -> Mapping[int, Phase]:
    """Which phase is in force after each event, by the event's number."""
    known = {phase.name: phase for phase in phases}
    return {event.number: known[event.phase] for event in events}
