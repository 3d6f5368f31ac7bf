"""A run that is killed loses at most the calls in flight, and the same command pays for no finished call again."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from harness.store import Store

N = 300
CONCURRENCY = 8


def write_files(folder: Path, base: str) -> Path:
    folder.mkdir()
    with (folder / "export.jsonl").open("w", encoding="utf-8") as export:
        for i in range(N):
            messages = [{"role": "user", "content": f"Question {i}: {'x' * (i % 7)}?"}]
            line = {
                "id": f"r{i}",
                "latency_ms": 100,
                "request": {"model": "m", "messages": messages},
                "response": "Paris.",
            }
            export.write(json.dumps(line) + "\n")
    experiment = {
        "name": "killed",
        "traffic": {"source": "export.jsonl"},
        "candidates": [
            {
                "name": "new",
                "model": "openai/upstream",
                "api_base": base,
                "price": {"input_per_mtok": 1.0, "output_per_mtok": 2.0},
            }
        ],
        "judges": ["exact", "length"],
        "replay": {"concurrency": CONCURRENCY},
        "budget": {"candidates_usd": 5},
        "decision": {"criteria": [{"metric": "coverage", "at_least": N}]},
    }
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    return file


def start(file: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "run", str(file), "--json", "--quiet"],
        cwd=file.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def asked(log: Path) -> Counter[str]:
    return Counter(log.read_text(encoding="utf-8").splitlines()) if log.exists() else Counter()


def wait_for(log: Path, count: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 90
    while sum(asked(log).values()) < count:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.02)


def spent(file: Path, run_id: str) -> float:
    with Store.open(f"sqlite:///{file.parent / 'runs' / 'harness.db'}") as store:
        return store.spent(run_id)["candidates"]


@pytest.mark.parametrize("upstream", [0.03], indirect=True)
def test_kill_9_twice_then_the_same_command(upstream, tmp_path):
    base, log = upstream
    file = write_files(tmp_path / "killed", base)
    for until in (80, 180):
        process = start(file)
        wait_for(log, until, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()

    out, err = start(file).communicate(timeout=120)

    killed = json.loads(out)
    repeated = {question: n for question, n in asked(log).items() if n > 1}
    assert len(asked(log)) == N, err
    assert len(repeated) <= 2 * CONCURRENCY, "more than the calls in flight were asked again"
    whole_file = write_files(tmp_path / "whole", base)
    whole = json.loads(start(whole_file).communicate(timeout=120)[0])
    assert summary(killed, file.parent) == summary(whole, whole_file.parent)
    assert spent(file, killed["run"]) == pytest.approx(spent(whole_file, whole["run"]))


@pytest.mark.parametrize("upstream", [0.03], indirect=True)
def test_ctrl_c_keeps_what_was_answered_and_exits_130(upstream, tmp_path):
    base, log = upstream
    file = write_files(tmp_path / "stopped", base)
    process = start(file)
    wait_for(log, 60, process)

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "same command" in err
    assert "Traceback" not in err
    out, err = start(file).communicate(timeout=120)
    assert max(asked(log).values()) == 1, "a call that was in flight at Ctrl-C was finished, kept, and not repeated"
    assert json.loads(out)["verdict"] == "GO", err


def summary(result: dict, folder: Path) -> dict:
    report = json.loads((folder / result["files"]["json"]).read_text(encoding="utf-8"))
    candidate = report["candidates"][0]
    counted = {e["metric"]: (e["value"], e["n"]) for e in candidate["estimates"] if e["metric"] in COUNTED}
    return {"verdict": result["verdict"], "funnel": candidate["funnel"], "counted": counted}


COUNTED = {"coverage", "exact_match", "length_difference", "cost_per_1k", "tokens_in_ratio"}
