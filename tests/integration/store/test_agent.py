"""The process beside a gateway: it follows and ships, ends with its gateway, and may be killed at any moment."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.config.live import parse_live
from harness.config.rollout import Rollout
from harness.domain.rollout import Event, EventKind
from harness.rollout.shipping import FOLDER
from harness.spool import assignment
from harness.spool.counters import CounterFile
from harness.spool.reader import saved_position
from harness.spool.record import Captured, encode
from harness.spool.writer import SpoolLimits, SpoolWriter, append
from harness.store import RolloutRecord, Store

ROOT = Path(harness.__file__).parents[1]
POLICY = Rollout(name="swap", live="live.yaml", candidate="small")
COMMAND = [sys.executable, "-m", "harness.rollout.agent", "--parent"]


def given(spool: Path, url: str, **more: Any) -> bytes:
    raw = {
        "name": "chat", "gateway": {"upstream": "http://127.0.0.1:1"}, "mirror": {"rate": 0.5},
        "spool": {"folder": str(spool)}, "canary": {"lease_s": 5}, "candidates": [{"name": "small", "model": "m/s"}],
    }  # fmt: skip
    return json.dumps({"live": parse_live(raw | more).model_dump(mode="json"), "store": url}).encode()


def start(stdin: bytes, parent: int | None = None) -> subprocess.Popen:
    agent = subprocess.Popen(
        [*COMMAND, str(parent or os.getpid())], cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    agent.stdin.write(stdin)
    agent.stdin.close()
    agent.stdin = None
    return agent


def ended(agent: subprocess.Popen) -> list[dict[str, Any]]:
    """Its log, line by line."""
    _, said = agent.communicate(timeout=30)
    return [json.loads(line) for line in said.splitlines()]


def says(agent: subprocess.Popen) -> str:
    """The next message of its log, as soon as it is there."""
    return json.loads(agent.stderr.readline())["message"]


@contextmanager
def running(stdin: bytes) -> Iterator[subprocess.Popen]:
    agent = start(stdin)
    try:
        yield agent
    finally:
        if agent.poll() is None:
            agent.kill()
        agent.communicate()


def soon(condition: Callable[[], Any], within_s: float = 20.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def captured(id_: str) -> Captured:
    told = {
        "rollout_id": "r1", "number": 2, "arm": "control", "conversation": "00ff", "surface": "chat",
        "outcome": "served",
    }  # fmt: skip
    return Captured(id=id_, at_ns=time.time_ns(), method="POST", path="/v1/chat/completions", status=200, served=told)


def ids(store: Store) -> list[str]:
    return [item.request_id for item, _ in store.served("r1")]


def test_it_follows_and_ships_until_it_is_told_to_end(store_url, tmp_path):
    spool = tmp_path / "spool"
    with Store.open(store_url) as store, running(given(spool, store_url)) as agent:
        now = datetime.now(UTC)
        started = Event(
            rollout_id="r1", number=1, kind=EventKind.STARTED, phase="canary_25", at=now, actor="ann", reason="so"
        )
        record = RolloutRecord(
            id="r1", live="chat", candidate="small", fingerprint="f", configuration=POLICY.model_dump(mode="json"),
            started_at=now,
        )  # fmt: skip
        store.create_rollout(record, started)
        store.claim_rollout("r1", "controller", now=now, lease_s=60)
        append(spool / FOLDER, "one", [captured("a"), captured("b")])
        assert soon(lambda: ids(store) == ["a", "b"])
        assert soon(lambda: assignment.read(spool, time.time()).share == 0.25)
        found = assignment.stored(spool)
        assert (found.salt, found.valid_until - found.written_at) == ("chat/r1", pytest.approx(5))
        append(spool / FOLDER, "two", [captured("c")])
        store.halt_rollout("r1", "errors", now=now)
        assert soon(lambda: assignment.stored(spool).share == 0, 2.0), "half a second, on a machine with nothing else"
        assert soon(lambda: ids(store) == ["a", "b", "c"], 2.0)
        agent.send_signal(signal.SIGTERM)
        log = ended(agent)
    assert agent.returncode == 0
    assert [line["message"] for line in log] == [
        "agent started", "production serves everybody of chat: rollout r1 was halted: errors"
    ]  # fmt: skip
    assert saved_position(spool / FOLDER).counts == {"stored": 3}


def test_killed_again_and_again_it_stores_every_request_once(store_url, tmp_path):
    """A gateway writes all the time; at the end there is in the store what is in the counts, each once."""
    spool, rng, written = tmp_path / "spool", random.Random(5), 0
    counters = CounterFile(tmp_path / "counters", "g1")
    limits = SpoolLimits(segment_bytes=20_000, segment_s=0.2)
    writer = SpoolWriter(spool / FOLDER, "g1", limits, counters)
    with Store.open(store_url) as store:
        for _ in range(4):
            with running(given(spool, store_url)) as agent:
                until = time.monotonic() + 20
                wanted, pause = len(ids(store)) + 300, rng.uniform(0, 0.3)
                while len(ids(store)) < wanted and time.monotonic() < until:
                    for _ in range(100):
                        one = captured(f"{written:06}")
                        assert writer.offer(lambda one=one: encode(one), 300)
                        written += 1
                    time.sleep(0.05)
                time.sleep(pause)
                agent.send_signal(signal.SIGKILL)
                agent.wait()
        writer.close()
        with running(given(spool, store_url)):
            assert soon(lambda: len(ids(store)) >= written)
            assert soon(lambda: not list((spool / FOLDER).glob("*.spool")))
        assert sorted(ids(store)) == [f"{number:06}" for number in range(written)]
    counters.close()


PARENT = """
import os, subprocess, sys
agent = subprocess.Popen([*sys.argv[1:], str(os.getpid())], stdin=subprocess.PIPE, start_new_session=True)
agent.stdin.write(sys.stdin.buffer.read())
agent.stdin.close()
print(agent.pid, flush=True)
agent.wait()
"""


def is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_it_ends_with_the_gateway_that_started_it(tmp_path):
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        gateway = subprocess.Popen(
            [sys.executable, "-c", PARENT, *COMMAND], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        gateway.stdin.write(given(tmp_path / "spool", f"sqlite:///{tmp_path}/s.db"))
        gateway.stdin.close()
        agent = int(gateway.stdout.readline())
        append(tmp_path / "spool" / FOLDER, "one", [captured("a")])
        assert soon(lambda: ids(store) == ["a"])
        gateway.kill()
        gateway.wait()
        gateway.stdout.close()
        assert soon(lambda: not is_running(agent), 5.0)


def test_started_by_somebody_who_is_gone_it_does_nothing(tmp_path):
    agent = start(given(tmp_path / "spool", f"sqlite:///{tmp_path}/s.db"), parent=1)
    assert ended(agent) == []
    assert agent.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_it_waits_for_a_store_that_is_away_at_its_start(tmp_path):
    place = tmp_path / "s.db"
    place.mkdir()  # no file can be opened there
    append(tmp_path / "spool" / FOLDER, "one", [captured("a")])
    with running(given(tmp_path / "spool", f"sqlite:///{place}")) as agent:
        assert says(agent).startswith("no rollout can be followed: store sqlite")
        time.sleep(1.5)
        assert agent.poll() is None
        place.rmdir()
        assert soon(lambda: saved_position(tmp_path / "spool" / FOLDER).counts == {"stored": 1})
        agent.send_signal(signal.SIGTERM)
        assert [line["message"] for line in ended(agent)] == ["agent started"], "it was told once"
    assert agent.returncode == 0


def test_of_two_agents_on_one_spool_the_second_takes_over(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    with Store.open(url) as store, running(given(tmp_path / "spool", url)) as first:
        append(tmp_path / "spool" / FOLDER, "one", [captured("a")])
        assert soon(lambda: ids(store) == ["a"])
        with running(given(tmp_path / "spool", url)) as second:
            assert says(second) == "agent started"
            assert "is being read by another" in says(second)
            append(tmp_path / "spool" / FOLDER, "two", [captured("b")])
            assert soon(lambda: ids(store) == ["a", "b"])
            first.kill()
            first.wait()
            append(tmp_path / "spool" / FOLDER, "three", [captured("c")])
            assert soon(lambda: ids(store) == ["a", "b", "c"])
            second.send_signal(signal.SIGTERM)
            assert ended(second) == []
    assert second.returncode == 0


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        (b"", "standard input is not what the gateway sends"),
        (b"[]", "standard input is not what the gateway sends"),
        (b'{"live": {"name": "secret"}, "store": "secret"}', "standard input is not what the gateway sends"),
        (given(Path("spool"), "mysql://ann:secret@host/db"), "a store is sqlite:///path or postgresql://"),
        (given(Path("spool"), "ann:secret@host/db"), "the store URL cannot be read"),
        (given(Path("spool"), "sqlite:///s.db", canary=None), "chat has no `canary` section"),
        (given(Path("spool"), None), "standard input names no store"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_without_secrets(stdin, message):
    agent = start(stdin)
    log = ended(agent)
    assert agent.returncode == 2
    assert [line["level"] for line in log] == ["error"]
    assert message in log[0]["message"]
    assert "secret" not in json.dumps(log)


def test_it_loads_no_library_that_it_does_not_need():
    code = (
        "import sys, harness.rollout.agent;"
        "print(sorted({'litellm', 'numpy', 'scipy', 'pandas', 'alembic', 'starlette', 'uvicorn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
