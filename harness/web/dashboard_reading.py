"""What the dashboard knows: the store, read only, and what running processes say of themselves."""

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.config import Experiment, Live
from harness.domain.decision import Decision
from harness.domain.judgment import Judgment
from harness.domain.look import LookPoint
from harness.domain.pair import Pair
from harness.domain.rollout_report import RolloutReport
from harness.domain.run import IngestReport, Run
from harness.errors import ConfigurationError, HarnessError, InfrastructureError
from harness.pipeline.arms import Arm, arms_of
from harness.pipeline.live.funnel import Funnel, read_funnel
from harness.pipeline.live.served import served_run_id
from harness.pipeline.seats import SeatedJudge, default_embedder, seat_judges
from harness.rollout.histories import attempt_policy
from harness.rollout.reporting import report_of
from harness.spool import counters
from harness.spool.reader import COUNTERS
from harness.store import ObservationCounts, RolloutControl, RolloutRecord, Store
from harness.store.runs import DecisionRecord
from harness.store.watched import ChangeWatch, PairRow, PairsJudged
from harness.web.admin_ports import AdminPort
from harness.web.stream import NoSuchPageError
from reports.messages import content
from reports.text import one_line

SHOWN_PAIRS = 25
SHOWN_RUNS = 100
_DECISIONS = TypeAdapter(dict[str, Decision])


