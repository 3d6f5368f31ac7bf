from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config.rollout import DEFAULT_PHASES, RollbackSection
from harness.controller.serving import Serving, chance
from harness.domain.served import Arm, Served, ServedOutcome

BEGIN = datetime(2026, 3, 2, 8, tzinfo=UTC)
PHASES = {section.name: section.phase() for section in DEFAULT_PHASES}
IN_FORCE = {1: PHASES["shadow_100"], 2: PHASES["canary_5"], 3: PHASES["canary_5"], 4: PHASES["canary_25"]}
numbers = count()


def served(arm: str, conversation: str, *, number: int = 2, at_s: float = 0.0, **more) -> Served:
    values = {"outcome": ServedOutcome.SERVED, "status": 200, "latency_ms": 100.0, "surface": "chat"} | more
    return Served(
        rollout_id="r", number=number, request_id=f"q{next(numbers)}", arm=Arm(arm), conversation=conversation,
        at=BEGIN + timedelta(seconds=at_s), **values,
    )  # fmt: skip


def taken(*items: Served) -> Serving:
    found = Serving(RollbackSection())
    found.take(items)
    return found


def test_conversations_count_once_in_the_phase_in_which_they_began() -> None:
    serving = taken(
        served("candidate", "a"),
        served("candidate", "a", number=4, status=500),
        served("control", "b", number=3),
        served("candidate", "c", number=4),
        served("neither", "d"),
    )
    first, second = serving.stages(IN_FORCE)
    assert (first.phase, first.share) == ("canary_5", 0.5)
    assert (first.candidate.begun, first.candidate.failed) == (1, 1)
    assert (first.control.begun, first.control.failed) == (1, 0)
    assert (second.phase, second.candidate.begun, second.control.begun) == ("canary_25", 1, 0)


def test_a_first_request_whose_record_comes_late_is_still_the_first() -> None:
    serving = taken(served("candidate", "a", number=4), served("candidate", "a", number=2))
    first, second = serving.stages(IN_FORCE)
    assert (first.candidate.begun, second.candidate.begun) == (1, 0)


@given(st.lists(st.integers(0, 29), min_size=1, max_size=60), st.integers(0, 5))
@settings(deadline=None, max_examples=50)
def test_order_and_repetition_change_nothing(order: list[int], times: int) -> None:
    items = [
        served(("candidate", "control")[n % 2], f"c{n % 7}", number=2 + n % 3, status=(200, 500)[n % 11 == 0], at_s=n)
        for n in range(30)
    ]
    once, often = taken(*items), taken(*[items[place] for place in order] * (1 + times), *reversed(items))
    assert once.stages(IN_FORCE) == often.stages(IN_FORCE)
    assert len(once) == len(often) == 30
    now = BEGIN + timedelta(seconds=40)
    assert once.window(now) == often.window(now)


@pytest.mark.parametrize(
    ("outcome", "status", "failed"),
    [
        ("served", 200, False), ("served", 404, False), ("served", 429, True), ("served", 503, True),
        ("fell_back", 200, True), ("fell_back", 400, False), ("fell_back", 502, True), ("broke_off", 200, True),
        ("not_asked", 200, False), ("not_asked", 500, True), ("client_gone", 200, False), ("client_gone", 0, False),
    ],
)  # fmt: skip
def test_what_counts_against_an_arm(outcome: str, status: int, failed: bool) -> None:
    item = served("candidate", "a", outcome=ServedOutcome(outcome), status=status)
    assert item.failed is failed
    assert taken(item).stages(IN_FORCE)[0].candidate.failed == int(failed)


def test_failed_requests_are_infinitely_slow_and_unknown_latencies_are_left_out() -> None:
    items = [served("control", f"k{n}", latency_ms=100.0) for n in range(20)]
    items += [served("candidate", f"c{n}", latency_ms=90.0) for n in range(18)]
    items += [served("candidate", "x", status=500), served("candidate", "y", latency_ms=None)]
    window = taken(*items).window(BEGIN + timedelta(seconds=10), baseline=0.01)
    assert (window.candidate.requests, window.candidate.errors, window.slow) == (20, 1, 1)
    assert window.candidate.p95_ms == float("inf")
    assert (window.control.p95_ms, window.baseline_error_rate) == (100.0, 0.01)


def test_the_window_forgets() -> None:
    serving = taken(served("candidate", "a", status=500), served("candidate", "b", at_s=400))
    window = serving.window(BEGIN + timedelta(seconds=401))
    assert (window.candidate.requests, window.candidate.errors, window.control.requests) == (1, 0, 0)


def test_bounds_tell_a_failing_candidate_from_its_control_and_are_not_computed_for_nothing() -> None:
    items = [served("candidate", f"c{n}", status=500 if n % 5 == 0 else 200) for n in range(1_000)]
    items += [served("control", f"k{n}") for n in range(1_000)]
    serving = taken(*items)
    errors, latency = serving.bounds(PHASES["canary_5"], IN_FORCE) or pytest.fail("nothing is known")
    assert errors.strict.low is not None
    assert errors.strict.low > 0.1
    assert errors.gate.value == pytest.approx(0.2)
    assert latency.gate.value is None  # more than one in twenty failed: its P95 is a failure
    serving.take([served("candidate", "one more")])
    assert (serving.bounds(PHASES["canary_5"], IN_FORCE) or pytest.fail("forgotten"))[0] is errors
    assert serving.bounds(PHASES["canary_25"], IN_FORCE) is None


def test_the_chance_of_an_arm_is_that_of_the_two_alone() -> None:
    assert chance(PHASES["canary_5"]) == 0.5
    assert chance(PHASES["canary_50"]) == 0.5
    assert chance(PHASES["full"]) == pytest.approx(0.95)
