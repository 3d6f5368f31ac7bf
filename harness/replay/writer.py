"""Group commit: many calls wait for one transaction."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress

from harness.domain.observation import Observation

_LINGER_S = 0.02


class Writer:
    """Commits observations in one thread, whatever has come in since the last commit at a time.

    A transaction costs as much as a dozen rows, so a batch smaller than ``full`` waits up to 20 ms for company.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Observation]], None],
        thread: Executor,
        *,
        on_commit: Callable[[Sequence[Observation]], None],
        full: int,
    ) -> None:
        self._write = write
        self._thread = thread
        self._on_commit = on_commit
        self._full = full
        self._waiting: list[tuple[Observation, asyncio.Future[None]]] = []
        self._some = asyncio.Event()
        self._enough = asyncio.Event()
        self._committing = asyncio.Lock()

    async def write(self, observation: Observation) -> None:
        """Return when the observation is committed."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((observation, done))
        self._some.set()
        if len(self._waiting) >= self._full:
            self._enough.set()
        await done

    async def keep(self) -> None:
        """Commit batch after batch until cancelled; an error of the store ends it."""
        while True:
            await self._some.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_S):
                    await self._enough.wait()
            await self.flush()

    async def flush(self) -> None:
        """Commit everything that waits, once what is being committed is."""
        async with self._committing:
            batch, self._waiting = self._waiting, []
            self._some.clear()
            self._enough.clear()
            if not batch:
                return
            observations = [observation for observation, _ in batch]
            loop = asyncio.get_running_loop()
            # Shielded: when we are cancelled the thread goes on, and its rows are committed and counted.
            commit = loop.run_in_executor(self._thread, self._write, observations)
            try:
                await asyncio.shield(commit)
            except asyncio.CancelledError:
                await asyncio.wait([commit])
                self._settle(batch, commit)
                raise
            self._settle(batch, commit)

    def _settle(self, batch: Sequence[tuple[Observation, asyncio.Future[None]]], commit: asyncio.Future[None]) -> None:
        commit.result()
        self._on_commit([observation for observation, _ in batch])
        for _, done in batch:
            if not done.done():
                done.set_result(None)
