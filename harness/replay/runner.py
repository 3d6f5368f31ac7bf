"""Sends recorded requests to one arm and hands every outcome to the store."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from harness.domain.exchange import Exchange
from harness.domain.model import BudgetExhausted, ModelClient, ModelSpec, StillAtVendor
from harness.domain.observation import CallError, Observation
from harness.domain.stop import StopSignal
from harness.errors import root_cause
from harness.models.setup import SETUP_CALLS, setup_error
from harness.replay.asking import ask
from harness.replay.feed import Feed
from harness.replay.writer import Writer

_HEAD_START_S = 5.0
"""Longest the others wait for the first call."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayResult:
    """What one call of :func:`replay` did, so far or in the end; earlier runs' work is not in it."""

    completed: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    """By ErrorKind."""
    written: int = 0
    """Observations that are committed; what a progress bar shows."""
    stop_reason: str | None = None
    """``budget``, ``time_limit`` or ``interrupted`` when requests were left unasked; else ``None``."""


async def replay(  # noqa: PLR0913  what to ask, whom, and how each outcome travels: none of them groups with another
    exchanges: Iterable[Exchange],
    *,
    client: ModelClient,
    spec: ModelSpec,
    arm: str,
    fingerprint: str,
    write: Callable[[Sequence[Observation]], None],
    concurrency: int,
    deadline_s: float,
    stop: StopSignal | None = None,
    on_progress: Callable[[ReplayResult], None] | None = None,
    answered_before: bool | None = None,
) -> ReplayResult:
    """Ask ``spec`` every exchange's request, at most ``concurrency`` at a time.

    A call keeps its place until its Observation is committed, so killing the process loses at most the calls in
    flight, and memory does not grow with the number of exchanges. When ``stop`` fires or the budget is spent nothing
    new is asked, and what is in flight is finished and kept. When the caller is cancelled the calls in flight are
    abandoned; what they had already answered is still written.

    Args:
        exchanges: what to ask, in order; may block, is read ahead in a thread of its own.
        client: how to ask.
        spec: whom to ask, with the settings laid over the recorded ones.
        arm: name the Observations carry.
        fingerprint: hash of the configuration the Observations carry.
        write: commits a batch; blocking, called in one thread, never twice at a time.
        concurrency: calls in flight.
        deadline_s: what one call may take.
        stop: asks for an early end.
        on_progress: told after every commit.
        answered_before: whether this arm is known to work, so that a refusal is about the request; ``False`` makes
            a replay in which nothing but our own set-up failed an error even when it was short.

    Raises:
        InfrastructureError: each of the first 20 calls failed on our own set-up; their Observations are written, and
            are asked again next time. Or ``write`` raised it.
        ConfigurationError: the client cannot ask this model at all.
    """
    run = _Run(client=client, spec=spec, arm=arm, fingerprint=fingerprint, deadline_s=deadline_s,
               stop=StopSignal(parent=stop), on_progress=on_progress, answered_before=answered_before)  # fmt: skip
    # Threads of our own: the default pool may be full of calls that wait for this very store.
    with (
        ThreadPoolExecutor(1, thread_name_prefix="replay-read") as reading,
        ThreadPoolExecutor(1, thread_name_prefix="replay-write") as writing,
    ):
        feed = Feed(exchanges, reading, size=concurrency)
        writer = Writer(write, writing, on_commit=run.committed, full=max(1, concurrency // 2))
        try:
            await run.all(feed, writer, concurrency)
        except BaseExceptionGroup as failure:
            raise root_cause(failure) from None
        finally:
            await writer.flush()
    run.check_setup(ended=True)
    return run.result()


@dataclass(kw_only=True)
class _Run:
    """The state the workers of one replay share."""

    client: ModelClient
    spec: ModelSpec
    arm: str
    fingerprint: str
    deadline_s: float
    stop: StopSignal
    on_progress: Callable[[ReplayResult], None] | None
    answered_before: bool | None
    warm: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether a first call has come back."""
    left: str | None = None
    """Why a request that was at hand was not asked."""
    written: int = 0
    completed: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    only_setup: bool = True
    """Whether every call so far failed on our own set-up."""
    first_error: CallError | None = None

    async def all(self, feed: Feed, writer: Writer, concurrency: int) -> None:
        """Have the workers ask everything, with the feed and the writer beside them."""
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(feed.pump()), group.create_task(writer.keep())]
            async with asyncio.TaskGroup() as workers:
                for place in range(concurrency):
                    # A first call that goes ahead would be a batch of its own.
                    workers.create_task(self.work(feed, writer, ahead=place == 0 or self.spec.batch is not None))
            for task in beside:
                task.cancel()

    async def work(self, feed: Feed, writer: Writer, *, ahead: bool) -> None:
        """Ask one request after the other until there are none or it is time to stop.

        One worker goes ahead: the first call sets up connections and clients, which costs hundreds of milliseconds
        that are not the model's. Sent together, as many of the first answers as there are workers would seem slow.
        """
        try:
            if not ahead:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_HEAD_START_S):
                        await self.warm.wait()
            await self._work(feed, writer)
        finally:
            self.warm.set()

    async def _work(self, feed: Feed, writer: Writer) -> None:
        while (exchange := await feed.next()) is not None:
            if self.stop.reason is not None:
                self.left = self.stop.reason
                return
            try:
                observation = await ask(
                    exchange,
                    client=self.client,
                    spec=self.spec,
                    arm=self.arm,
                    fingerprint=self.fingerprint,
                    deadline_s=self.deadline_s,
                )
            except BudgetExhausted:
                self.stop.request("budget")
                self.left = self.stop.reason
                return
            except StillAtVendor:
                self.left = self._why_left()
                return
            self.warm.set()
            await writer.write(observation)
            self.check_setup()

    def _why_left(self) -> str:
        return self.stop.reason or "interrupted"

    def committed(self, batch: Sequence[Observation]) -> None:
        """Count what has become durable and tell the caller."""
        self.written += len(batch)
        for observation in batch:
            error = observation.error
            if error is None:
                self.completed += 1
            else:
                self.failed[error.kind.value] += 1
                self.first_error = self.first_error or error
            self.only_setup = self.only_setup and error is not None and error.kind.is_setup_alone
        if self.on_progress is not None:
            self.on_progress(self.result())

    def check_setup(self, *, ended: bool = False) -> None:
        """End the arm when nothing but our own set-up has been heard of.

        Raises:
            InfrastructureError: names the model, what the provider said and what to do.
        """
        error = self.first_error
        enough = self.written >= SETUP_CALLS or (ended and self.answered_before is False)
        if self.only_setup and error is not None and enough and not self.answered_before:
            raise setup_error(self.arm, self.spec, error, calls=self.written)

    def result(self) -> ReplayResult:
        """The counts as they stand."""
        return ReplayResult(
            completed=self.completed, failed=dict(self.failed), written=self.written, stop_reason=self.left
        )
