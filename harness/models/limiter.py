"""How many calls may be in flight per provider, learnt from its 429s.

Additive increase, multiplicative decrease, as TCP does it: a limit starts low, doubles once per clean round until the
first 429 (slow start), grows by a share per clean round after it, and shrinks by a factor once per throttling episode
however many 429s that episode brings. Retry-After, or a default cooldown, stops the whole provider.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelClient, ModelError, ModelReply, ModelSpec
from harness.domain.observation import ErrorKind
from harness.errors import HarnessError

HISTORY = 1_000

_TROUBLE = frozenset(
    {ErrorKind.SERVER_ERROR, ErrorKind.OVERLOADED, ErrorKind.TIMEOUT, ErrorKind.CONNECTION, ErrorKind.CUT_STREAM}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How the number of calls in flight per provider adapts."""

    start: int = 8
    minimum: int = 1
    maximum: int = 16
    decrease: float = 0.7
    """Factor on a 429."""
    growth: float = 0.1
    """Share added per clean round once slow start is over; at least one call."""
    cooldown_s: float = 1.0
    """How long a provider is left alone after a 429 without Retry-After, and how long growth pauses after a 5xx."""
    max_cooldown_s: float = 120.0
    """A longer Retry-After holds back its own request only; the rest of the provider's calls probe after this time."""

    queue_within_deadline: bool = False
    """Whether the deadline of a call begins when it joins the queue, and not when it has its slot."""


class QueueTimeout(HarnessError):  # noqa: N818  reads as the state it reports
    """The deadline passed while the call waited for a slot, or for money; nothing was sent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitChange:
    """One change of a provider's limit, for the run's log."""

    at_s: float
    limit: int
    reason: str
    """``throttled``, ``slow_start`` or ``growth``."""


@dataclass(slots=True)
class ProviderGate:
    """The limit of one provider and the queue in front of it; first come, first served."""

    limits: Limits
    clock: Callable[[], float]
    limit: int = 0
    in_flight: int = 0
    closed_until: float = -math.inf
    growth_paused_until: float = -math.inf
    slow_start: bool = True
    history: deque[LimitChange] = field(default_factory=lambda: deque(maxlen=HISTORY))
    _successes: int = 0
    _episode: int = 0
    _waiters: deque[asyncio.Future[None]] = field(default_factory=deque)
    _timer: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self.limit = max(self.limits.minimum, min(self.limits.start, self.limits.maximum))

    async def enter(self) -> int:
        """Wait for a slot and take it; returns the throttling episode the call starts in."""
        if not self._waiters and self._is_open():
            self.in_flight += 1
            return self._episode
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._wake()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                # The slot was handed over in the same moment; pass it on.
                self.in_flight -= 1
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            self._wake()
            raise
        return self._episode

    def leave(self) -> None:
        """Give the slot back."""
        self.in_flight -= 1
        self._wake()

    def succeeded(self, episode: int) -> None:
        """Count a clean call; a round is as many of them as the limit allows at once."""
        if episode != self._episode or self.clock() < self.growth_paused_until or self.limit >= self.limits.maximum:
            return
        self._successes += 1
        if self._successes < self.limit:
            return
        self._successes = 0
        step = self.limit if self.slow_start else max(1, math.floor(self.limit * self.limits.growth))
        self._change(min(self.limits.maximum, self.limit + step), "slow_start" if self.slow_start else "growth")
        self._wake()

    def throttled(self, episode: int, retry_after_s: float | None) -> None:
        """Shrink once per episode, and leave the provider alone as long as it asks."""
        wait = self.limits.cooldown_s if retry_after_s is None else min(retry_after_s, self.limits.max_cooldown_s)
        self.closed_until = max(self.closed_until, self.clock() + wait)
        # Calls that started before the limit shrank say nothing about the smaller one.
        if episode != self._episode:
            return
        self._episode += 1
        self._successes = 0
        self.slow_start = False
        self._change(max(self.limits.minimum, math.floor(self.limit * self.limits.decrease)), "throttled")

    def troubled(self) -> None:
        """A server error or timeout: no reason to send less, and none to send more."""
        self._successes = 0
        self.growth_paused_until = self.clock() + self.limits.cooldown_s

    def _is_open(self) -> bool:
        return self.in_flight < self.limit and self.clock() >= self.closed_until

    def _change(self, limit: int, reason: str) -> None:
        if limit != self.limit:
            self.limit = limit
            self.history.append(LimitChange(at_s=self.clock(), limit=limit, reason=reason))

    def _wake(self) -> None:
        while self._waiters and self._is_open():
            waiter = self._waiters.popleft()
            if not waiter.done():
                self.in_flight += 1
                waiter.set_result(None)
        remaining = self.closed_until - self.clock()
        if self._waiters and remaining > 0 and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(remaining, self._reopen)

    def _reopen(self) -> None:
        self._timer = None
        self._wake()


class LimitedClient:
    """Lets only as many calls through as their provider takes; the wait is ``queue_ms``, never latency.

    Belongs inside the retries, so that a request that sleeps before its next attempt holds no slot.
    """

    def __init__(self, inner: ModelClient, limits: Limits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._inner = inner
        self._limits = limits
        self._clock = clock
        self.gates: dict[str, ProviderGate] = {}
        """By ``ModelSpec.provider``; read their ``limit`` and ``history`` for the report."""

    async def complete(self, request: ChatRequest, model: ModelSpec, *, deadline_s: float) -> ModelReply:
        """Ask once a slot of the model's provider is free; the deadline starts then, unless the limits say otherwise.

        Raises:
            ModelError: as the inner client's, with ``queue_ms`` set.
            QueueTimeout: the deadline includes the queue, and there was no slot, or no money, within it.
        """
        gate = self.gates.get(model.provider)
        if gate is None:
            gate = self.gates[model.provider] = ProviderGate(self._limits, self._clock)
        begin = self._clock()
        episode = await self._entered(gate, deadline_s)
        queue_ms = (self._clock() - begin) * 1000
        if self._limits.queue_within_deadline:
            deadline_s = max(deadline_s - queue_ms / 1000, 0.001)
        try:
            reply = await self._inner.complete(request, model, deadline_s=deadline_s)
        except ModelError as error:
            error.queue_ms += queue_ms
            if error.error.kind is ErrorKind.RATE_LIMIT:
                gate.throttled(episode, error.retry_after_s)
            elif error.error.kind in _TROUBLE:
                gate.troubled()
            raise
        finally:
            gate.leave()
        gate.succeeded(episode)
        return replace(reply, queue_ms=reply.queue_ms + queue_ms)

    async def _entered(self, gate: ProviderGate, deadline_s: float) -> int:
        if not self._limits.queue_within_deadline:
            return await gate.enter()
        try:
            async with asyncio.timeout(deadline_s):
                return await gate.enter()
        except TimeoutError:
            raise QueueTimeout(f"no slot within {deadline_s:g} s") from None
