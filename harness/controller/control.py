"""The controller: one small step at a time, each of which may be the last one of its process."""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from harness.config.rollout import Rollout
from harness.controller import recording
from harness.controller.actuators import Route
from harness.controller.collecting import Collector
from harness.domain.rollout import Event, EventKind, RolloutState, Ruling
from harness.errors import HarnessError, InfrastructureError
from harness.rollout import history
from harness.rollout.histories import attempt_policy
from harness.rollout.ruling import rule
from harness.store import EventRefusedError, Store
from harness.store.rollouts import RolloutRecord

TICK_S = 0.5
_HANDLED = "handled"
"""Ledger entry of an event whose alerts were sent and hooks were run."""
_AGAIN_S = 60.0
"""How long a transition that a hook refused waits before the hook is asked again."""
_log = logging.getLogger("harness.controller")


class Acts(Protocol):
    """What a controller does besides the history. Each is known by the event's number, and may be asked for twice."""

    def refusal(self, event: Event) -> str | None:
        """Why somebody who is asked before a step does not want it."""
        ...

    def route(self, route: Route) -> None:
        """Have it carried out; asked at every step, and the same route again changes nothing.

        Raises:
            HarnessError: it was not.
        """
        ...

    def follow(self, event: Event, state: RolloutState) -> None:
        """Tell people, and whoever is to be told after a step.

        Raises:
            HarnessError: somebody was not; those who were are not told again.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What a controller saw and did at its last step."""

    at: datetime
    role: str = "idle"
    """``controls``, ``stands_by`` beside another controller, or ``idle`` without a rollout."""
    rollout_id: str | None = None
    state: RolloutState | None = None
    ruling: Ruling | None = None
    refused: str | None = None
    """Why the step that is due was not taken."""
    problem: str | None = None


@dataclass(kw_only=True)
class _Course:
    """One rollout, as long as it is controlled from here."""

    record: RolloutRecord
    policy: Rollout
    collector: Collector
    handled: set[int]
    """Numbers of the events that everybody was told of."""
    refused: str | None = None
    refused_number: int = 0
    ask_again: datetime | None = None
    asking: "Future[str | None] | None" = None
    """Hooks are being asked whether event ``asking_number`` may happen."""
    asking_number: int = 0
    telling: "Future[str | None] | None" = None
    """Somebody is being told of events."""
    problems: dict[str, str] = field(default_factory=dict)


CollectorFor = Callable[[RolloutRecord, Rollout], Collector]


