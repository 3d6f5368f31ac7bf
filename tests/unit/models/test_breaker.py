"""When a deployment is left alone, and how it is found to be back."""

import random

import pytest

from harness.config.live import BreakerSection
from harness.models.breaker import Breaker, BreakerState


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def breaker(clock: Clock, **settings) -> Breaker:
    section = BreakerSection(
        **({"consecutive": 3, "window": 4, "share": 0.5, "open_s": 10, "max_open_s": 35} | settings)
    )
    return Breaker(section, rng=random.Random(0), clock=clock)


def call(on: Breaker, *, fails: bool) -> bool:
    permit = on.admit()
    if permit is None:
        return False
    on.record(permit, is_failure=fails)
    return True


def test_it_opens_after_so_many_failures_in_a_row(clock):
    one = breaker(clock, window=100)
    for _ in range(2):
        call(one, fails=True)
    call(one, fails=False)
    for _ in range(2):
        call(one, fails=True)
    assert one.state is BreakerState.CLOSED

    call(one, fails=True)

    assert one.state is BreakerState.OPEN
    assert one.admit() is None
    assert 10 <= one.remaining_s <= 12, "with jitter"


def test_it_opens_when_too_large_a_share_of_a_full_window_failed(clock):
    one = breaker(clock, consecutive=100)
    for fails in (True, False, False):
        call(one, fails=fails)
    assert one.state is BreakerState.CLOSED
    call(one, fails=True)
    assert one.state is BreakerState.OPEN


def test_one_probe_at_a_time_finds_out_and_closes(clock):
    one = opened(clock)
    clock.now += 13
    probe = one.admit()
    assert probe is not None
    assert probe.is_probe
    assert one.state is BreakerState.HALF_OPEN
    assert one.admit() is None, "one call finds out"

    one.record(probe, is_failure=False)

    assert one.state is BreakerState.CLOSED
    assert call(one, fails=True)
    assert one.state is BreakerState.CLOSED, "what was before is forgotten"


def test_the_pause_doubles_with_every_probe_that_fails_up_to_a_limit(clock):
    one = opened(clock)
    pauses = []
    for _ in range(4):
        clock.now += one.remaining_s
        probe = one.admit()
        assert probe is not None
        one.record(probe, is_failure=True)
        pauses.append(one.remaining_s)
    for pause, base in zip(pauses, (20, 35, 35, 35), strict=True):
        assert base <= pause <= 1.2 * base


def test_a_closed_breaker_begins_with_the_first_pause_again(clock):
    one = opened(clock)
    for fails in (True, False):
        clock.now += one.remaining_s
        call(one, fails=fails)
    for _ in range(3):
        call(one, fails=True)
    assert one.remaining_s <= 12


def test_a_call_from_before_it_opened_changes_nothing(clock):
    one = breaker(clock)
    late = one.admit()
    assert late is not None
    for _ in range(3):
        call(one, fails=True)
    one.record(late, is_failure=False)
    assert one.state is BreakerState.OPEN
    clock.now += one.remaining_s
    probe = one.admit()
    assert probe is not None
    one.record(late, is_failure=True)
    assert one.state is BreakerState.HALF_OPEN


def test_a_probe_that_was_not_sent_is_left_to_the_next_call(clock):
    one = opened(clock)
    clock.now += one.remaining_s
    probe = one.admit()
    assert probe is not None
    one.forgo(probe)
    again = one.admit()
    assert again is not None
    assert again.is_probe


def opened(clock: Clock) -> Breaker:
    one = breaker(clock)
    for _ in range(3):
        call(one, fails=True)
    assert one.state is BreakerState.OPEN
    return one
