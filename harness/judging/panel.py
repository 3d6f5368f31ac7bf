"""Runs one judge over many pairs: bounded, crash-proof, every judgment durable before the next pair is taken."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from time import monotonic
from typing import cast

from harness.domain.batch import asking_for
from harness.domain.judgment import Judgment, JudgmentState, Order, UnscoredReason
from harness.domain.model import BudgetExhausted, StillAtVendor
from harness.domain.pair import Pair
from harness.domain.stop import StopSignal
from harness.errors import ConfigurationError, InfrastructureError, InputError, root_cause
from harness.judging.protocol import BatchJudge, Judge, JudgeContext, orders_of, orders_read

_COMMIT_S = 0.1
"""Cheap judges commit this often; a judge slower than this commits every pair."""
_COMMIT_ROWS = 500
_MAX_NOTE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class PanelResult:
    """What one judge did with the pairs it was given; counts are judgments, one per pair and order, unless said."""

    pairs: int = 0
    """Pairs finished and stored."""
    scored: int = 0
    unscored: Mapping[str, int] = field(default_factory=dict)
    """By UnscoredReason: the judge had no verdict; orders that were not drawn lack none and are not counted."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """By UnscoredReason: the judge failed."""
    cost_usd: float | None = 0.0
    """``None`` as soon as one judgment's cost is unknown."""
    stop_reason: str | None = None
    """Why pairs are left over: ``budget``, ``time_limit`` or ``interrupted``; ``None`` when all were judged."""

    def plus(self, further: "PanelResult") -> "PanelResult":
        """Both counts together, for pairs that are read in two parts."""
        costs = (self.cost_usd, further.cost_usd)
        return PanelResult(
            pairs=self.pairs + further.pairs,
            scored=self.scored + further.scored,
            unscored=Counter(self.unscored) + Counter(further.unscored),
            errors=Counter(self.errors) + Counter(further.errors),
            cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
            stop_reason=self.stop_reason or further.stop_reason,
        )

    @property
    def endings(self) -> dict[str, int]:
        """Judgments by how they ended, ``scored`` first; endings that did not happen are left out."""
        found = Counter({"scored": self.scored})
        found.update(self.unscored)
        found.update(self.errors)
        return {ending: count for ending, count in found.items() if count}


async def run_judge(
    judge: Judge,
    ctx: JudgeContext,
    pairs: Iterable[Pair],
    write: Callable[[Sequence[Judgment]], None],
    *,
    concurrency: int = 8,
    stop: StopSignal | None = None,
    on_progress: Callable[[PanelResult], None] | None = None,
    pair_deadline_s: float | None = None,
) -> PanelResult:
    """Let ``judge`` read every pair and ``write`` what it concludes.

    ``pairs`` is pulled lazily and ``write`` called, each in a thread of its own, so both may block; at most a few
    pairs per worker are in memory. A judge that raises, hangs longer than ``pair_deadline_s`` (default: ten model
    deadlines, at least ten minutes) or returns what does not belong to the pair gets an error Judgment per order and
    the run goes on. When the judges' budget is spent, the pairs in flight are finished and nothing is stored for those
    that could not be paid. ``on_progress`` is called on the event loop after every commit.

    Raises:
        ConfigurationError, InputError, InfrastructureError: the judge cannot work at all.
        Exception: whatever ``pairs`` or ``write`` raised; judgments finished before are stored.
    """
    panel = _Panel(
        judge=judge,
        ctx=ctx,
        stop=stop or StopSignal(),
        on_progress=on_progress,
        deadline_s=pair_deadline_s or max(600.0, 10 * ctx.deadline_s),
        write=write,
    )
    batch = judge.batch_size if isinstance(judge, BatchJudge) else 1
    workers = 1 if isinstance(judge, BatchJudge) else concurrency
    feed = _Feed(pairs, chunk=max(batch, min(2 * workers, 64)))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(panel.work(feed, batch))
    except BaseExceptionGroup as failure:
        raise root_cause(failure) from None
    finally:
        try:
            await panel.commit()
        finally:
            panel.close()
            feed.close()
    return panel.result()


