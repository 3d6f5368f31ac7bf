"""Judging and deciding while traffic comes in; bounds that hold at any look make looking all the time harmless."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harness.config import digest
from harness.decision import metrics
from harness.domain.decision import Decision
from harness.domain.estimate import Estimate
from harness.domain.run import IngestReport, Stage
from harness.errors import ConfigurationError, HarnessError
from harness.judging.protocol import Embedder
from harness.pipeline import attempts, evaluation, stages
from harness.pipeline.arms import arms_of
from harness.pipeline.evaluation import ArmEvaluation
from harness.pipeline.judging import judge_arms
from harness.pipeline.live.purses import DailyPurse, Limit
from harness.pipeline.live.room import TICK_S, Room
from harness.pipeline.live.state import EventKind
from harness.pipeline.look_history import LookHistory
from harness.pipeline.pair_texts import Texts, writing
from harness.pipeline.seats import SeatedJudge
from harness.pipeline.session import Portion, Reporter, SilentReporter
from harness.stats.evidence import Evidence
from harness.stats.looks import AnyLook

SHOWN = ("win_rate", "error_rate_difference", "similarity")
"""Metrics whose estimates a worker shows while it runs."""
_REPORT_EVERY_S = 60.0
_DECIDE_EVERY_S = 3_600.0
"""A decision that has not changed is stored again this often, so that its history shows that it still stood."""
_BEST_AT = 0.3
_WINDOW = 50
_FAILED_WAIT_S = 60.0
"""How long judges are left alone after their set-up failed."""
_RETRY_S = 300.0
"""How often judgments that failed are made again."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the last look said of one arm."""

    decision: Decision | None
    estimates: Mapping[str, Estimate]


@dataclass(kw_only=True)
class Looks:
    """What has been seen so far.

    Each field is replaced and never changed, so that whoever reads it waits for nothing; two of them may be of
    different looks.
    """

    standings: Mapping[str, Standing] = field(default_factory=dict)
    looked_at: datetime | None = None
    decided_at: datetime | None = None
    reported_at: datetime | None = None
    files: Mapping[str, Path] = field(default_factory=dict)


class JudgingLoop:
    """Lets the judges read what has been answered, again and again."""

    def __init__(self, room: Room, judges: Sequence[SeatedJudge], embedder: Embedder, purse: DailyPurse) -> None:
        self._room = room
        self._judges = judges
        self._embedder = embedder
        self.purse = purse
        self._session = replace(room.session, reporter=_WarningsOnly(room.session.reporter))
        self.failing_since: datetime | None = None
        self.failure: str | None = None
        """Why the last judging could not be done; ``None`` when it could."""
        self.errors_left = False
        """Whether there are judgments that failed and were not made again."""
        self._failed_at = float("-inf")
        self._retried_at = float("-inf")
        self._told: tuple[Limit, date] | None = None
        """The refusal of the purse that was told last."""
        self._seen: list[int] | None = None
        """Comparable pairs by arm when everything that could be judged was."""

    async def run(self) -> None:
        """Judge every ``look_every_s`` until it is time to stop."""
        while not self._room.stopping:
            await self.once()
            await pause(self._room, self._room.live.worker.look_every_s)

    async def once(self, *, last: bool = False) -> None:
        """Judge what there is to judge now; a judge that cannot work ends nothing else.

        What failed is tried again now and then, whether or not anything else comes, and the last time in any case.
        """
        now = time.monotonic()
        if now - self._failed_at < _FAILED_WAIT_S and not last:
            return
        # Earlier workers may have left errors too.
        may_be_left = self.errors_left or self._retried_at == float("-inf")
        retry = may_be_left and (last or now - self._retried_at >= _RETRY_S)
        try:
            there = await asyncio.to_thread(self._comparable)
            if there == self._seen and not retry:
                return
            portion = Portion(retry_errors=retry)
            result = await judge_arms(
                self._session, self._judges, self._embedder, portion, purse=self.purse, stop=self._session.stop
            )
        except Exception as error:  # noqa: BLE001  a judge that cannot work must not end asking and taking in
            self._failed(error)
            return
        self.failing_since = self.failure = None
        self._seen = there if result.stop_reason is None else None
        if retry:
            self._retried_at = now
        tried_all = retry and result.stop_reason is None
        self.errors_left = result.errors > 0 or (self.errors_left and not tried_all)
        if result.stop_reason == "budget":
            self._spent()

    def _failed(self, error: Exception) -> None:
        self._failed_at = time.monotonic()
        # What it was about to do is to be done, and what has failed by it is to be made again.
        self._seen, self._retried_at = None, float("-inf")
        said = _said(error)
        self._session.warn_once(f"judging: {said}")
        self.failure = said
        if self.failing_since is None:
            self.failing_since = datetime.now(UTC)
            self._room.tell(EventKind.JUDGING_FAILED, said)

    def _spent(self) -> None:
        refused = self.purse.refused
        if refused is None or refused == self._told:
            return
        self._told = refused
        message = (
            f"the judges' budget of the {refused[0]} is spent (${self.purse.spent_today_usd:.2f} today); pairs are not "
            f"judged {refused[0].until}"
        )
        self._session.reporter.warn(message)
        self._room.tell(EventKind.BUDGET_EXHAUSTED, message, value=self.purse.spent_today_usd)

    def _comparable(self) -> list[int]:
        store, run_id = self._session.store, self._session.run_id
        arms = arms_of(self._session.experiment)
        return [store.observation_counts(run_id, arm.name, arm.fingerprint).comparable for arm in arms]


