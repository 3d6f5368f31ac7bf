from dataclasses import replace
from datetime import timedelta

import pytest

from harness.domain.rollout import Action, Check, EventKind, RolloutStatus, Ruling
from harness.errors import InfrastructureError, InputError
from harness.rollout.history import abort, approve, event_for, pause, resume, start, state_of
from tests.unit.rollout.factory import BEGIN, NAMES, PHASES, approved, event, history_up_to, started, state_in

HOUR = timedelta(hours=1)
WHO = {"at": BEGIN + HOUR, "actor": "Ada", "reason": "because"}


def ruling(action: Action, on: int, *checks: Check) -> Ruling:
    return Ruling(action=action, reason="the numbers say so", checks=checks, made_on=on)


def following(state, action: Action, **changes):
    return event_for(state, ruling(action, state.number), PHASES, at=BEGIN + HOUR, **changes)


def held(phase: str = "canary_5"):
    return state_in(phase, status=RolloutStatus.HOLD)


def paused(phase: str = "canary_5", **changes):
    return state_in(phase, status=RolloutStatus.PAUSED, **changes)


def test_a_start_runs_in_the_first_phase():
    state = state_of([started()], PHASES)
    assert (state.status, state.phase.name, state.number) == (RolloutStatus.RUNNING, "calibration", 1)
    assert state.phase_since == state.since == state.asked_since == BEGIN


@pytest.mark.parametrize(
    ("action", "phase", "kind", "next_phase"),
    [
        (Action.ADVANCE, "shadow_5", EventKind.ADVANCED, "shadow_25"),
        (Action.ADVANCE, "canary_50", EventKind.ADVANCED, "full"),
        (Action.ADVANCE, "full", EventKind.COMPLETED, "full"),
        (Action.ROLL_BACK, "shadow_5", EventKind.STOPPED, "shadow_5"),
        (Action.ROLL_BACK, "canary_5", EventKind.ROLLED_BACK, "canary_5"),
        (Action.ROLL_BACK, "full", EventKind.ROLLED_BACK, "full"),
        (Action.HOLD, "canary_5", EventKind.HELD, "canary_5"),
        (Action.PAUSE, "canary_50", EventKind.PAUSED, "canary_50"),
        (Action.ASK_APPROVAL, "canary_50", EventKind.PAUSED, "canary_50"),
        (Action.EXPIRE, "canary_5", EventKind.EXPIRED, "canary_5"),
    ],
)
def test_a_ruling_leads_to_one_event_and_applied_again_to_none(action, phase, kind, next_phase):
    state = state_in(phase)
    found = following(state, action)
    assert (found.kind, found.phase, found.number, found.actor) == (kind, next_phase, state.number + 1, "controller")
    after = state_of([*history_up_to(phase), found], PHASES)
    assert event_for(after, ruling(action, state.number), PHASES, at=BEGIN + 2 * HOUR) is None


def test_waiting_changes_nothing():
    assert following(state_in("canary_5"), Action.WAIT) is None


@pytest.mark.parametrize("action", [Action.HOLD, Action.WAIT, Action.ADVANCE, Action.ASK_APPROVAL])
def test_a_hold_ends_by_itself_before_anything_else_happens(action):
    found = following(held(), action)
    if action is Action.HOLD:
        assert found is None
    else:
        assert (found.kind, found.phase) == (EventKind.RESUMED, "canary_5")


@pytest.mark.parametrize("action", [Action.ROLL_BACK, Action.EXPIRE, Action.PAUSE])
def test_a_hold_delays_nothing_that_ends_or_asks(action):
    expected = {"roll_back": "rolled_back", "expire": "expired", "pause": "paused"}
    assert following(held(), action).kind == expected[action]


@pytest.mark.parametrize("action", [action for action in Action if action is not Action.ROLL_BACK])
def test_a_pause_is_not_ended_by_the_controller(action):
    assert following(paused(), action) is None


def test_a_pause_does_not_delay_a_roll_back():
    assert following(paused(), Action.ROLL_BACK).kind is EventKind.ROLLED_BACK


