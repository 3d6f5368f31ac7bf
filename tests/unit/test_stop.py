import pytest

from harness.domain.stop import StopSignal


def test_the_first_reason_counts():
    stop = StopSignal()
    assert stop.reason is None

    stop.request("budget")
    stop.request("interrupted")

    assert stop.reason == "budget"


def test_a_passed_time_limit_is_a_reason(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("harness.domain.stop.monotonic", lambda: now[0])
    stop = StopSignal(time_limit_s=5)
    assert stop.reason is None
    assert stop.remaining_s == pytest.approx(5)

    now[0] = 105.0

    assert stop.reason == "time_limit"
    assert stop.remaining_s == 0


def test_a_child_ends_with_its_parent_and_not_the_other_way_round():
    parent = StopSignal()
    spent, other = StopSignal(parent=parent), StopSignal(parent=parent)

    spent.request("budget")
    assert parent.reason is None
    assert other.reason is None

    parent.request("interrupted")
    assert other.reason == "interrupted"
    assert spent.reason == "budget"
