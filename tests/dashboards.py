"""A store that goes on as a run and a rollout would, without models: what a dashboard is shown."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harness.config import digest
from harness.config.experiment import parse_experiment
from harness.config.live import Live, parse_live
from harness.domain.decision import Verdict
from harness.domain.exchange import Source
from harness.domain.judgment import Judgment, Label, Order
from harness.domain.observation import CallError, ErrorKind
from harness.domain.run import IngestReport, Run, Stage, Summary
from harness.pipeline import attempts, evaluation, look_history
from harness.pipeline.arms import arms_of
from harness.pipeline.seats import default_embedder, seat_judges
from harness.pipeline.session import Session
from harness.store import Store
from harness.testing import exchange, observation

RUN = "shop"
BEGAN = datetime(2026, 5, 4, 8, tzinfo=UTC)
HOSTILE = (
    "\u202egnp.exe \x00\x1b[31m</section></main><script>document.title='owned'</script>"
    "<img src=http://evil.example/x onerror=document.title='owned'>" + "W" * 3000
)
RULES: Mapping[str, Any] = {
    "looks": "any", "horizon": 400,
    "criteria": [{"metric": "exact_match", "above": 0.6}, {"metric": "error_rate_difference", "below": 0.1}],
}  # fmt: skip


def live(folder: Path, **more: Any) -> Live:
    """A live experiment whose processes are not there."""
    return parse_live({
        "name": RUN, "gateway": {"upstream": "http://127.0.0.1:9"}, "mirror": {"rate": 0.5},
        "spool": {"folder": str(folder / "spool")}, "admin": {"port": 0}, "worker_admin": {"port": 0},
        "worker": {"daily_usd": 5.0}, "candidates": [{"name": "small", "model": "openai/small"}],
        "judges": ["exact"], "decision": dict(RULES), "budget": {"candidates_usd": 20.0}, "canary": {}, **more,
    })  # fmt: skip


@dataclass
class Progress:
    """One run that goes on when a test says so."""

    store: Store
    session: Session
    n: int = 0
    at: datetime = BEGAN

    @classmethod
    def begin(cls, store: Store, folder: Path, *, run: str = RUN, spooled: bool = False, **more: Any) -> "Progress":
        """Enter the run; nothing has been asked yet."""
        if spooled:
            experiment = live(folder, **more).experiment
        else:
            raw = {
                "name": run, "traffic": {"source": "export.jsonl"}, "judges": ["exact"], "decision": dict(RULES),
                "candidates": [{"name": "small", "model": "openai/small"}], "budget": {"candidates_usd": 20.0},
            }  # fmt: skip
            experiment = parse_experiment(raw | more)
        store.save_run(Run(
            id=run, name=experiment.name, created_at=BEGAN, updated_at=BEGAN, stage=Stage.INGESTED,
            ingest_fingerprint="f", experiment=experiment.model_dump(mode="json"), seed=0,
        ))  # fmt: skip
        return cls(store=store, session=Session(experiment=experiment, run_id=run, store=store, runs_dir=folder))

    def answer(
        self, count: int, *, same: float = 0.9, failing: int = 0, question: str = "Question {n}?", text: str = ""
    ) -> None:
        """So many more exchanges are answered and judged; ``same`` of them alike, the first ``failing`` not at all."""
        session, store = self.session, self.store
        [seat] = seat_judges(session.experiment, default_embedder())
        for offset in range(count):
            n, name = self.n, f"exchange-{self.n:05}"
            item = exchange("Paris.", id=name, prompt=question.format(n=n), source=Source(file="gw#1", line=n))
            store.put_exchanges(session.run_id, [(item, float(n))])
            for arm in arms_of(session.experiment):
                is_same = (n * 37) % 100 < 100 * same
                fields: dict[str, Any] = {"cost_usd": 0.01, "attempts": 1, "latency_ms": 80.0 + n % 7}
                if offset < failing:
                    fields["error"] = CallError(kind=ErrorKind.TIMEOUT, message="30 s elapsed")
                said = text or ("Paris." if is_same else "Lyon.")
                answer = observation(said, arm=arm.name, exchange_id=name, fingerprint=arm.fingerprint, **fields)
                store.put_observations(session.run_id, [answer])
                if offset >= failing:
                    label = Label.TIE if is_same and not text else Label.LOSS
                    store.put_judgments(session.run_id, [Judgment(
                        exchange_id=name, arm=arm.name, judge=seat.name, judge_fingerprint=seat.fingerprint,
                        observation_fingerprint=arm.fingerprint, order=Order.NONE, label=label,
                        value=1.0 if label is Label.TIE else 0.0,
                    )])  # fmt: skip
            self.n += 1
        sample = Summary(n=self.n, models={"gpt-4o": self.n})
        store.save_ingest_report(session.run_id, IngestReport(
            files=("export.jsonl",), dialects={"export.jsonl": "openai_chat (detected)"}, read=self.n, kept=self.n,
            sampled=self.n, population=sample, sample=sample,
        ))  # fmt: skip

    def look(self, *, minutes: float = 10.0) -> Mapping[str, Verdict]:
        """Look and decide as a worker does, so many minutes after the last time."""
        session = self.session
        self.at += timedelta(minutes=minutes)
        judges = seat_judges(session.experiment, default_embedder())
        attempts.begin_all(session)
        found = evaluation.evaluate(session, judges, describe=False)
        evaluation.record(session, found)
        look_history.keep(session, found, at=self.at)
        decisions = {item.arm.name: item.decision for item in found if item.decision is not None}
        session.advance(Stage.DECIDED)
        self.store.save_decision(
            session.run_id, decided_at=self.at, experiment_sha256=digest(session.run.experiment),
            decision={"command": "test", "arms": {name: asdict(decision) for name, decision in decisions.items()}},
        )  # fmt: skip
        return {name: decision.verdict for name, decision in decisions.items()}


@dataclass
class Server:
    """The command in a process of its own."""

    process: "subprocess.Popen[str]"
    address: str


@contextmanager
def served(store_url: str, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """`harness dashboard` on a free port, until the block ends."""
    import os

    command = [sys.executable, "-m", "harness", "dashboard", *arguments, "--port", "0", "--store", store_url]
    own = {key: value for key, value in os.environ.items() if not key.startswith("HARNESS_")}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=own | dict(env or {})
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://"), process.stderr and process.stderr.read()
        yield Server(process=process, address=address)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
