"""Has judges read pairs with a known answer before they are paid for real ones."""

import asyncio
from collections.abc import Mapping, Sequence

from harness.domain.health import HealthCheck, HealthState
from harness.domain.judgment import Judgment, JudgmentState
from harness.domain.model import ModelClient
from harness.domain.observation import CANARY
from harness.domain.stop import StopSignal
from harness.judging import canaries
from harness.judging.canary_result import checks_of, result_of
from harness.judging.panel import PanelResult
from harness.judging.protocol import Embedder
from harness.models.setup import SetupWatch
from harness.pipeline.arms import arms_of
from harness.pipeline.seats import SeatedJudge
from harness.pipeline.session import Session


class CanaryGate:
    """Lets a judge at its first pair only when its canaries, read now if they were not before, say that it may."""

    def __init__(self, session: Session, *, client: ModelClient, embedder: Embedder, stop: StopSignal) -> None:
        self._session = session
        self._client = client
        self._embedder = embedder
        self._stop = stop
        self._admitted: dict[str, bool] = {}
        self._has_pairs: bool | None = None
        self.counts: dict[str, Mapping[str, int]] = {}
        """Judgments on canaries that were read now, by ending."""
        self.stop_reason: str | None = None
        """Why canaries are left over: the budget, the time limit or somebody."""

    async def admits(self, seat: SeatedJudge) -> bool:
        """Whether the judge may read pairs; asked again it answers the same without reading anything.

        Raises:
            InfrastructureError: nothing but failures of our own set-up was heard.
        """
        setting = self._session.experiment.canaries
        if setting == "off" or not canaries.applies_to(seat.judge) or not await self._any_pairs():
            return True
        if seat.name not in self._admitted:
            self._admitted[seat.name] = await self._decide(seat) or setting == "warn"
        return self._admitted[seat.name]

    async def _any_pairs(self) -> bool:
        """Whether there is anything to judge in this run at all."""
        if self._has_pairs is None:
            store, run_id = self._session.store, self._session.run_id
            self._has_pairs = False
            for arm in arms_of(self._session.experiment):
                counts = await asyncio.to_thread(store.observation_counts, run_id, arm.name, arm.fingerprint)
                self._has_pairs = self._has_pairs or counts.comparable > 0
        return self._has_pairs

    async def _decide(self, seat: SeatedJudge) -> bool:
        found = await asyncio.to_thread(_stored, self._session, seat)
        task, read = f"canaries · {seat.name}", None
        if unread := canaries.unread(seat.judge, found):
            self._session.reporter.start(task, total=len(unread))
            read = await self._read(seat, unread, task=task)
            found = await asyncio.to_thread(_stored, self._session, seat)
        result = result_of(seat.judge, found)
        checks = checks_of(result)
        if read is not None:
            self.counts[task] = read.endings
            self.stop_reason = self.stop_reason or read.stop_reason
            stopped = f" Stopped: {read.stop_reason}." if read.stop_reason else ""
            self._session.reporter.finish(task, " ".join(check.sentence for check in checks) + stopped)
        for check in checks:
            # Why canaries are left over is said by whoever stopped: the budget, the clock or somebody.
            explained = check.state is HealthState.UNKNOWN and read is not None and read.stop_reason is not None
            if check.state is not HealthState.PASS and not explained:
                self._warn(seat, check)
        return result.state is HealthState.PASS

    async def _read(self, seat: SeatedJudge, wanted: Sequence[canaries.Canary], *, task: str) -> PanelResult:
        """Read the first one alone: it tells whether the judge can be asked at all, and in which form.

        In batches all are read together, since one alone may take as long.
        """
        session = self._session
        watch = SetupWatch(self._client, who=f"judge {seat.name}")
        replay = session.experiment.replay
        read = PanelResult()

        def on_progress(progress: PanelResult) -> None:
            session.reporter.update(task, done=read.pairs + progress.pairs, total=len(wanted))

        batched = any(model.batch is not None for model in seat.models)
        for part in (wanted,) if batched else (wanted[:1], wanted[1:]):
            now = await canaries.read_canaries(
                seat.judge,
                seat.context(watch, self._embedder, deadline_s=replay.deadline_s),
                part,
                lambda judgments: session.store.put_judgments(session.run_id, judgments),
                concurrency=seat.concurrency(replay.concurrency),
                pair_deadline_s=seat.pair_deadline_s,
                stop=self._stop,
                on_progress=on_progress,
            )
            read = read.plus(now)
            stored = await asyncio.to_thread(_stored, session, seat)
            # Identical answers are scored without a call and say nothing about the set-up.
            if not any(row.state is JudgmentState.SCORED and row.attempts for row in stored):
                watch.check()
            if read.stop_reason is not None:
                break
        return read

    def _warn(self, seat: SeatedJudge, check: HealthCheck) -> None:
        said = [f"judge {seat.name}: {check.sentence}", check.remedy]
        if self._session.experiment.canaries == "stop" and check.state is not HealthState.WARN:
            said.append("Until then it reads no pairs (`canaries: stop`).")
        self._session.warn_once(" ".join(part for part in said if part))


def canary_checks(session: Session, seat: SeatedJudge) -> tuple[HealthCheck, ...]:
    """What the judge's stored canaries say, as checks of its health; none for a judge that has no canaries."""
    if not canaries.applies_to(seat.judge):
        return ()
    found = _stored(session, seat)
    if found:
        return checks_of(result_of(seat.judge, found))
    remedy = "Set `canaries: stop` and run `harness judge`." if session.experiment.canaries == "off" else ""
    return tuple(
        HealthCheck(name=check.name, title=check.title, state=HealthState.UNKNOWN, sentence="Not read.", remedy=remedy)
        for check in checks_of(result_of(seat.judge, found))
    )


def unread_canaries(session: Session, seat: SeatedJudge) -> tuple[canaries.Canary, ...]:
    """The canaries that the judge would still read."""
    if session.experiment.canaries == "off" or not canaries.applies_to(seat.judge):
        return ()
    return canaries.unread(seat.judge, _stored(session, seat))


def canaries_usd(session: Session, seat: SeatedJudge) -> float | None:
    """What the judge's canaries cost in this run; ``None`` when none was read or the price is unknown."""
    costs = [judgment.cost_usd for judgment in _stored(session, seat) if judgment.attempts]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known and len(known) == len(costs) else None


def _stored(session: Session, seat: SeatedJudge) -> list[Judgment]:
    ids = [canary.pair.exchange_id for canary in canaries.canary_pairs()]
    return session.store.judgments(
        session.run_id, CANARY, canaries.canary_set_version(), ids=ids, judge_fingerprints=[seat.fingerprint]
    )
