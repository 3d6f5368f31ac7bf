"""One arm of a live experiment: asks the exchanges as they come, and ends each in exactly one way."""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from datetime import UTC, date, datetime
from types import TracebackType
from typing import Self

from harness.domain.exchange import Exchange
from harness.domain.mirror import SkipReason
from harness.domain.model import BudgetExhausted, ModelClient, ModelSpec
from harness.domain.observation import CallError, ErrorKind, Observation, Status
from harness.errors import HarnessError
from harness.models.breaker import Breaker, BreakerState, Permit
from harness.models.limiter import QueueTimeout
from harness.pipeline.arms import Arm
from harness.pipeline.live.purses import DailyPurse, Limit
from harness.pipeline.live.quota import QuotaGuard
from harness.pipeline.live.room import TICK_S, Room
from harness.pipeline.live.state import EventKind
from harness.replay.asking import ask
from harness.replay.writer import Writer
from harness.spool.sampling import fraction
from harness.store import DataRefusedError

_RESCAN_S = 1.0
"""How often the store is looked at when nobody said that there is something new."""
_HEAD_START_S = 5.0
_SPIKE_WINDOW = 50
_DRAWN = b"replica"
"""Keeps the replica's share independent of the sample and of canary arms."""


class _InFlight(AbstractContextManager["_InFlight"]):
    """Counts calls while they last."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        self.count += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.count -= 1


class AskingLoop:
    """Asks one arm, at most ``worker.in_flight`` requests at a time, in the order in which they were captured.

    What cannot be asked now is not asked later: a candidate is compared with production at the same time, and a backlog
    that is worked off after an outage would meet the candidate in another state, and its provider with a burst. So
    requests end as dropped while the breaker is open or production's quota is guarded, and as skipped when the budget
    of the day is spent, the kill switch is off, or they have become too old. What was in flight when the worker was
    killed has no ending yet, and is asked again.
    """

    def __init__(
        self,
        room: Room,
        arm: Arm,
        spec: ModelSpec,
        *,
        client: ModelClient,
        purse: DailyPurse,
        breaker: Breaker,
        quota: QuotaGuard,
        fresh: asyncio.Event,
    ) -> None:
        self.arm = arm
        self.spec = spec
        self.purse = purse
        self.breaker = breaker
        self.stopped: str | None = None
        self.outcomes: Counter[tuple[Status, str]] = Counter()
        self.idle = False
        """Whether everything in the store has an ending."""
        self._room = room
        self._client = client
        self._quota = quota if quota.covers(spec) else None
        self._fresh = fresh
        self._calls = _InFlight()
        self._queue: asyncio.Queue[Exchange] = asyncio.Queue(maxsize=room.live.worker.in_flight)
        self._recent: deque[bool] = deque(maxlen=_SPIKE_WINDOW)
        self._spike: str | None = None
        self._was_open = False
        self._told: tuple[Limit, date] | None = None
        """The refusal of the purse that was told last."""
        self._warm = asyncio.Event()
        self._after = float("-inf")
        self._pending = 0
        """Taken from the queue and without an ending."""
        self._instead: dict[str, Observation] = {}
        """What was stored for observations that the database cannot hold, until it is counted."""

    @property
    def in_flight(self) -> int:
        """Calls that are being made."""
        return self._calls.count

    @property
    def error_spike(self) -> str | None:
        """How many of the last calls failed, while they are too many."""
        return self._spike

    @property
    def client(self) -> ModelClient:
        """How the arm is asked."""
        return self._client

    @property
    def quota_remaining_s(self) -> float:
        """How long the arm rests for production's sake."""
        return self._quota.remaining_s if self._quota is not None else 0.0

    async def run(self) -> None:
        """Ask until it is time to stop; what is in flight then is finished, up to its deadline."""
        reading = ThreadPoolExecutor(1, thread_name_prefix=f"read-{self.arm.name}")
        writing = ThreadPoolExecutor(1, thread_name_prefix=f"write-{self.arm.name}")
        width = self._room.live.worker.in_flight
        writer = Writer(self._write, writing, on_commit=self._committed, full=max(1, width // 2))
        try:
            async with asyncio.TaskGroup() as group:
                beside = [group.create_task(self._feed(reading)), group.create_task(writer.keep())]
                with self._room.abandoned_when_cancelled():
                    async with asyncio.TaskGroup() as workers:
                        for place in range(width):
                            workers.create_task(self._work(writer, ahead=place == 0))
                for task in beside:
                    task.cancel()
        finally:
            try:
                await writer.flush()
            finally:
                # In a thread, since what they do may wait for the store, and the loop has more to do than that.
                await asyncio.to_thread(reading.shutdown)
                await asyncio.to_thread(writing.shutdown)

    def take_over(self, counts: Mapping[tuple[Status, str], int]) -> None:
        """Begin with what earlier workers have done."""
        self.outcomes.update(counts)

    async def _feed(self, thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._fresh.clear()
            # Not known to be idle until it is: loading may take its time.
            self.idle = False
            found = await loop.run_in_executor(thread, lambda: self._room.persist(self._next))
            self.idle = not found and self._pending == 0 and self._queue.empty()
            for position, exchange in found:
                await self._queue.put(exchange)
                self._after = position
            if not found:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_RESCAN_S):
                        await self._fresh.wait()

    def _next(self) -> Sequence[tuple[float, Exchange]]:
        return self._room.session.store.unasked_exchanges(
            self._room.session.run_id,
            self.arm.name,
            self.arm.fingerprint,
            after=self._after,
            limit=2 * self._room.live.worker.in_flight,
        )

    def _write(self, observations: Sequence[Observation]) -> None:
        session = self._room.session
        try:
            self._room.persist(lambda: session.store.put_observations(session.run_id, observations))
        except DataRefusedError as error:
            if len(observations) > 1:
                for observation in observations:
                    self._write([observation])
            elif observations[0].exchange_id in self._instead:
                raise
            else:
                # Such as a count of tokens above 64 bits: an answer that nobody can keep is the model's failure.
                self._instead[observations[0].exchange_id] = failed = _unkept(observations[0], error)
                self._write([failed])

    def _committed(self, batch: Sequence[Observation]) -> None:
        kept = [self._instead.pop(item.exchange_id, item) for item in batch]
        self.outcomes.update((item.status, ending_of(item)) for item in kept)

    async def _work(self, writer: Writer, *, ahead: bool) -> None:
        # One worker goes ahead: what the first call takes to set up connections is not the model's.
        if not ahead:
            with suppress(TimeoutError):
                async with asyncio.timeout(_HEAD_START_S):
                    await self._warm.wait()
        while not self._room.stopping:
            try:
                async with asyncio.timeout(TICK_S):
                    exchange = await self._queue.get()
            except TimeoutError:
                continue
            self._pending += 1
            try:
                if self._room.stopping:
                    return
                await writer.write(await self._ended(exchange))
            finally:
                self._pending -= 1

    async def _ended(self, exchange: Exchange) -> Observation:
        """The exchange's one ending in this arm."""
        reason = self._policy(exchange)
        if reason is not None:
            return self._left_out(exchange, reason)
        permit = self.breaker.admit()
        if permit is None:
            return self._left_out(exchange, SkipReason.BREAKER_OPEN)
        asked = False
        try:
            with self._calls:
                observation = await ask(
                    exchange,
                    client=self._client,
                    spec=self.spec,
                    arm=self.arm.name,
                    fingerprint=self.arm.fingerprint,
                    deadline_s=self._room.live.worker.deadline_s,
                )
            asked = True
        except BudgetExhausted as error:
            self._exhausted(error)
            return self._left_out(exchange, SkipReason.BUDGET)
        except QueueTimeout:
            return self._left_out(exchange, SkipReason.QUEUE_TIMEOUT)
        except HarnessError as error:
            self._stop(str(error))
            return self._left_out(exchange, SkipReason.STOPPED)
        finally:
            self._warm.set()
            if not asked:
                self.breaker.forgo(permit)
        self._heard(observation, permit)
        return observation

    def _policy(self, exchange: Exchange) -> SkipReason | None:
        """Why the exchange is not asked of this arm, before anything of its provider is looked at."""
        share = self.arm.share
        if share is not None and share < 1:
            live = self._room.live
            if fraction(live.salt, "replica", exchange.id, tag=_DRAWN) >= share:
                return SkipReason.NOT_DRAWN
        if not self._room.mirroring:
            return SkipReason.KILL_SWITCH
        if self.stopped is not None:
            return SkipReason.STOPPED
        if exchange.timestamp is not None:
            age = (datetime.now(UTC) - exchange.timestamp).total_seconds()
            if age > self._room.live.spool.max_age_s:
                return SkipReason.TOO_OLD
        if self.quota_remaining_s > 0:
            return SkipReason.QUOTA_GUARD
        return None

    def _left_out(self, exchange: Exchange, reason: SkipReason) -> Observation:
        return Observation(
            exchange_id=exchange.id,
            arm=self.arm.name,
            status=Status.DROPPED if reason.is_overload else Status.SKIPPED,
            reason=reason.value,
            fingerprint=self.arm.fingerprint,
        )

    def _heard(self, observation: Observation, permit: Permit) -> None:
        kind = observation.error.kind if observation.error is not None else None
        self.breaker.record(permit, is_failure=kind is not None and kind.is_deployment)
        if kind is not None and kind.is_setup:
            said = observation.error.message if observation.error is not None else ""
            self._stop(f"{kind}: {said}")
            return
        self._count(kind)

    def _count(self, kind: ErrorKind | None) -> None:
        """Tell when too many of the last calls failed, and keep saying so while they do."""
        self._recent.append(kind is not None)
        share = sum(self._recent) / _SPIKE_WINDOW
        limit = self._room.live.alerts.error_rate
        # Quiet only well below the limit, or a rate around it would alert again and again.
        if share < limit / 2:
            self._spike = None
        elif self._spike is not None or (share > limit and len(self._recent) == _SPIKE_WINDOW):
            begins = self._spike is None
            self._spike = f"{self.arm.name}: {share:.0%} of its last {_SPIKE_WINDOW} calls failed"
            if begins:
                self._room.tell(
                    EventKind.ERROR_SPIKE, f"{self._spike}, last with {kind}", arm=self.arm.name, value=share
                )

    def _stop(self, why: str) -> None:
        if self.stopped is not None:
            return
        self.stopped = why[:500]
        message = (
            f"{self.arm.name}: {self.spec.model} cannot be asked ({self.stopped}); it is asked nothing more until "
            "the worker is started again with a key and a model name that work"
        )
        self._room.session.reporter.warn(message)
        self._room.tell(EventKind.CANDIDATE_STOPPED, message, arm=self.arm.name)

    def _exhausted(self, error: BudgetExhausted) -> None:
        refused = self.purse.refused
        if refused is None or refused == self._told:
            return
        self._told = refused
        message = f"{self.arm.name}: {error}; requests are skipped {refused[0].until}"
        self._room.session.reporter.warn(message)
        self._room.tell(EventKind.BUDGET_EXHAUSTED, message, arm=self.arm.name, value=self.purse.spent_today_usd)

    def on_breaker(self, state: BreakerState) -> None:
        """Tell about changes of the breaker that matter to people; a probe does not."""
        if state is BreakerState.OPEN and not self._was_open:
            message = f"{self.arm.name}: {self.spec.model} is down; its requests are dropped until it answers again"
            self._was_open = True
            self._room.session.reporter.warn(message)
            self._room.tell(EventKind.BREAKER_OPENED, message, arm=self.arm.name)
        elif state is BreakerState.CLOSED:
            self._was_open = False
            message = f"{self.arm.name}: {self.spec.model} answers again"
            self._room.session.reporter.warn(message)
            self._room.tell(EventKind.BREAKER_CLOSED, message, arm=self.arm.name)


def _unkept(observation: Observation, error: DataRefusedError) -> Observation:
    """What is stored of an observation that the database cannot hold."""
    return Observation(
        exchange_id=observation.exchange_id,
        arm=observation.arm,
        status=Status.FAILED,
        error=CallError(kind=ErrorKind.MALFORMED_RESPONSE, message=str(error)),
        latency_ms=observation.latency_ms,
        attempts=observation.attempts,
        cost_usd=observation.cost_usd,
        cost_estimated=observation.cost_estimated,
        started_at=observation.started_at,
        fingerprint=observation.fingerprint,
    )


def ending_of(observation: Observation) -> str:
    """The reason of an ending: an ErrorKind, a SkipReason, or nothing for a completed one."""
    if observation.error is not None:
        return observation.error.kind.value
    return observation.reason or ""
