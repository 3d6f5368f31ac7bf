"""Builds the stack of clients: retries around the limiter around the budget around one attempt."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from harness.config import Replay
from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelClient, ModelReply, ModelSpec, Price
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
        attempts: AttemptClient | None,
    ) -> None:
        self._adapter: AttemptClient = attempts or LitellmClient(
            max_response_bytes=None if shadow is None else shadow.max_response_bytes,
            headers={} if shadow is None else shadow.headers,
        )
        self._prices: dict[tuple[str, str | None, Price | None], TokenPrice | None] = {}
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

    def _price_of(self, model: ModelSpec) -> TokenPrice | None:
        identity = (model.model, model.api_base, model.price)
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
        return await self._outer.complete(request, model, deadline_s=deadline_s)

    async def aclose(self) -> None:
        """Close the sessions."""
        await self._adapter.aclose()


def build_client(
    *,
    replay: Replay,
    purse: Purse | None = None,
    seed: int = 0,
    allow_unpriced: bool = False,
    shadow: ShadowCalls | None = None,
    attempts: AttemptClient | None = None,
) -> ClientStack:
    """The client to use everywhere; candidates and judges get one each, with their own purse.

    Beside live traffic (``shadow``) the deadline begins with the wait for a slot or for money, a 429 halves the calls
    in flight, and an answer may be only so large.

    Attempts are made in this process, or by ``attempts``, which is closed with the stack.

    The budget sits inside the limiter and the retries: each attempt is reserved for itself, and only once it may start.
    """
    return ClientStack(
        replay=replay, purse=purse, seed=seed, allow_unpriced=allow_unpriced, shadow=shadow, attempts=attempts
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
