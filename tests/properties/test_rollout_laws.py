"""Laws of a rollout's history: whatever happens, in whatever order it is read."""

from datetime import timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.domain.rollout import Action, Event, EventKind, RolloutStatus, Ruling
from harness.errors import InputError
from harness.rollout.history import abort, approve, event_for, pause, resume, state_of
from tests.unit.rollout.factory import BEGIN, NAMES, PHASES, event, started

EXAMPLES = settings(max_examples=200, deadline=None, derandomize=True)
PEOPLE = (approve, pause, resume, abort)

later = st.lists(
    st.tuples(
        st.sampled_from(EventKind),
        st.sampled_from(NAMES),
        st.integers(-3, 50),
        st.sampled_from(["controller", "Ada"]),
        st.sampled_from([{}, {"asks": "approval"}]),
    ),
    max_size=12,
)
moves = st.lists(st.one_of(st.sampled_from(Action), st.sampled_from(PEOPLE)), max_size=25)


def history_of(items) -> list[Event]:
    return [
        started(),
        *(
            event(number, kind, phase=phase, at=BEGIN + timedelta(hours=hours), actor=actor, evidence=evidence)
            for number, (kind, phase, hours, actor, evidence) in enumerate(items, start=2)
        ),
    ]


def played(choices) -> list[Event]:
    """What comes of rulings and of people, as the product lets it happen."""
    events = [started()]
    for hour, choice in enumerate(choices):
        state, at = state_of(events, PHASES), BEGIN + timedelta(hours=hour)
        if isinstance(choice, Action):
            found = event_for(state, ruling(choice, state.number), PHASES, at=at)
        else:
            try:
                found = choice(state, at=at, actor="Ada", reason="because")
            except InputError:
                found = None
        events += [found] if found else []
    return events


def ruling(action: Action, on: int) -> Ruling:
    return Ruling(action=action, reason="numbers", checks=(), made_on=on)


@EXAMPLES
@given(later, st.randoms(use_true_random=False))
def test_the_state_does_not_depend_on_the_order_and_number_of_readings(items, random):
    events = history_of(items)
    shuffled = [*events, *random.choices(events, k=len(events))]
    random.shuffle(shuffled)
    assert state_of(shuffled, PHASES) == state_of(events, PHASES)


@EXAMPLES
@given(later, later)
def test_an_end_stays_and_serves_nobody_but_when_completed(before, after):
    """Any history up to an end, and anything whatever behind it."""
    for kind in (EventKind.ROLLED_BACK, EventKind.STOPPED, EventKind.EXPIRED, EventKind.COMPLETED):
        ended = [*before, (kind, NAMES[0], 60, "controller", {})]
        first = state_of(history_of(ended), PHASES)
        last = state_of(history_of([*ended, *after]), PHASES)
        assert first.status.is_over
        assert (last.status, last.phase, last.since) == (first.status, first.phase, first.since)
        if last.status is not RolloutStatus.COMPLETED:
            assert last.served_share == 0


@EXAMPLES
@given(moves)
def test_after_a_roll_back_nobody_is_served(choices):
    events = played([*choices, Action.ROLL_BACK, *choices])
    state = state_of(events, PHASES)
    assert state.status.is_over
    if EventKind.COMPLETED not in {item.kind for item in events}:
        assert state.served_share == 0


@EXAMPLES
@given(moves, st.sampled_from(Action))
def test_a_ruling_leads_to_one_event_at_most(choices, action):
    events = played(choices)
    state = state_of(events, PHASES)
    found = event_for(state, ruling(action, state.number), PHASES, at=BEGIN)
    if found is not None:
        after = state_of([*events, found], PHASES)
        assert event_for(after, ruling(action, state.number), PHASES, at=BEGIN) is None


@EXAMPLES
@given(moves)
def test_phases_come_in_order_and_none_is_left_out(choices):
    visited = [item.phase for item in played(choices) if item.kind in {EventKind.STARTED, EventKind.ADVANCED}]
    assert visited == list(NAMES[: len(visited)])


@EXAMPLES
@given(moves)
def test_only_people_end_a_pause(choices):
    events = played(choices)
    for before, after in pairwise(events):
        if before.kind is EventKind.PAUSED and after.actor == "controller":
            assert after.kind in {EventKind.ROLLED_BACK, EventKind.STOPPED}


@EXAMPLES
@given(later, st.integers(0, 100))
def test_time_in_a_phase_is_never_negative_nor_more_than_there_was(items, hours):
    state = state_of(history_of(items), PHASES)
    now = state.since + timedelta(hours=hours)
    assert 0 <= state.in_phase_s(now) <= (now - BEGIN).total_seconds()
    assert state.phase_since <= state.since
