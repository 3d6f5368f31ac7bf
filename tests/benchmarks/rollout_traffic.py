"""What a simulated rollout meets: candidates that are good or bad in known ways, users by the tick, and shadow pairs.

Users' conversations come by the tick with latency and failures of their requests, and are collected by phase as the
controller collects them. Pairs are those of `shadow_pairs.py`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from harness.config.rollout import Rollout
from harness.domain.rollout import Phase, PhaseKind
from harness.rollout.evidence import Bounds, Conversations, Stage
from harness.stats import unpaired
from tests.benchmarks import worlds
from tests.benchmarks.shadow_pairs import LANGUAGES, Pairs

SEED = 21
BEGIN = datetime(2026, 3, 2, 8, tzinfo=UTC)
TICK = timedelta(minutes=5)
PER_HOUR = 2_000
SHADOW_TICK = timedelta(minutes=15)
BASE_ERRORS = 0.01
SD_CONVERSATION, SD_REQUEST, MEDIAN_MS = 0.4, 0.7, 800.0
GROWN = 1.2
"""Bounds are computed again when there are this many times as many conversations: they hold at every look anyway."""
NONE = Conversations(begun=0)
POLICY = Rollout(name="bench", live="live.yaml", candidate="small")
PHASES = tuple(phase for phase in POLICY.steps if phase.kind is not PhaseKind.CALIBRATION)
SHADOWS, CANARIES = (
    tuple(phase for phase in PHASES if phase.kind is kind) for kind in (PhaseKind.SHADOW, PhaseKind.CANARY)
)
_NAMES = [phase.name for phase in PHASES]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What the candidate really is; by default production itself."""

    errors: float = BASE_ERRORS
    ratio: float = 1.0
    """Of the latencies of its answers to production's."""
    wins: float = 0.5
    """How often a judge prefers its answers where both sides answered, ties as a half."""
    language: str | None = None
    """The only one in which it is so; as production in the others."""
    from_share: float = 0.0
    """Share of the requests it is asked, in either kind of phase, from which on it is so; as production below."""
    users_only: bool = False
    """Whether the shadow shows nothing of it, as with what only comes of being used."""

    def at(self, phase: Phase) -> "Truth":
        """What it is in one phase."""
        shown = phase.share >= self.from_share and not (self.users_only and phase.kind is PhaseKind.SHADOW)
        return self if shown else SAME

    @property
    def is_bad(self) -> bool:
        """Whether it must not reach users."""
        return (self.errors, self.ratio, self.wins) != (SAME.errors, SAME.ratio, SAME.wins)

    def world(self) -> worlds.World:
        """The same in the terms of the pairs, where a failure is a loss."""
        world = worlds.World(errors=self.errors, scale=self.ratio)
        # How often the judge prefers it is linear in the win rate with failures.
        at_0, at_1 = (float(worlds.judged(world, win)) for win in (0.0, 1.0))
        return replace(world, win=(self.wins - at_0) / (at_1 - at_0))


SAME = Truth()
TRUTHS = {
    "identical": SAME,
    "errors 5%": Truth(errors=0.05),
    "P95 1.5x": Truth(ratio=1.5),
    "wins 40%": Truth(wins=0.4),
    "errors 30% in one language, 4% of the traffic": Truth(errors=0.3, language="nl"),
    "errors 10% in one language, 4% of the traffic": Truth(errors=0.1, language="nl"),
    "errors 5% from 50% load": Truth(errors=0.05, from_share=0.5),
    "errors 5% for users only": Truth(errors=0.05, users_only=True),
    "P95 1.5x for users only": Truth(ratio=1.5, users_only=True),
    "errors 5% for users only, from 50% load": Truth(errors=0.05, users_only=True, from_share=0.5),
}


def conversations(since: datetime, until: datetime) -> float:
    """How many are expected between two moments."""
    middle = since + (until - since) / 2
    by_day = 1 + 0.5 * math.sin(2 * math.pi * (middle - BEGIN).total_seconds() / 86_400)
    return PER_HOUR * by_day * (until - since).total_seconds() / 3600


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
    affected: int
    """Requests that the candidate answered while it was bad."""


class Traffic:
    """Conversations of users as they come."""

    def __init__(self, truth: Truth, seed: tuple[int, ...]) -> None:
        self.truth, self.rng, self.code = truth, np.random.default_rng(seed), 0

    def tick(self, phase: Phase, now: datetime) -> Tick:
        n = int(self.rng.poisson(conversations(now - TICK, now)))
        mine = int(self.rng.binomial(n, phase.share))
        truth = self.truth.at(phase)
        own, own_latency, own_code, affected = self._serve(mine, truth)
        control, control_latency, control_code, _ = self._serve(min(mine, n - mine), SAME)
        rest, *_ = self._serve(n - mine - control.begun, SAME)
        return Tick(
            own=own,
            own_latency=own_latency,
            own_code=own_code,
            other=Conversations(begun=control.begun + rest.begun, failed=control.failed + rest.failed),
            control_latency=control_latency,
            control_code=control_code,
            affected=affected,
        )

    def _serve(self, n: int, truth: Truth) -> tuple[Conversations, np.ndarray, np.ndarray, int]:
        rng = self.rng
        code = np.repeat(np.arange(n), 1 + rng.poisson(1.0, n))
        spread = SD_CONVERSATION * rng.standard_normal(n)[code] + SD_REQUEST * rng.standard_normal(len(code))
        chance = rng.random(len(code))
        hit = np.full(n, truth.is_bad)
        if truth.language is not None:
            hit = rng.random(n) < LANGUAGES[truth.language]
        bad = hit[code]
        latency = np.where(bad, truth.ratio, 1.0) * MEDIAN_MS * np.exp(spread)
        failed = chance < np.where(bad, truth.errors, BASE_ERRORS)
        latency[failed] = np.inf
        served = Conversations(begun=n, failed=len(np.unique(code[failed])))
        self.code += n
        return served, latency, code + self.code, int(bad.sum())


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


class Stream:
    """The pairs of a candidate, by what it is in each phase; the same for either controller."""

    def __init__(self, truth: Truth, rep: int) -> None:
        self._truth, self._rep, self._pairs = truth, rep, dict[str, Pairs]()

    def at(self, phase: Phase) -> Pairs:
        """Those of one phase."""
        if phase.name not in self._pairs:
            truth = self._truth.at(phase)
            seed = (SEED, self._rep, 0, _NAMES.index(phase.name))
            self._pairs[phase.name] = Pairs(truth.world(), seed, only=truth.language)
        return self._pairs[phase.name]
