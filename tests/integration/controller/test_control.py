"""Whole rollouts by the controller, against a real store, with time and evidence made by the test."""

import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.config.live import Live
from harness.controller import people
from harness.controller.actuators import Route
from harness.domain.rollout import Event, EventKind, RolloutState, RolloutStatus
from harness.errors import ConfigurationError, HarnessError, InfrastructureError, InputError
from harness.store import Store
from tests.controlled import SHADOW, Clock, Evidence, Recorded, begun, controller, go_on, kinds, live, policy


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(f"sqlite:///{tmp_path}/harness.db") as opened:
        yield opened


GOOD = [
    ("started", "shadow"), ("advanced", "canary_5"), ("advanced", "canary_50"), ("paused", "canary_50"),
    ("approved", "canary_50"), ("advanced", "full"), ("completed", "full"),
]  # fmt: skip


def test_a_good_candidate_reaches_everybody(store: Store, tmp_path: Path) -> None:
    clock, acts, evidence = Clock(), Recorded(), Evidence()
    begun(store, tmp_path, clock)
    state = go_on(controller(store, acts, evidence, clock), clock, store)
    assert kinds(store) == GOOD
    assert (state.status, state.served_share) == (RolloutStatus.COMPLETED, 0.95)
    routes = [what for how, what in acts.told if how == "route"]
    assert routes == [(2, 0.05), (3, 0.5), (4, 0.5), (6, 0.95), (7, 0.95)]
    assert [what for how, what in acts.told if how == "follow"] == [1, 2, 3, 4, 5, 6, 7]
    assert [what for how, what in acts.told if how == "before"] == [3, 6, 7]
    last = people.standing(store, "shop").events[-1]
    assert len(str(last.evidence["evidence_sha256"])) == 64
    assert last.evidence["served"]["full"]["candidate"]["begun"] == 1_900  # type: ignore[index]
    assert {check["name"] for check in last.evidence["checks"]} >= {"gate", "sequential.errors"}  # type: ignore[index, union-attr]


def test_a_failing_candidate_is_routed_away_before_it_is_recorded_and_told(store: Store, tmp_path: Path) -> None:
    clock, acts, evidence = Clock(), Recorded(), Evidence()
    rollout_id = begun(store, tmp_path, clock)
    one = controller(store, acts, evidence, clock)
    one.step()
    evidence.failed = 60
    acts.told.clear()
    appended: list[bool] = []

    class Watched(Recorded):
        def route(self, route: Route) -> None:
            appended.append(len(store.rollout_events(rollout_id)) > 2)
            super().route(route)

    one._acts = watched = Watched()
    one.step()
    assert kinds(store)[-1] == ("rolled_back", "canary_5")
    assert appended == [False, True]
    assert [how for how, _ in watched.told] == ["route", "follow"]
    assert store.rollout_control(rollout_id).is_halted


