"""Switching on and off while an application runs, forks, is killed and ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import harness
from harness import config
from harness.spool import control
from harness.spool.counters import fold_dead, is_held
from harness.spool.reader import COUNTERS
from tests.unit.capture.provider import TEXT
from tests.unit.capture.test_clients import ASK, openai_client

ROOT = Path(__file__).parents[3]
APPLICATION = """
import os, signal, sys
import harness, openai
client = harness.shadow(openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="k"), sys.argv[2])
for _ in range(5):
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
"""


def ask(client):
    return client.chat.completions.create(model="m", messages=ASK).choices[0].message.content


def within_a_second(condition) -> bool:
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def run(code, provider, experiment):
    return subprocess.run(
        [sys.executable, "-c", code, provider.base, str(experiment.path)], cwd=ROOT, timeout=60, check=False
    ).returncode


def test_what_waits_is_written_when_the_interpreter_ends(provider, experiment):
    assert run(APPLICATION, provider, experiment) == 0

    assert len(experiment.records()) == 5
    assert not any(is_held(path) for path in (experiment.spool / COUNTERS).glob("*.counts"))


def test_of_a_killed_application_everything_is_accounted_for(provider, experiment):
    assert run(APPLICATION + "os.kill(os.getpid(), signal.SIGKILL)", provider, experiment) == -signal.SIGKILL

    kept = len(experiment.records())
    [counts] = (experiment.spool / COUNTERS).glob("*.counts")
    fold_dead(experiment.spool / COUNTERS, {counts.stem: kept})
    total = experiment.counts()
    assert kept >= 4
    assert total["sampled"] == kept + total["dropped.unflushed"]


def test_the_kill_switch_is_honoured_within_a_second(provider, experiment):
    client = harness.shadow(openai_client(provider), experiment.path)
    control.switch(experiment.spool, mirror=False)

    def stopped():
        ask(client)
        return experiment.counts()["not_eligible.kill_switch"]

    assert within_a_second(stopped)
    kept = len(experiment.records())
    control.switch(experiment.spool, mirror=True)
    assert within_a_second(lambda: ask(client) and len(experiment.records()) > kept)


def test_a_changed_rate_is_taken_in_within_a_second(provider, experiment):
    client = harness.shadow(openai_client(provider), experiment.path)
    experiment.write(rate=0)

    assert within_a_second(lambda: ask(client) and experiment.counts()["sampled_out"])


def test_a_file_that_became_wrong_leaves_the_one_before_it_in_force(provider, experiment, caplog):
    client = harness.shadow(openai_client(provider), experiment.path)
    experiment.path.write_text("mirror: [")

    assert within_a_second(lambda: "stays in force" in caplog.text)
    ask(client)
    assert len(experiment.records()) == 1


def test_without_a_valid_file_nothing_is_captured_until_there_is_one(provider, experiment, caplog):
    experiment.path.unlink()
    client = harness.shadow(openai_client(provider), experiment.path)

    assert ask(client) == TEXT
    assert "no such file" in caplog.text
    experiment.write()
    assert within_a_second(lambda: ask(client) and experiment.spool.exists() and experiment.records())


def test_a_spool_that_cannot_be_opened_changes_nothing_for_the_caller(provider, experiment, caplog):
    experiment.spool.write_text("in the way")
    client = harness.shadow(openai_client(provider), experiment.path)

    assert ask(client) == TEXT
    assert within_a_second(lambda: "the spool cannot be opened" in caplog.text)


def test_an_experiment_may_be_given_as_a_value_or_by_the_environment(provider, experiment, monkeypatch):
    ask(harness.shadow(openai_client(provider), config.load_live(experiment.path)))
    monkeypatch.setenv("HARNESS_LIVE", str(experiment.path))
    ask(harness.shadow(openai_client(provider)))

    assert len(experiment.records()) == 2


def test_a_forked_child_writes_files_of_its_own_and_keeps_none_of_its_parents(provider, experiment):
    client = harness.shadow(openai_client(provider), experiment.path)
    ask(client)
    assert len(experiment.records()) == 1
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            ask(client)
            code = 0 if harness.shadow.flush() else 2
            os.write(writing, b"x")
            time.sleep(20)
        finally:
            os._exit(code)
    try:
        assert os.read(reading, 1) == b"x"
        ask(client)
        assert len(experiment.records()) == 3
        harness.shadow.close()
        held = {path.stem: is_held(path) for path in (experiment.spool / COUNTERS).glob("*.counts")}
        assert sorted(held.values()) == [False, True]
        assert {path.name.split("-")[1] for path in experiment.spool.glob("*.spool")} == {str(os.getpid()), str(child)}
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_many_threads_lose_nothing(provider, experiment):
    client = harness.shadow(openai_client(provider), experiment.path)
    threads = [threading.Thread(target=lambda: [ask(client) for _ in range(10)]) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(experiment.records()) == 80
    counts = experiment.counts()
    assert counts["requests"] == counts["sampled"] == counts["spooled"] == counts["answered"] == 80


def test_after_closing_the_client_goes_on_without_us(provider, experiment):
    client = harness.shadow(openai_client(provider), experiment.path)
    harness.shadow.close()

    assert ask(client) == TEXT
    assert list(experiment.spool.glob("*.spool")) == []


@pytest.mark.parametrize("surplus", [0, 64 << 20])
def test_what_waits_in_memory_is_bounded(provider, experiment, surplus):
    from harness.capture import capturing

    client = harness.shadow(openai_client(provider), experiment.path)
    capture = capturing.of(experiment.path)
    ask(client)
    assert experiment.counts()["spooled"] == 1
    capture.start()._inbox_bytes += surplus

    ask(client)

    assert experiment.counts()["dropped.queue_full"] == (1 if surplus else 0)
