"""What a rollout's candidate served becomes pairs as well: production is asked in its place, and nobody sees that.

They are a run of their own. Users who talk to the candidate say other things than users who talk to production, so what
comes of it is another quantity than that of the shadow pairs, and the two are never pooled.
"""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.config import Experiment, Live, Settings
from harness.domain.exchange import Exchange
from harness.domain.model import ModelClient
from harness.domain.observation import PRODUCTION, ArmRole, Observation, Status
from harness.domain.run import IngestReport
from harness.ingest.summary import Features, Tally
from harness.judging.protocol import Embedder
from harness.models.breaker import Breaker
from harness.pipeline.arms import Arm, arms_of
from harness.pipeline.live.asking import AskingLoop
from harness.pipeline.live.looking import JudgingLoop, LookingLoop
from harness.pipeline.live.purses import DailyPurse
from harness.pipeline.live.quota import QuotaGuard
from harness.pipeline.live.room import TICK_S, Room
from harness.pipeline.seats import SeatedJudge
from harness.pipeline.session import open_session
from harness.spool.record import Captured

ASKED_LATER = "asked_later"
"""Reason of production's observation until production has been asked."""


def served_run_id(run_id: str, candidate: str) -> str:
    """The run that holds the pairs of what a candidate served, beside the run of its shadow pairs."""
    return f"{run_id}-served-{candidate}"


def served_experiment(live: Live, candidate: str) -> Experiment:
    """What those pairs are judged and decided by: the same rules, about the one candidate that serves."""
    whole = live.experiment
    mine = [one for one in whole.candidates if one.name == candidate]
    # Without the replica, which is production here: held against itself it would have no noise at all.
    return whole.model_copy(update={"name": f"{live.name}-served", "candidates": mine, "replica": None})


