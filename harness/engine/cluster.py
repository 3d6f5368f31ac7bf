"""The Ray engine: attempts in async actors on every node, embedding in actors of their own.

Only they run on the cluster; the driver keeps limits, budget, progress and the store, which are global by that.
"""

import asyncio
import contextlib
import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelReply, ModelSpec
from harness.engine.frames import error_fields, error_of
from harness.engine.protocol import Tell, TextEmbedder
from harness.errors import ConfigurationError, InfrastructureError
from harness.local.embedder import MiniLMEmbedder
from harness.local.encoding import Vectors
from harness.models.factory import AttemptClient
from harness.models.failover import AttemptLost

_CALLS_PER_ACTOR = 1_000
"""Never a limit: the driver's limiter keeps far fewer in flight."""
_TEXTS_PER_CALL = 256
_TEXTS_AT_ONCE = 32_768
"""Given out together, so that many GPUs have something to do."""
_LOSSES = 3
_GRACE_S = 30.0
_START_S = 180.0
"""How long a cluster may take to start its first actor."""


class Attempts:
    """An actor: makes the attempts it is told to, as many at a time as come."""

    def __init__(self) -> None:
        from harness.models.litellm_client import LitellmClient, library

        library()
        self._client = LitellmClient()

    async def ready(self) -> bool:
        """Answered once the libraries are loaded."""
        return True

    async def complete(self, request: ChatRequest, model: ModelSpec, deadline_s: float) -> tuple[bool, Any]:
        """The reply, or the error as plain values."""
        try:
            return True, await self._client.complete(request, model, deadline_s=deadline_s)
        except Exception as error:  # noqa: BLE001  whatever it is, whoever asked has to hear of it
            return False, error_fields(error)


class Embedding:
    """An actor: embeds batches of texts, on a GPU when it was given one."""

    def __init__(self) -> None:
        self._embedder = MiniLMEmbedder()

    def ready(self) -> bool:
        """Answered once it has a place to work in."""
        return True

    def embed(self, texts: Sequence[str], windows: int | None) -> Vectors:
        """Unit vectors."""
        return self._embedder.embed(texts, windows=windows)


class RayEngine:
    """Calls on a Ray cluster.

    Args:
        address: the cluster's, as `ray.init` takes it; ``None`` starts one on this machine, which ends with the run.
        processes: actors on each node; ``None``: one per core the node offers to Ray.

    Raises:
        ConfigurationError: Ray is not installed.
    """

    name = "ray"

    def __init__(self, *, address: str | None = None, processes: int | None = None) -> None:
        try:
            import ray  # noqa: F401
        except ImportError:
            raise ConfigurationError(
                "--engine ray needs Ray, which is not installed: pip install 'shadow-harness[ray]'"
            ) from None
        self._address, self._processes = address, processes
        self._ours = False
        self._actors: _Actors | None = None
        self._embedding: list[Any] = []

    def attempts(self, tell: Tell) -> AttemptClient:
        """A client for one stage; connects to the cluster with the first."""
        if self._actors is None:
            self._connect()
            self._actors = _Actors(self._processes)
        return _ClusterClient(self._actors, tell)

    def embedder(self, cache_file: Path | None = None) -> TextEmbedder:
        """On the cluster, connected to when the first text is embedded."""
        return _ClusterEmbedder(self._connect, self._embedding, cache_file)

    def close(self) -> None:
        """End the actors, and the cluster when it is our own."""
        import ray

        if self._ours:
            ray.shutdown()
            self._ours = False
        self._actors = None
        self._embedding.clear()

    def _connect(self) -> None:
        import ray

        if ray.is_initialized():
            return
        # Ray reports usage to its makers unless told otherwise, before it is initialised.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if self._address is None:
            options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        try:
            ray.init(address=self._address or "local", **options)
        except Exception as error:  # Ray raises half a dozen kinds
            where = "on this machine" if self._address is None else f"at {self._address}"
            raise InfrastructureError(
                f"no Ray cluster {where}: {error}; `ray status` shows whether one runs, --address names it"
            ) from error
        self._ours = True


