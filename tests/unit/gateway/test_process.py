"""How a serving process takes the signals that end it."""

import uvicorn

from harness.gateway import process


def test_the_same_signal_told_twice_does_not_hurry(monkeypatch):
    """A parent that is killed is reported once for each of its threads."""
    clock = {"now": 100.0}
    monkeypatch.setattr(process.time, "monotonic", lambda: clock["now"])
    server = process._Server(uvicorn.Config(lambda: None))
    for passed_s in (0.0, 0.001, 0.3):
        clock["now"] = 100.0 + passed_s
        server._stop()
        assert server.should_exit
        assert not server.force_exit
    clock["now"] = 101.0
    server._stop()
    assert server.force_exit