@dataclass(frozen=True, kw_only=True)
class Watched:
    """One live experiment whose file was given: where its processes are, and what it may spend."""

    live: Live
    gateway: AdminPort
    worker: AdminPort
    controller: AdminPort | None = None
    """``None`` when its rollout's file was not given."""

    @property
    def folder(self) -> Path:
        """Its spool."""
        return Path(self.live.spool.folder)

    def digest(self) -> str:
        """Differs when what its processes say, or count, does."""
        told = [port.status() for port in (self.gateway, self.worker, self.controller) if port is not None]
        counts = counters.totals(self.folder / COUNTERS)
        lasting = [{name: value for name, value in (one or {}).items() if name not in _RESTLESS} for one in told]
        text = json.dumps([lasting, [one is None for one in told], dict(counts)], default=str, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


_RESTLESS = frozenset({"at", "gateway", "in_flight"})
"""What a process says that changes although nothing happens."""


def watched(live: Live, controller: AdminPort | None = None) -> Watched:
    """With the admin ports that the file names."""

    def port(name: str, host: str, number: int) -> AdminPort:
        return AdminPort(name=name, host=host, port=number)

    return Watched(
        live=live,
        gateway=port("gateway", live.admin.host, live.admin.port),
        worker=port("worker", live.worker_admin.host, live.worker_admin.port),
        controller=controller,
    )


@dataclass(frozen=True, kw_only=True)
class RunLine:
    """A run among others."""

    run: Run
    kind: str
    exchanges: int | None
    """Sampled; ``None`` before the export was read."""
    decisions: Mapping[str, Decision]
    decided_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ArmReading:
    """One candidate, or the replica, of a run."""

    arm: Arm
    counts: ObservationCounts
    unasked: int
    judged: tuple[tuple[str, PairsJudged], ...]
    """By judge; empty where the judges are not known here."""
    newest: tuple[PairRow, ...]
    questions: Mapping[str, str]
    """By exchange: the last thing the user said; empty for readers who may not read it."""


@dataclass(frozen=True, kw_only=True)
class RunReading:
    """Everything a run's page shows."""

    run: Run
    kind: str
    """``offline``, ``live`` or ``served``."""
    experiment: Experiment | None
    problem: str
    """Why its arms or judges are not known here; empty when they are."""
    ingest: IngestReport | None
    decided: DecisionRecord | None
    decisions: Mapping[str, Decision]
    arms: tuple[ArmReading, ...]
    judges: tuple[SeatedJudge, ...]
    looks: tuple[LookPoint, ...]
    spent: Mapping[str, float]
    spent_today: Mapping[str, float]
    """By arm, and on judges under ``judges``; since midnight UTC."""
    unpriced: Mapping[str, int]
    funnel: Funnel | None
    """``None`` unless its live file was given."""
    watched: Watched | None
    worker: Mapping[str, Any] | None
    """What the worker says; ``None`` when it is not known."""
    gateway: Mapping[str, Any] | None
    may_read: bool
    """Whether the reader has shown the token."""

    @property
    def shows_text(self) -> bool:
        """Whether messages and answers may be shown to this reader."""
        return self.may_read and self.experiment is not None and self.experiment.report.show_text


@dataclass(frozen=True, kw_only=True)
class RolloutReading:
    """Everything a rollout's page shows."""

    report: RolloutReport
    control: RolloutControl
    controller: Mapping[str, Any] | None
    """What its controller says; ``None`` when it is not known."""
    has_address: bool
    """Whether there is an address to ask the controller at."""


@dataclass(kw_only=True)
class Reading:
    """Opens the store to read when it is there, and again when it was away."""

    url: str
    lives: Sequence[Watched] = ()
    _store: Store | None = None
    _watch: ChangeWatch | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _seats: dict[str, tuple[SeatedJudge, ...]] = field(default_factory=dict, repr=False)

    @property
    def store(self) -> Store:
        """The store, which refuses to be written.

        Raises:
            InfrastructureError: it cannot be reached, is not there yet, or is of another version.
        """
        with self._lock:
            if self._store is None:
                self._store = Store.open(self.url, read_only=True)
            return self._store

    def close(self) -> None:
        """Close it."""
        with self._lock:
            if self._watch is not None:
                self._watch.close()
            if self._store is not None:
                self._store.close()
            self._store = self._watch = None

    def token(self) -> str:
        """Differs when the store was written, or a process says something else, since it was last asked.

        Raises:
            InfrastructureError: the store cannot be reached.
        """
        store = self.store
        try:
            if self._watch is None:
                self._watch = store.change_watch()
            changed = self._watch.token()
        except InfrastructureError:
            self.close()
            raise
        return "/".join([changed, *(one.digest() for one in self.lives)])

    # Runs

    def runs(self) -> tuple[list[RunLine], int]:
        """The runs that were worked on last, newest first, and how many there are."""
        store = self.store
        found = sorted(store.runs(), key=lambda run: run.updated_at, reverse=True)
        sampled = store.sampled()
        return [self._line(store, run, sampled.get(run.id)) for run in found[:SHOWN_RUNS]], len(found)

    def _line(self, store: Store, run: Run, sampled: int | None) -> RunLine:
        decided = store.last_decision(run.id)
        return RunLine(
            run=run,
            kind=self.kind_of(run),
            exchanges=sampled,
            decisions=decisions_of(decided),
            decided_at=decided.decided_at if decided else None,
        )

    def kind_of(self, run: Run) -> str:
        """Where its traffic comes from."""
        traffic = run.experiment.get("traffic")
        if not isinstance(traffic, dict) or traffic.get("dialect") != "spool":
            return "offline"
        # An experiment's name has no run of its own that is called so; what the candidate served is one beside it.
        return "served" if run.name.endswith("-served") and "-served-" in run.id else "live"

    def run(self, run_id: str, *, may_read: bool) -> RunReading:
        """One run.

        Raises:
            NoSuchPageError: there is none.
            InfrastructureError: the store cannot be reached.
        """
        store = self.store
        run = store.run(run_id)
        if run is None:
            raise NoSuchPageError(f"There is no run {one_line(run_id, 100)} in this store.")
        experiment, judges, problem = self._experiment(run)
        decided = store.last_decision(run.id)
        own = self.watched_of(run)
        kind = self.kind_of(run)
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        by_arm, on_judges = store.spent_since(run.id, today)
        texts = may_read and experiment is not None and experiment.report.show_text
        arms = arms_of(experiment) if experiment is not None else ()
        shadow = own is not None and kind == "live"
        return RunReading(
            run=run,
            kind=kind,
            experiment=experiment,
            problem=problem,
            ingest=store.ingest_report(run.id),
            decided=decided,
            decisions=decisions_of(decided),
            arms=tuple(self._arm(store, run, arm, judges, texts=texts) for arm in arms),
            judges=judges,
            looks=tuple(store.looks(run.id)),
            spent=store.spent(run.id),
            spent_today={**by_arm, "judges": on_judges},
            unpriced=store.unpriced(run.id),
            funnel=read_funnel(own.live, store, run.id) if own is not None and shadow else None,
            watched=own,
            worker=self._worker(own, run) if own is not None else None,
            gateway=own.gateway.status() if own is not None else None,
            may_read=may_read,
        )

    def watched_of(self, run: Run) -> Watched | None:
        """The live experiment whose worker fills this run, where its file was given."""
        for one in self.lives:
            served = [served_run_id(one.live.name, arm.name) for arm in one.live.candidates]
            if run.id in {one.live.name, *served}:
                return one
        return None

    @staticmethod
    def _worker(own: Watched, run: Run) -> Mapping[str, Any] | None:
        told = own.worker.status()
        # A worker that fills another run says nothing about this one.
        return told if told is not None and run.id.startswith(str(told.get("run_id"))) else None

    def _experiment(self, run: Run) -> tuple[Experiment | None, tuple[SeatedJudge, ...], str]:
        try:
            experiment = Experiment.model_validate(dict(run.experiment))
        except ValidationError:
            return None, (), "The experiment was stored by another version, so its candidates are not known here."
        key = hashlib.sha256(json.dumps(run.experiment, sort_keys=True, default=str).encode()).hexdigest()
        try:
            if key not in self._seats:
                self._seats[key] = seat_judges(experiment, default_embedder())
        except (HarnessError, ImportError) as error:
            return experiment, (), f"Its judges are not known here: {error}."
        return experiment, self._seats[key], ""

    @staticmethod
    def _arm(store: Store, run: Run, arm: Arm, judges: Sequence[SeatedJudge], *, texts: bool) -> ArmReading:
        counts, unasked = store.arm_counts(run.id, arm.name, arm.fingerprint)
        judged = tuple(
            (judge.name, store.pairs_judged(run.id, arm.name, arm.fingerprint, judge_fingerprint=judge.fingerprint))
            for judge in judges
        )
        known = [judge.fingerprint for judge in judges] or None
        newest = tuple(store.newest_pairs(run.id, arm.name, arm.fingerprint, limit=SHOWN_PAIRS, judges=known))
        ids = [row.exchange_id for row in newest]
        questions = (
            {item.id: question(item.request.messages) for item in store.exchanges(run.id, ids=ids)}
            if (texts and ids)
            else {}
        )
        return ArmReading(arm=arm, counts=counts, unasked=unasked, judged=judged, newest=newest, questions=questions)

    # Rollouts

    def rollouts(self) -> list[RolloutReport]:
        """Of every live experiment the rollout under way, else the one that ended last.

        Raises:
            InfrastructureError: the store cannot be reached.
        """
        store = self.store
        return [report for record in store.latest_rollouts() if (report := _reported(store, record)) is not None]

    def rollout(self, live: str) -> RolloutReading:
        """The rollout of a live experiment.

        Raises:
            NoSuchPageError: there was none, or this version does not understand it.
            InfrastructureError: the store cannot be reached.
        """
        store = self.store
        record = store.latest_rollout(live)
        report = None if record is None else _reported(store, record)
        if report is None:
            raise NoSuchPageError(f"There is no rollout of {one_line(live, 100)} in this store.")
        own = next((one for one in self.lives if one.live.name == live), None)
        port = own.controller if own is not None else None
        told = port.status() if port is not None else None
        return RolloutReading(
            report=report,
            control=store.rollout_control(report.rollout_id),
            controller=told if told is not None and told.get("rollout_id") == report.rollout_id else None,
            has_address=port is not None and port.is_known,
        )

    def pair(self, run_id: str, arm_name: str, exchange_id: str) -> tuple[RunReading, Arm, Pair, list[Judgment]]:
        """One pair with everything said about it, for a reader who may.

        Raises:
            NoSuchPageError: there is none, or its texts are not to be shown.
            InfrastructureError: the store cannot be reached.
        """
        found = self.run(run_id, may_read=True)
        arm = next((one.arm for one in found.arms if one.arm.name == arm_name), None)
        if arm is None or not found.shows_text:
            raise NoSuchPageError("There is no such pair, or the experiment says that texts are not to be shown.")
        store = self.store
        pairs = list(store.pairs(run_id, arm.name, arm.fingerprint, ids=[exchange_id]))
        if not pairs:
            deleted = [item.sentence for item in store.reductions(run_id)]
            raise NoSuchPageError(" ".join(["There is no such pair.", *deleted]))
        judges = [judge.fingerprint for judge in found.judges] or None
        said = store.judgments(run_id, arm.name, arm.fingerprint, ids=[exchange_id], judge_fingerprints=judges)
        return found, arm, pairs[0], said


def _reported(store: Store, record: RolloutRecord) -> RolloutReport | None:
    events = store.rollout_events(record.id)
    # To the minute, or the page would be another one at every look.
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    try:
        return report_of(
            record, attempt_policy(record, events), events, at=max(now, events[-1].at),
            actions=store.rollout_actions(record.id), control=store.rollout_control(record.id),
        )  # fmt: skip
    except ConfigurationError:
        return None


def decisions_of(decided: DecisionRecord | None) -> dict[str, Decision]:
    """The decisions by candidate; empty when nothing was decided, or another version wrote it."""
    if decided is None:
        return {}
    try:
        return _DECISIONS.validate_python(decided.decision.get("arms", {}))
    except ValidationError:
        return {}


def question(messages: Sequence[Mapping[str, Any]]) -> str:
    """The last thing the user said, on one line."""
    for message in reversed(messages):
        if message.get("role") == "user" and (text := content(message.get("content"))):
            return one_line(text, 160)
    return "a request without a user's text"
