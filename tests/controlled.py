"""A controller on a real store, with time and evidence made by the test."""

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harness.config.live import Live, parse_live
from harness.config.rollout import Rollout, parse_rollout
from harness.controller import people
from harness.controller.actuators import Route
from harness.controller.control import Acts, Controller
from harness.domain.rollout import Event, EventKind, Phase, RolloutState
from harness.errors import InfrastructureError
from harness.rollout.evidence import Assigned, Bounds, Conversations, Recent, RolloutEvidence, Stage, Window
from harness.stats import unpaired
from harness.store import Store

BEGIN = datetime(2026, 3, 2, 8, tzinfo=UTC)
PHASES = [
    {"name": "canary_5", "kind": "canary", "share": 0.05, "gate": "safe", "min_pairs": 50, "min_bake_s": 20,
     "max_s": 600},
    {"name": "canary_50", "kind": "canary", "share": 0.5, "gate": "safe", "min_pairs": 50, "min_bake_s": 20,
     "max_s": 600, "approval": True},
    {"name": "full", "kind": "full", "share": 0.95, "gate": "safe", "min_pairs": 50, "min_bake_s": 20, "max_s": 600},
]  # fmt: skip
SHADOW = {"name": "shadow", "kind": "shadow", "share": 1.0, "gate": "go", "min_pairs": 1, "min_bake_s": 0,
          "max_s": 600}  # fmt: skip


def live(tmp_path: Path, **more: Any) -> Live:
    return parse_live(
        {
            "name": "shop",
            "gateway": {"upstream": "http://127.0.0.1:9"},
            "mirror": {"rate": 1.0},
            "spool": {"folder": str(tmp_path / "spool")},
            "candidates": [{"name": "small", "model": "openai/small"}],
            "canary": {},
            "decision": {"looks": "any"},
            **more,
        }
    )


def policy(**more: Any) -> Rollout:
    raw = {"name": "small-for-all", "live": "live.yaml", "candidate": "small", "phases": [SHADOW, *PHASES]}
    return parse_rollout({**raw, **more})


@dataclass
class Clock:
    at: datetime = BEGIN

    def __call__(self) -> datetime:
        return self.at

    def pass_(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Evidence:
    """What would have been collected: 2,000 conversations, of which some failed."""

    failed: int = 0
    severe: int = 0
    problem: str | None = None
    closed: int = 0

    def collect(
        self, state: RolloutState, events: Sequence[Event], phases: Sequence[Phase], now: datetime
    ) -> RolloutEvidence:
        share = state.phase.share
        chance = share / (share + min(share, 1 - share))
        own = Conversations(begun=round(2_000 * chance), failed=self.failed)
        control = Conversations(begun=2_000 - own.begun)
        counts = (own.failed, own.begun), (0, control.begun)
        bounds = Bounds(
            gate=unpaired.share_difference(*counts, level=0.9), strict=unpaired.share_difference(*counts, level=0.99)
        )
        recent = Recent(requests=own.begun, errors=own.failed, p95_ms=100.0)
        return RolloutEvidence(
            at=now,
            window=Window(candidate=recent, control=Recent(requests=control.begun, p95_ms=100.0), slow=0),
            stages=(Stage(phase=state.phase.name, share=chance, candidate=own, control=control),),
            error_difference=bounds,
            latency_p95_ratio=Bounds(gate=_ratio(0.9), strict=_ratio(0.9934)),
            assigned=(Assigned(name="conversations", taken=own.begun, left=control.begun, share=chance),),
            severe=self.severe,
            last_traffic=now,
        )

    def close(self) -> None:
        self.closed += 1


def _ratio(level: float):
    from harness.domain.estimate import Estimate

    return Estimate(metric="latency_p95_ratio", value=1.0, low=0.9, high=1.1, level=level, looks="any", n=100)


@dataclass
class Recorded:
    """Everybody who is told, in the order in which they were."""

    told: list[tuple[str, Any]] = field(default_factory=list)
    refuses: str | None = None
    away: bool = False

    def refusal(self, event: Event) -> str | None:
        self.told.append(("before", event.number))
        return self.refuses

    def route(self, route: Route) -> None:
        if self.away:
            raise InfrastructureError("the proxy is away")
        last = [what for how, what in self.told if how == "route"][-1:]
        if last != [(route.number, route.share)]:
            self.told.append(("route", (route.number, route.share)))

    def follow(self, event: Event, state: RolloutState) -> None:
        self.told.append(("follow", event.number))


class Inline(Executor):
    """Does at once what others do beside."""

    def submit(self, work: Any, /, *args: Any, **more: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        done.set_result(work(*args, **more))
        return done


def controller(
    store: Any, acts: Acts, evidence: Evidence, clock: Clock, holder: str = "one", *, inline: bool = True, **more: Any
) -> Controller:
    found = Controller(
        store, "shop", acts, lambda record, rules: evidence, holder=holder, run_id="shop", now=clock, **more
    )
    if inline:
        found.beside = Inline()
    return found


def begun(store: Store, tmp_path: Path, clock: Clock, **more: Any) -> str:
    """A rollout that has passed its shadow phase."""
    record, _ = people.start(store, live(tmp_path), policy(**more), by="Ada", reason="cheaper", at=clock())
    event = Event(rollout_id=record.id, number=2, kind=EventKind.ADVANCED, phase="canary_5", at=clock(),
                  actor="controller", reason="the pairs say GO")  # fmt: skip
    store.append_event(event)
    return record.id


def go_on(one: Controller, clock: Clock, store: Store, *, steps: int = 60, approve: bool = True) -> RolloutState:
    for _ in range(steps):
        one.step()
        state = people.standing(store, "shop").state
        if state.status.is_over:
            one.step()
            break
        if state.asks_approval and approve:
            people.approve(store, "shop", by="Grace", reason="looks good", at=clock())
        clock.pass_(10)
    return people.standing(store, "shop").state


def kinds(store: Store) -> list[tuple[str, str]]:
    return [(event.kind.value, event.phase) for event in people.standing(store, "shop").events]
