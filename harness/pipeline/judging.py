"""The judge stage: every judge reads every comparable pair it has not read yet."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.domain.model import ModelClient
from harness.domain.stop import StopSignal
from harness.judging.panel import PanelResult, run_judge
from harness.judging.protocol import Embedder, orders_of
from harness.models.budget import Purse
from harness.models.setup import SetupWatch
from harness.pipeline.arms import Arm, arms_of
from harness.pipeline.canaries import CanaryGate
from harness.pipeline.clients import opened_client
from harness.pipeline.seats import SeatedJudge
from harness.pipeline.session import EVERYTHING, Portion, Session, StageCounts

UNREAD = "not read, canaries"
"""The ending of pairs whose judge was not let at them."""


async def judge_arms(
    session: Session,
    judges: Sequence[SeatedJudge],
    embedder: Embedder,
    portion: Portion = EVERYTHING,
    *,
    purse: Purse | None = None,
    stop: StopSignal | None = None,
) -> StageCounts:
    """Let every judge read every arm's pairs it has not read; returns judgment counts by arm and judge.

    A judge that asks a model reads its canaries first, and no pairs when they say that it cannot judge. The replica is
    read like a candidate: what production's preference over itself comes to is the noise floor of the win rate.
    ``purse`` pays instead of what is left of the run's budget; ``stop`` ends it instead of the stage's time limit.
    """
    if stop is not None:
        return await _judge_arms(session, judges, embedder, portion, stop, purse)
    with session.clocked("judge") as limited:
        return await _judge_arms(session, judges, embedder, portion, limited, purse)


async def _judge_arms(
    session: Session,
    judges: Sequence[SeatedJudge],
    embedder: Embedder,
    portion: Portion,
    stop: StopSignal,
    purse: Purse | None,
) -> StageCounts:
    experiment = session.experiment
    purse = purse or judges_purse(session)
    counts: dict[str, Mapping[str, int]] = {}
    stop_reason: str | None = None
    errors = 0
    async with opened_client(session, purse, [model for seat in judges for model in seat.models]) as client:
        gate = CanaryGate(session, client=client, embedder=embedder, stop=stop)
        for arm in arms_of(experiment):
            for seat in judges:
                if stop.reason is not None:
                    break
                if arm.name in portion.without:
                    continue
                who = f"{arm.name} · {seat.name}"
                if not await gate.admits(seat):
                    if stop.reason is None:
                        counts[who] = {UNREAD: await asyncio.to_thread(_pending, session, arm, seat, portion)}
                    continue
                room = _Room(client=client, embedder=embedder, stop=stop, portion=portion)
                result = await _judge_arm(session, arm, seat, room)
                counts[who] = result.endings
                stop_reason = stop_reason or result.stop_reason
                errors += sum(result.errors.values())
    reason = gate.stop_reason or stop_reason or stop.reason
    return StageCounts(counts=gate.counts | counts, stop_reason=reason, errors=errors)


def judges_purse(session: Session) -> Purse:
    """What is left of the judges' budget in this run."""
    return Purse(
        name="judges",
        limit_usd=session.experiment.budget.judges_usd,
        spent_usd=session.store.spent(session.run_id)["judges"],
    )


@dataclass(frozen=True, kw_only=True)
class _Room:
    """What every judge of a stage works with."""

    client: ModelClient
    embedder: Embedder
    stop: StopSignal
    portion: Portion


def _pending(session: Session, arm: Arm, seat: SeatedJudge, portion: Portion) -> int:
    return session.store.count_pending_pairs(
        session.run_id,
        arm.name,
        arm.fingerprint,
        judge_fingerprint=seat.fingerprint,
        orders=orders_of(seat.judge),
        first=portion.first,
        retry_errors=portion.retry_errors,
    )


async def _judge_arm(session: Session, arm: Arm, seat: SeatedJudge, room: _Room) -> PanelResult:
    store, run_id, reporter = session.store, session.run_id, session.reporter
    task = f"judge {arm.name} · {seat.name}"
    total = await asyncio.to_thread(_pending, session, arm, seat, room.portion)
    reporter.start(task, total=total)
    watch = SetupWatch(room.client, who=f"judge {seat.name}")
    result = await run_judge(
        seat.judge,
        seat.context(watch, room.embedder, deadline_s=session.experiment.replay.deadline_s),
        store.pending_pairs(
            run_id,
            arm.name,
            arm.fingerprint,
            judge_fingerprint=seat.fingerprint,
            orders=orders_of(seat.judge),
            first=room.portion.first,
            retry_errors=room.portion.retry_errors,
        ),
        lambda judgments: store.put_judgments(run_id, judgments),
        concurrency=session.experiment.replay.concurrency,
        stop=room.stop,
        on_progress=lambda progress: reporter.update(task, done=progress.pairs, total=total),
    )
    if not result.scored:
        # Fewer calls than the watch ends by itself: an error unless this judge is known to work.
        counts = store.pairs_judged(run_id, arm.name, arm.fingerprint, judge_fingerprint=seat.fingerprint)
        if not counts.scored:
            watch.check()
    note = ", ".join(f"{n:,} {ending}" for ending, n in result.endings.items()) or "nothing to do"
    reporter.finish(task, note if room.portion.first is None or result.stop_reason is not None else "")
    return result
