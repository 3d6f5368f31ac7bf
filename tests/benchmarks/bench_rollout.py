"""How whole rollouts go, by simulation with the product's own decisions, ruling and history.

    python -m tests.benchmarks.bench_rollout [--reps 200] [--quick] [--workers N]

A rollout begins in its first shadow phase: that production differs from itself is asked of production alone. 2,000
conversations an hour come, by day 1.5 times and by night half as many, of about two requests each, of which production
fails 1 %. In the shadow phases their pairs are looked at whenever there are 1.3 times as many (`shadow_pairs.py`), and
the state of the rollout every quarter of an hour; in the canary phases every five minutes. There the last look at the
pairs stands, as with a mirror that is off then. Whoever is asked for approval gives it at once.

Beside it, on the same traffic, a naive controller. In the shadow it holds the last 1,000 pairs against the same
margins, every hour and as point estimates: win rate above 48 %, error rate at most 0.5 points above production's, P95
of the answers below 1.2 times. In the canary it compares the errors of every hour, which may be 1.5 times the
control's. It ends the rollout at the first hour that misses, or, as *patient*, at the fifth, counted anew from the
first canary phase on. It goes on after the same pairs and times.

One table in Markdown and one line for each promise; the exit code is 1 when one is broken by more than two standard
errors of the simulation. The seed is fixed, whatever the number of workers.
"""

import argparse
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from multiprocessing import Pool

import numpy as np

from harness.domain.rollout import Action, Event, Phase, PhaseKind, RolloutState, RolloutStatus, Ruling
from harness.rollout import history
from harness.rollout.evidence import Assigned, Recent, RolloutEvidence, Window
from harness.rollout.ruling import rule
from harness.stats.evidence import ArmColumns, Evidence
from tests.benchmarks.rollout_traffic import (
    BASE_ERRORS,
    BEGIN,
    CANARIES,
    PHASES,
    POLICY,
    SAME,
    SEED,
    SHADOW_TICK,
    SHADOWS,
    TICK,
    TRUTHS,
    Collected,
    Stream,
    Tick,
    Traffic,
    Truth,
    conversations,
)
from tests.benchmarks.shadow_pairs import Shadow, joined

MOST_HOURS = 24 * 90


def evidence_of(phases: dict[str, Collected], tick: Tick, shadow: Shadow, now: datetime) -> RolloutEvidence:
    """What a collector would bring together while users are served."""
    here = list(phases.values())[-1]
    own, control = _recent(tick.own_latency), _recent(tick.control_latency)
    slow = None
    if control.p95_ms is not None:
        slow = int(np.sum(tick.own_latency > POLICY.rollback.breaker.latency_ratio * control.p95_ms))
    return RolloutEvidence(
        at=now,
        decisions={} if shadow.decision is None else {here.phase: shadow.decision},
        flagged=shadow.flagged,
        window=Window(candidate=own, control=control, baseline_error_rate=BASE_ERRORS, slow=slow),
        stages=tuple(collected.stage() for collected in phases.values()),
        error_difference=here.errors,
        latency_p95_ratio=here.latency,
        assigned=(
            Assigned(name="conversations", taken=here.own.begun, left=here.other.begun, share=here.share),
        ),
        last_traffic=now,
    )  # fmt: skip


def evidence_on_pairs(phase: Phase, shadow: Shadow, now: datetime) -> RolloutEvidence:
    """What a collector would bring together while nobody is served."""
    return RolloutEvidence(
        at=now,
        decisions={} if shadow.decision is None else {phase.name: shadow.decision},
        pairs=shadow.count(),
        flagged=shadow.flagged,
        last_traffic=now,
    )


def _recent(latency: np.ndarray) -> Recent:
    n = len(latency)
    p95 = float(np.sort(latency)[math.ceil(0.95 * n) - 1]) if n else None
    return Recent(requests=n, errors=int(np.isinf(latency).sum()), p95_ms=p95)


