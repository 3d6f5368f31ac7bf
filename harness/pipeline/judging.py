"""The judge stage: every judge reads every comparable pair it has not read yet."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.config import Experiment
from harness.domain.model import ModelClient, ModelSpec
from harness.domain.observation import ArmRole
from harness.domain.stop import StopSignal
from harness.judging.panel import PanelResult, run_judge
from harness.judging.protocol import Embedder, Judge, JudgeContext, fingerprint, models_of, orders_of
from harness.models.budget import Purse
from harness.models.setup import SetupWatch
from harness.pipeline.arms import Arm, arms_of
from harness.pipeline.clients import opened_client
from harness.pipeline.session import Session, StageCounts
from harness.registry import build_judge


@dataclass(frozen=True, kw_only=True)
class SeatedJudge:
    """A judge of this experiment, by the name and fingerprint its judgments are stored under."""

    name: str
    kind: str
    judge: Judge
    fingerprint: str

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """The models it asks, which cost money; none for judges that compute."""
        return models_of(self.judge)

    @property
    def model(self) -> ModelSpec | None:
        """The model it asks first."""
        return next(iter(self.models), None)


def seat_judges(experiment: Experiment, embedder: Embedder) -> tuple[SeatedJudge, ...]:
    """The experiment's judges, built and fingerprinted.

    Raises:
        ConfigurationError: a judge is not installed or its options are wrong.
    """
    seated = []
    for section in experiment.judges:
        judge = build_judge(section)
        seated.append(
            SeatedJudge(name=section.label, kind=section.use, judge=judge, fingerprint=fingerprint(judge, embedder))
        )
    return tuple(seated)


def default_embedder() -> Embedder:
    """The bundled all-MiniLM-L6-v2; its weights are loaded on first use."""
    from harness.local.embedder import MiniLMEmbedder

    return MiniLMEmbedder()


async def judge_arms(session: Session, judges: Sequence[SeatedJudge], embedder: Embedder) -> StageCounts:
    """Let every judge read every arm's pairs it has not read; returns judgment counts by arm and judge.

    The replica is read only by judges that cost nothing: it is there to measure what production does to itself.
    """
    experiment = session.experiment
    stop = session.stage_stop()
    purse = Purse(
        name="judges",
        limit_usd=experiment.budget.judges_usd,
        spent_usd=session.store.spent(session.run_id)["judges"],
    )
    counts: dict[str, Mapping[str, int]] = {}
    stop_reason: str | None = None
    async with opened_client(experiment, purse, [model for seat in judges for model in seat.models]) as client:
        for arm in arms_of(experiment):
            for seat in judges:
                if arm.role is ArmRole.REPLICA and seat.model is not None:
                    continue
                if stop.reason is not None:
                    break
                result = await _judge_arm(session, arm, seat, client=client, embedder=embedder, stop=stop)
                counts[f"{arm.name} · {seat.name}"] = _endings(result)
                stop_reason = stop_reason or result.stop_reason
    return StageCounts(counts=counts, stop_reason=stop_reason or stop.reason)


async def _judge_arm(
    session: Session, arm: Arm, seat: SeatedJudge, *, client: ModelClient, embedder: Embedder, stop: StopSignal
) -> PanelResult:
    store, run_id, reporter = session.store, session.run_id, session.reporter
    orders = orders_of(seat.judge)
    task = f"judge {arm.name} · {seat.name}"
    total = await asyncio.to_thread(
        store.count_pending_pairs,
        run_id,
        arm.name,
        arm.fingerprint,
        judge_fingerprint=seat.fingerprint,
        orders=orders,
    )
    reporter.start(task, total=total)
    watch = SetupWatch(client, who=f"judge {seat.name}")
    context = JudgeContext(
        judge=seat.name,
        fingerprint=seat.fingerprint,
        models=watch,
        embedder=embedder,
        deadline_s=session.experiment.replay.deadline_s,
    )
    result = await run_judge(
        seat.judge,
        context,
        store.pending_pairs(run_id, arm.name, arm.fingerprint, judge_fingerprint=seat.fingerprint, orders=orders),
        lambda judgments: store.put_judgments(run_id, judgments),
        concurrency=session.experiment.replay.concurrency,
        stop=stop,
        on_progress=lambda progress: reporter.update(task, done=progress.pairs, total=total),
    )
    if not result.scored:
        # Fewer calls than the watch ends by itself: an error unless this judge is known to work.
        counts = store.judgment_counts(run_id, arm.name, arm.fingerprint, judge_fingerprint=seat.fingerprint)
        if not counts.scored:
            watch.check()
    reporter.finish(task, ", ".join(f"{n:,} {ending}" for ending, n in _endings(result).items()) or "nothing to do")
    return result


def _endings(result: PanelResult) -> dict[str, int]:
    found = Counter({"scored": result.scored})
    found.update(result.unscored)
    found.update(result.errors)
    return {ending: count for ending, count in found.items() if count}
