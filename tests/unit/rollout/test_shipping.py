"""From a record of the spool to the request of an arm; whatever the record says."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.domain.served import Arm, Served, ServedOutcome
from harness.rollout.shipping import served_of
from harness.spool import record
from harness.spool.record import Captured

TOLD = {
    "rollout_id": "r1", "number": 7, "arm": "candidate", "conversation": "00ff", "surface": "chat",
    "outcome": "fell_back", "reason": "timeout",
}  # fmt: skip
CAPTURED = Captured(
    id="a", at_ns=1_767_323_045_678_901_999, method="POST", path="/v1/chat/completions", status=200, latency_ms=12.5,
    ttft_ms=3, served=TOLD,
)  # fmt: skip
NAMES = ("id", "at_ns", "status", "latency_ms", "ttft_ms")


def through_the_spool(captured: Captured) -> Captured:
    found = record.decode(b"".join(record.encode(captured)))
    assert found is not None
    return found


def test_a_record_of_an_arm_is_its_request():
    expected = Served(
        rollout_id="r1", number=7, request_id="a", arm=Arm.CANDIDATE, conversation="00ff",
        at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), surface="chat", outcome=ServedOutcome.FELL_BACK,
        status=200, latency_ms=12.5, ttft_ms=3.0, reason="timeout",
    )  # fmt: skip
    assert served_of(CAPTURED) == expected
    assert served_of(through_the_spool(CAPTURED)) == expected


@pytest.mark.parametrize("arm", ["candidate", "control"])
@pytest.mark.parametrize("outcome", list(ServedOutcome))
def test_every_arm_and_outcome_is_known(arm, outcome):
    captured = replace(CAPTURED, served=TOLD | {"arm": arm, "outcome": outcome.value, "reason": None})
    found = served_of(through_the_spool(captured))
    assert (found.arm, found.outcome, found.reason) == (Arm(arm), outcome, None)


def test_times_that_nobody_measured_are_not_known():
    found = served_of(replace(CAPTURED, latency_ms=None, ttft_ms=None, status=0))
    assert (found.latency_ms, found.ttft_ms, found.status) == (None, None, 0)


@pytest.mark.parametrize("missing", [name for name in TOLD if name != "reason"])
def test_what_does_not_say_everything_is_none(missing):
    assert served_of(replace(CAPTURED, served={name: value for name, value in TOLD.items() if name != missing})) is None


@pytest.mark.parametrize(
    "odd",
    [{"arm": "neither"}, {"arm": "other"}, {"arm": 1}, {"number": "7"}, {"number": True}, {"number": 7.5},
     {"rollout_id": ""}, {"rollout_id": None}, {"conversation": 5}, {"conversation": ""}, {"surface": ["chat"]},
     {"outcome": "odd"}, {"outcome": {}}, {"reason": 5}, {"reason": ""}],
)  # fmt: skip
def test_what_makes_no_sense_is_none(odd):
    assert served_of(replace(CAPTURED, served=TOLD | odd)) is None


@pytest.mark.parametrize(
    "odd",
    [{"served": {}}, {"served": []}, {"served": "served"}, {"served": None}, {"id": ""}, {"id": 5}, {"at_ns": "now"},
     {"at_ns": 10**40}, {"at_ns": -(10**40)}, {"at_ns": 1.5}, {"at_ns": None}, {"status": "200"}, {"status": None},
     {"latency_ms": "12"}, {"latency_ms": True}, {"ttft_ms": [1]}, {"latency_ms": 10**400}],
)  # fmt: skip
def test_a_record_that_makes_no_sense_is_none(odd):
    assert served_of(replace(CAPTURED, **odd)) is None


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([*Arm, *ServedOutcome]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(NAMES), ANYTHING), st.dictionaries(st.sampled_from(list(TOLD)), ANYTHING))
def test_whatever_a_record_says_nothing_is_raised(fields, told):
    found = served_of(replace(CAPTURED, **fields, served=TOLD | told))
    assert found is None or isinstance(found.failed, bool)