class Source(Protocol):
    """Where the exchanges come from that are looked at."""

    exchanges: int
    """In the store."""

    @property
    def records(self) -> int:
        """Whole records read, ever."""
        ...

    def report(self) -> IngestReport:
        """What was read so far, as of any export."""
        ...


class LookingLoop:
    """Renews estimates and decisions, stores what is new about them, and writes the report."""

    def __init__(self, room: Room, judges: Sequence[SeatedJudge], intake: Source, *, command: str) -> None:
        self._room = room
        self._judges = judges
        self._intake = intake
        self._command = command
        self._stored = _last_stored(room)
        self._stored_at = time.monotonic() if self._stored else float("-inf")
        self._reported_at = float("-inf")
        self._seen: tuple[Any, ...] | None = None
        self._reported: tuple[Any, ...] | None = None
        """What had been seen when the report was written last."""
        self._alarms: dict[tuple[EventKind, str], str] = {}
        self._history = LookHistory(session=room.session)
        self.looks = Looks()

    def alarm(self, kind: EventKind, arm: str) -> str | None:
        """What is bad about the arm's last pairs, as of the last look; ``None`` when nothing is."""
        return self._alarms.get((kind, arm))

    async def run(self) -> None:
        """Look every ``look_every_s`` until it is time to stop."""
        while not self._room.stopping:
            await self.once()
            await pause(self._room, self._room.live.worker.look_every_s)

    async def once(self, *, last: bool = False) -> None:
        """Look once, if there is something to see; the last time the report is written in any case, or raises."""
        try:
            await asyncio.to_thread(self._look, last=last)
        except Exception as error:
            # A report that cannot be drawn must not end asking and taking in; at the end nothing else is left to do.
            if last:
                raise
            self._room.session.warn_once(f"looking: {_said(error)}")

    def _look(self, *, last: bool) -> None:
        session, intake = self._room.session, self._intake
        if not intake.exchanges:
            return
        seen, now = self._fingerprint(), time.monotonic()
        # What was seen and not reported is reported when it is time, also when nothing has come since.
        report_due = last or (seen != self._reported and now - self._reported_at >= _REPORT_EVERY_S)
        decision_due = now - self._stored_at >= _DECIDE_EVERY_S
        if seen == self._seen and not (report_due or decision_due):
            return
        attempts.begin_all(session)
        evaluations = evaluation.evaluate(session, self._judges, describe=report_due)
        # After it, since more comes in meanwhile: no more may be compared than was sampled.
        session.store.save_ingest_report(session.run_id, intake.report())
        evaluation.record(session, evaluations)
        self._history.add(evaluations)
        self._take_in(evaluations)
        self._save(evaluations, last=last)
        self._alarm(evaluations)
        if report_due:
            with self._words(last=last) as texts:
                self.looks.files = stages.write_files(session, self._judges, evaluations, session.folder, texts=texts)
            self._reported, self._reported_at = seen, time.monotonic()
            self.looks.reported_at = datetime.now(UTC)
            session.reporter.finish("report", self._summary(evaluations))
        self._seen = seen

    def _words(self, *, last: bool) -> AbstractContextManager[Texts | None]:
        """All words are written once, at the end: again at every look would be more work the longer it runs."""
        return writing(self._room.session, self._judges, self._room.session.folder) if last else nullcontext()

    def _summary(self, evaluations: Sequence[ArmEvaluation]) -> str:
        """One line for the log."""
        stands = [
            f"{item.arm.name} {item.decision.verdict.value} on {int(item.evidence.candidate.completed.sum()):,} answers"
            for item in evaluations
            if item.decision is not None
        ]
        return " · ".join([f"{self._intake.exchanges:,} exchanges", *stands])

    def _fingerprint(self) -> tuple[Any, ...]:
        """Changes whenever there is something new to look at."""
        session = self._room.session
        reduced = sum(item.n_exchanges for item in session.store.reductions(session.run_id))
        found: list[Any] = [self._intake.exchanges, self._intake.records, reduced]
        for arm in arms_of(session.experiment):
            counts = session.store.observation_counts(session.run_id, arm.name, arm.fingerprint)
            found.append((counts.asked, counts.comparable))
            for judge in self._judges:
                judged = session.store.count_judgments(
                    session.run_id, arm.name, arm.fingerprint, judge_fingerprint=judge.fingerprint
                )
                found.append(judged)
        return tuple(found)

    def _take_in(self, evaluations: Sequence[ArmEvaluation]) -> None:
        rules = self._room.session.experiment.decision
        looks = AnyLook(t_opt=max(_BEST_AT * rules.horizon, 30.0))
        measured = {judge.name: judge.judge.metric for judge in self._judges}
        self.looks.standings = {
            item.arm.name: Standing(
                decision=item.decision,
                estimates=metrics.estimates(
                    item.evidence, level=rules.level, judge_metrics=measured, looks=looks, only=SHOWN
                ),
            )
            for item in evaluations
        }
        self.looks.looked_at = datetime.now(UTC)

    def _save(self, evaluations: Sequence[ArmEvaluation], *, last: bool) -> None:
        """Add to the run's decisions when one has changed, now and then, and at the end."""
        session = self._room.session
        decisions = {item.arm.name: item.decision for item in evaluations if item.decision is not None}
        standing = {name: _gist(decision) for name, decision in decisions.items()}
        changed = standing != self._stored
        due = time.monotonic() - self._stored_at >= _DECIDE_EVERY_S
        if not (changed or due or last):
            return
        run = session.advance(Stage.DECIDED)
        reduced = [item.record for item in session.store.reductions(session.run_id)]
        session.store.save_decision(
            session.run_id,
            decided_at=run.updated_at,
            experiment_sha256=digest(run.experiment),
            decision={
                "command": self._command,
                **({"reduced": reduced} if reduced else {}),
                "arms": {name: asdict(decision) for name, decision in decisions.items()},
            },
        )
        before = self._stored
        for name, decision in decisions.items():
            if before.get(name, {}).get("verdict") != decision.verdict.value:
                self._room.tell(EventKind.DECIDED, f"{name}: {decision.verdict.value}: {decision.sentence}", arm=name)
        self._stored, self._stored_at = standing, time.monotonic()
        self.looks.decided_at = run.updated_at

    def _alarm(self, evaluations: Sequence[ArmEvaluation]) -> None:
        """Tell when the last pairs are much slower than production's, or much unlike them."""
        alerts = self._room.live.alerts
        for item in evaluations:
            if item.decision is None:
                continue
            name = item.arm.name
            ratio = latency_ratio(item.evidence)
            self._edge(
                EventKind.LATENCY,
                name,
                ratio is not None and ratio > alerts.latency_ratio,
                f"{name}: the median latency of its last {_WINDOW} answers is {ratio or 0:.1f} times production's",
                ratio,
            )
            similar = self._similarity(item.evidence)
            self._edge(
                EventKind.DIVERGENCE,
                name,
                similar is not None and similar < alerts.similarity_below,
                f"{name}: the median similarity of its last {_WINDOW} pairs is {similar or 0:.2f}",
                similar,
            )

    def _similarity(self, evidence: Evidence) -> float | None:
        judge = next((judge for judge in self._judges if judge.judge.metric.name == "similarity"), None)
        if judge is None:
            return None
        known = evidence.scores[judge.name].value
        known = known[np.isfinite(known)][-_WINDOW:]
        return float(np.median(known)) if len(known) == _WINDOW else None

    def _edge(self, kind: EventKind, arm: str, is_bad: bool, message: str, value: float | None) -> None:
        """Tell once when it becomes bad, keep saying so while it is, and be ready again when it is good."""
        key = (kind, arm)
        if not is_bad:
            self._alarms.pop(key, None)
            return
        begins = key not in self._alarms
        self._alarms[key] = message
        if begins:
            self._room.tell(kind, message, arm=arm, value=value)


