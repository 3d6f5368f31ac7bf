"""`harness run` with a candidate and a judge in batches: killed at the worst moments, and every request paid once."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from harness.cli.app import main
from harness.domain.batch import BatchState
from harness.domain.judgment import JudgmentState
from harness.domain.observation import Status
from harness.store import Store
from tests.batch_server import ANTHROPIC_KEY, OPENAI_KEY, BatchServer, anthropic_answer, batch_server, openai_answer

N = 12
KEYS = {"OPENAI_BATCH_KEY": OPENAI_KEY, "ANTHROPIC_BATCH_KEY": ANTHROPIC_KEY}
TERMS = {"linger_s": 1.0, "poll_s": 0.1, "settle_s": 0.5}
PRICE = {"input_per_mtok": 1.0, "output_per_mtok": 10.0}


@pytest.fixture
def server(monkeypatch) -> Iterator[BatchServer]:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with batch_server() as state:
        yield state


def model(server: BatchServer, vendor: str, *, batch: object) -> dict:
    return {
        "model": "openai/gpt-4o-mini" if vendor == "openai" else "anthropic/claude-sonnet-4-5",
        "api_base": f"{server.url}/v1" if vendor == "openai" else server.url,
        "api_key_env": f"{vendor.upper()}_BATCH_KEY",
        "price": PRICE, "params": {"max_tokens": 40}, "stream": False, "batch": batch,
    }  # fmt: skip


def write_files(folder: Path, candidate: dict, judges: list) -> Path:
    folder.mkdir()
    with (folder / "export.jsonl").open("w", encoding="utf-8") as export:
        for number in range(N):
            messages = [{"role": "user", "content": f"Question {number}?"}]
            line = {"id": f"r{number}", "request": {"model": "m", "messages": messages}, "response": "Paris."}
            export.write(json.dumps(line) + "\n")
    experiment = {
        "name": "batched",
        "traffic": {"source": "export.jsonl"},
        "candidates": [{"name": "new", **candidate}],
        "judges": judges,
        "canaries": "off",
        "budget": {"candidates_usd": 1, "judges_usd": 1},
        "decision": {"criteria": [{"metric": "coverage", "at_least": N}]},
    }
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    return file


def start(file: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "run", str(file), "--json"],
        cwd=file.parent,
        env=os.environ | KEYS,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(file: Path) -> dict:
    process = start(file)
    out, err = process.communicate(timeout=150)
    assert process.returncode == 0, err
    assert OPENAI_KEY not in out + err
    assert ANTHROPIC_KEY not in out + err
    return json.loads(out)


def until(condition: Callable[[], object], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.05)


def interrupted(server: BatchServer, file: Path) -> None:
    """Run until the batch is at the vendor, and press Ctrl-C."""
    process = start(file)
    until(lambda: server.created.is_set() and batches(file)[0].state is BatchState.OPEN, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err


def store_of(file: Path) -> Store:
    return Store.open(f"sqlite:///{file.parent / 'runs' / 'harness.db'}")


def batches(file: Path) -> list:
    with store_of(file) as store:
        return store.batches()


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_killed_between_submission_and_record_and_again_in_mid_batch(server, tmp_path, vendor):
    file = write_files(tmp_path / "killed", model(server, vendor, batch=TERMS), ["exact"])
    server.gate.clear()
    server.hold_creation.clear()
    process = start(file)
    until(server.created.is_set, process)
    process.kill()
    process.communicate()
    assert [batch.state for batch in batches(file)] == [BatchState.INTENDED]
    server.hold_creation.set()

    if vendor == "openai":
        process = start(file)
        until(lambda: batches(file)[0].state is BatchState.OPEN, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    server.gate.set()
    result = finish(file)

    assert len(server.batches) == 1
    assert set(server.asked.values()) == {1}
    assert len(server.asked) == N
    with store_of(file) as store:
        counts = store.observation_counts(result["run"], "new", fingerprint(store, result["run"]))
        assert counts.completed == N
        assert store.spent(result["run"])["candidates"] == pytest.approx(N * (100 * 1.0 + 20 * 10.0) / 1e6 / 2)
    assert result["verdict"] == "GO"
    assert OPENAI_KEY.encode() not in b"".join(path.read_bytes() for path in (file.parent / "runs").glob("harness.db*"))


def test_ctrl_c_leaves_the_batch_to_the_same_command_and_it_is_listed_and_cancelled(server, tmp_path, capsys):
    file = write_files(tmp_path / "stopped", model(server, "openai", batch=TERMS), ["exact"])
    where = ["--runs-dir", str(file.parent / "runs"), "--json"]
    server.gate.clear()
    interrupted(server, file)

    assert main(["batches", "list", *where]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["state"], listed["requests"], listed["vendor_id"]) == ("open", N, "batch_1")
    assert main(["batches", "cancel", "batch_1", *where]) == 0
    assert json.loads(capsys.readouterr().out) == {"cancelled": [listed["batch"]]}
    assert main(["batches", "cancel", "no-such-batch", *where]) == 2
    assert server.batches["batch_1"].cancelled
    server.gate.set()
    process = start(file)
    process.communicate(timeout=120)
    finish(file)

    assert [len(batch.requests) for batch in server.batches.values()] == [N, N // 2]
    assert [n for question, n in server.asked.items() if not question.startswith("cancelled")] == [1] * N
    assert main(["batches", "list", *where]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_batch_that_the_vendor_lost_is_forgotten_and_its_requests_are_asked_anew(server, tmp_path, capsys):
    file = write_files(tmp_path / "lost", model(server, "openai", batch=TERMS), ["exact"])
    where = ["--runs-dir", str(file.parent / "runs"), "--json"]
    server.gate.clear()
    interrupted(server, file)
    (lost,) = batches(file)
    server.batches["another"] = server.batches.pop(lost.vendor_id)
    server.gate.set()

    process = start(file)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 4, err
    assert f"harness batches forget {lost.id}" in err
    assert main(["batches", "forget", *where]) == 2
    assert "name the batches" in capsys.readouterr().err
    assert main(["batches", "forget", lost.id, *where]) == 0
    assert json.loads(capsys.readouterr().out) == {"forgotten": [lost.id]}
    result = finish(file)

    assert result["verdict"] == "GO"
    assert [batch.state for batch in batches(file)] == [BatchState.ABANDONED, BatchState.ENDED]
    assert len(server.batches["batch_2"].requests) == N


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_observations_and_judgments_are_those_of_live_calls(server, tmp_path, vendor):
    def openai(body: dict) -> dict:
        answer = openai_answer(body)
        if len(body["messages"]) > 1 or "Question" not in str(body["messages"][-1]["content"])[:9]:
            answer["choices"][0]["message"]["content"] = json.dumps({"reason": "so", "verdict": "A"})
        return answer

    server.answers = {"openai": openai, "anthropic": anthropic_answer}
    found = []
    for name, batch in (("batch", TERMS), ("live", False)):
        judge = model(server, "openai", batch=batch)
        # A judge sets these itself.
        del judge["params"]
        # In one form: how many are asked in another before the first answer is there is a matter of time.
        judges = ["exact", {"use": "pairwise", "options": {"model": judge, "mode": "structured"}}]
        file = write_files(tmp_path / name, model(server, vendor, batch=batch), judges)
        result = finish(file)
        with store_of(file) as store:
            found.append(rows_of(store, result["run"]))

    (batched, judged), (live, judged_live) = found
    assert len(batched) == N
    assert batched == live
    assert judged == judged_live
    assert len(judged) == 3 * N
    assert {row[3] for row in judged} == {JudgmentState.SCORED}
    assert server.batches
    assert len(server.live) >= N


def fingerprint(store: Store, run: str) -> str:
    from harness.config import Experiment
    from harness.pipeline.arms import arms_of

    stored = store.run(run)
    assert stored is not None
    return arms_of(Experiment.model_validate(dict(stored.experiment)))[0].fingerprint


def rows_of(store: Store, run: str) -> tuple[list, list]:
    """What a live call and a batch must agree on; time and price are what differs."""
    own = fingerprint(store, run)
    observations = [
        (seen.exchange_id, seen.status, seen.completion, seen.usage, seen.error, seen.attempts, seen.dropped_params)
        for seen in (pair.candidate for pair in store.pairs(run, "new", own))
    ]
    assert all(row[1] is Status.COMPLETED for row in observations)
    judgments = [
        (row.exchange_id, row.judge, row.order, row.state, row.label, row.value, row.explanation, row.tokens_in)
        for row in store.judgments(run, "new", own, ids=[seen[0] for seen in observations])
    ]
    return sorted(observations, key=lambda row: row[0]), sorted(judgments, key=lambda row: (row[0], row[1], row[2]))