@pytest.mark.parametrize("failed", [0, 60])
def test_killed_at_every_call_of_store_and_hooks_nothing_is_done_twice_or_left_undone(
    tmp_path: Path, failed: int
) -> None:
    number, ends = 0, set()
    with Store.open(f"sqlite:///{tmp_path}/begun.db") as template:
        begun(template, tmp_path, Clock())
    while True:
        number += 1
        shutil.copy(tmp_path / "begun.db", tmp_path / "again.db")
        with Store.open(f"sqlite:///{tmp_path}/again.db") as fresh:
            clock, acts, evidence = Clock(), Recorded(), Evidence()
            calls = Counter({"left": (number + 1) // 2, "after": number % 2})
            first = controller(_Deadly(fresh, calls), _Deadly(acts, calls), evidence, clock)
            died = False
            for step in range(60):
                evidence.failed = failed if step > 2 else 0
                try:
                    first.step()
                except _Killed:
                    died = True
                    break
                state = people.standing(fresh, "shop").state
                if state.status.is_over:
                    break
                if state.asks_approval:
                    people.approve(fresh, "shop", by="Grace", reason="looks good", at=clock())
                clock.pass_(10)
            if not died:
                break
            # The claim of the dead one runs out, and another takes over.
            clock.pass_(70)
            evidence.failed = failed
            go_on(controller(fresh, acts, evidence, clock, holder="two"), clock, fresh)
            found = kinds(fresh)
            ends.add(found[-1])
            assert len(set(found)) == len(found)
            if failed:
                assert found[-1][0] == "rolled_back"
            else:
                assert found == GOOD
            followed = [what for how, what in acts.told if how == "follow"]
            assert sorted(set(followed)) == list(range(1, len(found) + 1))
            # Told twice only when it died between telling and noting that.
            assert len(followed) <= len(found) + 1
            last = [what for how, what in acts.told if how == "route"][-1]
            assert last == (len(found), 0.0 if failed else 0.95)
    assert number > 15
    assert ends


class _Killed(BaseException):
    pass


_EFFECTS = {
    "claim_rollout", "halt_rollout", "append_event", "begin_action", "finish_action", "refusal", "route", "follow",
}  # fmt: skip


class _Deadly:
    """Whatever it stands before, of which the process does not survive the n-th call, before or after its effect."""

    def __init__(self, inner: Any, calls: Counter[str]) -> None:
        self._inner, self._calls = inner, calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in _EFFECTS:
            return found

        def called(*args: Any, **more: Any) -> Any:
            self._calls["left"] -= 1
            if self._calls["left"] == 0 and not self._calls["after"]:
                raise _Killed
            value = found(*args, **more)
            if self._calls["left"] == 0:
                raise _Killed
            return value

        return called


def test_of_two_controllers_one_acts_and_the_other_takes_over_when_its_claim_runs_out(
    store: Store, tmp_path: Path
) -> None:
    clock, acts = Clock(), Recorded()
    begun(store, tmp_path, clock)
    one, two = (controller(store, acts, Evidence(), clock, holder=name) for name in ("one", "two"))
    assert (one.step().role, two.step().role) == ("controls", "stands_by")
    clock.pass_(59)
    assert (two.step().role, one.step().role) == ("stands_by", "controls")
    clock.pass_(61)
    assert (two.step().role, one.step().role) == ("controls", "stands_by")
    two.close()
    assert one.step().role == "controls"


def test_a_hook_that_refuses_keeps_the_next_phase_from_beginning_and_never_a_roll_back(
    store: Store, tmp_path: Path
) -> None:
    clock, acts, evidence = Clock(), Recorded(refuses="the freeze is on"), Evidence()
    begun(store, tmp_path, clock)
    one = controller(store, acts, evidence, clock)
    state = go_on(one, clock, store, steps=20)
    assert state.phase.name == "canary_5"
    assert one.sight.refused == "the freeze is on"
    asked = [what for how, what in acts.told if how == "before"]
    assert 1 <= len(asked) <= 4  # once a minute, not at every step
    evidence.failed = 60
    one.step()
    assert kinds(store)[-1] == ("rolled_back", "canary_5")


def test_a_hook_that_takes_its_time_or_fails_keeps_no_roll_back_and_no_news_of_it_waiting(
    store: Store, tmp_path: Path
) -> None:
    clock, evidence, released = Clock(), Evidence(), threading.Event()
    begun(store, tmp_path, clock)

    class Slow(Recorded):
        def follow(self, event: Event, state: RolloutState) -> None:
            released.wait(20)
            if event.number == 1:
                raise InfrastructureError("nobody listens")
            super().follow(event, state)

        def refusal(self, event: Event) -> str | None:
            released.wait(20)
            return None

    acts = Slow()
    one = controller(store, acts, evidence, clock, inline=False)
    for _ in range(4):
        one.step()
        clock.pass_(30)
    evidence.failed = 60
    one.step()
    assert kinds(store)[-1] == ("rolled_back", "canary_5")
    assert ("route", (3, 0.0)) in acts.told
    released.set()
    end = time.monotonic() + 20
    while ("follow", 3) not in acts.told and time.monotonic() < end:
        one.step()
        time.sleep(0.02)
    assert ("follow", 3) in acts.told
    assert ("follow", 1) not in acts.told
    until_said = [one.step().problem for _ in range(50) if not time.sleep(0.02)]
    assert "nobody listens" in until_said
    one.close()


def test_an_actuator_that_is_away_is_a_problem_and_is_told_again(store: Store, tmp_path: Path) -> None:
    clock, acts, evidence = Clock(), Recorded(away=True), Evidence(failed=60)
    rollout_id = begun(store, tmp_path, clock)
    one = controller(store, acts, evidence, clock)
    sight = one.step()
    # What can be done is done: the gateways follow the halt.
    assert kinds(store)[-1] == ("rolled_back", "canary_5")
    assert store.rollout_control(rollout_id).is_halted
    assert sight.problem is not None
    assert "the proxy is away" in sight.problem
    acts.away = False
    assert one.step().problem is None
    assert acts.told[-1] == ("route", (3, 0.0))


def test_a_changed_candidate_ends_its_rollout(store: Store, tmp_path: Path) -> None:
    clock, acts = Clock(), Recorded()
    begun(store, tmp_path, clock)
    controller(store, acts, Evidence(), clock, fingerprint=lambda _: "another").step()
    last = people.standing(store, "shop").events[-1]
    assert (last.kind, last.actor) == (EventKind.ROLLED_BACK, "controller")
    assert "changed" in last.reason


def test_a_severe_event_rolls_back_at_the_next_step_and_may_be_reported_twice(store: Store, tmp_path: Path) -> None:
    clock, acts, evidence = Clock(), Recorded(), Evidence()
    begun(store, tmp_path, clock)
    one = controller(store, acts, evidence, clock)
    one.step()
    for _ in range(2):
        people.report_severe(store, "shop", key="leak-17", reason="a card number in an answer", at=clock())
    one.step()
    assert evidence.severe == 1
    one.step()
    assert kinds(store)[-1] == ("rolled_back", "canary_5")


# People


def test_an_abort_is_routed_at_once_and_ends_it(store: Store, tmp_path: Path) -> None:
    clock, acts = Clock(), Recorded()
    rollout_id = begun(store, tmp_path, clock)
    one = controller(store, acts, Evidence(), clock)
    one.step()
    people.abort(store, "shop", by="Ada", reason="complaints", at=clock())
    assert store.rollout_control(rollout_id).is_halted
    one.step()
    assert acts.told[-2:] == [("route", (3, 0.0)), ("follow", 3)]
    with pytest.raises(InputError, match="is over"):
        people.abort(store, "shop", by="Ada", reason="again", at=clock())


def test_pause_and_resume_stop_and_go_on(store: Store, tmp_path: Path) -> None:
    clock = Clock()
    begun(store, tmp_path, clock)
    one = controller(store, Recorded(), Evidence(), clock)
    one.step()
    people.pause(store, "shop", by="Ada", reason="holiday", at=clock())
    assert go_on(one, clock, store, steps=30).phase.name == "canary_5"
    people.resume(store, "shop", by="Ada", reason="back", at=clock())
    assert go_on(one, clock, store).status is RolloutStatus.COMPLETED


def test_the_same_candidate_does_not_come_back_after_a_roll_back_and_a_changed_one_has_less_alpha(
    store: Store, tmp_path: Path
) -> None:
    clock = Clock()
    begun(store, tmp_path, clock)
    controller(store, Recorded(), Evidence(failed=60), clock).step()

    def again(settings: Live) -> float:
        _, first = people.start(store, settings, policy(), by="Ada", reason="again", at=clock())
        return float(first.evidence["attempt_alpha"])  # type: ignore[arg-type]

    with pytest.raises(InputError, match="this very candidate"):
        again(live(tmp_path))
    changed = live(tmp_path, candidates=[{"name": "small", "model": "openai/small", "params": {"temperature": 0}}])
    with pytest.raises(InputError, match="another may start from"):
        again(changed)
    clock.pass_(86_401)
    assert again(changed) < policy().rollback.alpha
    standing = people.standing(store, "shop")
    assert standing.policy.rollback.alpha < policy().rollback.alpha
    with pytest.raises(InputError, match="abort it before"):
        again(changed)


@pytest.mark.parametrize(
    ("settings", "rules", "message"),
    [
        ({"candidates": [{"name": "other", "model": "openai/x"}]}, {}, "has no candidate 'small'"),
        ({"canary": None}, {}, "`canary` section"),
        ({}, {"phases": [{"name": "aa", "kind": "calibration", "share": 0.05, "gate": "calibrated", "min_pairs": 1,
                          "min_bake_s": 0, "max_s": 9}, SHADOW]}, "`replica`"),
        ({"decision": {"looks": "one"}}, {}, "looks: any"),
    ],
)  # fmt: skip
def test_what_a_rollout_needs_is_asked_for_before_it_begins(
    store: Store, tmp_path: Path, settings: dict[str, Any], rules: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        people.start(store, live(tmp_path, **settings), policy(**rules), by="Ada", reason="x")
    assert store.latest_rollout("shop") is None


def test_a_store_that_is_away_is_a_problem_and_no_end(store: Store, tmp_path: Path) -> None:
    clock = Clock()
    begun(store, tmp_path, clock)

    class Away:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            def refuse(*_: Any, **__: Any) -> Any:
                raise InfrastructureError("no database")

            return refuse

    one = controller(store, Recorded(), Evidence(), clock)
    one.step()
    one._store = Away()  # type: ignore[assignment]
    assert one.step().problem == "no database"
    one._store = store
    assert one.step().problem is None
    assert issubclass(InfrastructureError, HarnessError)
