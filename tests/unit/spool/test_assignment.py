"""Laws of the arms, and of the file by which gateways learn about them."""

import os
import stat
from dataclasses import replace

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from harness.spool.assignment import (
    FILE,
    LARGEST_BYTES,
    PRODUCTION,
    Arm,
    Assignment,
    arm_of,
    control_beside,
    read,
    stored,
    write,
)  # fmt: skip
from harness.spool.sampling import fraction

EXAMPLES = settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
KEYS = [f"conversation-{number}" for number in range(20_000)]
SHARES = st.floats(0, 1)


def shared(share: float, **more) -> Assignment:
    values = {"rollout_id": "r1", "number": 3, "candidate": "small", "control_share": control_beside(share)}
    return Assignment(
        **(values | {"mirror_rate": -1.0, "salt": "salt", "written_at": 100.0, "valid_until": 160.0} | more),
        share=share,
    )


@EXAMPLES
@given(st.text(), st.text(), SHARES, SHARES)
def test_raising_the_share_only_adds_conversations(salt, key, one, other):
    low, high = sorted((one, other))
    if arm_of(shared(low, salt=salt), key) is Arm.CANDIDATE:
        assert arm_of(shared(high, salt=salt), key) is Arm.CANDIDATE


@EXAMPLES
@given(st.text(), st.text(), st.floats(0, 0.5), st.floats(0, 0.5))
def test_the_control_is_stable_while_there_is_room(salt, key, one, other):
    low, high = sorted((one, other))
    if arm_of(shared(low, salt=salt), key) is Arm.CONTROL:
        assert arm_of(shared(high, salt=salt), key) is Arm.CONTROL


@EXAMPLES
@given(st.text(), SHARES)
def test_a_conversation_is_in_one_arm_and_stays_there(key, share):
    found = shared(share)
    place = fraction("salt", "conversation", key, tag=b"canary")
    expected = Arm.CANDIDATE if place < share else Arm.CONTROL if place >= 1 - found.control_share else Arm.NEITHER
    assert {arm_of(found, key), arm_of(shared(share), key)} == {expected}


@EXAMPLES
@given(st.text(), st.text())
def test_nothing_and_everything_are_exact(salt, key):
    assert arm_of(shared(0.0, salt=salt), key) is Arm.NEITHER
    assert arm_of(shared(1.0, salt=salt), key) is Arm.CANDIDATE
    assert arm_of(PRODUCTION, key) is Arm.NEITHER


@pytest.mark.parametrize("place", [0.0, 1.0])
def test_the_ends_are_exact_for_the_outermost_hashes(monkeypatch, place):
    """The largest hashes round up to 1."""
    monkeypatch.setattr("harness.spool.assignment.fraction", lambda *_, **__: place)
    assert arm_of(shared(0.0), "k") is Arm.NEITHER
    assert arm_of(shared(1.0), "k") is Arm.CANDIDATE


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.95])
def test_arms_have_the_size_they_should(share):
    arms = [arm_of(shared(share), key) for key in KEYS]
    assert abs(arms.count(Arm.CANDIDATE) / len(KEYS) - share) < 0.01
    assert abs(arms.count(Arm.CONTROL) / len(KEYS) - min(share, 1 - share)) < 0.01


def test_arms_are_independent_of_the_mirrors_sample():
    table = {arm: [0, 0] for arm in Arm}
    for key in KEYS:
        table[arm_of(shared(0.3), key)][fraction("salt", "conversation", key) < 0.3] += 1
    assert chi2_contingency(list(table.values())).pvalue > 0.001


def test_another_salt_shares_out_anew():
    one = {key for key in KEYS if arm_of(shared(0.3), key) is Arm.CANDIDATE}
    other = {key for key in KEYS if arm_of(shared(0.3, salt="other"), key) is Arm.CANDIDATE}
    assert abs(len(one & other) / len(KEYS) - 0.09) < 0.01


@pytest.mark.parametrize(
    "wrong",
    [{"share": 1.1}, {"share": -0.1}, {"share": float("nan")}, {"control_share": 0.8}, {"control_share": -0.1},
     {"number": -1}, {"valid_until": float("inf")}, {"written_at": float("nan")}],
)  # fmt: skip
def test_an_assignment_that_makes_no_sense_cannot_be_made(wrong):
    with pytest.raises(ValueError, match=r"parts of a whole|finite times"):
        replace(shared(0.25), **wrong)


# The file


def test_what_was_written_is_read_until_its_time_has_passed(tmp_path):
    assert write(tmp_path / "spool", shared(0.25))
    assert read(tmp_path / "spool", 100.0) == read(tmp_path / "spool", 159.9) == shared(0.25)
    assert read(tmp_path / "spool", 160.0) == PRODUCTION


def test_a_clock_that_was_set_back_does_not_lengthen_it(tmp_path):
    write(tmp_path, shared(0.25))
    assert read(tmp_path, 40.0) == shared(0.25)
    assert read(tmp_path, 39.9) == PRODUCTION


