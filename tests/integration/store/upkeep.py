"""A run with everything a store keeps about it."""

from datetime import UTC, datetime, timedelta

from harness.domain.judgment import Judgment, JudgmentState, Label, Order
from harness.domain.label import HumanLabel, PlannedLabel
from harness.domain.run import IngestReport, Run, Stage
from harness.store import Store
from harness.testing import exchange, observation

NOW = datetime(2026, 6, 1, tzinfo=UTC)
RUN = "r1"


def run(run_id: str = RUN, *, stage: Stage = Stage.DECIDED) -> Run:
    return Run(
        id=run_id, name="exp", created_at=NOW, updated_at=NOW, stage=stage, ingest_fingerprint="x",
        experiment={}, seed=0,
    )  # fmt: skip


def judgment(exchange_id: str, order: Order, **fields: object) -> Judgment:
    defaults: dict[str, object] = {
        "arm": "candidate", "judge": "j", "judge_fingerprint": "jf", "observation_fingerprint": "f1",
        "state": JudgmentState.SCORED, "value": 1.0, "label": Label.WIN, "explanation": f"better than {exchange_id}",
        "cost_usd": 0.25, "attempts": 1, "tokens_out": 3,
    }  # fmt: skip
    return Judgment(exchange_id=exchange_id, order=order, **(defaults | fields))  # type: ignore[arg-type]


def filled(store: Store, n: int = 10, *, run_id: str = RUN) -> None:
    """``n`` exchanges, a day apart up to now, users ``u0`` and ``u1`` in turn, asked, judged twice and labelled."""
    store.save_run(run(run_id))
    items = [
        (
            exchange(
                f"Answer {i}.", id=f"e{i:06}", prompt=f"Question {i}?", user=f"u{i % 2}",
                timestamp=NOW - timedelta(days=n - i), tags=("t",),
            ),
            i / n,
        )
        for i in range(n)
    ]  # fmt: skip
    ids = [item.id for item, _ in items]
    store.put_exchanges(run_id, items)
    answers = [observation(f"Else {i}.", arm="candidate", exchange_id=id_, cost_usd=0.5, attempts=1)
               for i, id_ in enumerate(ids)]  # fmt: skip
    store.put_observations(run_id, answers)
    orders = (Order.PRODUCTION_FIRST, Order.CANDIDATE_FIRST)
    store.put_judgments(run_id, [judgment(id_, order) for id_ in ids for order in orders])
    store.put_label_plan(
        run_id, "candidate", "f1",
        [PlannedLabel(exchange_id=id_, rank=i, probability=1.0, design="uniform") for i, id_ in enumerate(ids)],
    )  # fmt: skip
    store.put_labels(
        run_id,
        [
            HumanLabel(
                exchange_id=id_, arm="candidate", observation_fingerprint="f1", labeller="ann", label=Label.WIN,
                note=f"about {id_}", recorded_at=NOW,
            )
            for id_ in ids
        ],
    )  # fmt: skip
    store.save_ingest_report(run_id, IngestReport(files=("x.jsonl",), read=n, kept=n, sampled=n))
    store.save_decision(run_id, decided_at=NOW, experiment_sha256="x", decision={"arms": {}})
