"""Asking long work to end, and waiting for nothing any more."""

from harness.domain.stop import StopSignal


def test_who_abandons_tells_everybody_and_asks_nothing_to_stop() -> None:
    stop, told = StopSignal(), list[str]()
    stop.when_abandoned(lambda: told.append("store"))
    stop.when_abandoned(lambda: told.append("spool"))

    stop.request("interrupted")
    assert told == []
    stop.abandon()

    assert told == ["store", "spool"]
    assert stop.reason == "interrupted"