@dataclass(frozen=True, kw_only=True)
class Course:
    """How one rollout went."""

    end: str
    """One of ``ENDS``."""
    phase: str
    """In which it ended."""
    hours: float
    pairs: int
    """Requests that were asked of the candidate in the shadow."""
    affected: int = 0
    """Requests that users had from the candidate while it was bad."""
    check: str = ""
    """What decided."""


ENDS = ("full", "stopped", "rolled back", "expired", "people", "open")
_ENDS = {
    RolloutStatus.STOPPED: "stopped",
    RolloutStatus.ROLLED_BACK: "rolled back",
    RolloutStatus.EXPIRED: "expired",
    RolloutStatus.PAUSED: "people",
}


class Way:
    """A rollout's history as its controller writes it."""

    def __init__(self) -> None:
        self.events: list[Event] = [history.start("bench", PHASES, at=BEGIN, actor="Ada", reason="simulated")]
        self.state: RolloutState = history.state_of(self.events, PHASES)
        self.check = ""
        """What decided the last event."""

    def go(self, evidence: RolloutEvidence, now: datetime) -> None:
        """Rule on the evidence, and agree to whatever is asked."""
        ruling = rule(self.state, evidence, POLICY, now)
        event = history.event_for(self.state, ruling, PHASES, at=now)
        if event is None:
            return
        self.check = _decisive(ruling)
        self._append(event)
        if self.state.asks_approval:
            self._append(history.approve(self.state, at=now, actor="Grace", reason="simulated"))

    def end(self) -> str | None:
        """How it ended, if it did."""
        return _ENDS.get(self.state.status, "full" if self.state.phase.kind is PhaseKind.FULL else None)

    def _append(self, event: Event) -> None:
        self.events.append(event)
        self.state = history.state_of(self.events, PHASES)


def _decisive(ruling: Ruling) -> str:
    """The first check that objects; of one that ran out of time, what kept it."""
    first = next((check.name for check in ruling.checks if check.speaks_for is not None), "gate")
    return f"time ({first})" if ruling.action is Action.EXPIRE else first


@dataclass(frozen=True, kw_only=True)
class Passed:
    """A rollout that is to serve users now."""

    events: tuple[Event, ...]
    shadow: Shadow
    now: datetime


def ours(truth: Truth, rep: int) -> Course:
    """One rollout by the product's decisions, ruling and history."""
    passed = shadowed(_in_shadow(truth), rep)
    if isinstance(passed, Course):
        return passed
    way, shadow, now = Way(), passed.shadow, passed.now
    way.events, way.state = list(passed.events), history.state_of(passed.events, PHASES)
    traffic, phases, affected = Traffic(truth, (SEED, rep, 1)), dict[str, Collected](), 0
    while (hours := (now - BEGIN).total_seconds() / 3600) < MOST_HOURS:
        if end := way.end():
            return Course(
                end=end, phase=way.state.phase.name, hours=hours, pairs=shadow.total, affected=affected, check=way.check
            )
        now += TICK
        phase = way.state.phase
        tick = traffic.tick(phase, now)
        affected += tick.affected
        phases.setdefault(phase.name, Collected(phase=phase.name, share=phase.share)).add(tick)
        way.go(evidence_of(phases, tick, shadow, now), now)
    return Course(end="open", phase=way.state.phase.name, hours=hours, pairs=shadow.total, affected=affected)


def _in_shadow(truth: Truth) -> Truth:
    return SAME if truth.users_only else truth


@lru_cache(maxsize=16)
def shadowed(truth: Truth, rep: int) -> Passed | Course:
    """The shadow phases; candidates that the shadow shows nothing of have the same one."""
    way, now, stream = Way(), BEGIN, Stream(truth, rep)
    shadow = Shadow(pairs=stream.at(SHADOWS[0]))
    while way.end() is None:
        phase = way.state.phase
        if phase.kind is not PhaseKind.SHADOW:
            shadow.done()
            return Passed(events=tuple(way.events), shadow=shadow, now=now)
        now += SHADOW_TICK
        shadow.pairs = stream.at(phase)
        shadow.add(phase.name, phase.share * conversations(now - SHADOW_TICK, now))
        way.go(evidence_on_pairs(phase, shadow, now), now)
    hours = (now - BEGIN).total_seconds() / 3600
    return Course(end=way.end() or "open", phase=way.state.phase.name, hours=hours, pairs=shadow.total, check=way.check)


