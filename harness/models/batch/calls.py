"""Calls that wait for their answer, and the pools in which they wait to be submitted."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from harness.domain.batch import BatchItem, VendorBatch
from harness.domain.model import BatchTerms, ModelError
from harness.models.batch.vendors import Answered


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Whom a batch is for: one takes requests to one model."""

    vendor: str
    base_url: str
    model: str
    api_base: str | None
    api_key_env: str | None

    @classmethod
    def of(cls, batch: VendorBatch) -> "Account":
        """The batch's."""
        return cls(
            vendor=batch.vendor,
            base_url=batch.base_url,
            model=batch.model,
            api_base=batch.api_base,
            api_key_env=batch.api_key_env,
        )


@dataclass(eq=False, slots=True)
class Call:
    """One call in the making."""

    key: str
    body: bytes
    """Empty once it is at the vendor, so that memory holds what waits to be sent alone."""
    future: "asyncio.Future[Answered | None]"
    """``None`` asks its caller to place it again."""
    item: BatchItem | None = None

    def answer(self, answer: Answered | None) -> None:
        """Hand over, if anybody waits."""
        if not self.future.done():
            self.future.set_result(answer)

    def fail(self, error: Exception) -> None:
        """Fail with an error of its own: whoever catches it writes figures into it."""
        if isinstance(error, ModelError):
            error = ModelError(error.error, cost_usd=error.cost_usd, retry_after_s=error.retry_after_s)
        if not self.future.done():
            self.future.set_exception(error)


class Pool:
    """Calls to one account that wait to be submitted together."""

    def __init__(self, account: Account, terms: BatchTerms, *, betas: str) -> None:
        self.account = account
        self.terms = terms
        self.betas = betas
        self.max_requests = terms.max_requests
        """Shrinks when the account may not have so many tokens waiting."""
        self._calls: list[Call] = []
        self._bytes = 0
        self._some = asyncio.Event()
        self._moved = asyncio.Event()

    def add(self, call: Call) -> None:
        """Take a call in."""
        self._calls.append(call)
        self._bytes += len(call.body)
        self._some.set()
        self._moved.set()

    @property
    def _is_full(self) -> bool:
        return len(self._calls) >= self.max_requests or self._bytes >= self.terms.max_mb * 1e6

    async def next(self) -> list[Call]:
        """As many calls as one batch takes, once there are so many or nothing was added for a while."""
        while True:
            await self._some.wait()
            while not self._is_full:
                self._moved.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.terms.linger_s):
                        await self._moved.wait()
                        continue
                break
            taken = self._taken()
            if taken:
                return taken

    def _taken(self) -> list[Call]:
        taken: list[Call] = []
        size = seen = 0
        for call in self._calls:
            if not call.future.done():
                size += len(call.body)
                if taken and (len(taken) >= self.max_requests or size > self.terms.max_mb * 1e6):
                    break
                taken.append(call)
            seen += 1
        self._calls = self._calls[seen:]
        self._bytes = sum(len(call.body) for call in self._calls)
        if not self._calls:
            self._some.clear()
        return taken
