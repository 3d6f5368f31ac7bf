"""The Ray engine on a real cluster of three nodes on this machine."""

import contextlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.engine import cluster as clusters
from harness.engine.cluster import RayEngine
from harness.errors import InfrastructureError
from harness.local.embedder import MiniLMEmbedder
from tests.engines import CountingUpstream, command, judgments, observations, until, write_experiment

CALLS = 5_000
CONCURRENCY = 24


@contextlib.contextmanager
def started(monkeypatch: pytest.MonkeyPatch, *more: dict[str, int]) -> Iterator[Any]:
    """A cluster of a head and so many nodes more, with what they have beside a core."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # Ray would put this machine's outer address in place of the loopback one.
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    # The nodes run this very program.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "node_ip_address": "127.0.0.1"}
    made = Cluster(initialize_head=True, head_node_args=options | {"include_dashboard": False})
    try:
        for each in more:
            made.add_node(wait=False, **options, **each)
        made.wait_for_nodes(timeout=120)
        yield made
    finally:
        made.shutdown()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with started(monkeypatch, {}, {}) as made:
        yield made


@pytest.mark.filterwarnings("ignore")
def test_a_killed_node_changes_nothing_and_pays_for_nothing_beyond_what_was_in_flight(
    tmp_path: Path, cluster: Any
) -> None:
    with CountingUpstream().serving() as upstream:
        path = write_experiment(tmp_path, upstream.base, n=CALLS, replay={"concurrency": CONCURRENCY})
        process = command(
            "run", path, "--engine", "ray", "--address", cluster.address, "--json", runs_dir=tmp_path / "ray"
        )
        until(lambda: upstream.calls > CALLS // 3 or process.poll() is not None, "a third is done", within_s=150)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        at_the_kill = upstream.calls
        _, err = process.communicate(timeout=200)
        assert process.returncode in {0, 1, 3}, err
        assert at_the_kill < CALLS
        assert len(upstream.asked) == CALLS
        assert CALLS <= upstream.calls <= CALLS + CONCURRENCY
        assert upstream.most <= 2 * CONCURRENCY
        again = upstream.calls
        local = command("run", path, "--json", runs_dir=tmp_path / "local")
        _, err = local.communicate(timeout=200)
        assert local.returncode == process.returncode, err
        assert upstream.calls == again + CALLS
    stored = observations(tmp_path / "ray", path)
    assert len(stored) == CALLS
    assert stored == observations(tmp_path / "local", path)


def test_without_an_address_a_cluster_of_our_own_asks_judges_and_embeds_as_the_local_engine_does(
    tmp_path: Path,
) -> None:
    with CountingUpstream().serving() as upstream:
        model = {
            "model": "openai/judge", "api_base": upstream.base, "stream": False,
            "price": {"input_per_mtok": 1.0, "output_per_mtok": 1.0},
        }  # fmt: skip
        judges = ["exact", "similarity", {"use": "pairwise", "options": {"model": model, "mode": "structured"}}]
        path = write_experiment(
            tmp_path, upstream.base, n=40, judges=judges, canaries="off",
            budget={"judges_usd": 1, "stop_when_settled": False, "stop_when_out_of_reach": False},
        )  # fmt: skip
        codes, calls = [], []
        for engine in (["ray", "--processes", "1"], ["local", "--processes", "1"]):
            process = command("run", path, "--engine", *engine, "--json", runs_dir=tmp_path / engine[0])
            _, err = process.communicate(timeout=200)
            assert process.returncode in {0, 1, 3}, err
            codes.append(process.returncode)
            calls.append(upstream.calls)
    assert codes[0] == codes[1]
    assert calls == [40 + 16, 2 * (40 + 16)], "equal answers need no judge"
    assert observations(tmp_path / "ray", path) == observations(tmp_path / "local", path)
    on_ray, here = (judgments(tmp_path / name, path) for name in ("ray", "local"))
    assert [row[:-1] for row in on_ray] == [row[:-1] for row in here]
    assert [row[-1] for row in on_ray] == pytest.approx([row[-1] for row in here], abs=1e-4)
    assert {row[1] for row in on_ray} == {"exact", "similarity", "pairwise"}
    assert {row[3] for row in on_ray} == {"scored"}
    # Of the eight pairs that differ: as many answers of the candidate, and one of production.
    assert [vectors(tmp_path / name) for name in ("ray", "local")] == [9, 9]


def vectors(folder: Path) -> int:
    with contextlib.closing(sqlite3.connect(folder / "embeddings.db")) as kept:
        return int(kept.execute("SELECT count(*) FROM vectors").fetchone()[0])


@pytest.mark.filterwarnings("ignore")
def test_an_embedding_actor_that_was_lost_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    texts = [f"Order {number} was sent on Monday." for number in range(300)] + ["", "Order 1 was sent on Monday."]
    engine = RayEngine()
    try:
        before = engine.embedder().embed(texts)
        import ray

        ray.kill(engine._embedding[0])
        # Another embedder knows no vector yet, and asks the same actors.
        after = engine.embedder().embed(texts)
    finally:
        engine.close()
    np.testing.assert_array_equal(before[1], before[-1])
    np.testing.assert_allclose(after, before, atol=1e-5)
    np.testing.assert_allclose(before, MiniLMEmbedder().embed(texts), atol=1e-5)


EMBEDDING_TWICE = """
import json, sys
import ray
from harness.engine.cluster import RayEngine

texts = [f"Order {number} was sent on Monday." for number in range(600)]
found, engines = [], []
for _ in range(2):
    engine = RayEngine(address=sys.argv[1])
    vectors = engine.embedder().embed(texts)
    found.append((len(engine._embedding), ray.available_resources().get("GPU", 0), vectors[::100, :5].tolist()))
    engines.append(engine)
print(json.dumps(found))
"""


@pytest.mark.filterwarnings("ignore")
def test_embedding_takes_the_gpus_that_are_free_and_nodes_where_none_is(monkeypatch: pytest.MonkeyPatch) -> None:
    # What Ray is told to have it gives out; torch finds none, and computes on the processor.
    with started(monkeypatch, {"num_gpus": 1}) as cluster:
        command = [sys.executable, "-c", EMBEDDING_TWICE, cluster.address]
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert said.returncode == 0, said.stderr
    (n_first, free, on_gpu), (n_second, _, elsewhere) = json.loads(said.stdout)
    # The only one is taken then: to wait for it would be to wait until the first job has ended.
    assert (n_first, free, n_second) == (1, 0, 2)
    np.testing.assert_allclose(elsewhere, on_gpu, atol=1e-5)
    here = MiniLMEmbedder().embed([f"Order {number} was sent on Monday." for number in range(600)])
    np.testing.assert_allclose(on_gpu, here[::100, :5], atol=1e-5)


def test_a_cluster_where_no_embedding_starts_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.setattr(clusters, "Embedding", Broken)
    engine = RayEngine()
    try:
        with pytest.raises(InfrastructureError, match=r"no actor for embedding started .*no weights here"):
            engine.embedder().embed(["a"])
    finally:
        engine.close()


class Broken:
    def __init__(self) -> None:
        raise OSError("no weights here")

    def ready(self) -> bool:
        return True
