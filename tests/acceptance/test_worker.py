"""`harness worker` as a process: killed, stopped and started again, it loses nothing and doubles nothing."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.integration.live.spooled import captured, spool

N = 240
IN_FLIGHT = 4


def write_live(folder: Path, base: str, **worker) -> Path:
    folder.mkdir(exist_ok=True)
    live = {
        "name": "live",
        "gateway": {"upstream": "http://127.0.0.1:1"},
        "mirror": {"rate": 1.0},
        "worker": {"look_every_s": 0.5, "in_flight": IN_FLIGHT, "deadline_s": 10, "daily_usd": 5} | worker,
        "worker_admin": {"port": 0},
        "candidates": [
            {
                "name": "new", "model": "openai/upstream", "api_base": base,
                "price": {"input_per_mtok": 1.0, "output_per_mtok": 2.0},
            }
        ],
        "judges": ["exact", "length"],
        "decision": {"criteria": [{"metric": "coverage", "at_least": N}]},
    }  # fmt: skip
    file = folder / "live.yaml"
    file.write_text(yaml.safe_dump(live), encoding="utf-8")
    return file


def start(file: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "worker", str(file), "--json", "--quiet", *arguments],
        cwd=file.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def asked(log: Path) -> Counter[str]:
    return Counter(log.read_text(encoding="utf-8").splitlines()) if log.exists() else Counter()


def wait_for(log: Path, count: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 120
    while sum(asked(log).values()) < count:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "the worker makes no progress"
        time.sleep(0.02)


def status(file: Path) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "live", "status", str(file), "--json"],
        cwd=file.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.parametrize("upstream", [0.03], indirect=True)
def test_kill_9_again_and_again_loses_nothing_and_doubles_nothing(upstream, tmp_path):
    base, log = upstream
    file = write_live(tmp_path / "live", base)
    records = [captured(i) for i in range(N)]
    for number in range(4):
        spool(file.parent, records[number::4], writer=f"gw{number}")
    for until in (20, 90, 160):
        process = start(file)
        wait_for(log, until, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()

    out, err = start(file, "--drain").communicate(timeout=180)

    state = json.loads(out)
    assert state["endings"] == {"exchange": N}, err
    assert state["exchanges"] == N
    [arm] = state["arms"]
    assert arm["outcomes"]["completed"] == {"": N}
    assert arm["verdict"] == "GO"
    assert len(asked(log)) == N
    repeated = sum(n - 1 for n in asked(log).values())
    assert repeated <= 3 * IN_FLIGHT, "more than the calls in flight were asked again"
    found = status(file)
    assert found["problems"] == []
    assert found["arms"][0]["judged"] == {"exact": N, "length": N}
    assert not list((file.parent / "spool").glob("*.spool"))


@pytest.mark.parametrize("upstream", [0.05], indirect=True)
def test_sigterm_finishes_what_is_in_flight_and_the_rest_waits(upstream, tmp_path):
    base, log = upstream
    file = write_live(tmp_path / "live", base)
    spool(file.parent, [captured(i) for i in range(N)])
    process = start(file)
    wait_for(log, 40, process)

    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert "Traceback" not in err
    found = status(file)
    assert found["problems"] == []
    assert found["arms"][0]["completed"] == sum(asked(log).values())
    out, err = start(file, "--drain").communicate(timeout=180)
    assert json.loads(out)["arms"][0]["outcomes"]["completed"] == {"": N}, err
    assert max(asked(log).values()) == 1, "nothing was asked twice"


@pytest.mark.parametrize("upstream", [30.0], indirect=True)
def test_a_second_signal_ends_it_at_once(upstream, tmp_path):
    base, log = upstream
    file = write_live(tmp_path / "live", base, deadline_s=60)
    spool(file.parent, [captured(i) for i in range(8)])
    process = start(file)
    wait_for(log, 1, process)

    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)

    assert process.returncode == 130, err
    assert time.monotonic() - begin < 10
    assert "Traceback" not in err


@pytest.mark.parametrize("upstream", [0.0], indirect=True)
def test_a_live_run_is_a_run_like_any_other(upstream, tmp_path):
    base, _ = upstream
    file = write_live(tmp_path / "live", base)
    spool(file.parent, [captured(i) for i in range(30)])
    assert start(file, "--drain").wait(timeout=120) == 0

    def harness(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "harness", *arguments]
        return subprocess.run(command, cwd=file.parent, capture_output=True, text=True, check=False)

    listed = json.loads(harness("runs", "list", "--json").stdout)
    assert [(run["run"], run["stage"], run["exchanges"]) for run in listed] == [("live", "decided", 30)]
    report = harness("report", "live", "--json", "-o", "elsewhere")
    assert Path(file.parent, json.loads(report.stdout)["html"]).exists(), report.stderr
    decided = harness("decide", "live.yaml", "--json")
    assert decided.returncode == 3, decided.stderr
    assert json.loads(decided.stdout)["run"] == "live"


def test_one_spool_has_one_worker(upstream, tmp_path):
    base, _ = upstream
    file = write_live(tmp_path / "live", base)
    process = start(file)
    try:
        deadline = time.monotonic() + 60
        while not (file.parent / "spool" / "reader.lock").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        _, err = start(file, "--run", "another").communicate(timeout=60)
        assert "has one reader" in err
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
