"""How often a canary is rolled back or let through wrongly, by simulation with the product's own ruling and history.

    python -m tests.benchmarks.bench_rollout [--reps 200] [--quick] [--workers N]

Traffic is simulated in ticks of five minutes from the first canary phase on: 2,000 conversations an hour, by day 1.5
times and by night half as many, of about two requests each, of which production fails 1 %. Whoever is asked for
approval gives it at once. Beside it, on the same kind of traffic, a naive controller that looks at the errors of every
hour: it rolls back when the canary's rate is over 1.5 times the control's and advances after the same times
otherwise. One table in Markdown and one line for each promise; the exit code is 1 when one is broken by more than two
standard errors of the simulation. The seed is fixed, whatever the number of workers.
"""

import argparse
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing import Pool

import numpy as np

from harness.config.rollout import Rollout
from harness.domain.rollout import Event, EventKind, RolloutState, RolloutStatus, Ruling
from harness.rollout import history
from harness.rollout.evidence import (
    Assigned,
    Bounds,
    Conversations,
    Recent,
    RolloutEvidence,
    Stage,
    Window,
)
from harness.rollout.ruling import rule
from harness.stats import unpaired

SEED = 21
BEGIN = datetime(2026, 3, 2, 8, tzinfo=UTC)
TICK = timedelta(minutes=5)
PER_TICK = 2_000 / 12
BASE_ERRORS = 0.01
SD_CONVERSATION, SD_REQUEST, MEDIAN_MS = 0.4, 0.7, 800.0
GROWN = 1.2
"""Bounds are computed again when there are this many times as many conversations: they hold at every look anyway."""
NONE = Conversations(begun=0)
MAX_TICKS = 12 * 24 * 14
POLICY = Rollout(name="bench", live="live.yaml", candidate="small")
PHASES = POLICY.steps
CANARIES = tuple(phase for phase in PHASES if phase.kind == "canary")


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What the candidate really is."""

    errors: float = BASE_ERRORS
    ratio: float = 1.0
    from_share: float = 0.0
    """Share of the conversations from which on it is so; as production below."""


TRUTHS = {
    "identical": Truth(),
    "errors 5%": Truth(errors=0.05),
    "P95 1.5x": Truth(ratio=1.5),
    "errors 5% from 50% load": Truth(errors=0.05, from_share=0.5),
}


@dataclass(frozen=True, kw_only=True)
class Tick:
    """What five minutes brought; an arm's latencies are by request, with infinity for a failed one."""

    own: Conversations
    own_latency: np.ndarray
    own_code: np.ndarray
    other: Conversations
    """All of production's conversations."""
    control_latency: np.ndarray
    """Of as many conversations of production as the candidate had."""
    control_code: np.ndarray


class Traffic:
    """Conversations as they come."""

    def __init__(self, truth: Truth, seed: tuple[int, ...]) -> None:
        self.truth, self.rng, self.code = truth, np.random.default_rng(seed), 0

    def tick(self, share: float, now: datetime) -> Tick:
        hour = (now - BEGIN).total_seconds() / 3600
        n = int(self.rng.poisson(PER_TICK * (1 + 0.5 * math.sin(2 * math.pi * hour / 24))))
        mine = int(self.rng.binomial(n, share))
        bad = self.truth if share >= self.truth.from_share else Truth()
        own, own_latency, own_code = self._serve(mine, bad)
        control, control_latency, control_code = self._serve(min(mine, n - mine), Truth())
        rest, *_ = self._serve(n - mine - control.begun, Truth())
        return Tick(
            own=own,
            own_latency=own_latency,
            own_code=own_code,
            other=Conversations(begun=control.begun + rest.begun, failed=control.failed + rest.failed),
            control_latency=control_latency,
            control_code=control_code,
        )

    def _serve(self, n: int, truth: Truth) -> tuple[Conversations, np.ndarray, np.ndarray]:
        rng = self.rng
        code = np.repeat(np.arange(n), 1 + rng.poisson(1.0, n))
        spread = SD_CONVERSATION * rng.standard_normal(n)[code] + SD_REQUEST * rng.standard_normal(len(code))
        latency = truth.ratio * MEDIAN_MS * np.exp(spread)
        failed = rng.random(len(code)) < truth.errors
        latency[failed] = np.inf
        conversations = Conversations(begun=n, failed=len(np.unique(code[failed])))
        self.code += n
        return conversations, latency, code + self.code


