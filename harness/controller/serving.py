"""What serving has shown so far: the requests of a rollout's two arms, taken in as they come, as evidence."""

import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from harness.config.rollout import RollbackSection
from harness.domain.rollout import Phase
from harness.domain.served import Arm, Served, ServedOutcome
from harness.rollout.evidence import Assigned, Bounds, Conversations, Recent, Stage, Window
from harness.spool.assignment import control_beside
from harness.stats import unpaired
from harness.stats.evidence import Bools, Floats

_GROWN = 1.05
"""Bounds are computed again when there are this many times as many requests: they hold at every look anyway."""
_ARMS = (Arm.CANDIDATE, Arm.CONTROL)


@dataclass(frozen=True, kw_only=True)
class _Bounded:
    """Bounds of one phase, and on how many requests they stand."""

    requests: int
    errors: Bounds
    latency: Bounds


@dataclass(kw_only=True)
class _Requests:
    """Columns, a row per request."""

    conversation: "array[int]" = field(default_factory=lambda: array("q"))
    at: "array[float]" = field(default_factory=lambda: array("d"))
    latency: "array[float]" = field(default_factory=lambda: array("d"))
    """Infinite when it failed, NaN when nobody knows."""


class Serving:
    """Every request of one rollout's arms, each once, in whatever order and however often they are given."""

    def __init__(self, rollback: RollbackSection) -> None:
        self._rollback = rollback
        self._known: set[str] = set()
        self._codes: dict[tuple[Arm, str], int] = {}
        self._arm = array("b")
        self._number = array("q")
        """Of the event a conversation began under."""
        self._failed = array("b")
        self._requests = _Requests()
        self._bounded: dict[str, _Bounded] = {}
        self.last_at: datetime | None = None

    def __len__(self) -> int:
        return len(self._known)

    def take(self, items: Iterable[Served]) -> None:
        """Take in what was answered."""
        for item in items:
            if item.arm is Arm.NEITHER or item.request_id in self._known:
                continue
            self._known.add(item.request_id)
            code = self._code(item)
            self._failed[code] |= item.failed
            self._requests.conversation.append(code)
            self._requests.at.append(item.at.timestamp())
            self._requests.latency.append(_latency(item))
            if self.last_at is None or item.at > self.last_at:
                self.last_at = item.at

    def _code(self, item: Served) -> int:
        key = (item.arm, item.conversation)
        code = self._codes.setdefault(key, len(self._codes))
        if code == len(self._arm):
            self._arm.append(_ARMS.index(item.arm))
            self._number.append(item.number)
            self._failed.append(0)
        elif item.number < self._number[code]:
            # A gateway's records may come late, and its first is when the conversation began.
            self._number[code] = item.number
        return code

    def stages(self, in_force: Mapping[int, Phase]) -> tuple[Stage, ...]:
        """The conversations by the phase in which they began; ``in_force`` says which one is after each event."""
        found = []
        for phase in _serving(in_force):
            began = self._began_in(phase, in_force)
            candidate, control = (self._conversations(began, arm) for arm in _ARMS)
            found.append(Stage(phase=phase.name, share=chance(phase), candidate=candidate, control=control))
        return tuple(found)

    def assigned(self, phase: Phase, in_force: Mapping[int, Phase]) -> tuple[Assigned, ...]:
        """How the conversations of the phase were shared out."""
        began = self._began_in(phase, in_force)
        taken, left = (self._conversations(began, arm).begun for arm in _ARMS)
        return (Assigned(name="conversations", taken=taken, left=left, share=chance(phase)),)

    def bounds(self, phase: Phase, in_force: Mapping[int, Phase]) -> tuple[Bounds, Bounds] | None:
        """Difference of the error rates and ratio of the P95 of the conversations that began in the phase.

        ``None`` before any began. Computed again whenever there is enough more to see.
        """
        began = self._began_in(phase, in_force)
        codes = _ints(self._requests.conversation)
        rows = began[codes]
        n = int(rows.sum())
        if not n:
            return None
        known = self._bounded.get(phase.name)
        if known is None or n >= max(_GROWN * known.requests, known.requests + 1):
            known = self._bounded[phase.name] = self._look(began, rows, n)
        return known.errors, known.latency

    def _look(self, began: Bools, rows: Bools, n: int) -> _Bounded:
        gate, strict = self._rollback.gate_level, self._rollback.strict_level
        own, control = (self._conversations(began, arm) for arm in _ARMS)
        counts = (own.failed, own.begun), (control.failed, control.begun)
        codes, latency = _ints(self._requests.conversation), _floats(self._requests.latency)
        arms = _small(self._arm)[codes]
        candidate, other = ((latency[rows & (arms == arm)], codes[rows & (arms == arm)]) for arm in range(len(_ARMS)))
        return _Bounded(
            requests=n,
            errors=Bounds(
                gate=unpaired.share_difference(*counts, level=gate),
                strict=unpaired.share_difference(*counts, level=strict),
            ),
            latency=Bounds(
                gate=unpaired.quantile_ratio(candidate, other, 0.95, level=gate),
                strict=unpaired.quantile_ratio(candidate, other, 0.95, level=strict),
            ),
        )

    def window(self, now: datetime, *, baseline: float | None = None) -> Window:
        """Both arms in the last minutes."""
        breaker = self._rollback.breaker
        recent = _floats(self._requests.at) > now.timestamp() - breaker.window_s
        codes, latency = _ints(self._requests.conversation), _floats(self._requests.latency)
        arms = _small(self._arm)[codes]
        own, control = (latency[recent & (arms == arm)] for arm in range(len(_ARMS)))
        candidate, other = _recent(own), _recent(control)
        slow = None
        if other.p95_ms is not None and math.isfinite(other.p95_ms):
            slow = int(np.sum(own > breaker.latency_ratio * other.p95_ms))
        return Window(candidate=candidate, control=other, baseline_error_rate=baseline, slow=slow)

    def _began_in(self, phase: Phase, in_force: Mapping[int, Phase]) -> Bools:
        numbers = [number for number, other in in_force.items() if other.name == phase.name]
        return np.isin(_ints(self._number), numbers)

    def _conversations(self, began: Bools, arm: Arm) -> Conversations:
        mine = began & (_small(self._arm) == _ARMS.index(arm))
        failed = _small(self._failed).astype(bool)
        return Conversations(begun=int(mine.sum()), failed=int((mine & failed).sum()))


