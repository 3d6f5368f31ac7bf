"""Ctrl-C is heard while files are read, not only while models are asked."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

N = 15_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    text = "word " * 60
    with (tmp_path / "export.jsonl").open("w", encoding="utf-8") as export:
        for i in range(N):
            request = {"model": "m", "messages": [{"role": "user", "content": f"Question {i}: {text}"}]}
            line = {"id": f"r{i}", "latency_ms": 100, "request": request, "response": "Paris."}
            export.write(json.dumps(line) + "\n")
    experiment = {
        "name": "stopped",
        "traffic": {"source": "export.jsonl", "sample": {"size": 20}},
        "candidates": [{"name": "new", "responses": "export.jsonl"}],
        "judges": ["exact"],
        "decision": {"criteria": [{"metric": "coverage", "at_least": 20}]},
    }
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("command", [["run", "x.yaml"], ["ingest", "export.jsonl"]])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_reading_an_export_is_interrupted_at_once(folder, command, sent):
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"ingest")
    time.sleep(0.3)
    process.send_signal(sent)
    begin = time.monotonic()
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert b"the same command reads the export again" in err
    assert b"Traceback" not in err
    assert out == b""
    assert time.monotonic() - begin < 3


def test_an_interrupted_ingest_starts_afresh(folder):
    test_reading_an_export_is_interrupted_at_once(folder, ["run", "x.yaml"], signal.SIGINT)

    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", "x.yaml", "--json"], cwd=folder, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(Path(folder, json.loads(done.stdout)["files"]["json"]).read_text(encoding="utf-8"))
    assert (report["ingest"]["read"], report["ingest"]["sampled"]) == (N, 20)
    assert report["candidates"][0]["funnel"]["completed"] == 20