class Controller:
    """Carries out the rollouts of one live experiment, one after the other.

    Any number may run: the one that holds the claim acts, and another takes over when that runs out. Whatever a step
    does is repeated harmlessly when its process ends in the middle: a roll back is routed, then recorded, then told.
    """

    def __init__(
        self,
        store: Store,
        live: str,
        acts: Acts,
        collector_for: CollectorFor,
        *,
        holder: str,
        run_id: str,
        fingerprint: Callable[[str], str | None] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Nothing happens before :meth:`step`.

        Args:
            store: Where rollouts are kept.
            live: Name of the live experiment.
            acts: What is done besides the history.
            collector_for: Makes the collector of a rollout's evidence.
            holder: Names this process among all controllers.
            run_id: Of the live experiment, for the record.
            fingerprint: The present fingerprint of a candidate, by name; ``None`` when it is not known.
            now: The clock.
        """
        self.sight = Sight(at=now())
        self._store = store
        self._live = live
        self._acts = acts
        self._collector_for = collector_for
        self._holder = holder
        self._run_id = run_id
        self._fingerprint = fingerprint
        self._now = now
        self.beside: Executor = ThreadPoolExecutor(2, thread_name_prefix="rollout-news")
        """Where hooks and people are told: none of them may keep a roll back waiting."""
        self._course: _Course | None = None
        self._woken = threading.Event()

    def run(self, stopping: threading.Event, *, every_s: float = TICK_S) -> None:
        """Step until ``stopping`` is set; then let another controller take over at once."""
        try:
            while not stopping.is_set():
                self.step()
                self._woken.wait(every_s)
                self._woken.clear()
        finally:
            self.close()
            self.beside.shutdown(wait=False, cancel_futures=True)

    def wake(self) -> None:
        """Have the next step now: somebody has just done something."""
        self._woken.set()

    def close(self) -> None:
        """Give up the claim."""
        course, self._course = self._course, None
        if course is None:
            return
        course.collector.close()
        try:
            self._store.release_rollout(course.record.id, self._holder)
        except InfrastructureError as error:
            _log.warning("the claim is not given up, and runs out by itself: %s", error)

    def step(self) -> Sight:
        """Look, rule, act; never raises."""
        now = self._now()
        try:
            sight = self._step(now)
        except EventRefusedError:
            # Somebody has written the next event meanwhile: it is read at the next step.
            sight = replace(self.sight, at=now)
        except HarnessError as error:
            sight = replace(self.sight, at=now, problem=str(error))
        except Exception as error:  # noqa: BLE001  a controller that ends takes the candidate from everybody
            _log.exception("a step failed")
            sight = replace(self.sight, at=now, problem=repr(error))
        if sight.problem != self.sight.problem and sight.problem is not None:
            _log.error("the rollout of %s is not controlled: %s", self._live, sight.problem)
        self.sight = sight
        return sight

    def _step(self, now: datetime) -> Sight:
        record = self._store.latest_rollout(self._live)
        if record is None:
            return Sight(at=now)
        course = self._opened(record)
        if not self._store.claim_rollout(record.id, self._holder, now=now, lease_s=course.policy.lease_s):
            return Sight(at=now, role="stands_by", rollout_id=record.id)
        phases = course.policy.steps
        events = self._store.rollout_events(record.id)
        state = history.state_of(events, phases)
        control = self._store.rollout_control(record.id)
        ruling: Ruling | None = None
        event: Event | None = None
        if not state.status.is_over:
            if control.halted_at is not None:
                # A predecessor had taken the candidate away and did not get to say so.
                event = history.withdraw(state, at=now, reason=control.halted_reason or "It was halted.")
            elif (now_is := self._fingerprint(record.candidate)) not in {None, record.fingerprint}:
                said = f"The candidate was changed while it was rolled out: its artefact is {str(now_is)[:12]} now."
                event = history.withdraw(state, at=now, reason=said)
            else:
                course.collector.severe = _severe(self._store, record.id)
                evidence = course.collector.collect(state, events, phases, now)
                ruling = rule(state, evidence, course.policy, now)
                event = history.event_for(state, ruling, phases, at=now, automatic=course.policy.rollback.automatic)
                if event is not None:
                    more = recording.kept(evidence, record, course.policy, run_id=self._run_id)
                    event = replace(event, evidence={**more, **event.evidence})
        if event is not None:
            appended = self._carry_out(course, state, event, now)
            if appended:
                events.append(event)
                state = history.state_of(events, phases)
                _log.info("%s: %s in %s: %s", record.id, event.kind, event.phase, event.reason)
        self._react(course, events, state)
        return Sight(
            at=now,
            role="controls",
            rollout_id=record.id,
            state=state,
            ruling=ruling,
            refused=course.refused,
            problem="; ".join(course.problems.values()) or course.collector.problem,
        )

    def _opened(self, record: RolloutRecord) -> _Course:
        if self._course is not None and self._course.record.id == record.id:
            return self._course
        self.close()
        policy = attempt_policy(record, self._store.rollout_events(record.id))
        done = [
            action.number for action in self._store.rollout_actions(record.id)
            if action.name == _HANDLED and action.done_at is not None
        ]  # fmt: skip
        course = _Course(
            record=record,
            policy=policy,
            collector=self._collector_for(record, policy),
            handled=set(done),
        )
        self._course = course
        return course

    def _carry_out(self, course: _Course, state: RolloutState, event: Event, now: datetime) -> bool:
        """Whether the event is in the history now."""
        if event.kind in {EventKind.ADVANCED, EventKind.COMPLETED}:
            if course.refused_number == event.number and course.ask_again is not None and now < course.ask_again:
                return False
            if not self._may(course, event, now):
                return False
        course.refused, course.asking = None, None
        if state.served_share > 0 and event.kind in _WITHDRAWS:
            # Users first. Gateways follow the halt at once, also when recording it has to wait.
            self._store.halt_rollout(course.record.id, event.reason, now=now)
            self._route(course, Route(
                rollout_id=course.record.id, number=event.number, candidate=course.record.candidate, share=0.0,
                reason=event.reason,
            ))  # fmt: skip
        self._store.append_event(event)
        return True

    def _may(self, course: _Course, event: Event, now: datetime) -> bool:
        """Whether those who are asked before a step have agreed to it; they are asked once, and may take several."""
        asking = course.asking if course.asking_number == event.number else None
        if asking is None:
            course.asking_number = event.number
            asking = course.asking = self.beside.submit(self._asked, event)
        if not asking.done():
            return False
        course.refused, course.asking = asking.result(), None
        if course.refused is not None:
            course.refused_number, course.ask_again = event.number, now + timedelta(seconds=_AGAIN_S)
            _log.warning("%s: not %s: %s", course.record.id, event.kind, course.refused)
        return course.refused is None

    def _asked(self, event: Event) -> str | None:
        try:
            return self._acts.refusal(event)
        except Exception as error:  # noqa: BLE001  who cannot be asked has not agreed
            _log.exception("hooks could not be asked")
            return repr(error)

    def _react(self, course: _Course, events: Sequence[Event], state: RolloutState) -> None:
        """What follows from the history, whoever has written it: the route of the last event, and news of each."""
        self._route(course, Route(
            rollout_id=course.record.id, number=state.number, candidate=course.record.candidate,
            share=state.served_share, reason=events[-1].reason,
        ))  # fmt: skip
        telling = course.telling
        if telling is not None and telling.done():
            course.telling, problem = None, telling.result()
            course.problems.pop("follow", None)
            if problem is not None:
                course.problems["follow"] = problem
        new = [event for event in events if event.number not in course.handled]
        if new and course.telling is None:
            course.telling = self.beside.submit(self._tell, course, new, state)

    def _tell(self, course: _Course, events: Sequence[Event], state: RolloutState) -> str | None:
        """Tell everybody of these events; why somebody could not be told, of whom the others do not have to wait."""
        problems = []
        for event in events:
            try:
                if self._store.begin_action(course.record.id, event.number, _HANDLED, now=self._now()):
                    self._acts.follow(event, state)
                    self._store.finish_action(course.record.id, event.number, _HANDLED, "ok", now=self._now())
                course.handled.add(event.number)
            except HarnessError as error:
                problems.append(str(error))
            except Exception as error:  # noqa: BLE001  the next event may be a roll back, and people have to know
                _log.exception("event %d could not be told", event.number)
                problems.append(repr(error))
        return "; ".join(problems) or None

    def _route(self, course: _Course, route: Route) -> None:
        try:
            self._acts.route(route)
        except HarnessError as error:
            said = f"the share {route.share:g} is not in force everywhere: {error}"
            if course.problems.get("route") != said:
                _log.error("%s: %s", route.rollout_id, said)
            course.problems["route"] = said
            return
        course.problems.pop("route", None)


_WITHDRAWS = frozenset({EventKind.ROLLED_BACK, EventKind.STOPPED, EventKind.EXPIRED})


def severe_name(key: str) -> str:
    """Ledger entry of one severe event."""
    return f"severe:{key}"


def _severe(store: Store, rollout_id: str) -> int:
    return sum(action.name.startswith("severe:") for action in store.rollout_actions(rollout_id))
