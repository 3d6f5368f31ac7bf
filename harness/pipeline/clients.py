"""Opens the model client of a stage, after checking that it can work at all."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from harness.domain.batch import BatchProgress
from harness.domain.model import ModelClient, ModelSpec
from harness.domain.stop import StopSignal
from harness.errors import root_cause
from harness.models.batch.client import BatchRoom
from harness.models.budget import Purse
from harness.models.factory import build_client, preflight
from harness.pipeline.session import Session

_TASK = "batches"


@asynccontextmanager
async def opened_client(
    session: Session, purse: Purse, specs: Sequence[ModelSpec], *, stop: StopSignal
) -> AsyncIterator[ModelClient]:
    """The client stack with its purse, on the session's engine; closed again whatever happens.

    Raises:
        ConfigurationError: a key is missing, a provider unknown, a budget is set for a model without a price, or a
            model is to be asked in batches and cannot be.
    """
    preflight(specs, purse=purse, allow_unpriced=session.experiment.budget.allow_unpriced)
    if all(spec.batch is None for spec in specs):
        async with _opened(session, purse, specs, None) as client:
            yield client
        return
    progress = _Progress(session)
    try:
        async with asyncio.TaskGroup() as background:
            room = BatchRoom(
                ledger=session.store.batch_ledger(session.run_id),
                stop=stop,
                background=background,
                on_progress=progress.tell,
            )
            async with _opened(session, purse, specs, room) as client:
                yield client
    except BaseExceptionGroup as failure:
        raise root_cause(failure) from None
    finally:
        progress.finish()


@asynccontextmanager
async def _opened(
    session: Session, purse: Purse, specs: Sequence[ModelSpec], room: BatchRoom | None
) -> AsyncIterator[ModelClient]:
    experiment = session.experiment
    client = build_client(
        replay=experiment.replay,
        purse=purse,
        seed=experiment.traffic.sample.seed,
        allow_unpriced=experiment.budget.allow_unpriced,
        batches=room,
        attempts=session.engine.attempts(session.warn_once),
    )
    try:
        await client.check_batches(specs)
        yield client
    finally:
        await client.aclose()


class _Progress:
    """Shows what the vendors have done of the batches that are with them."""

    def __init__(self, session: Session) -> None:
        self._reporter = session.reporter
        self._last: BatchProgress | None = None

    def tell(self, progress: BatchProgress) -> None:
        if self._last is None:
            self._reporter.start(_TASK, total=progress.total)
        self._last = progress
        note = f"{progress.done:,} of {progress.total:,} done at the vendor"
        self._reporter.update(_TASK, done=progress.done, total=progress.total, note=note)

    def finish(self) -> None:
        if self._last is not None:
            n = len(self._last.batches)
            done = f"{self._last.done:,} of {self._last.total:,} done at the vendor"
            self._reporter.finish(_TASK, f"{n:,} batch{'es' if n != 1 else ''}, {done}")