# The naive controller

LAST, FIRST_LOOK = 1_000, 500
PATIENCE = 5
"""Hours that may miss and the last of which ends the rollout, of a patient one."""
_MARGINS = {"win rate": 0.48, "errors": 0.005, "P95": 1.2}


def naive(truth: Truth, rep: int, misses: int = 1) -> Course:
    """One rollout by point estimates, with the same times and pairs in every phase; that many misses end it."""
    passed = naively_shadowed(_in_shadow(truth), rep, misses)
    if passed.end != "passed":
        return passed
    missed = 0
    traffic, affected, now = Traffic(truth, (SEED, rep, 1)), 0, BEGIN + timedelta(hours=passed.hours)
    for phase in CANARIES:
        for _ in range(round(phase.min_bake_s / 3600)):
            errors, served = np.zeros(2), np.zeros(2)
            for _ in range(12):
                now += TICK
                tick = traffic.tick(phase, now)
                arms = tick.own_latency, tick.control_latency
                errors += [np.isinf(arm).sum() for arm in arms]
                served += [len(arm) for arm in arms]
                affected += tick.affected
            rates = errors / np.maximum(served, 1)
            hours = (now - BEGIN).total_seconds() / 3600
            missed += int(rates[0] > 1.5 * rates[1])
            if missed == misses:
                return replace(passed, end="rolled back", phase=phase.name, hours=hours, affected=affected,
                               check="hourly errors")  # fmt: skip
    return replace(passed, end="full", phase=PHASES[-1].name, hours=hours, affected=affected, check="time")


@lru_cache(maxsize=16)
def naively_shadowed(truth: Truth, rep: int, misses: int) -> Course:
    """The shadow phases; its end is ``passed`` when users are to be served."""
    stream, total, now = Stream(truth, rep), 0, BEGIN
    last, count = list[Evidence](), 0
    for phase in SHADOWS:
        began, in_phase = now, 0
        while in_phase < phase.min_pairs or (now - began).total_seconds() < phase.min_bake_s:
            for _ in range(4):
                now += SHADOW_TICK
                part, _ = stream.at(phase).take(phase.share * conversations(now - SHADOW_TICK, now))
                last.append(part)
                in_phase, total = in_phase + part.n, total + part.n
            while sum(part.n for part in last[1:]) >= LAST:
                del last[0]
            missed = _missed(joined(last)) if total >= FIRST_LOOK else None
            count += missed is not None
            if missed is not None and count == misses:
                hours = (now - BEGIN).total_seconds() / 3600
                return Course(end="stopped", phase=phase.name, hours=hours, pairs=total, check=missed)
    return Course(end="passed", phase=SHADOWS[-1].name, hours=(now - BEGIN).total_seconds() / 3600, pairs=total)


def _missed(pairs: Evidence) -> str | None:
    """The first margin that the last pairs are beyond."""
    rows = pairs.take(slice(max(pairs.n - LAST, 0), None))
    own, other = rows.candidate, rows.production
    found = {
        "win rate": float(np.nanmean(rows.scores["judge"].value)) > _MARGINS["win rate"],
        "errors": own.failed.mean() - other.failed.mean() <= _MARGINS["errors"],
        "P95": _answered_p95(own) < _MARGINS["P95"] * _answered_p95(other),
    }
    return next((name for name, holds in found.items() if not holds), None)


def patient(truth: Truth, rep: int) -> Course:
    """The naive one that ends a rollout only when it has missed several times."""
    return naive(truth, rep, PATIENCE)


def _answered_p95(arm: ArmColumns) -> float:
    return float(np.quantile(arm.latency_ms[arm.completed], 0.95))


