"""A small run with answers of both sides, ready to be labelled."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.config import Experiment, parse_experiment
from harness.domain.judgment import Judgment, Label, Order
from harness.domain.label import HumanLabel
from harness.domain.observation import CallError, ErrorKind
from harness.domain.run import Run, Stage
from harness.pipeline.arms import Arm, arms_of
from harness.pipeline.session import Session
from harness.store import Store
from harness.testing import exchange, observation

RUN = "r1"
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
PRODUCTION_MODEL = "prod-model-x1"
CANDIDATE_MODEL = "cand-model-y2"


def experiment(**fields: Any) -> Experiment:
    """One candidate called ``zq-candidate``, unless told otherwise."""
    raw: dict[str, Any] = {
        "name": "labelled",
        "traffic": {"source": "export.jsonl"},
        "candidates": [{"name": "zq-candidate", "model": f"openai/{CANDIDATE_MODEL}"}],
        "judges": ["exact"],
    }
    return parse_experiment(raw | fields)


def session_of(store: Store, folder: Path, *, run: str = RUN, parsed: Experiment | None = None) -> Session:
    """A session on an empty run that is stored."""
    parsed = parsed or experiment()
    store.save_run(
        Run(
            id=run,
            name=parsed.name,
            created_at=NOW,
            updated_at=NOW,
            stage=Stage.REPLAYED,
            ingest_fingerprint="f",
            experiment=parsed.model_dump(mode="json"),
            seed=0,
        )
    )
    return Session(experiment=parsed, run_id=run, store=store, runs_dir=folder)


def fill(
    session: Session, ids: Sequence[str], *, failed: Sequence[str] = (), texts: Mapping[str, str] | None = None
) -> Arm:
    """Exchanges with these ids, answered by production and by the first candidate, except those it failed."""
    arm = arms_of(session.experiment)[0]
    items = [
        exchange(
            "The old answer.",
            id=item,
            prompt=f"Question {item}?",
            production=observation(
                "The old answer.", exchange_id=item, completion=completion("The old answer.", PRODUCTION_MODEL)
            ),
        )
        for item in ids
    ]
    session.store.put_exchanges(session.run_id, [(item, index / len(ids)) for index, item in enumerate(items)])
    answers = []
    for item in ids:
        text = (texts or {}).get(item, "The new answer.")
        fields: dict[str, Any] = {"completion": completion(text, CANDIDATE_MODEL)}
        if item in failed:
            fields = {"error": CallError(kind=ErrorKind.TIMEOUT, message="too slow")}
        answers.append(observation(text, arm=arm.name, exchange_id=item, fingerprint=arm.fingerprint, **fields))
    session.store.put_observations(session.run_id, answers)
    return arm


def completion(text: str, model: str) -> Any:
    from harness.domain.observation import Completion

    return Completion(text=text, finish_reason="stop", model=model)


def label(
    arm: Arm, exchange_id: str, verdict: Label | None = Label.WIN, labeller: str = "ann", **fields: Any
) -> HumanLabel:
    """A label on the arm's answer."""
    return HumanLabel(
        exchange_id=exchange_id,
        arm=arm.name,
        observation_fingerprint=arm.fingerprint,
        labeller=labeller,
        label=verdict,
        **({"recorded_at": NOW} | fields),
    )


def judgments(arm: Arm, fingerprint: str, judge: str, scores: Mapping[str, float]) -> list[Judgment]:
    """One preference per exchange, the mean of both orders."""
    return [
        Judgment(
            exchange_id=item,
            arm=arm.name,
            judge=judge,
            judge_fingerprint=fingerprint,
            observation_fingerprint=arm.fingerprint,
            order=Order.NONE,
            value=score,
            label=Label.WIN if score > 0.5 else Label.TIE if score == 0.5 else Label.LOSS,
        )
        for item, score in scores.items()
    ]
