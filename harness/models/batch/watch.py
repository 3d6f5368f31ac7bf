"""Submits batches, follows them at their vendor, and hands out what came of them."""

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from harness.domain.batch import BatchItem, BatchLedger, BatchProgress, BatchState, VendorBatch
from harness.domain.model import BatchTerms, ModelError, StillAtVendor
from harness.domain.observation import CallError, ErrorKind
from harness.domain.stop import StopSignal
from harness.errors import InfrastructureError
from harness.models.batch.calls import Account, Call, Pool
from harness.models.batch.vendors import Answered, Sight, Unanswered, Unclear, Vendor
from harness.models.faults import Fault, describe

T = TypeVar("T")
_SUBMISSIONS = 6
_DOWNLOADS = 5
_MAX_WAIT_S = 300.0
_KEPT = timedelta(days=25)
"""Vendors keep results for 29 or 30 days."""
_PERHAPS_ARRIVED = frozenset({
    ErrorKind.TIMEOUT, ErrorKind.SERVER_ERROR, ErrorKind.OVERLOADED, ErrorKind.CONNECTION, ErrorKind.CUT_STREAM,
    ErrorKind.MALFORMED_RESPONSE, ErrorKind.OTHER,
})  # fmt: skip


@dataclass(eq=False)
class Watch:
    """One batch and the calls that wait for it."""

    batch: VendorBatch
    resumed: bool = False
    """Whether an earlier process submitted it, so that its calls come one by one."""
    begun: bool = False
    word: str = ""
    vendor: Vendor | None = None
    secret: str = ""
    terms: BatchTerms = field(default_factory=BatchTerms)
    pool: Pool | None = None
    calls: dict[str, Call] = field(default_factory=dict)
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    order: tuple[str, ...] = ()
    """Custom ids as submitted, for complaints about lines."""

    def add(self, call: Call) -> None:
        """Have a call wait for this batch."""
        assert call.item is not None  # noqa: S101  it is in this batch
        self.calls[call.item.custom_id] = call
        self.moved.set()