def test_without_leave_to_roll_back_the_controller_pauses_once_and_says_so():
    found = following(state_in("canary_5"), Action.ROLL_BACK, automatic=False)
    assert found.kind is EventKind.PAUSED
    assert "People have to roll back" in found.reason
    assert following(paused(), Action.ROLL_BACK, automatic=False) is None
    assert following(state_in("shadow_5"), Action.ROLL_BACK, automatic=False).kind is EventKind.STOPPED


def test_an_event_keeps_checks_and_hashes_as_json_can_say_them():
    check = Check(
        name="gate",
        speaks_for=Action.ADVANCE,
        sentence="fine",
        figures={"n": 3.0, "high": float("inf"), "x": float("nan")},
    )
    state = state_in("shadow_5")
    found = event_for(
        state, ruling(Action.ADVANCE, state.number, check), PHASES, at=BEGIN, evidence={"evidence_sha256": "ab"}
    )
    assert found.evidence == {
        "evidence_sha256": "ab",
        "checks": [{"name": "gate", "speaks_for": "advance", "sentence": "fine", "figures": {"n": 3.0}}],
    }


def test_holds_and_pauses_do_not_bake():
    events = [
        *history_up_to("canary_5"),
        event(6, EventKind.HELD, phase="canary_5", at=BEGIN + 1 * HOUR),
        event(7, EventKind.PAUSED, phase="canary_5", at=BEGIN + 3 * HOUR, actor="Ada"),
    ]
    state = state_of(events, PHASES)
    assert state.in_phase_s(BEGIN + 9 * HOUR) == 3_600
    resumed = event(8, EventKind.RESUMED, phase="canary_5", at=BEGIN + 7 * HOUR, actor="Ada")
    state = state_of([*events, resumed], PHASES)
    assert state.in_phase_s(BEGIN + 9 * HOUR) == 3 * 3_600
    assert state.asked_since == BEGIN + 7 * HOUR


def test_the_controller_cannot_end_a_pause_even_if_it_wrote_that_it_did():
    events = [
        *history_up_to("canary_5"),
        event(6, EventKind.PAUSED, phase="canary_5", actor="Ada"),
        event(7, EventKind.RESUMED, phase="canary_5"),
        event(8, EventKind.HELD, phase="canary_5"),
        event(9, EventKind.ADVANCED, phase="canary_25"),
    ]
    state = state_of(events, PHASES)
    assert (state.status, state.phase.name) == (RolloutStatus.PAUSED, "canary_5")


def test_a_clock_that_runs_backwards_takes_no_time_away():
    events = [
        *history_up_to("canary_5", at=BEGIN + 5 * HOUR),
        event(6, EventKind.HELD, phase="canary_5", at=BEGIN + 4 * HOUR),
        event(7, EventKind.RESUMED, phase="canary_5", at=BEGIN + 6 * HOUR),
    ]
    assert state_of(events, PHASES).phase_since == BEGIN + 6 * HOUR


def test_an_approval_is_of_one_phase():
    asked = event(5, EventKind.PAUSED, phase="shadow_100", evidence={"asks": "approval"})
    agreed = event(6, EventKind.APPROVED, phase="shadow_100", actor="Grace", at=BEGIN + HOUR)
    state = state_of([*history_up_to("shadow_100"), asked], PHASES)
    assert state.asks_approval
    state = state_of([*history_up_to("shadow_100"), asked, agreed], PHASES)
    assert (state.status, state.approved_by, state.approved_at) == (RolloutStatus.RUNNING, "Grace", BEGIN + HOUR)
    advanced = event(7, EventKind.ADVANCED, phase="canary_5", at=BEGIN + HOUR)
    state = state_of([*history_up_to("shadow_100"), asked, agreed, advanced], PHASES)
    assert (state.approved_by, state.approved_at) == (None, None)


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([], "has no history"),
        ([event(1, EventKind.ADVANCED, phase="shadow_5")], "begins with advanced"),
        ([started(), event(3, EventKind.HELD, phase="calibration")], "event 2 is missing"),
        ([started(), started(reason="another")], "two events have number 1"),
        ([started(phase="canary_7")], "canary_7"),
    ],
)
def test_a_broken_history_is_refused(events, said):
    with pytest.raises(InfrastructureError, match=said):
        state_of(events, PHASES)


# People


