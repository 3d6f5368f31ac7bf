"""What a controller does besides the history: asks hooks, routes, tells people and hooks. Any of it may be repeated."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from harness.config import Live
from harness.config.rollout import Rollout
from harness.controller import ledger
from harness.controller.actuators import Actuator, Route, actuators_of
from harness.controller.hooks import Hooks, Subscribed
from harness.controller.ledger import Actions, Doer, LedgerOf, StoreLedger
from harness.controller.news import News, news_of
from harness.controller.telling import Teller
from harness.domain.rollout import Event, RolloutState
from harness.errors import HarnessError
from harness.ops.alerts import sender_from

CHECK_S = 60.0
"""How often it is looked whether a route is still in force: people and late answers change what was written."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 60.0
_TURN_S = 10.0
"""After this nothing more is begun about an event in one go: the next one, perhaps a roll back, is to be told too."""
_log = logging.getLogger("harness.controller")


class NotAllDoneError(HarnessError):
    """Something that follows from an event is not done yet; it is tried again when it is asked for again."""


@dataclass(kw_only=True)
class _Applied:
    """What an actuator was asked for last."""

    rollout_id: str
    number: int
    share: float
    problem: str | None
    pause_s: float
    again_at: float

    def fits(self, route: Route) -> bool:
        """Whether it was this route."""
        return (self.rollout_id, self.number, self.share) == (route.rollout_id, route.number, route.share)


class Acting:
    """Hooks, actuators and alerts of the rollouts of one live experiment.

    Meant to be asked at every step of a controller: what is done is not done again, what failed waits for its next
    attempt, and a route in force is looked at once a minute.
    """

    def __init__(
        self,
        policy: Rollout,
        live: str,
        hooks: Hooks,
        actuators: Sequence[Actuator],
        teller: Teller,
        ledger_of: LedgerOf,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing happens before one of the methods is called.

        Args:
            policy: The rollout as configured now.
            live: Name of the live experiment.
            hooks: Who is asked before and told after.
            actuators: What carries a share out.
            teller: Who tells people.
            ledger_of: Where it is noted what was done.
            clock: Seconds that never run backwards.
        """
        self._policy = policy
        self._live = live
        self._hooks = hooks
        self._actuators = tuple(actuators)
        self._teller = teller
        self._ledger_of = ledger_of
        self._clock = clock
        self._applied: dict[str, _Applied] = {}

    @classmethod
    def of(
        cls,
        policy: Rollout,
        live: Live,
        store: Actions,
        *,
        more: Sequence[Subscribed] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Self:
        """Everything the rollout and its live experiment ask for, with the store as the ledger.

        Args:
            policy: The rollout as configured now.
            live: Its live experiment, whose alerts go to the same addresses.
            store: Keeps the ledger.
            more: Who is told of every event besides, before the hooks of the file.
            now: The clock.
        """

        def ledger_of(rollout_id: str) -> StoreLedger:
            return StoreLedger(store, rollout_id, now=now)

        doer = Doer(ledger_of, now=now)
        return cls(
            policy,
            live.name,
            Hooks.of(policy.hooks, more=more, ledger_of=ledger_of, doer=doer),
            actuators_of(policy.actuators),
            Teller(sender_from(live.alerts.urls_env) or (), doer),
            ledger_of,
        )

    def refusal(self, event: Event) -> str | None:
        """Why somebody who is asked before a step does not want it.

        Nobody is asked about what gives the candidate nothing more. Takes as long as all hooks together may.
        """
        return self._hooks.before(self._news(event)).refused

    def route(self, route: Route) -> None:
        """Have every actuator carry it out; the same route again is looked at now and then.

        Raises:
            HarnessError: one of them did not, or did not when it was last tried. The others did.
        """
        problems = []
        for actuator in self._actuators:
            problem = self._apply(actuator, route)
            if problem is not None:
                problems.append(f"{actuator.name}: {problem}")
        if problems:
            raise NotAllDoneError("; ".join(problems))

    def follow(self, event: Event, state: RolloutState | None = None) -> None:
        """Tell people and hooks of an event, those of them who do not know it yet.

        Args:
            event: What happened.
            state: Not needed; events say what they lead to.

        Raises:
            NotAllDoneError: somebody could not be told. Call again: those who were told are not told again, and a day
                after the event it is given up.
            HarnessError: the ledger cannot be read or written.
        """
        news = self._news(event)
        begun = self._clock()
        # People first: a message takes a moment, and a hook may take all the time it has.
        problems = self._teller.tell(news)
        problems += self._hooks.after(news, until=lambda: self._clock() - begun > _TURN_S)
        if problems:
            raise NotAllDoneError("; ".join(problems))

    def _news(self, event: Event) -> News:
        return news_of(event, live=self._live, candidate=self._policy.candidate, phases=self._policy.steps)

    def _apply(self, actuator: Actuator, route: Route) -> str | None:
        before = self._applied.get(actuator.name)
        known = before if before is not None and before.fits(route) else None
        if known is not None and self._clock() < known.again_at:
            return known.problem
        name = f"route:{actuator.name}:{route.share:g}"
        book = self._ledger_of(route.rollout_id)
        if known is None:
            ledger.noted(book, route.number, name)
        problem = None
        try:
            actuator.apply(route)
        except HarnessError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001  the other actuators have to be asked, whatever is wrong with this one
            _log.exception("%s: %s failed", route.rollout_id, actuator.name)
            problem = repr(error)
        pause_s = CHECK_S
        if problem is not None:
            failed = known is not None and known.problem is not None
            pause_s = min(known.pause_s * 2, _LONGEST_PAUSE_S) if known is not None and failed else _FIRST_PAUSE_S
            _log.error(
                "%s: %s does not give the candidate %g: %s", route.rollout_id, actuator.name, route.share, problem
            )
        elif known is None or known.problem is not None:
            ledger.noted_end(book, route.number, name, "ok")
        self._applied[actuator.name] = _Applied(
            rollout_id=route.rollout_id, number=route.number, share=route.share, problem=problem, pause_s=pause_s,
            again_at=self._clock() + pause_s,
        )  # fmt: skip
        return problem