CONTROLLERS: dict[str, Callable[[Truth, int], Course]] = {"harness": ours, "naive": naive, "naive, patient": patient}


def one(rep: int, truths: Sequence[str] = tuple(TRUTHS)) -> dict[tuple[str, str], Course]:
    """One repetition of every truth; both controllers see the same traffic for as long as their phases agree."""
    return {(truth, controller): run(TRUTHS[truth], rep) for truth in truths for controller, run in CONTROLLERS.items()}


# What came out


def table(found: dict[tuple[str, str], list[Course]]) -> list[Sequence[str]]:
    """A row per truth and controller."""
    rows: list[Sequence[str]] = [
        ("truth", "controller", "how it ended", "where it ended, unless in full", "what decided, unless in full",
         "affected requests, median (90%)", "shadow requests, median", "hours, median"),
    ]  # fmt: skip
    for (truth, controller), courses in found.items():
        short = [course for course in courses if course.end != "full"]
        affected = [course.affected for course in courses]
        rows.append((
            truth, controller,
            ", ".join(f"{end} {share(courses, end):.1%}" for end in ENDS if share(courses, end)),
            _most([course.phase for course in short]),
            _most([course.check for course in short]),
            f"{np.median(affected):,.0f} ({np.quantile(affected, 0.9):,.0f})" if TRUTHS[truth].is_bad else "-",
            f"{np.median([course.pairs for course in courses]):,.0f}",
            f"{np.median([course.hours for course in courses]):.1f}",
        ))  # fmt: skip
    return rows


def _most(names: Sequence[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in Counter(names).most_common(3)) or "-"


def share(courses: Sequence[Course], *ends: str) -> float:
    """Of the courses that ended so."""
    return sum(course.end in ends for course in courses) / len(courses)


def promises(found: dict[tuple[str, str], list[Course]]) -> list[tuple[str, bool, str]]:
    """What has to come out, whether it did, and what came out."""
    same = found["identical", "harness"]
    limit, least = POLICY.rollback.alpha, 0.95
    ended, full = share(same, "stopped", "rolled back"), share(same, "full")
    noise, noise_full = (2 * math.sqrt(p * (1 - p) / len(same)) for p in (limit, least))
    kept = [
        (f"identical candidates stopped or rolled back: at most {limit:.0%}", ended <= limit + noise, f"{ended:.2%}"),
        (f"identical candidates that reach all users: at least {least:.0%}", full >= least - noise_full, f"{full:.2%}"),
    ]
    users = {phase.name for phase in PHASES if phase.kind.serves_users}
    for name, truth in TRUTHS.items():
        if not truth.is_bad:
            continue
        courses = found[name, "harness"]
        wrong = share(courses, "full")
        kept.append((f"{name}: none reaches all users", wrong == 0, f"{wrong:.2%}"))
        if not truth.users_only:
            wrong = sum(course.phase in users for course in courses) / len(courses)
            kept.append((f"{name}: none reaches any user", wrong == 0, f"{wrong:.2%}"))
    return kept


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a table, the first one as its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=200, help="rollouts of each truth under each controller")
    parser.add_argument("--quick", action="store_true", help="10 of each")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    reps = 10 if options.quick else options.reps
    begin = time.perf_counter()
    if options.workers > 1:
        with Pool(options.workers) as pool:
            done = pool.map(one, range(reps), chunksize=1)
    else:
        done = [one(rep) for rep in range(reps)]
    found = {key: [courses[key] for courses in done] for key in done[0]}
    print(markdown(table(found)))
    kept = promises(found)
    print()
    for promise, holds, measured in kept:
        print(f"- {'kept' if holds else 'BROKEN'}: {promise} ({measured})")
    print(f"\n{reps * len(found):,} rollouts in {time.perf_counter() - begin:.0f} s, seed {SEED}")
    return 0 if all(holds for _, holds, _ in kept) else 1


if __name__ == "__main__":
    sys.exit(main())
