"""How a serving process takes the signals that end it."""

import time

import uvicorn

from harness.gateway import process


def told_twice(monkeypatch, *, parents):
    """A server that was told to end twice at once; ``parents`` are our parent's ids at its start and afterwards."""
    ids = list(parents)
    monkeypatch.setattr(process.os, "getppid", lambda: ids.pop(0) if len(ids) > 1 else ids[0])
    server = process._Server(uvicorn.Config(lambda: None))
    server._stop()
    assert server.should_exit
    server._stop()
    assert not server.force_exit
    time.sleep(0.3)
    return server


def test_a_second_signal_hurries_while_there_is_a_parent(monkeypatch):
    assert told_twice(monkeypatch, parents=(7,)).force_exit


def test_what_is_told_of_each_thread_of_a_killed_parent_is_one_signal(monkeypatch):
    server = told_twice(monkeypatch, parents=(7, 1))
    assert not server.force_exit
    time.sleep(0.3)
    server._stop()
    assert server.force_exit