class _WarningsOnly(SilentReporter):
    """Passes on what people should know; how far the judges are is no news for a process that never ends."""

    def __init__(self, inner: Reporter) -> None:
        self._inner = inner

    def warn(self, text: str) -> None:
        """Passed on."""
        self._inner.warn(text)


def latency_ratio(evidence: Evidence) -> float | None:
    """Median latency of the last answers over production's on the same requests; ``None`` of too few."""
    ours, theirs = evidence.candidate.latency_ms, evidence.production.latency_ms
    both = np.flatnonzero(
        evidence.candidate.completed & evidence.production.completed & np.isfinite(ours) & np.isfinite(theirs)
    )[-_WINDOW:]
    if len(both) < _WINDOW:
        return None
    base = float(np.median(theirs[both]))
    return float(np.median(ours[both])) / base if base > 0 else None


def check_looks(room_looks: str) -> None:
    """Raise ConfigurationError when the decision's bounds do not hold at any look."""
    if room_looks != "any":
        raise ConfigurationError(
            f"decision.looks is {room_looks!r}, but a live experiment is looked at all the time: "
            "set `looks: any`, whose bounds hold whenever one looks"
        )


async def pause(room: Room, seconds: float) -> None:
    """Wait, unless it is time to stop."""
    ends_at = time.monotonic() + seconds
    # Ticks, because a stop signal is a flag that a signal handler, or another thread, may have set.
    while not room.stopping and (left := ends_at - time.monotonic()) > 0:  # noqa: ASYNC110
        await asyncio.sleep(min(TICK_S, left))


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"


def _gist(decision: Decision) -> dict[str, Any]:
    """What makes a decision another one; its figures change with every pair."""
    return {
        "verdict": decision.verdict.value,
        "outcomes": {result.criterion.metric: result.outcome.value for result in decision.results},
        "objections": sorted(f"{item.kind} {item.metric or ''}" for item in decision.objections),
    }


def _last_stored(room: Room) -> dict[str, Any]:
    """What earlier workers have decided last."""
    taken = room.session.store.decisions(room.session.run_id)[-1:]
    arms: Mapping[str, Any] = taken[0].decision.get("arms", {}) if taken else {}
    try:
        return {name: _stored_gist(decision) for name, decision in arms.items()}
    except (KeyError, TypeError):
        # Stored by another version: it is stored again as this one says it.
        return {}


def _stored_gist(decision: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a decision as it was stored."""
    return {
        "verdict": decision["verdict"],
        "outcomes": {result["criterion"]["metric"]: result["outcome"] for result in decision["results"]},
        "objections": sorted(f"{item['kind']} {item['metric'] or ''}" for item in decision["objections"]),
    }
