"""The only place that asks again."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelClient, ModelError, ModelReply, ModelSpec

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How often and how long one request may be asked again."""

    max_attempts: int = 4
    max_retry_wait_s: float = 120.0
    """Total time between attempts; a Retry-After that does not fit ends the request at once."""
    base_s: float = 0.5
    """Upper end of the first wait; doubles with every attempt."""
    cap_s: float = 30.0


@dataclass(slots=True)
class _Spent:
    """What the failed attempts of one request took."""

    cost_usd: float = 0.0
    cost_known: bool = False
    queue_ms: float = 0.0
    waited_s: float = 0.0
    dropped: set[str] = field(default_factory=set)

    def add(self, error: ModelError) -> None:
        self.queue_ms += error.queue_ms
        self.dropped.update(error.dropped_params)
        if error.cost_usd is not None:
            self.cost_usd += error.cost_usd
            self.cost_known = True


class RetryingClient:
    """Asks again after failures that may pass; never earlier than the provider's Retry-After.

    ``retry_ms`` of the reply is everything before the successful attempt began, queue waits aside; its ``latency_ms``
    stays that of the attempt alone. Waits are exponential with full jitter from ``rng``; ``sleep`` and ``clock`` can be
    replaced in tests.
    """

    def __init__(
        self,
        inner: ModelClient,
        policy: RetryPolicy,
        *,
        rng: random.Random | None = None,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._inner = inner
        self._policy = policy
        self._rng = rng or random.Random()
        self._sleep = sleep
        self._clock = clock

    async def complete(self, request: ChatRequest, model: ModelSpec, *, deadline_s: float) -> ModelReply:
        """Ask until it works, stops making sense or the policy ends it; ``deadline_s`` is per attempt.

        Raises:
            ModelError: of the last attempt, with the attempts, waits and known costs of all.
        """
        spent = _Spent()
        begin, attempt_begin, attempts = self._clock(), self._clock(), 0
        try:
            async for attempt in self._retrying(spent):
                with attempt:
                    attempts, attempt_begin = attempts + 1, self._clock()
                    reply = await self._inner.complete(request, model, deadline_s=deadline_s)
                    return self._summed(reply, spent, attempts, (attempt_begin - begin) * 1000)
        except ModelError as error:
            error.attempts = attempts
            # The last attempt's own time is its latency, its wait for a slot is queueing.
            error.retry_ms = max(0.0, (attempt_begin - begin) * 1000 - (spent.queue_ms - error.queue_ms))
            error.queue_ms = spent.queue_ms
            error.cost_usd = spent.cost_usd if spent.cost_known else None
            raise
        raise AssertionError("tenacity ends with a return or an exception")

    def _retrying(self, spent: _Spent) -> AsyncRetrying:
        policy = self._policy

        class TooLong(stop_base):
            def __call__(self, retry_state: RetryCallState) -> bool:
                return spent.waited_s + retry_state.upcoming_sleep > policy.max_retry_wait_s

        async def sleep(seconds: float) -> None:
            spent.waited_s += seconds
            await self._sleep(seconds)

        def worth(error: BaseException) -> bool:
            if not isinstance(error, ModelError):
                return False
            spent.add(error)
            return error.error.kind.is_retryable

        return AsyncRetrying(
            wait=_Wait(policy, self._rng),
            stop=stop_after_attempt(policy.max_attempts) | TooLong(),
            retry=retry_if_exception(worth),
            sleep=sleep,
            reraise=True,
        )

    @staticmethod
    def _summed(reply: ModelReply, spent: _Spent, attempts: int, before_ms: float) -> ModelReply:
        if attempts == 1:
            return reply
        cost = reply.cost_usd + spent.cost_usd if reply.cost_usd is not None else None
        return replace(
            reply,
            attempts=attempts,
            retry_ms=max(0.0, before_ms - spent.queue_ms),
            queue_ms=reply.queue_ms + spent.queue_ms,
            cost_usd=cost,
            dropped_params=tuple(sorted({*reply.dropped_params, *spent.dropped})),
        )


class _Wait(wait_base):
    """Full jitter below a doubling bound, and never less than Retry-After."""

    def __init__(self, policy: RetryPolicy, rng: random.Random) -> None:
        self._policy = policy
        self._rng = rng

    def __call__(self, retry_state: RetryCallState) -> float:
        bound = min(self._policy.cap_s, self._policy.base_s * 2 ** (retry_state.attempt_number - 1))
        jittered = self._rng.uniform(0, bound)
        error = retry_state.outcome.exception() if retry_state.outcome else None
        asked = error.retry_after_s if isinstance(error, ModelError) else None
        # A little later than asked, so that a herd told the same second does not come back as one.
        return jittered if asked is None else asked + min(jittered, 1.0)