@dataclass(kw_only=True)
class Collected:
    """The evidence of one phase so far."""

    phase: str
    share: float
    own: Conversations = NONE
    other: Conversations = NONE
    ticks: list[Tick] = field(default_factory=list)
    looked_at: int = 0
    errors: Bounds | None = None
    latency: Bounds | None = None

    def add(self, tick: Tick) -> None:
        self.own, self.other = _plus(self.own, tick.own), _plus(self.other, tick.other)
        self.ticks.append(tick)
        if self.own.begun >= max(GROWN * self.looked_at, 20):
            self._look()

    def _look(self) -> None:
        self.looked_at = self.own.begun
        gate, strict = POLICY.rollback.gate_level, POLICY.rollback.strict_level
        own = _joined(self.ticks, "own")
        control = _joined(self.ticks, "control")
        counts = (self.own.failed, self.own.begun), (self.other.failed, self.other.begun)
        self.errors = Bounds(
            gate=unpaired.share_difference(*counts, level=gate), strict=unpaired.share_difference(*counts, level=strict)
        )
        self.latency = Bounds(
            gate=unpaired.quantile_ratio(own, control, 0.95, level=gate),
            strict=unpaired.quantile_ratio(own, control, 0.95, level=strict),
        )

    def stage(self) -> Stage:
        return Stage(phase=self.phase, share=self.share, candidate=self.own, control=self.other)


def _plus(left: Conversations, right: Conversations) -> Conversations:
    return Conversations(begun=left.begun + right.begun, failed=left.failed + right.failed)


def _joined(ticks: Sequence[Tick], arm: str) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.concatenate([getattr(tick, f"{arm}_{what}") for tick in ticks]) for what in ("latency", "code"))


def evidence_of(phases: dict[str, Collected], tick: Tick, now: datetime) -> RolloutEvidence:
    """What a collector would bring together."""
    here = list(phases.values())[-1]
    own, control = _recent(tick.own_latency), _recent(tick.control_latency)
    slow = None
    if control.p95_ms is not None:
        slow = int(np.sum(tick.own_latency > POLICY.rollback.breaker.latency_ratio * control.p95_ms))
    return RolloutEvidence(
        at=now,
        window=Window(candidate=own, control=control, baseline_error_rate=BASE_ERRORS, slow=slow),
        stages=tuple(collected.stage() for collected in phases.values()),
        error_difference=here.errors,
        latency_p95_ratio=here.latency,
        assigned=(
            Assigned(name="conversations", taken=here.own.begun, left=here.other.begun, share=here.share),
        ),
        last_traffic=now,
    )  # fmt: skip


def _recent(latency: np.ndarray) -> Recent:
    n = len(latency)
    p95 = float(np.sort(latency)[math.ceil(0.95 * n) - 1]) if n else None
    return Recent(requests=n, errors=int(np.isinf(latency).sum()), p95_ms=p95)


@dataclass(frozen=True, kw_only=True)
class Course:
    """How one rollout went."""

    end: str
    """``full``, ``rolled back``, ``people`` or ``open``."""
    hours: float
    affected: int
    """Requests that users had from the candidate while it was as bad as it gets, until then."""
    check: str = ""
    """What decided."""


def until_canary() -> list[Event]:
    """The history of a rollout whose shadow phases are done."""
    events = [history.start("bench", PHASES, at=BEGIN, actor="Ada", reason="simulated")]
    for phase in PHASES[1 : PHASES.index(CANARIES[0]) + 1]:
        events.append(
            Event(rollout_id="bench", number=len(events) + 1, kind=EventKind.ADVANCED, phase=phase.name, at=BEGIN,
                  actor="controller", reason="simulated")
        )  # fmt: skip
    return events


def ours(truth: Truth, seed: tuple[int, ...]) -> Course:
    """One rollout by the product's ruling and history."""
    traffic, events = Traffic(truth, seed), until_canary()
    state = history.state_of(events, PHASES)
    phases: dict[str, Collected] = {}
    affected = 0
    for number in range(1, MAX_TICKS + 1):
        now = BEGIN + number * TICK
        share, name = state.served_share, state.phase.name
        tick = traffic.tick(share, now)
        affected += len(tick.own_latency) if share >= truth.from_share else 0
        phases.setdefault(name, Collected(phase=name, share=share)).add(tick)
        ruling = rule(state, evidence_of(phases, tick, now), POLICY, now)
        event = history.event_for(state, ruling, PHASES, at=now)
        if event is None:
            continue
        events.append(event)
        state = history.state_of(events, PHASES)
        if state.asks_approval:
            events.append(history.approve(state, at=now, actor="Grace", reason="simulated"))
            state = history.state_of(events, PHASES)
        if end := _end(state):
            return Course(end=end, hours=number / 12, affected=affected, check=_decisive(ruling))
    return Course(end="open", hours=MAX_TICKS / 12, affected=affected)


