"""The local engine: attempts in this process, and in others once this one's core is busy with them."""

import asyncio
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelReply, ModelSpec
from harness.engine.protocol import Tell, TextEmbedder
from harness.engine.workers import Pool
from harness.local.embedder import MiniLMEmbedder
from harness.models.factory import AttemptClient
from harness.models.litellm_client import LitellmClient

_WINDOW_S = 2.0
_BUSY = 0.7
"""Share of a core from which the event loop's CPU, and not the provider, is what calls wait for."""


def cores() -> int:
    """Cores this process may use: those of its affinity, within the quota of its control group."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:  # noqa: PTH123  read at every start
            quota, period = file.read().split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, round(int(quota) / int(period))))


@dataclass(slots=True)
class Busy:
    """Whether the thread of the event loop has been short of CPU time for a while."""

    since: float = field(default_factory=time.monotonic)
    used: float = field(default_factory=time.thread_time)

    def looked(self) -> bool:
        """Look at the clocks; true when the window that has just ended was a busy one."""
        now = time.monotonic()
        if now - self.since < _WINDOW_S:
            return False
        used = time.thread_time()
        share = (used - self.used) / (now - self.since)
        # A window that nobody looked at for long had pauses in it: what was computed meanwhile was not calls.
        usual = now - self.since < 2 * _WINDOW_S
        self.since, self.used = now, used
        return usual and share > _BUSY


class LocalEngine:
    """Calls on one machine.

    Args:
        processes: worker processes; 1 does everything in this one. ``None``: as many as there are cores, started when
            the calls keep this process's core busy, since a start takes seconds that few or slow calls do not pay back.
            A given number is started with the first call; calls are made here until they are ready.
    """

    name = "local"

    def __init__(self, processes: int | None = None) -> None:
        self._size = cores() if processes is None else processes
        self._eager = processes is not None
        self._busy: Busy | None = None
        self._pool: Pool | None = None

    def attempts(self, tell: Tell) -> AttemptClient:
        """A client for one stage."""
        return LitellmClient() if self._size <= 1 else _HandedOver(self, tell)

    def embedder(self, cache_file: Path | None = None) -> TextEmbedder:
        """In this process: the model uses all cores by itself."""
        return MiniLMEmbedder(cache_file=cache_file)

    def pool(self) -> Pool | None:
        """The workers, started when it is time."""
        if self._pool is None:
            if self._busy is None:
                self._busy = Busy()
            if self._eager or self._busy.looked():
                self._pool = Pool(self._size)
        return self._pool

    async def started(self, tell: Tell) -> Pool:
        """Start the workers and wait for all of them."""
        self._pool = pool = self._pool or Pool(self._size)
        pool.attach(tell)
        while not all(worker.ready for worker in pool.workers):  # noqa: ASYNC110  what died meanwhile is another
            await asyncio.sleep(0.02)
        return pool

    def close(self) -> None:
        """End the workers."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()


class _HandedOver:
    """Asks here until workers are ready, and whenever none is."""

    def __init__(self, engine: LocalEngine, tell: Tell) -> None:
        self._engine, self._tell = engine, tell
        self._here = LitellmClient()

    async def complete(self, request: ChatRequest, model: ModelSpec, *, deadline_s: float) -> ModelReply:
        pool = self._engine.pool()
        if pool is not None:
            pool.attach(self._tell)
            if pool.ready:
                return await pool.complete(request, model, deadline_s=deadline_s)
        return await self._here.complete(request, model, deadline_s=deadline_s)

    async def aclose(self) -> None:
        await self._here.aclose()