class Desk:
    """All batches of a stage."""

    def __init__(
        self,
        kept: Callable[..., Awaitable[Any]],
        ledger: BatchLedger,
        on_progress: Callable[[BatchProgress], None],
    ) -> None:
        self._kept = kept
        self._ledger = ledger
        self._on_progress = on_progress
        self._vendors: dict[Account, tuple[Vendor, str]] = {}
        self._rng = random.Random()
        self.watches: dict[str, Watch] = {}

    def vendor(self, account: Account, opened: Callable[[], tuple[Vendor, str]]) -> tuple[Vendor, str]:
        """The account's client, opened on first use."""
        if account not in self._vendors:
            self._vendors[account] = opened()
        return self._vendors[account]

    async def submit(self, pool: Pool, calls: Sequence[Call], vendor: Vendor, secret: str) -> Watch | None:
        """Record, submit, record: in this order, a kill at any point loses nothing and pays nothing twice.

        ``None`` when the vendor refused; the calls have been told.
        """
        account = pool.account
        batch = VendorBatch(
            # Letters and digits, as custom ids take them.
            id=f"h{secrets.token_hex(8)}",
            run_id=self._ledger.run_id,
            vendor=account.vendor,
            model=account.model,
            base_url=account.base_url,
            api_base=account.api_base,
            api_key_env=account.api_key_env,
            state=BatchState.INTENDED,
            requests=len(calls),
            created_at=datetime.now(UTC),
        )
        watch = Watch(batch, vendor=vendor, secret=secret, terms=pool.terms, pool=pool)
        for number, call in enumerate(calls):
            call.item = BatchItem(batch_id=batch.id, custom_id=f"{batch.id}-{number}-{call.key[:16]}", key=call.key)
            watch.add(call)
        watch.order = tuple(watch.calls)
        await self._kept(self._ledger.intend, batch, [call.item for call in calls])
        self.watches[batch.id] = watch
        vendor_id = await self._submitted(watch, [(name, call.body) for name, call in watch.calls.items()])
        if vendor_id is None:
            return None
        await self._change(watch, vendor_id=vendor_id, state=BatchState.OPEN)
        for call in calls:
            call.body = b""
        self._tell()
        return watch

    async def _submitted(self, watch: Watch, requests: Sequence[tuple[str, bytes]]) -> str | None:
        vendor, betas = _vendor_of(watch), watch.pool.betas if watch.pool else ""
        for attempt in range(_SUBMISSIONS):
            try:
                return await vendor.submit(watch.batch, requests, betas=betas)
            except Exception as error:  # noqa: BLE001  whatever a client raises is a submission that failed
                fault = describe(error, secrets=(watch.secret,))
            if not fault.unsent and fault.error.kind in _PERHAPS_ARRIVED:
                await asyncio.sleep(watch.terms.settle_s)
                found = await self._found(watch)
                if found is not None:
                    return found
            if not fault.error.kind.is_retryable or attempt + 1 == _SUBMISSIONS:
                await self._refuse(watch, fault.error)
                return None
            await self._pause(attempt, fault, watch)
        return None

    async def follow(self, watch: Watch, stop: StopSignal) -> None:
        """Wait for the batch and answer its calls, those that come late too."""
        try:
            if watch.batch.state is BatchState.INTENDED and not await self._recovered(watch):
                return
            while True:
                while watch.calls:
                    sight = await self._ended(watch)
                    if sight.refused is not None:
                        await self._refused(watch, sight, sight.refused)
                    else:
                        await self._deliver(watch, sight, stop)
                if not watch.resumed:
                    return
                watch.moved.clear()
                await watch.moved.wait()
                # The others come within moments, and one reading serves them all.
                await asyncio.sleep(min(watch.terms.linger_s, 1.0))
        except Exception as error:  # noqa: BLE001  whoever waits has to hear of it
            for call in watch.calls.values():
                call.fail(error)
            watch.calls.clear()

    async def _recovered(self, watch: Watch) -> bool:
        """Whether a batch that was about to be submitted when the process died is at the vendor."""
        age = (datetime.now(UTC) - watch.batch.created_at).total_seconds()
        await asyncio.sleep(max(0.0, watch.terms.settle_s - age))
        found = await self._found(watch)
        if found is not None:
            await self._change(watch, vendor_id=found, state=BatchState.OPEN)
            return True
        await self._change(watch, state=BatchState.ABANDONED)
        self._again(watch)
        return False

    async def _found(self, watch: Watch) -> str | None:
        known = {other.batch.vendor_id for other in self.watches.values() if other.batch.vendor_id is not None}
        while True:
            try:
                return await self._patiently(watch, lambda: _vendor_of(watch).find(watch.batch, known=known))
            except Unclear:
                await asyncio.sleep(watch.terms.poll_s)

    async def _ended(self, watch: Watch) -> Sight:
        """Look until the vendor is through."""
        vendor_id = watch.batch.vendor_id
        assert vendor_id is not None  # noqa: S101  it is at the vendor
        while True:
            sight = await self._patiently(watch, lambda: _vendor_of(watch).look(vendor_id))
            watch.word = sight.word
            if sight.ended:
                state = BatchState.ABANDONED if sight.refused else BatchState.ENDED
            else:
                state = BatchState.CANCELLING if sight.word.startswith("cancel") else BatchState.OPEN
            if (sight.done, sight.failed, state) != (watch.batch.done, watch.batch.failed, watch.batch.state):
                await self._change(watch, done=sight.done, failed=sight.failed, state=state)
            self._tell()
            if sight.ended:
                return sight
            await asyncio.sleep(watch.terms.poll_s * self._rng.uniform(0.8, 1.2))

    async def _deliver(self, watch: Watch, sight: Sight, stop: StopSignal) -> None:
        """Read the results and answer; what they lack after several readings has failed."""
        vendor_id = watch.batch.vendor_id
        assert vendor_id is not None  # noqa: S101  it is at the vendor
        wanted, unanswered = set(watch.calls), dict[str, Exception]()
        lost = wanted
        for attempt in range(_DOWNLOADS):
            fault: Fault | None = None
            try:
                async for name, result in _vendor_of(watch).results(vendor_id, sight):
                    # Names we do not know and second answers to one request are nobody's.
                    if name not in wanted or name not in watch.calls or name in unanswered:
                        continue
                    if isinstance(result, Answered):
                        watch.calls.pop(name).answer(result)
                    else:
                        unanswered[name] = _why_not(result, watch)
            except Exception as error:  # noqa: BLE001  a file may break off anywhere and hold anything
                fault = describe(error, secrets=(watch.secret,))
            lost = (wanted & watch.calls.keys()) - unanswered.keys()
            if not lost:
                break
            if attempt + 1 < _DOWNLOADS:
                await self._pause(attempt, fault, watch)
        for name in lost:
            message = f"batch {vendor_id} has ended and its results lack this request"
            unanswered[name] = ModelError(
                CallError(kind=ErrorKind.MALFORMED_RESPONSE, message=message, code="batch_result_missing")
            )
        # First noted, then told: whoever waits may end with its last answer, and the next command has to ask anew.
        if taken := [item for name in unanswered if (item := watch.calls[name].item) is not None]:
            await self._kept(self._ledger.take, taken)
        if any(isinstance(why, StillAtVendor) for why in unanswered.values()):
            stop.request("interrupted")
        for name, why in unanswered.items():
            watch.calls.pop(name).fail(why)

    async def _refused(self, watch: Watch, sight: Sight, error: CallError) -> None:
        """The vendor did not begin the batch: those to blame fail, the others go into the next one."""
        blamed = {watch.order[line] for line in sight.refused_lines if 0 <= line < len(watch.order)}
        if not blamed and error.kind is ErrorKind.RATE_LIMIT and watch.batch.requests > 1:
            if watch.pool is not None:
                watch.pool.max_requests = max(1, watch.batch.requests // 2)
            await asyncio.sleep(watch.terms.poll_s)
        elif not blamed and watch.order:
            blamed = set(watch.order)
        for name in blamed & watch.calls.keys():
            watch.calls.pop(name).fail(ModelError(error, cost_usd=0.0))
        self._again(watch)

    async def _refuse(self, watch: Watch, error: CallError) -> None:
        await self._change(watch, state=BatchState.ABANDONED)
        for call in watch.calls.values():
            call.fail(ModelError(error, cost_usd=0.0))
        watch.calls.clear()

    @staticmethod
    def _again(watch: Watch) -> None:
        for call in watch.calls.values():
            call.answer(None)
        watch.calls.clear()

    async def _patiently(self, watch: Watch, act: Callable[[], Awaitable[T]]) -> T:
        """Ask the vendor until it says something; it costs nothing, and the batch goes on meanwhile."""
        attempt = 0
        while True:
            try:
                return await act()
            except Unclear:
                raise
            except Exception as error:  # noqa: BLE001  whatever a client raises is a look that failed
                fault = describe(error, secrets=(watch.secret,))
            kind = fault.error.kind
            if kind.is_setup or kind is ErrorKind.BAD_REQUEST:
                batch = watch.batch
                raise InfrastructureError(
                    f"batch {batch.vendor_id or batch.id} of {batch.model} cannot be seen at {batch.base_url}: {kind}: "
                    f"{fault.error.message}; check the key and the address and run the same command again, or have "
                    f"its requests asked anew with `harness batches forget {batch.id}`"
                )
            await self._pause(attempt, fault, watch)
            attempt += 1

    async def _pause(self, attempt: int, fault: Fault | None, watch: Watch) -> None:
        bound = min(_MAX_WAIT_S, watch.terms.poll_s * 2 ** min(attempt, 10))
        asked = fault.retry_after_s if fault is not None and fault.retry_after_s is not None else 0.0
        await asyncio.sleep(min(_MAX_WAIT_S, asked) + bound * self._rng.uniform(0.2, 1.0))

    async def _change(self, watch: Watch, **changes: Any) -> None:
        watch.batch = replace(watch.batch, updated_at=datetime.now(UTC), **changes)
        await self._kept(self._ledger.update, watch.batch)

    def _tell(self) -> None:
        begun = [watch.batch for watch in self.watches.values() if watch.vendor is not None and watch.batch.vendor_id]
        self._on_progress(
            BatchProgress(
                done=sum(batch.done for batch in begun),
                total=sum(batch.requests for batch in begun),
                batches={batch.vendor_id or batch.id: self.watches[batch.id].word for batch in begun},
            )
        )

    async def aclose(self) -> None:
        """Close the sessions."""
        for vendor, _ in self._vendors.values():
            await vendor.aclose()


def _vendor_of(watch: Watch) -> Vendor:
    assert watch.vendor is not None  # noqa: S101  set before a batch is followed
    return watch.vendor


def _why_not(result: Unanswered, watch: Watch) -> Exception:
    """What whoever waits for a request is told that the vendor did not try."""
    if result.why == "expired":
        message = f"batch {watch.batch.vendor_id} expired before this request was tried"
        return ModelError(CallError(kind=ErrorKind.TIMEOUT, message=message, code="batch_expired"), cost_usd=0.0)
    return StillAtVendor(f"batch {watch.batch.vendor_id} was cancelled; the same command asks the rest")
