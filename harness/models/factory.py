"""Builds the stack of clients: retries around the limiter around the budget around one attempt."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from harness.config import Replay
from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelClient, ModelReply, ModelSpec, Price
from harness.errors import ConfigurationError
from harness.models.batch.client import BatchClient, BatchRoom
from harness.models.budget import BudgetedClient, Purse, TokenPrice, unpriced_error
from harness.models.failover import FailoverClient
from harness.models.limiter import LimitedClient, Limits, ProviderGate
from harness.models.litellm_client import LitellmClient, check, list_price
from harness.models.retry import RetryingClient, RetryPolicy

_START_CONCURRENCY = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class ShadowCalls:
    """What holds for calls beside live traffic, over and above those of an offline run."""

    max_response_bytes: int
    headers: Mapping[str, str]
    """Sent with every call, so that a gateway the call comes by knows it for ours."""


class AttemptClient(ModelClient, Protocol):
    """Asks once, in this process or in another."""

    async def aclose(self) -> None:
        """Give up what it holds."""
        ...


class ClientStack:
    """The whole stack as one ModelClient; close it when done."""

    def __init__(
        self,
        *,
        replay: Replay,
        purse: Purse | None,
        seed: int,
        allow_unpriced: bool,
        shadow: ShadowCalls | None,
        batches: BatchRoom | None,
        attempts: AttemptClient | None,
    ) -> None:
        self._adapter: AttemptClient = attempts or LitellmClient(
            max_response_bytes=None if shadow is None else shadow.max_response_bytes,
            headers={} if shadow is None else shadow.headers,
        )
        self._prices: dict[tuple[str, str | None, Price | None, float | None], TokenPrice | None] = {}
        paid: ModelClient = self._adapter
        if purse is not None:
            paid = BudgetedClient(
                self._adapter,
                purse,
                self._price_of,
                allow_unpriced=allow_unpriced,
                queue_within_deadline=shadow is not None,
            )
        self._limited = LimitedClient(
            paid if attempts is None else FailoverClient(paid),
            Limits(
                start=min(_START_CONCURRENCY, replay.concurrency),
                maximum=replay.concurrency,
                max_cooldown_s=max(1.0, replay.max_retry_wait_s),
                decrease=Limits().decrease if shadow is None else 0.5,
                queue_within_deadline=shadow is not None,
            ),
        )
        policy = RetryPolicy(max_attempts=replay.max_attempts, max_retry_wait_s=replay.max_retry_wait_s)
        self._outer = RetryingClient(self._limited, policy, rng=random.Random(seed))
        # A batch is one call of this process, whoever makes the attempts.
        self._own = LitellmClient() if batches is not None else None
        self._batches = None if batches is None or self._own is None else BatchClient(self._own, batches)
        self._batched: RetryingClient | None = None
        if self._batches is not None:
            # No limiter: a batch is one call, and the vendor's own queue is what it waits in.
            paid = (
                BudgetedClient(self._batches, purse, self._price_of, allow_unpriced=allow_unpriced)
                if purse
                else self._batches
            )
            self._batched = RetryingClient(paid, policy, rng=random.Random(seed))

    def _price_of(self, model: ModelSpec) -> TokenPrice | None:
        factor = None if model.batch is None else model.batch.price_factor
        identity = (model.model, model.api_base, model.price, factor)
        if identity not in self._prices:
            self._prices[identity] = list_price(model)
        return self._prices[identity]

    @property
    def gates(self) -> Mapping[str, ProviderGate]:
        """The limiter's state and history by provider."""
        return self._limited.gates

    async def complete(self, request: ChatRequest, model: ModelSpec, *, deadline_s: float) -> ModelReply:
        """Ask with retries, within the provider's limits and the budget; ``deadline_s`` is per attempt.

        Raises:
            ModelError: the call failed for good.
            BudgetExhausted: the purse cannot cover the call or its next attempt.
            ConfigurationError: the model cannot be asked, or has no price while the purse has a limit.
        """
        if model.batch is None:
            return await self._outer.complete(request, model, deadline_s=deadline_s)
        if self._batched is None:
            raise _no_batches(model)
        return await self._batched.complete(request, model, deadline_s=deadline_s)

    async def check_batches(self, specs: Iterable[ModelSpec]) -> None:
        """See that every model which is to be asked in batches can be; sends nothing.

        Raises:
            ConfigurationError: one cannot.
        """
        for spec in specs:
            if spec.batch is not None:
                if self._batches is None:
                    raise _no_batches(spec)
                await self._batches.check(spec)

    async def aclose(self) -> None:
        """Close the sessions."""
        if self._batches is not None:
            await self._batches.aclose()
        if self._own is not None:
            await self._own.aclose()
        await self._adapter.aclose()


def build_client(
    *,
    replay: Replay,
    purse: Purse | None = None,
    seed: int = 0,
    allow_unpriced: bool = False,
    shadow: ShadowCalls | None = None,
    batches: BatchRoom | None = None,
    attempts: AttemptClient | None = None,
) -> ClientStack:
    """The client to use everywhere; candidates and judges get one each, with their own purse.

    Beside live traffic (``shadow``) the deadline begins with the wait for a slot or for money, a 429 halves the calls
    in flight, and an answer may be only so large.

    Attempts are made in this process, or by ``attempts``, which is closed with the stack.

    The budget sits inside the limiter and the retries: each attempt is reserved for itself, and only once it may start.
    """
    return ClientStack(
        replay=replay,
        purse=purse,
        seed=seed,
        allow_unpriced=allow_unpriced,
        shadow=shadow,
        batches=batches,
        attempts=attempts,
    )


def refuse_batches(specs: Iterable[ModelSpec]) -> None:
    """Raise ConfigurationError when a model beside live traffic is to be asked in batches."""
    for spec in specs:
        if spec.batch is not None:
            raise _no_batches(spec)


def _no_batches(model: ModelSpec) -> ConfigurationError:
    return ConfigurationError(
        f"model {model.model!r} is to be asked in batches, which take up to a day; that works in `harness run`, "
        "`replay` and `judge`, and not beside live traffic: take `batch` out"
    )


def preflight(specs: Iterable[ModelSpec], *, purse: Purse | None = None, allow_unpriced: bool = False) -> None:
    """Check before anything is spent that every model can be asked; asks none.

    Raises:
        ConfigurationError: litellm knows no such provider, the variable that should hold the key is not set, or
            the purse has a limit and a model has no price.
    """
    for spec in specs:
        check(spec)
        if purse is not None and purse.limit_usd is not None and not allow_unpriced and list_price(spec) is None:
            raise unpriced_error(spec, purse)
