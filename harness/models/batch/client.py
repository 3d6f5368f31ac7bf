"""Gathers calls into batches and answers each as if it had been made live."""

import asyncio
import hashlib
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from harness.domain.batch import ASKER, BatchItem, BatchLedger, BatchProgress, BatchState
from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelError, ModelReply, ModelSpec, StillAtVendor
from harness.domain.observation import CallError, ErrorKind
from harness.domain.stop import StopSignal
from harness.models.batch import wire
from harness.models.batch.calls import Account, Call, Pool
from harness.models.batch.vendors import Answered, open_vendor
from harness.models.batch.watch import Desk, Watch
from harness.models.litellm_client import LitellmClient

T = TypeVar("T")
_AT_ONCE = 8
"""Translations in work: they compute and would only slow each other down."""
_STOP_S = 0.2
_PROBE = ChatRequest(model="", messages=({"role": "user", "content": "-"},))


@dataclass(frozen=True, kw_only=True)
class BatchRoom:
    """What batches need of the stage they work for."""

    ledger: BatchLedger
    stop: StopSignal
    background: asyncio.TaskGroup
    """Where batches are submitted and watched; ends with the stage."""
    on_progress: Callable[[BatchProgress], None]


class BatchClient:
    """A ModelClient that asks through the vendors' batch APIs.

    A call waits in a pool until its batch is full or nothing is added for a while. A batch is recorded before it is
    submitted and again after it, so that a killed process finds it and pays for no call twice.
    """

    def __init__(self, adapter: LitellmClient, room: BatchRoom) -> None:
        self._adapter = adapter
        self._room = room
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._loading = asyncio.Lock()
        self._loaded = False
        self._claims: dict[str, deque[BatchItem]] = defaultdict(deque)
        self._pools: dict[tuple[Account, str], Pool] = {}
        self._desk = Desk(self._kept, room.ledger, room.on_progress)
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting: set[Call] = set()

    async def check(self, model: ModelSpec) -> None:
        """See what would be sent; sends nothing.

        Raises:
            ConfigurationError: the model's vendor has no batch API.
        """
        await wire.sent(self._adapter, _PROBE, model)

    async def complete(self, request: ChatRequest, model: ModelSpec, *, deadline_s: float) -> ModelReply:
        """Ask in a batch and wait for its end; ``deadline_s`` is for live calls and does not apply.

        Raises:
            ModelError: the call failed, as live calls fail; or its batch expired before it was tried.
            StillAtVendor: the run was told to end meanwhile, or the batch was cancelled.
            ConfigurationError: the model's vendor has no batch API.
            InfrastructureError: the vendor does not know a batch we have recorded.
        """
        await self._load()
        while True:
            async with self._slots:
                found = await wire.sent(self._adapter, request, model)
            call = self._placed(found, model)
            try:
                answer = await call.future
            finally:
                self._waiting.discard(call)
            if answer is not None:
                return await self._read(request, model, call, answer)

    async def _read(self, request: ChatRequest, model: ModelSpec, call: Call, answer: Answered) -> ModelReply:
        try:
            async with self._slots:
                return await wire.read(self._adapter, request, model, answer.status, answer.body)
        except ModelError:
            # The next attempt is a call of its own.
            if call.item is not None:
                await self._kept(self._room.ledger.take, [call.item])
            raise

    def _placed(self, found: wire.Wire, model: ModelSpec) -> Call:
        """A place for the call: in the batch in which it was asked already, else in the next one."""
        if self._room.stop.reason is not None:
            raise StillAtVendor(f"not asked: {self._room.stop.reason}")
        key = _key(found)
        call = Call(key=key, body=found.body, future=asyncio.get_running_loop().create_future())
        claims = self._claims.get(key)
        while claims:
            item = claims.popleft()
            watch = self._desk.watches.get(item.batch_id)
            if watch is not None and watch.batch.state is not BatchState.ABANDONED:
                call.item, call.body = item, b""
                self._waiting.add(call)
                self._watched(watch, model).add(call)
                return call
        terms = model.batch
        assert terms is not None  # noqa: S101  only such models come here
        if len(found.body) > terms.max_mb * 1e6:
            message = f"the request is larger than a batch may be ({terms.max_mb:g} MB)"
            raise ModelError(CallError(kind=ErrorKind.BAD_REQUEST, message=message, code="too_large"), cost_usd=0.0)
        self._waiting.add(call)
        self._pool(found, model).add(call)
        return call

    def _pool(self, found: wire.Wire, model: ModelSpec) -> Pool:
        account = Account(
            vendor=found.vendor,
            base_url=found.base_url,
            model=model.model,
            api_base=model.api_base,
            api_key_env=model.api_key_env,
        )
        pool = self._pools.get((account, found.betas))
        if pool is None:
            assert model.batch is not None  # noqa: S101  only such models come here
            pool = self._pools[account, found.betas] = Pool(account, model.batch, betas=found.betas)
            self._begin(self._submit_all(pool, model))
        return pool

    async def _submit_all(self, pool: Pool, model: ModelSpec) -> None:
        """Batch after batch, each once it is full or nobody joined it for a while."""
        while True:
            calls = await pool.next()
            if self._room.stop.reason is not None:
                return
            try:
                vendor, secret = self._desk.vendor(pool.account, lambda: open_vendor(
                    pool.account.vendor, base_url=pool.account.base_url, model=model))  # fmt: skip
                watch = await self._desk.submit(pool, calls, vendor, secret)
            except Exception as error:  # noqa: BLE001  whoever waits has to hear of it
                for call in calls:
                    call.fail(error)
                continue
            if watch is not None:
                self._watched(watch, model)

    def _watched(self, watch: Watch, model: ModelSpec) -> Watch:
        if not watch.begun:
            watch.begun = True
            account = Account.of(watch.batch)
            watch.vendor, watch.secret = self._desk.vendor(
                account, lambda: open_vendor(account.vendor, base_url=account.base_url, model=model)
            )
            assert model.batch is not None  # noqa: S101  only such models come here
            watch.terms = model.batch
            self._begin(self._desk.follow(watch, self._room.stop))
        return watch

    async def _load(self) -> None:
        """What an earlier process left at the vendors."""
        async with self._loading:
            if self._loaded:
                return
            for batch in await self._kept(self._room.ledger.batches):
                self._desk.watches[batch.id] = Watch(batch, resumed=True)
            for item in await self._kept(lambda: list(self._room.ledger.untaken())):
                self._claims[item.key].append(item)
            self._begin(self._leave_when_stopped())
            self._loaded = True

    async def _leave_when_stopped(self) -> None:
        """Wait for nothing any more once the run is to end; what is at the vendor stays there."""
        while self._room.stop.reason is None:  # noqa: ASYNC110  a time limit passes without anybody saying so
            await asyncio.sleep(_STOP_S)
        for call in list(self._waiting):
            call.fail(StillAtVendor(f"{self._room.stop.reason}: its batch goes on; the same command picks it up"))

    def _begin(self, work: "asyncio._CoroutineLike[None]") -> None:
        self._tasks.append(self._room.background.create_task(work))

    async def _kept(self, act: Callable[..., T], *args: object) -> T:
        """Use the ledger in a thread of its own."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: act(*args))

    async def aclose(self) -> None:
        """Stop waiting and close the sessions; batches stay at their vendors."""
        for task in self._tasks:
            task.cancel()
        await self._desk.aclose()
        self._thread.shutdown(wait=False)


def _key(found: wire.Wire) -> str:
    parts = (found.base_url.encode(), ASKER.get().encode(), found.betas.encode(), found.body)
    return hashlib.sha256(b"\x00".join(parts)).hexdigest()[:32]