class _Feed:
    """Hands out pairs a few at a time from a blocking iterable, always in the same thread (database cursors care)."""

    def __init__(self, pairs: Iterable[Pair], *, chunk: int) -> None:
        self._pairs: Iterator[Pair] | None = None
        self._source = pairs
        self._chunk = chunk
        self._ready: list[Pair] = []
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pairs")

    async def take(self, n: int) -> list[Pair]:
        """Up to ``n`` pairs; none at the end."""
        async with self._lock:
            if not self._ready:
                self._ready = await asyncio.get_running_loop().run_in_executor(self._thread, self._pull)
            taken, self._ready = self._ready[:n], self._ready[n:]
            return taken

    def _pull(self) -> list[Pair]:
        if self._pairs is None:
            self._pairs = iter(self._source)
        return list(islice(self._pairs, self._chunk))

    def close(self) -> None:
        """End the source, in its own thread, and the thread."""
        close = getattr(self._pairs, "close", None)
        if close is not None:
            self._thread.submit(close).result()
        self._thread.shutdown()


class _Panel:
    """The state of one run: what is waiting to be stored, and the counts of what is."""

    def __init__(
        self,
        *,
        judge: Judge,
        ctx: JudgeContext,
        stop: StopSignal,
        on_progress: Callable[[PanelResult], None] | None,
        deadline_s: float,
        write: Callable[[Sequence[Judgment]], None],
    ) -> None:
        self._judge = judge
        self._ctx = ctx
        self._stop = stop
        self._on_progress = on_progress
        self._deadline_s = deadline_s
        self._write = write
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="judgments")
        self._lock = asyncio.Lock()
        self._waiting: list[Judgment] = []
        self._waiting_pairs = 0
        self._committed_at = monotonic()
        self._pairs = 0
        self._states: Counter[tuple[JudgmentState, UnscoredReason | None]] = Counter()
        self._cost: float | None = 0.0
        self._stop_reason: str | None = None

    async def work(self, feed: _Feed, batch: int) -> None:
        """Judge pairs until there are none left or it is time to stop."""
        while True:
            pairs = [] if self._has_to_stop() else await feed.take(batch)
            if not pairs:
                return
            try:
                judgments = await self._judgments(pairs)
            except BudgetExhausted:
                self._stop_reason = self._stop_reason or "budget"
                return
            except StillAtVendor:
                self._stop_reason = self._stop_reason or self._stop.reason or "interrupted"
                return
            self._waiting += judgments
            self._waiting_pairs += len(pairs)
            if monotonic() - self._committed_at >= _COMMIT_S or len(self._waiting) >= _COMMIT_ROWS:
                await self.commit()
            else:
                # A judge that never waits would keep the other workers and Ctrl-C from being heard.
                await asyncio.sleep(0)

    def _has_to_stop(self) -> bool:
        self._stop_reason = self._stop_reason or self._stop.reason
        return self._stop_reason is not None

    async def commit(self) -> None:
        """Store everything that waits; whoever comes while a commit runs shares the next one."""
        async with self._lock:
            if not self._waiting:
                return
            rows, n_pairs = self._waiting, self._waiting_pairs
            self._waiting, self._waiting_pairs = [], 0
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, rows)
            self._committed_at = monotonic()
            self._pairs += n_pairs
            self._states.update((row.state, row.reason) for row in rows)
            for row in rows:
                known = self._cost is not None and (row.cost_usd is not None or row.attempts == 0)
                self._cost = cast(float, self._cost) + (row.cost_usd or 0.0) if known else None
        if self._on_progress is not None:
            self._on_progress(self.result())

    def close(self) -> None:
        """End the writing thread."""
        self._thread.shutdown()

    def result(self) -> PanelResult:
        """The counts of everything stored so far."""

        def of(state: JudgmentState) -> dict[str, int]:
            found = (
                (reason, n)
                for (s, reason), n in self._states.items()
                if s is state and reason is not UnscoredReason.NOT_DRAWN
            )
            return dict(sorted((str(reason), n) for reason, n in found))

        return PanelResult(
            pairs=self._pairs,
            scored=sum(of(JudgmentState.SCORED).values()),
            unscored=of(JudgmentState.UNSCORED),
            errors=of(JudgmentState.ERROR),
            cost_usd=self._cost,
            stop_reason=self._stop_reason,
        )

    async def _judgments(self, pairs: Sequence[Pair]) -> list[Judgment]:
        if isinstance(self._judge, BatchJudge):
            try:
                async with asyncio.timeout(self._deadline_s):
                    found = await self._judge.judge_many(pairs, self._ctx)
                return self._sorted_out(pairs, found)
            except Exception as error:  # noqa: BLE001  one bad pair must not cost its batch: each is tried alone
                _reraise_what_ends_the_run(error)
        return [judgment for pair in pairs for judgment in await self._of_one(pair)]

    async def _of_one(self, pair: Pair) -> list[Judgment]:
        try:
            with asking_for("judge", self._ctx.fingerprint, pair.arm, pair.candidate.fingerprint, pair.exchange_id):
                async with asyncio.timeout(self._deadline_s):
                    found = await self._judge.judge(pair, self._ctx)
            return self._checked(pair, found)
        except TimeoutError:
            return self._failed(pair, UnscoredReason.TIMEOUT, f"no judgment within {self._deadline_s:g} s")
        except Exception as error:  # noqa: BLE001  a judge may be anybody's code; its fault is recorded, not raised
            _reraise_what_ends_the_run(error)
            note = f"{type(error).__name__}: {error}"[:_MAX_NOTE]
            return self._failed(pair, UnscoredReason.JUDGE_CRASHED, note)

    def _sorted_out(self, pairs: Sequence[Pair], found: Sequence[Judgment]) -> list[Judgment]:
        by_pair: dict[tuple[str, str], list[Judgment]] = {(pair.exchange_id, pair.arm): [] for pair in pairs}
        for judgment in found:
            by_pair[judgment.exchange_id, judgment.arm].append(judgment)
        return [row for pair in pairs for row in self._checked(pair, by_pair[pair.exchange_id, pair.arm])]

    def _failed(self, pair: Pair, reason: UnscoredReason, note: str) -> list[Judgment]:
        orders = orders_read(self._judge, pair.exchange_id)
        failed = [self._ctx.unscored(pair, reason, order=order, explanation=note) for order in orders]
        return failed + self._not_drawn(pair)

    def _not_drawn(self, pair: Pair) -> list[Judgment]:
        read = orders_read(self._judge, pair.exchange_id)
        return [
            self._ctx.unscored(pair, UnscoredReason.NOT_DRAWN, order=order)
            for order in orders_of(self._judge)
            if order not in read
        ]

    def _checked(self, pair: Pair, found: Sequence[Judgment]) -> list[Judgment]:
        """What belongs to the pair, one per order or one for all; a number that is none is unscored.

        An order the judge left out becomes a judgment that says so, and so does one that was not drawn.
        """
        orders = orders_of(self._judge)
        by_order: dict[str, Judgment] = {}
        for judgment in found:
            if not isinstance(judgment, Judgment):
                raise TypeError(f"the judge returned {type(judgment).__name__}, not Judgment")
            if (judgment.exchange_id, judgment.arm) != (pair.exchange_id, pair.arm):
                raise ValueError(f"the judge returned a judgment of {judgment.exchange_id!r}, arm {judgment.arm!r}")
            if judgment.order not in {*orders, Order.NONE} or judgment.order in by_order:
                raise ValueError(f"the judge returned order {judgment.order} twice or unasked")
            by_order[judgment.order] = _finite(judgment)
        if Order.NONE in by_order:
            if len(by_order) > 1:
                raise ValueError("the judge returned judgments both in an order and in none")
            return [*by_order.values()]
        rest = self._not_drawn(pair)
        rest += [
            self._ctx.unscored(pair, UnscoredReason.MISSING_ORDER, order=order)
            for order in orders
            if order not in {row.order for row in rest}
        ]
        return [*by_order.values()] + [row for row in rest if row.order not in by_order]


def _finite(judgment: Judgment) -> Judgment:
    if judgment.state is not JudgmentState.SCORED:
        return judgment
    if judgment.value is not None and math.isfinite(judgment.value):
        return judgment
    return replace(
        judgment,
        state=JudgmentState.UNSCORED,
        reason=UnscoredReason.OFF_MENU,
        value=None,
        label=None,
        details={**judgment.details, "returned_value": str(judgment.value)},
    )


_ENDS_THE_RUN = (BudgetExhausted, StillAtVendor, ConfigurationError, InputError, InfrastructureError)
"""Faults of the set-up: every other pair would meet them too."""


def _reraise_what_ends_the_run(error: BaseException) -> None:
    """Raise a fault of the set-up, also out of a TaskGroup of the judge's own; return for anything else."""
    if isinstance(error, _ENDS_THE_RUN):
        raise error
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            _reraise_what_ends_the_run(inner)