class ServedPairs:
    """Takes in what the candidate served, has production asked, and has the pairs judged and decided on.

    Nothing begins before the first such request; without a ``replica`` in the live experiment, which says how
    production is asked, there is nobody to ask, and nothing ever begins.
    """

    def __init__(
        self,
        room: Room,
        *,
        judges: Sequence[SeatedJudge],
        embedder: Embedder,
        quota: QuotaGuard,
        client_of: Callable[[], ModelClient],
        purse_of: Callable[[], DailyPurse],
        judges_purse_of: Callable[[], DailyPurse],
        command: str,
    ) -> None:
        self.exchanges = 0
        self.records = 0
        self._room = room
        self._judges = judges
        self._embedder = embedder
        self._quota = quota
        self._client_of = client_of
        self._purse_of = purse_of
        self._judges_purse_of = judges_purse_of
        self._command = command
        self._arm = next((arm for arm in arms_of(room.session.experiment) if arm.role is ArmRole.REPLICA), None)
        self._own: Room | None = None
        self._candidate: Arm | None = None
        self._next = 0.0
        self._tally = Tally()
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._begun = threading.Event()
        self._fresh: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asking: AskingLoop | None = None

    @property
    def idle(self) -> bool:
        """Whether everything that was taken in has been asked."""
        return not self._begun.is_set() or (self._asking is not None and self._asking.idle)

    def take(self, items: Sequence[tuple[Captured, Exchange]]) -> None:
        """Store what the candidate served; for the thread that reads the spool.

        What is there already is left as it is: production may have been asked since.
        """
        if self._arm is None or not items:
            return
        for captured, exchange in items:
            arm = self._arm_of(str(captured.served.get("rollout_id")))
            if arm is not None:
                self._take(arm, exchange)
        if self._fresh is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._fresh.set)

    def _take(self, arm: Arm, exchange: Exchange) -> None:
        room = self._own
        assert room is not None  # noqa: S101  set with the arm
        session = room.session
        if session.store.exchange_sources(session.run_id, [exchange.id]):
            return
        served = replace(exchange.production, arm=arm.name, fingerprint=arm.fingerprint)
        later = Observation(
            exchange_id=exchange.id, arm=PRODUCTION, status=Status.SKIPPED, reason=ASKED_LATER, fingerprint=""
        )
        waiting = replace(exchange, production=later)
        # The exchange last: when it is there, everything is.
        session.store.put_observations(session.run_id, [served])
        session.store.put_exchanges(session.run_id, [(waiting, self._next)])
        with self._lock:
            self._tally.add(Features.of(waiting))
        self._next += 1
        self.exchanges += 1
        self.records += 1
        self._begun.set()

    def _arm_of(self, rollout_id: str) -> Arm | None:
        """The candidate that served in a rollout, as this worker's configuration has it; prepares its run."""
        record = self._room.session.store.rollout(rollout_id)
        if record is None:
            return None
        if self._candidate is None:
            own = next((arm for arm in arms_of(self._room.session.experiment) if arm.name == record.candidate), None)
            if own is None:
                return None
            self._open(own)
        candidate = self._candidate
        known = candidate is not None and (candidate.name, candidate.fingerprint) == (
            record.candidate, record.fingerprint,
        )  # fmt: skip
        return candidate if known else None

    def _open(self, arm: Arm) -> None:
        session = self._room.session
        own = open_session(
            served_experiment(self._room.live, arm.name),
            store=session.store,
            settings=Settings(store="", runs_dir=session.runs_dir),
            run_id=served_run_id(session.run_id, arm.name),
            reporter=session.reporter,
            stop=session.stop,
        )
        own.folder.mkdir(parents=True, exist_ok=True)
        tally = Tally()
        for exchange in own.store.exchanges(own.run_id):
            tally.add(Features.of(exchange))
        last = own.store.last_position(own.run_id)
        self._tally, self.exchanges, self.records = tally, tally.n, tally.n
        self._next = 0.0 if last is None else last + 1
        self._own = Room(live=self._room.live, session=own, stop=self._room.stop, events=self._room.events)
        self._candidate = arm
        if tally.n:
            self._begun.set()

    def report(self) -> IngestReport:
        """What was taken in, as of any export."""
        source = self._room.session.experiment.traffic.source[0]
        with self._lock:
            sample, n = self._tally.summary(), self._tally.n
        report = IngestReport(
            files=(source,), dialects={source: "spool"}, read=n, rejected=0, skipped={}, deduplicated=0, kept=n,
            sampled=n, redactions={}, redaction_enabled=True, warnings=(), population=sample, sample=sample,
        )  # fmt: skip
        report.check()
        return report

    # Asking, judging, deciding

    async def run(self) -> None:
        """Work from the first request that the candidate served, until it is time to stop."""
        while not self._begun.is_set():
            if self._room.stopping:
                return
            await asyncio.sleep(TICK_S)
        room, arm = self._own, self._arm
        assert room is not None  # noqa: S101  begun with it
        assert arm is not None  # noqa: S101
        assert arm.spec is not None  # noqa: S101  a live experiment's arms have models
        self._loop, self._fresh = asyncio.get_running_loop(), asyncio.Event()
        breaker = Breaker(self._room.live.worker.breaker, rng=random.Random(f"{room.session.run_id}/{arm.name}"))
        asking = _InProductionsPlace(
            room, replace(arm, share=None), arm.spec, client=self._client_of(), purse=self._purse_of(),
            breaker=breaker, quota=self._quota, fresh=self._fresh,
        )  # fmt: skip
        breaker.on_change = asking.on_breaker
        self._asking = asking
        judging = JudgingLoop(room, self._judges, self._embedder, self._judges_purse_of())
        looking = await asyncio.to_thread(lambda: LookingLoop(room, self._judges, self, command=self._command))
        async with asyncio.TaskGroup() as loops:
            for loop in (asking, judging, looking):
                loops.create_task(loop.run())
        if self._room.session.stop.reason is None:
            await judging.once(last=True)
        await looking.once(last=True)


class _InProductionsPlace(AskingLoop):
    """Asks production what the candidate answered; what it says is production's observation of the exchange."""

    def _write(self, observations: Sequence[Observation]) -> None:
        session = self._room.session
        as_production = [replace(item, arm=PRODUCTION, fingerprint="") for item in observations]
        # First: what this arm has an observation of is not asked again.
        self._room.persist(lambda: session.store.put_observations(session.run_id, as_production))
        super()._write(observations)