def _end(state: RolloutState) -> str | None:
    if state.status is RolloutStatus.ROLLED_BACK:
        return "rolled back"
    if state.status is RolloutStatus.PAUSED or state.status.is_over:
        return "people"
    return "full" if state.phase.kind == "full" else None


def _decisive(ruling: Ruling) -> str:
    return next((check.name for check in ruling.checks if check.speaks_for is not None), "gate")


def naive(truth: Truth, seed: tuple[int, ...]) -> Course:
    """One rollout by point estimates: the errors of every hour, and the same times in every phase."""
    traffic = Traffic(truth, seed)
    affected, number = 0, 0
    for phase in CANARIES:
        for _ in range(round(phase.min_bake_s / 3600)):
            errors, served = np.zeros(2), np.zeros(2)
            for _ in range(12):
                number += 1
                tick = traffic.tick(phase.share, BEGIN + number * TICK)
                arms = tick.own_latency, tick.control_latency
                errors += [np.isinf(arm).sum() for arm in arms]
                served += [len(arm) for arm in arms]
            affected += int(served[0]) if phase.share >= truth.from_share else 0
            rates = errors / np.maximum(served, 1)
            if rates[0] > 1.5 * rates[1]:
                return Course(end="rolled back", hours=number / 12, affected=affected, check="hourly errors")
    return Course(end="full", hours=number / 12, affected=affected, check="time")


CONTROLLERS = {"harness": ours, "naive": naive}


def one(job: tuple[str, str, int]) -> Course:
    """One repetition; the same one sees the same traffic under either controller for as long as their shares agree."""
    controller, truth, rep = job
    return CONTROLLERS[controller](TRUTHS[truth], (SEED, list(TRUTHS).index(truth), rep))


def table(found: dict[tuple[str, str], list[Course]]) -> list[Sequence[str]]:
    """A row per truth and controller."""
    rows: list[Sequence[str]] = [
        ("truth", "controller", "rollouts", "full", "rolled back", "people", "open",
         "affected requests at roll back, median (90%)", "hours to the end, median", "what decided"),
    ]  # fmt: skip
    for (truth, controller), courses in found.items():
        back = [course.affected for course in courses if course.end == "rolled back"]
        shares = [f"{share(courses, end):.1%}" for end in ("full", "rolled back", "people", "open")]
        checks = Counter(course.check for course in courses if course.end == "rolled back").most_common(3)
        rows.append((
            truth, controller, f"{len(courses)}", *shares,
            f"{np.median(back):,.0f} ({np.quantile(back, 0.9):,.0f})" if back else "-",
            f"{np.median([course.hours for course in courses]):.1f}",
            ", ".join(f"{name} {n}" for name, n in checks) or "-",
        ))  # fmt: skip
    return rows


def share(courses: Sequence[Course], end: str) -> float:
    """Of the courses that ended so."""
    return sum(course.end == end for course in courses) / len(courses)


def promises(found: dict[tuple[str, str], list[Course]]) -> list[tuple[str, bool, str]]:
    """What has to come out, whether it did, and what came out."""
    same = found["identical", "harness"]
    limit, back = POLICY.rollback.alpha, share(found["identical", "harness"], "rolled back")
    noise = 2 * math.sqrt(limit * (1 - limit) / len(same))
    kept = [(f"identical candidates rolled back: at most {limit:.0%}", back <= limit + noise, f"{back:.2%}")]
    for truth in list(TRUTHS)[1:]:
        let_through = share(found[truth, "harness"], "full")
        kept.append((f"{truth}: none reaches all users", let_through == 0, f"{let_through:.2%}"))
    return kept


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a table, the first one as its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=200, help="rollouts per truth and controller")
    parser.add_argument("--quick", action="store_true", help="10 of each")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    reps = 10 if options.quick else options.reps
    begin = time.perf_counter()
    jobs = [(controller, truth, rep) for truth in TRUTHS for controller in CONTROLLERS for rep in range(reps)]
    if options.workers > 1:
        with Pool(options.workers) as pool:
            courses = pool.map(one, jobs, chunksize=1)
    else:
        courses = [one(job) for job in jobs]
    found: dict[tuple[str, str], list[Course]] = {}
    for (controller, truth, _), course in zip(jobs, courses, strict=True):
        found.setdefault((truth, controller), []).append(course)
    print(markdown(table(found)))
    kept = promises(found)
    print()
    for promise, holds, measured in kept:
        print(f"- {'kept' if holds else 'BROKEN'}: {promise} ({measured})")
    print(f"\n{len(jobs)} rollouts in {time.perf_counter() - begin:.0f} s, seed {SEED}")
    return 0 if all(holds for _, holds, _ in kept) else 1


if __name__ == "__main__":
    sys.exit(main())
