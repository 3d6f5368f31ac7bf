"""A run on SQLite that has been replayed, with a scripted provider behind the real budget."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.config import Experiment, Settings, parse_experiment
from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelClient, ModelSpec
from harness.domain.run import IngestReport, Stage
from harness.domain.stop import StopSignal
from harness.models.budget import BudgetedClient, Purse
from harness.pipeline import judging
from harness.pipeline.arms import arms_of
from harness.pipeline.judging import judge_arms
from harness.pipeline.seats import SeatedJudge, seat_judges
from harness.pipeline.session import Session, SilentReporter, StageCounts, open_session
from harness.store import Store
from harness.testing import FakeEmbedder, Script, ScriptedModelClient, exchange, observation, reply

PRICE_OF_A_CALL = 0.01


@dataclass
class Listening(SilentReporter):
    """Remembers what it was told."""

    warnings: list[str] = field(default_factory=list)
    finished: dict[str, str] = field(default_factory=dict)

    def finish(self, task: str, note: str) -> None:
        self.finished[task] = note

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@dataclass
class Bench:
    """Judges a run of ``n`` pairs, of which candidates and a replica of every second request have answers."""

    store: Store
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    n: int = 10
    answers: Callable[[ChatRequest, ModelSpec], Script] = lambda request, model: "A"
    calls: list[tuple[ChatRequest, ModelSpec]] = field(default_factory=list)
    reporter: Listening = field(default_factory=Listening)
    specs: tuple[ModelSpec, ...] = ()

    def experiment(self, *judges: Mapping[str, Any], **more: Any) -> Experiment:
        raw = {
            "name": "bench",
            "traffic": {"source": "export.jsonl"},
            "candidates": [{"name": "small", "model": "openai/small"}],
            "replica": {"model": "openai/large", "share": 0.5},
            "judges": list(judges),
            "decision": {"criteria": [{"metric": "coverage", "at_least": 1}]},
        }
        return parse_experiment(raw | more, base=self.folder)

    def session(self, experiment: Experiment) -> Session:
        settings = Settings(runs_dir=self.folder / "runs")
        session = open_session(experiment, store=self.store, settings=settings, run_id="r1", reporter=self.reporter)
        if session.run.stage is Stage.CREATED:
            self.store.put_exchanges(
                "r1",
                [(exchange(f"{i} is even.", id=f"e{i}", prompt=f"Is {i} even?"), i / self.n) for i in range(self.n)],
            )
            for arm in arms_of(experiment):
                asked = range(self.n if arm.share is None else int(self.n * arm.share))
                fields = {"arm": arm.name, "fingerprint": arm.fingerprint}
                self.store.put_observations(
                    "r1", [observation(f"{i} is odd.", exchange_id=f"e{i}", **fields) for i in asked]
                )
            report = IngestReport(files=("export.jsonl",), read=self.n, kept=self.n, sampled=self.n)
            self.store.save_ingest_report("r1", report)
            session.advance(Stage.REPLAYED)
        return session

    async def judge(
        self, *judges: Mapping[str, Any], **more: Any
    ) -> tuple[StageCounts, Session, tuple[SeatedJudge, ...]]:
        """One judge stage of a process of its own."""
        session = self.session(self.experiment(*judges, **more))
        seats = seat_judges(session.experiment, FakeEmbedder())
        self.calls = []
        self.reporter.warnings.clear()

        @asynccontextmanager
        async def opened(
            _: Session, purse: Purse, specs: Sequence[ModelSpec], **_more: StopSignal
        ) -> AsyncIterator[ModelClient]:
            self.specs = tuple(specs)
            provider = ScriptedModelClient(self._answer, calls=self.calls)
            yield BudgetedClient(provider, purse, lambda model: (0.0, PRICE_OF_A_CALL / 4096))

        self.monkeypatch.setattr(judging, "opened_client", opened)
        return await judge_arms(session, seats, FakeEmbedder()), session, seats

    def _answer(self, request: ChatRequest, model: ModelSpec) -> Script:
        answer = self.answers(request, model)
        return reply(answer, cost_usd=PRICE_OF_A_CALL) if isinstance(answer, str) else answer


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with Store.open(f"sqlite:///{tmp_path}/harness.db") as store:
        yield Bench(store=store, folder=tmp_path, monkeypatch=monkeypatch)