def chance(phase: Phase) -> float:
    """Chance that a conversation of either arm is the candidate's in this phase."""
    return phase.share / (phase.share + control_beside(phase.share))


def _serving(in_force: Mapping[int, Phase]) -> list[Phase]:
    """Phases that serve users, in the order in which they were entered."""
    found: dict[str, Phase] = {}
    for number in sorted(in_force):
        phase = in_force[number]
        if phase.kind.serves_users:
            found.setdefault(phase.name, phase)
    return list(found.values())


def _latency(item: Served) -> float:
    if item.failed:
        return math.inf
    if item.latency_ms is None:
        return math.nan
    # Who left had waited for so long at least; to leave them out would be to forget the slowest.
    return math.inf if item.outcome is ServedOutcome.BROKE_OFF else item.latency_ms


def _recent(latency: Floats) -> Recent:
    known = np.sort(latency[~np.isnan(latency)])
    p95 = float(known[math.ceil(0.95 * len(known)) - 1]) if len(known) else None
    return Recent(requests=len(latency), errors=int(np.isinf(latency).sum()), p95_ms=p95)


def _ints(values: "array[int]") -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    # A copy: an array that numpy looks into cannot grow.
    return np.array(values, dtype=np.int64)


def _small(values: "array[int]") -> "np.ndarray[tuple[int, ...], np.dtype[np.int8]]":
    return np.array(values, dtype=np.int8)


def _floats(values: "array[float]") -> Floats:
    return np.array(values, dtype=np.float64)