class _Actor:
    """One actor and what is in flight there."""

    def __init__(self, node: str) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        kind = ray.remote(Attempts)
        # No core is reserved: embedding and other jobs may share the node, and an attempt mostly waits.
        self.handle = kind.options(
            num_cpus=0,
            max_concurrency=_CALLS_PER_ACTOR,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node, soft=False),
        ).remote()
        self.node = node
        self.starting = self.handle.ready.remote()
        self.ready = False
        self.in_flight = 0


class _Actors:
    """The attempt actors of all nodes; a node's go with it, and a new node gets its own."""

    def __init__(self, per_node: int | None) -> None:
        self._per_node = per_node
        self.actors: list[_Actor] = []
        self.look()

    def look(self) -> None:
        """Start actors where some are missing."""
        import ray

        for node in ray.nodes():
            if not node["Alive"]:
                continue
            wanted = self._per_node or max(1, int(node["Resources"].get("CPU", 0)))
            have = sum(actor.node == node["NodeID"] for actor in self.actors)
            self.actors += [_Actor(node["NodeID"]) for _ in range(wanted - have)]

    def drop(self, actor: _Actor) -> bool:
        """Forget a dead actor; true for the first to say so."""
        if actor not in self.actors:
            return False
        self.actors.remove(actor)
        return True

    async def least_busy(self) -> _Actor:
        """The ready actor with the fewest calls in flight; waits for one."""
        async with asyncio.timeout(_START_S):
            while True:
                ready = [actor for actor in self.actors if actor.ready]
                if ready:
                    return min(ready, key=lambda actor: actor.in_flight)
                if not self.actors:
                    await asyncio.to_thread(self.look)
                await asyncio.sleep(0.05)
                await self.greet()

    async def greet(self) -> None:
        """Notice which actors have started and which never will."""
        import ray

        starting = {actor.starting: actor for actor in self.actors if not actor.ready}
        if not starting:
            return
        done, _ = await asyncio.to_thread(ray.wait, list(starting), num_returns=len(starting), timeout=0)
        for ref in done:
            actor = starting[ref]
            try:
                await ref
            except ray.exceptions.RayError:
                self.drop(actor)
            else:
                actor.ready = True


class _ClusterClient:
    """Asks once, in the least busy actor."""

    def __init__(self, actors: _Actors, tell: Tell) -> None:
        self._actors, self._tell = actors, tell
        self._tending: asyncio.Task[None] | None = None

    async def complete(self, request: ChatRequest, model: ModelSpec, *, deadline_s: float) -> ModelReply:
        import ray

        if self._tending is None:
            self._tending = asyncio.get_running_loop().create_task(self._tend())
        try:
            actor = await self._actors.least_busy()
        except TimeoutError:
            raise InfrastructureError(
                f"the Ray cluster started no actor within {_START_S:.0f} s; `ray status` shows its nodes, and every "
                "node needs shadow-harness and the providers' key variables"
            ) from None
        actor.in_flight += 1
        ref = None
        try:
            ref = actor.handle.complete.remote(request, model, deadline_s)
            async with asyncio.timeout(deadline_s + _GRACE_S):
                good, value = await ref
        except (ray.exceptions.RayError, TimeoutError) as error:
            self._lost(actor, error)
            raise AttemptLost(f"an actor on the Ray cluster ({type(error).__name__})") from None
        except asyncio.CancelledError:
            if ref is not None:
                ray.cancel(ref)
            raise
        finally:
            actor.in_flight -= 1
        if good:
            reply: ModelReply = value
            return reply
        raise error_of(value)

    async def aclose(self) -> None:
        if self._tending is not None:
            self._tending.cancel()

    async def _tend(self) -> None:
        """Take in actors that have started, nodes that have joined, and what replaces the lost."""
        import ray

        while True:
            await self._actors.greet()
            await asyncio.sleep(1.0)
            # The cluster's own head may be away for a moment; whether it comes back shows when nothing is ready.
            with contextlib.suppress(ray.exceptions.RayError, ConnectionError):
                await asyncio.to_thread(self._actors.look)

    def _lost(self, actor: _Actor, error: Exception) -> None:
        import ray

        if not self._actors.drop(actor):
            return
        self._tell(
            f"an actor on the Ray cluster was lost ({type(error).__name__}) with {actor.in_flight} calls in flight; "
            "they are made again elsewhere"
        )
        ray.kill(actor.handle)


