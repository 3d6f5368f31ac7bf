"""A worker on a store of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.config import Live, Settings
from harness.pipeline.live.worker import LiveWorker, WorkerOptions
from harness.pipeline.session import Session, open_session
from harness.store import Store
from harness.testing import FakeEmbedder
from tests.upstream import Upstream, in_thread


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'harness.db'}") as store:
        yield store


@pytest.fixture
def worker_on(tmp_path: Path, store: Store) -> Callable[..., LiveWorker]:
    """Makes a worker, by default one that ends when everything is done."""

    def make(live: Live, *, drain: bool = True, **more) -> LiveWorker:
        return LiveWorker(
            live, session_on(live, store, tmp_path), options=WorkerOptions(drain=drain), embedder=FakeEmbedder(), **more
        )

    return make


def session_on(live: Live, store: Store, folder: Path) -> Session:
    settings = Settings(store="sqlite:///unused", runs_dir=folder / "runs")
    return open_session(live.experiment, store=store, settings=settings, run_id=live.name)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """An instant model server, in a thread of its own."""
    with in_thread(Upstream()) as upstream:
        yield upstream
