"""`harness worker`: one process that keeps a live experiment going, loop beside loop."""

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.config import Live
from harness.domain.model import ModelClient, ModelSpec
from harness.domain.observation import ArmRole, Status
from harness.domain.run import Stage
from harness.domain.stop import StopSignal
from harness.errors import ConfigurationError, root_cause
from harness.judging.protocol import Embedder
from harness.models.breaker import Breaker
from harness.models.budget import Purse
from harness.models.factory import ClientStack, ShadowCalls, build_client, preflight, refuse_batches
from harness.pipeline.arms import Arm, arms_of
from harness.pipeline.checks import check_settings
from harness.pipeline.judging import judges_purse
from harness.pipeline.live.asking import AskingLoop
from harness.pipeline.live.intake import Intake
from harness.pipeline.live.keeping import KeepingLoop
from harness.pipeline.live.looking import JudgingLoop, LookingLoop, check_looks
from harness.pipeline.live.purses import DailyPurse, Now, midnight, utc_now
from harness.pipeline.live.quota import QuotaGuard
from harness.pipeline.live.room import Room
from harness.pipeline.live.served import ServedPairs
from harness.pipeline.live.state import ArmState, EventKind, OnEvent, WorkerState
from harness.pipeline.replaying import candidates_purse
from harness.pipeline.seats import SeatedJudge, default_embedder, seat_judges
from harness.pipeline.session import Session, reached
from harness.spool import control
from harness.spool.headers import INTERNAL
from harness.spool.reader import SpoolReader
from harness.spool.record import Captured

DRAINED = "drained"
"""Stop reason: everything that was in the spool has been dealt with."""