def test_only_the_owner_can_read_it_and_no_draft_is_left(tmp_path):
    write(tmp_path, shared(0.25))
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {FILE, f"{FILE}.lock"}


def test_without_a_file_production_serves_everybody(tmp_path):
    assert read(tmp_path / "none", 100.0) == PRODUCTION
    (tmp_path / FILE).mkdir()
    assert read(tmp_path, 100.0) == PRODUCTION


def test_an_older_event_never_replaces_a_newer_one(tmp_path):
    write(tmp_path, shared(0.0, number=4))
    assert not write(tmp_path, shared(0.25, number=3, written_at=110.0, valid_until=170.0))
    assert stored(tmp_path) == shared(0.0, number=4)
    assert write(tmp_path, shared(0.0, number=4, valid_until=170.0))
    assert write(tmp_path, shared(0.5, number=5))


def test_an_earlier_look_of_the_same_event_gives_nothing_back(tmp_path):
    """A halt takes the candidate away without an event."""
    write(tmp_path, shared(0.0, written_at=101.0, valid_until=161.0))
    assert not write(tmp_path, shared(0.25))
    assert stored(tmp_path).share == 0
    assert write(tmp_path, shared(0.25, written_at=102.0, valid_until=162.0)), "a later one does"
    assert write(tmp_path, shared(0.0)), "taking away is never too late"
    write(tmp_path, shared(0.0, written_at=3_700.0, valid_until=3_760.0))
    assert write(tmp_path, shared(0.25)), "its clock was set back"


def test_another_rollout_replaces_what_was_looked_at_before_it(tmp_path):
    write(tmp_path, shared(0.25, number=9))
    following = shared(0.0, rollout_id="r2", number=1, written_at=101.0, valid_until=161.0)
    assert write(tmp_path, following)
    assert not write(tmp_path, shared(0.25, number=9))
    assert stored(tmp_path) == following
    assert write(tmp_path, shared(0.25, number=9, written_at=30.0, valid_until=90.0)), "its clock was set back"


def test_a_damaged_file_is_replaced(tmp_path):
    (tmp_path / FILE).write_bytes(b"{")
    assert write(tmp_path, shared(0.25))
    assert stored(tmp_path) == shared(0.25)


def whole(tmp_path) -> dict:
    write(tmp_path, shared(0.25))
    return orjson.loads((tmp_path / FILE).read_bytes())


@pytest.mark.parametrize(
    "wrong",
    [{"version": 2}, {"version": True}, {"version": None}, {"share": "0.25"}, {"share": True}, {"share": 2},
     {"control_share": 0.9}, {"number": 1.5}, {"number": -1}, {"salt": None}, {"valid_until": None}],
)  # fmt: skip
def test_a_file_that_makes_no_sense_means_production(tmp_path, wrong):
    (tmp_path / FILE).write_bytes(orjson.dumps(whole(tmp_path) | wrong))
    assert read(tmp_path, 100.0) == PRODUCTION


def test_what_later_versions_add_is_passed_over(tmp_path):
    (tmp_path / FILE).write_bytes(orjson.dumps(whole(tmp_path) | {"note": "new"}))
    assert read(tmp_path, 100.0) == shared(0.25)


def test_a_file_that_is_too_large_means_production(tmp_path):
    (tmp_path / FILE).write_bytes(orjson.dumps(whole(tmp_path)) + b" " * LARGEST_BYTES)
    assert read(tmp_path, 100.0) == PRODUCTION


@EXAMPLES
@given(st.data())
def test_a_damaged_file_never_raises(tmp_path, data):
    sound = orjson.dumps(whole(tmp_path))
    cut = data.draw(st.integers(0, len(sound) - 1))
    (tmp_path / FILE).write_bytes(sound[:cut])
    assert read(tmp_path, 100.0) == PRODUCTION
    (tmp_path / FILE).write_bytes(sound[:cut] + data.draw(st.binary(max_size=30)) + sound[cut + 1 :])
    found = read(tmp_path, 100.0)
    assert found == PRODUCTION or found.holds(100.0)
    (tmp_path / FILE).write_bytes(b"[" * data.draw(st.integers(1, 60_000)))
    assert read(tmp_path, 100.0) == PRODUCTION


@EXAMPLES
@given(st.dictionaries(st.sampled_from(["version", *Assignment.__slots__]), st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**63), st.floats(), st.text(), st.lists(st.none()))))  # fmt: skip
def test_whatever_fields_say_nothing_is_raised(tmp_path, changes):
    encodable = {name: value for name, value in changes.items() if not isinstance(value, str) or value.isascii()}
    (tmp_path / FILE).write_bytes(orjson.dumps(whole(tmp_path) | encodable))
    found = read(tmp_path, 100.0)
    assert found == PRODUCTION or (0 <= found.share <= 1 and found.holds(100.0))


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    write(tmp_path, shared(0.25))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, shared(0.5, number=4))
    monkeypatch.undo()
    assert stored(tmp_path) == shared(0.25)