class _ClusterEmbedder(MiniLMEmbedder):
    """The default embedder, computed by actors: one per GPU, or one per node when the cluster has none.

    What is embedded twice, and what was embedded before, never leaves the driver.
    """

    _slice = _TEXTS_AT_ONCE

    def __init__(self, connect: Callable[[], None], actors: list[Any], cache_file: Path | None) -> None:
        super().__init__(cache_file=cache_file)
        self._connect = connect
        self._actors = actors
        self._next = itertools.count()

    def _computed(self, texts: Sequence[str], windows: int | None) -> Vectors:
        """As the local embedder's; a batch whose actor is lost is computed by another.

        Raises:
            InfrastructureError: three actors were lost over one batch.
        """
        batches = [list(texts[at : at + _TEXTS_PER_CALL]) for at in range(0, len(texts), _TEXTS_PER_CALL)]
        found: dict[int, Vectors] = {}
        for _ in range(_LOSSES):
            missing = [i for i in range(len(batches)) if i not in found]
            if not missing:
                break
            self._embed(batches, missing, windows, found)
        if len(found) < len(batches):
            raise InfrastructureError(
                "embedding on the Ray cluster failed three times in a row; `ray status` shows its nodes"
            )
        return np.concatenate([found[i] for i in range(len(batches))])

    def _embed(
        self, batches: Sequence[Sequence[str]], wanted: Sequence[int], windows: int | None, found: dict[int, Vectors]
    ) -> None:
        import ray

        self._connect()
        if not self._actors:
            self._actors += _embedding_actors()
        asked = []
        for i in wanted:
            actor = self._actors[next(self._next) % len(self._actors)]
            asked.append((i, actor, actor.embed.remote(batches[i], windows)))
        for i, actor, ref in asked:
            try:
                found[i] = np.array(ray.get(ref))
            except ray.exceptions.RayTaskError as error:
                raise error.as_instanceof_cause() from None
            except ray.exceptions.RayError:
                if actor in self._actors:
                    self._actors.remove(actor)


def _embedding_actors() -> list[Any]:
    """One on each GPU that nobody else uses, or one on each node.

    Raises:
        InfrastructureError: none of them started.
    """
    import ray

    gpus = int(ray.available_resources().get("GPU", 0))
    count = gpus or sum(bool(node["Alive"]) for node in ray.nodes())
    options = {"num_cpus": 0, "num_gpus": 1 if gpus else 0, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
    kind = ray.remote(Embedding)
    starting = {}
    for _ in range(count):
        actor = kind.options(**options).remote()
        starting[actor.ready.remote()] = actor
    done, late = ray.wait(list(starting), num_returns=count, timeout=_START_S)
    for ref in late:
        # Somebody else took its place meanwhile: what it is given would wait for as long as they stay.
        ray.kill(starting[ref])
    started, failed = [], ""
    for ref in done:
        try:
            ray.get(ref)
        except ray.exceptions.RayError as error:
            failed = f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"
        else:
            started.append(starting[ref])
    if not started:
        raise InfrastructureError(
            f"no actor for embedding started on the Ray cluster within {_START_S:.0f} s ({failed or 'no room'}); "
            "`ray status` shows its nodes, and every node needs shadow-harness"
        )
    return started