def test_people_pause_resume_and_approve():
    assert pause(state_in("canary_5"), **WHO).kind is EventKind.PAUSED
    assert pause(held(), **WHO).kind is EventKind.PAUSED
    assert resume(paused(), **WHO).kind is EventKind.RESUMED
    found = approve(paused(asks_approval=True), **WHO, people=("Ada",))
    assert (found.kind, found.actor, found.reason, found.phase) == (EventKind.APPROVED, "Ada", "because", "canary_5")


@pytest.mark.parametrize(("phase", "kind"), [("shadow_5", EventKind.STOPPED), ("canary_5", EventKind.ROLLED_BACK)])
def test_who_aborts_takes_the_candidate_away(phase, kind):
    for state in (state_in(phase), paused(phase), held(phase)):
        assert abort(state, **WHO).kind is kind


@pytest.mark.parametrize(
    ("act", "state", "said"),
    [
        (approve, state_in("canary_50"), "does not ask for approval"),
        (approve, paused("canary_50"), "`resume` it first"),
        (approve, approved(state_in("canary_50")), "does not ask for approval"),
        (pause, paused(), "paused already"),
        (resume, state_in("canary_5"), "is not paused"),
        (resume, held(), "goes on by itself"),
        (resume, paused(asks_approval=True), "`approve` or `abort`"),
    ],
)
def test_what_the_state_does_not_allow_is_refused(act, state, said):
    with pytest.raises(InputError, match=said):
        act(state, **WHO)


@pytest.mark.parametrize("act", [approve, pause, resume, abort])
@pytest.mark.parametrize("status", [status for status in RolloutStatus if status.is_over])
def test_nothing_follows_an_end(act, status):
    over = state_in("canary_5", status=status)
    with pytest.raises(InputError, match="is over"):
        act(over, **WHO)
    assert [following(over, action) for action in Action] == [None] * len(Action)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"actor": "  "}, "a name is needed"),
        ({"actor": "controller"}, "name of a person"),
        ({"reason": " "}, "a reason is needed"),
    ],
)
def test_the_history_says_who_and_why(changes, said):
    for act, state in ((pause, state_in("canary_5")), (abort, state_in("canary_5")), (resume, paused()),
                       (approve, paused(asks_approval=True))):  # fmt: skip
        with pytest.raises(InputError, match=said):
            act(state, **(WHO | changes))


def test_only_those_who_may_approve():
    with pytest.raises(InputError, match="Ada may not approve; those who may: Grace, Edsger"):
        approve(paused(asks_approval=True), **WHO, people=("Grace", "Edsger"))


def test_a_candidate_that_was_rolled_back_has_to_cool_down():
    back = state_in("canary_5", status=RolloutStatus.ROLLED_BACK)
    arguments = {"actor": "Ada", "reason": "mended", "earlier": back, "cool_down_s": 86_400.0}
    with pytest.raises(InputError, match="from 2026-03-03 08:00 UTC on"):
        start("r2", PHASES, at=BEGIN + 23 * HOUR, **arguments)
    again = start("r2", PHASES, at=BEGIN + 24 * HOUR, evidence={"candidate": "ab"}, **arguments)
    assert (again.rollout_id, again.phase, again.evidence) == ("r2", NAMES[0], {"candidate": "ab"})
    stopped = replace(back, status=RolloutStatus.STOPPED)
    assert start("r2", PHASES, at=BEGIN, **(arguments | {"earlier": stopped})).number == 1


def test_two_rollouts_of_one_candidate_do_not_run_at_once():
    with pytest.raises(InputError, match="r1 is running; abort it"):
        start("r2", PHASES, at=BEGIN, actor="Ada", reason="again", earlier=state_in("canary_5"))


@pytest.mark.parametrize(
    ("phase", "status", "share"),
    [
        ("shadow_100", RolloutStatus.RUNNING, 0.0),
        ("canary_25", RolloutStatus.RUNNING, 0.25),
        ("canary_25", RolloutStatus.HOLD, 0.25),
        ("canary_25", RolloutStatus.PAUSED, 0.25),
        ("canary_25", RolloutStatus.ROLLED_BACK, 0.0),
        ("canary_25", RolloutStatus.EXPIRED, 0.0),
        ("full", RolloutStatus.COMPLETED, 0.95),
    ],
)
def test_the_served_share(phase, status, share):
    assert state_in(phase, status=status).served_share == share