ClientFor = Callable[[Arm, ModelSpec, Purse], ModelClient]


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How a worker is run."""

    drain: bool = False
    """End when everything that is in the spool has been asked, judged and decided on."""
    command: str = "harness worker"
    """How the decision came about, for the report."""


class LiveWorker:
    """Takes in what the gateway spooled, asks the candidates, judges and decides, until its session is stopped.

    Each arm, the intake, the judges and the decisions have a loop of their own, so that none of them waits for another.
    :meth:`snapshot` may be read at any time; functions in :attr:`events` are called, on the event loop or in a thread,
    when something happens that people should know.

    Raises:
        ConfigurationError: a model cannot be asked, a limit cannot be kept, or another worker reads the spool.
    """

    def __init__(
        self,
        live: Live,
        session: Session,
        *,
        options: WorkerOptions | None = None,
        client_for: ClientFor | None = None,
        embedder: Embedder | None = None,
        now: Now = utc_now,
    ) -> None:
        self.live = live
        self.session = session
        self.events: list[OnEvent] = []
        self.quota = QuotaGuard(live.gateway.upstream, live.worker.quota_pause_s)
        self._options = options or WorkerOptions()
        self._client_for = client_for or self._stack
        self._embedder = embedder or default_embedder()
        self._now = now
        self._started_at = datetime.now(UTC)
        self._room = Room(live=live, session=session, stop=StopSignal(parent=session.stop), events=self.events)
        self._judges: tuple[SeatedJudge, ...] = ()
        self._intake: Intake | None = None
        self._arms: list[AskingLoop] = []
        self._judging: JudgingLoop | None = None
        self._looking: LookingLoop | None = None
        self._served: ServedPairs | None = None

    async def run(self) -> WorkerState:
        """Work until the session's stop signal fires; what is in flight then is finished, kept and decided on.

        Raises:
            InfrastructureError: the store was down when the work had to end.
        """
        self._check()
        with SpoolReader(self._folder) as reader:
            async with AsyncExitStack() as stack:
                await self._set_up(reader, stack)
                await self._loops()
                await self._finish()
        return self.snapshot()

    def snapshot(self) -> WorkerState:
        """The state as it is; waits for nothing and reads no file."""
        intake, room, looking = self._intake, self._room, self._looking
        counts = intake.counts if intake is not None else {}
        looks = looking.looks if looking is not None else None
        judging = self._judging
        purse = judging.purse if judging is not None else None
        return WorkerState(
            run_id=self.session.run_id,
            at=datetime.now(UTC),
            started_at=self._started_at,
            records=intake.records if intake is not None else 0,
            endings=counts,
            damaged_bytes=intake.damaged_bytes if intake is not None else 0,
            lag_bytes=intake.lag_bytes if intake is not None else 0,
            exchanges=intake.exchanges if intake is not None else 0,
            mirroring=room.mirroring,
            store_down_since=room.store_down_since,
            intake_ended=intake is not None and intake.ended,
            arms=tuple(self._arm_state(loop) for loop in self._arms),
            judges_spent_today_usd=purse.spent_today_usd if purse is not None else 0.0,
            judges_exhausted=purse.exhausted if purse is not None else None,
            judges_daily_usd=self.live.worker.judges_daily_usd,
            judging_failing_since=judging.failing_since if judging is not None else None,
            judging_failure=judging.failure if judging is not None else None,
            judging_errors_left=judging is not None and judging.errors_left,
            looked_at=looks.looked_at if looks is not None else None,
            decided_at=looks.decided_at if looks is not None else None,
            reported_at=looks.reported_at if looks is not None else None,
            stopping=room.stopping,
        )

    @property
    def _folder(self) -> Path:
        return Path(self.live.spool.folder)

    def _check(self) -> None:
        experiment = self.session.experiment
        check_looks(experiment.decision.looks)
        if "topic" in experiment.report.slices:
            raise ConfigurationError(
                "report.slices: topics are found over a whole export; leave `topic` out of a live experiment"
            )
        self._judges = seat_judges(experiment, self._embedder)
        check_settings(experiment, self._judges)
        worker, allow = self.live.worker, experiment.budget.allow_unpriced
        limits = [limit for limit in (worker.daily_usd, experiment.budget.candidates_usd) if limit is not None]
        specs = [arm.spec for arm in arms_of(experiment) if arm.spec is not None]
        refuse_batches([*specs, *(model for judge in self._judges for model in judge.models)])
        preflight(specs, purse=Purse("candidates", min(limits, default=None)), allow_unpriced=allow)
        if worker.judges_daily_usd is not None:
            models = [model for judge in self._judges for model in judge.models]
            preflight(models, purse=Purse("judges", worker.judges_daily_usd), allow_unpriced=allow)

    async def _set_up(self, reader: SpoolReader, stack: AsyncExitStack) -> None:
        session, room = self.session, self._room
        room.mirroring = control.is_mirroring(self._folder)
        served = ServedPairs(
            room, judges=self._judges, embedder=self._embedder, quota=self.quota, client_of=self._replica_client,
            purse_of=self._replica_purse, judges_purse_of=self._judges_purse, command=self._options.command,
        )  # fmt: skip
        intake = Intake(room, reader, on_captured=self._saw, on_served=served.take)
        await intake.prepare()
        today, judged_today = await asyncio.to_thread(session.store.spent_since, session.run_id, midnight(self._now()))
        run_purse = await asyncio.to_thread(candidates_purse, session)
        for arm in arms_of(session.experiment):
            assert arm.spec is not None  # noqa: S101  a live experiment's arms have models; checked when it was read
            purse = DailyPurse(
                f"daily {arm.name}", self.live.worker.daily_usd, today.get(arm.name, 0.0), run=run_purse, now=self._now
            )
            client = self._client_for(arm, arm.spec, purse)
            if isinstance(client, ClientStack):
                stack.push_async_callback(client.aclose)
            breaker = Breaker(self.live.worker.breaker, rng=random.Random(f"{session.run_id}/{arm.name}"))
            loop = AskingLoop(
                room, arm, arm.spec, client=client, purse=purse, breaker=breaker, quota=self.quota,
                fresh=intake.listen(),
            )  # fmt: skip
            breaker.on_change = loop.on_breaker
            loop.take_over(await asyncio.to_thread(self._outcomes, arm))
            self._arms.append(loop)
        run_judges = await asyncio.to_thread(judges_purse, session)
        purse = DailyPurse(
            "daily judges", self.live.worker.judges_daily_usd, judged_today, run=run_judges, now=self._now
        )
        self._judging = JudgingLoop(room, self._judges, self._embedder, purse)
        self._looking = await asyncio.to_thread(
            lambda: LookingLoop(room, self._judges, intake, command=self._options.command)
        )
        self._intake, self._served = intake, served
        if not reached(session.run, Stage.INGESTED):
            await asyncio.to_thread(session.store.save_ingest_report, session.run_id, intake.report())
            session.advance(Stage.INGESTED)

    async def _loops(self) -> None:
        assert self._intake is not None  # noqa: S101  set up before
        assert self._judging is not None  # noqa: S101
        assert self._looking is not None  # noqa: S101
        assert self._served is not None  # noqa: S101
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch())
                async with asyncio.TaskGroup() as loops:
                    loops.create_task(self._intake.run())
                    for loop in self._arms:
                        loops.create_task(loop.run())
                    loops.create_task(self._judging.run())
                    loops.create_task(self._looking.run())
                    loops.create_task(self._served.run())
                    loops.create_task(KeepingLoop(self._room, self._judges).run())
                watching.cancel()
        except BaseExceptionGroup as failure:
            raise root_cause(failure) from None

    async def _finish(self) -> None:
        """Judge what was answered last, if there is time for it, and decide once more."""
        assert self._judging is not None  # noqa: S101  set up before
        assert self._looking is not None  # noqa: S101
        if self.session.stop.reason is None:
            await self._judging.once(last=True)
            if self._judging.failure is not None or self._judging.errors_left:
                self.session.reporter.warn("judges failed on some pairs; they are asked again when a worker starts")
        await self._looking.once(last=True)

    async def _watch(self) -> None:
        """Look at the kill switch, and whether everything is done."""
        quiet = 0
        while True:
            mirroring = control.is_mirroring(self._folder)
            if mirroring != self._room.mirroring:
                self._room.mirroring = mirroring
                state = "asked again" if mirroring else "asked nothing more: the kill switch is off"
                self._room.session.reporter.warn(f"candidates are {state}")
                self._room.tell(EventKind.KILL_SWITCH, f"candidates are {state}", value=float(mirroring))
            quiet = quiet + 1 if self._is_idle() else 0
            if self._options.drain and quiet > 1:
                self._room.stop.request(DRAINED)
            await asyncio.sleep(control.LOOK_S)

    def _is_idle(self) -> bool:
        if self._intake is None or self._served is None:
            return False
        return self._intake.idle and self._served.idle and all(loop.idle for loop in self._arms)

    def _replica(self) -> AskingLoop:
        return next(loop for loop in self._arms if loop.arm.role is ArmRole.REPLICA)

    def _replica_client(self) -> ModelClient:
        return self._replica().client

    def _replica_purse(self) -> DailyPurse:
        return self._replica().purse

    def _judges_purse(self) -> DailyPurse:
        assert self._judging is not None  # noqa: S101  set up before anything is read
        return self._judging.purse

    def _saw(self, captured: Captured) -> None:
        if self.quota.saw(captured):
            affected = [loop.arm.name for loop in self._arms if self.quota.covers(loop.spec)]
            if affected:
                message = (
                    f"production was told to slow down; {', '.join(affected)} at the same provider "
                    f"{'rests' if len(affected) == 1 else 'rest'} for {self.live.worker.quota_pause_s:g} s"
                )
                self._room.tell(EventKind.QUOTA_GUARD, message)

    def _outcomes(self, arm: Arm) -> dict[tuple[Status, str], int]:
        counts = self.session.store.observation_counts(self.session.run_id, arm.name, arm.fingerprint)
        found = {(Status.COMPLETED, ""): counts.completed} if counts.completed else {}
        for status, kinds in (
            (Status.FAILED, counts.failed), (Status.DROPPED, counts.dropped), (Status.SKIPPED, counts.skipped),
        ):  # fmt: skip
            found |= {(status, reason): n for reason, n in kinds.items()}
        return found

    def _arm_state(self, loop: AskingLoop) -> ArmState:
        outcomes: dict[str, dict[str, int]] = {status.value: {} for status in Status}
        for (status, reason), n in tuple(loop.outcomes.items()):
            outcomes[status.value][reason] = n
        name, looking = loop.arm.name, self._looking
        standing = looking.looks.standings.get(name) if looking is not None else None
        decision = standing.decision if standing is not None else None
        gates = loop.client.gates if isinstance(loop.client, ClientStack) else {}
        gate = gates.get(loop.spec.provider)
        return ArmState(
            arm=name,
            role=loop.arm.role.value,
            model=loop.spec.model,
            outcomes=outcomes,
            in_flight=loop.in_flight,
            breaker=loop.breaker.state,
            breaker_remaining_s=loop.breaker.remaining_s,
            quota_remaining_s=loop.quota_remaining_s,
            stopped=loop.stopped,
            spent_today_usd=loop.purse.spent_today_usd,
            daily_usd=self.live.worker.daily_usd,
            budget_exhausted=loop.purse.exhausted,
            error_spike=loop.error_spike,
            slow=looking.alarm(EventKind.LATENCY, name) if looking is not None else None,
            diverging=looking.alarm(EventKind.DIVERGENCE, name) if looking is not None else None,
            concurrency=gate.limit if gate is not None else None,
            verdict=decision.verdict if decision is not None else None,
            sentence=decision.sentence if decision is not None else None,
            n_needed=decision.n_needed if decision is not None else None,
            estimates=standing.estimates if standing is not None else {},
        )

    def _stack(self, arm: Arm, spec: ModelSpec, purse: Purse) -> ModelClient:
        experiment = self.session.experiment
        return build_client(
            replay=experiment.replay,
            purse=purse,
            seed=experiment.traffic.sample.seed,
            allow_unpriced=experiment.budget.allow_unpriced,
            shadow=ShadowCalls(max_response_bytes=self.live.worker.max_response_bytes, headers={INTERNAL: "worker"}),
        )
