"""Builds the stack of clients: retries around the limiter around the budget around one attempt."""

import random
from collections.abc import Iterable

from harness.config import Replay
from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelClient, ModelReply, ModelSpec
from harness.models.litellm_client import LitellmClient
from harness.models.retry import RetryingClient, RetryPolicy


class ClientStack:
    """The whole stack as one client; close it when done."""

    def __init__(self, outer: ModelClient, adapter: LitellmClient) -> None:
        self._outer = outer
        self._adapter = adapter

    async def complete(self, request: ChatRequest, model: ModelSpec, *, deadline_s: float) -> ModelReply:
        """Ask with retries, within the provider's limits and the budget.

        Raises:
            ModelError: the call failed for good.
            BudgetExhausted: the purse cannot cover the call.
        """
        return await self._outer.complete(request, model, deadline_s=deadline_s)

    async def aclose(self) -> None:
        """Close the sessions."""
        await self._adapter.aclose()


def build_client(*, replay: Replay, seed: int = 0) -> ClientStack:
    """The client to use everywhere; candidates and judges get one each, with their own purse."""
    adapter = LitellmClient()
    policy = RetryPolicy(max_attempts=replay.max_attempts, max_retry_wait_s=replay.max_retry_wait_s)
    return ClientStack(RetryingClient(adapter, policy, rng=random.Random(seed)), adapter)


def preflight(specs: Iterable[ModelSpec]) -> None:
    """Check before anything is spent that every model can be asked.

    Raises:
        ConfigurationError: litellm knows no such provider, or the variable that should hold its key is not set.
    """
    adapter = LitellmClient()
    for spec in specs:
        adapter.check(spec)
