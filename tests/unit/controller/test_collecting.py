"""What is brought together for a ruling, from where, and how old it is."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from harness.config.rollout import DEFAULT_PHASES, Rollout
from harness.controller.collecting import Collector, in_force
from harness.controller.shadowing import ShadowLook
from harness.domain.rollout import Event, EventKind, RolloutState, RolloutStatus
from harness.domain.served import Arm, Served, ServedOutcome
from harness.errors import ConfigurationError, InfrastructureError
from harness.rollout.evidence import PairCount

BEGIN = datetime(2026, 3, 2, 8, tzinfo=UTC)
POLICY = Rollout(name="small", live="live.yaml", candidate="small")
PHASES = {phase.name: phase for phase in POLICY.steps}


def event(number: int, phase: str) -> Event:
    kind = EventKind.STARTED if number == 1 else EventKind.ADVANCED
    return Event(rollout_id="r", number=number, kind=kind, phase=phase, at=BEGIN, actor="Ada", reason="x")


def state(phase: str, number: int = 1) -> RolloutState:
    return RolloutState(
        rollout_id="r", status=RolloutStatus.RUNNING, phase=PHASES[phase], number=number, phase_since=BEGIN,
        since=BEGIN, asked_since=BEGIN,
    )  # fmt: skip


def served(number: int, arm: str = "candidate", **more) -> Served:
    values = {"outcome": ServedOutcome.SERVED, "status": 200, "latency_ms": 50.0} | more
    return Served(
        rollout_id="r", number=2, request_id=f"q{number}", arm=Arm(arm), conversation=f"c{number}", surface="chat",
        at=BEGIN + timedelta(seconds=number), **values,
    )  # fmt: skip


class Answers:
    def __init__(self) -> None:
        self.rows: list[tuple[Served, datetime]] = []
        self.asked_from: list[datetime | None] = []
        self.away = False

    def add(self, *items: Served) -> None:
        self.rows += [(item, BEGIN + timedelta(seconds=len(self.rows) + n)) for n, item in enumerate(items)]

    def served(self, rollout_id: str, *, stored_from: datetime | None = None):
        assert rollout_id == "r"
        self.asked_from.append(stored_from)
        for item, at in self.rows:
            if stored_from is None or at >= stored_from:
                yield item, at
        if self.away:
            raise InfrastructureError("no database")


@pytest.fixture
def answers() -> Answers:
    return Answers()


def collector(answers: Answers, look=lambda state, begun: ShadowLook(at=BEGIN)) -> Collector:
    return Collector(answers, look, POLICY, rollout_id="r", begun=BEGIN, look_every_s=10)


def looked(one: Collector, at: RolloutState, events: list[Event], now: datetime = BEGIN):
    """Collect until the look that was begun is over."""
    one.collect(at, events, POLICY.steps, now)
    end = time.monotonic() + 10
    while one._looking is not None and not one._looking.done():
        assert time.monotonic() < end
        time.sleep(0.005)
    return one.collect(at, events, POLICY.steps, now)


def test_in_a_shadow_phase_the_evidence_is_as_old_as_the_look(answers) -> None:
    at, seen = BEGIN + timedelta(seconds=77), []

    def look(of: RolloutState, begun: datetime) -> ShadowLook:
        seen.append((of.phase.name, begun))
        return ShadowLook(at=at, pairs=PairCount(due=10, complete=9), spend_usd=1.5, last_at=BEGIN)

    one = collector(answers, look)
    before = one.collect(state("shadow_5"), [event(1, "shadow_5")], POLICY.steps, BEGIN + timedelta(hours=1))
    assert (before.at, before.pairs, before.stages) == (BEGIN, None, ())
    evidence = looked(one, state("shadow_5"), [event(1, "shadow_5")])
    assert (evidence.at, evidence.pairs, evidence.spend_usd) == (at, PairCount(due=10, complete=9), 1.5)
    assert seen[0] == ("shadow_5", BEGIN)
    one.close()


def test_what_was_seen_of_another_phase_is_not_taken_for_this_one(answers) -> None:
    one = collector(answers, lambda of, begun: ShadowLook(at=BEGIN, pairs=PairCount(due=1, complete=1)))
    assert looked(one, state("shadow_5"), [event(1, "shadow_5")]).pairs is not None
    events = [event(1, "shadow_5"), event(2, "shadow_25")]
    assert one.collect(state("shadow_25", 2), events, POLICY.steps, BEGIN).pairs is None
    one.close()


def test_looks_are_made_now_and_then_and_nobody_waits_for_them(answers) -> None:
    go, looks = threading.Event(), []

    def slow(of: RolloutState, begun: datetime) -> ShadowLook:
        looks.append(of)
        go.wait(10)
        return ShadowLook(at=BEGIN)

    one = collector(answers, slow)
    events = [event(1, "shadow_5"), event(2, "canary_5")]
    for second in range(30):
        answers.add(served(second))
        evidence = one.collect(state("canary_5", 2), events, POLICY.steps, BEGIN + timedelta(seconds=second))
        assert evidence.stages[0].candidate.begun == second + 1
    assert len(looks) == 1
    go.set()
    one.close()


def test_served_requests_are_read_once_and_only_what_is_new(answers) -> None:
    one = collector(answers)
    events = [event(1, "shadow_5"), event(2, "canary_5")]
    answers.add(*[served(n) for n in range(5)], *[served(n, "control") for n in range(5, 9)])
    first = looked(one, state("canary_5", 2), events)
    answers.add(served(20, status=500))
    second = one.collect(state("canary_5", 2), events, POLICY.steps, BEGIN + timedelta(seconds=30))
    assert [first.stages[0].candidate.begun, second.stages[0].candidate.begun] == [5, 6]
    assert second.stages[0].candidate.failed == 1
    assert answers.asked_from[-1] == BEGIN + timedelta(seconds=8)
    assert second.last_traffic == BEGIN + timedelta(seconds=20)
    assert (second.assigned[0].taken, second.assigned[0].left) == (6, 4)
    one.close()


def test_a_store_that_goes_away_in_the_middle_costs_nothing_that_was_read(answers) -> None:
    one = collector(answers)
    events = [event(1, "shadow_5"), event(2, "canary_5")]
    answers.add(*[served(n) for n in range(5)])
    answers.away = True
    with pytest.raises(InfrastructureError):
        one.collect(state("canary_5", 2), events, POLICY.steps, BEGIN)
    answers.away = False
    assert one.collect(state("canary_5", 2), events, POLICY.steps, BEGIN).stages[0].candidate.begun == 5
    one.close()


@pytest.mark.parametrize("error", [ConfigurationError("there is no run"), ZeroDivisionError("a fault")])
def test_a_look_that_fails_is_said_and_users_are_watched_over_all_the_same(answers, error) -> None:
    def fails(of: RolloutState, begun: datetime) -> ShadowLook:
        raise error

    one = collector(answers, fails)
    events = [event(1, "shadow_5"), event(2, "canary_5")]
    answers.add(served(1))
    evidence = looked(one, state("canary_5", 2), events)
    assert one.problem is not None
    assert evidence.stages[0].candidate.begun == 1
    assert evidence.window is not None
    one.close()


def test_events_say_which_phase_was_in_force() -> None:
    found = in_force([event(1, "shadow_5"), event(2, "canary_5"), event(3, "canary_5")], POLICY.steps)
    assert {number: phase.name for number, phase in found.items()} == {1: "shadow_5", 2: "canary_5", 3: "canary_5"}
    assert [section.name for section in DEFAULT_PHASES] == [phase.name for phase in POLICY.steps]
