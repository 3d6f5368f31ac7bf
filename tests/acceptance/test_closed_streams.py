"""The exit code is the verdict, whoever has stopped listening."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.cli import main, runs

COMMAND = f"{sys.executable} -m harness run x.yaml"


@pytest.fixture
def no_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment that ends with NO_GO."""
    monkeypatch.chdir(tmp_path)
    lines = []
    for i in range(30):
        request = {"model": "m", "messages": [{"role": "user", "content": f"Question {i}?"}]}
        lines.append(json.dumps({"id": f"r{i}", "latency_ms": 100, "request": request, "response": "Lyon."}))
    (tmp_path / "export.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "new.jsonl").write_text("\n".join(lines).replace("Lyon", "Paris"), encoding="utf-8")
    experiment = {
        "name": "closed",
        "traffic": {"source": "export.jsonl"},
        "candidates": [{"name": "new", "responses": "new.jsonl"}],
        "judges": ["exact"],
        "decision": {"criteria": [{"metric": "exact_match", "above": 0.9}]},
    }
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("redirection", "code"),
    [
        ("2>/dev/null | true", 1),
        ("2>&1 >/dev/null | true", 1),
        (">&- 2>/dev/null", 1),
        ("2>&- >/dev/null", 1),
        (">/dev/full", 4),
        ("2>/dev/full >/dev/null", 1),
    ],
)
def test_the_verdict_does_not_depend_on_who_listens(no_go, redirection, code):
    script = f"{COMMAND} {redirection}; echo ${{PIPESTATUS[0]}} >&3"
    done = subprocess.run(
        ["bash", "-c", f"exec 3>code; {script}"], cwd=no_go, capture_output=True, text=True, timeout=60, check=False
    )
    assert (no_go / "code").read_text().strip() == str(code), done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_fault_of_our_own_is_no_verdict(no_go, monkeypatch, capsys):
    def broken(*args: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(runs, "settings_for", broken)
    assert main(["runs", "list"]) == 4
    said = capsys.readouterr().err
    assert "ZeroDivisionError: oops" in said
    assert "says nothing about a candidate" in said


def test_nobody_to_ask_deletes_nothing(no_go, monkeypatch, capsys):
    assert main(["run", "x.yaml", "--run", "kept", "--quiet"]) == 1
    monkeypatch.setattr(runs.sys, "stdin", None)
    assert main(["runs", "delete", "kept"]) == 2
    assert "add --yes" in capsys.readouterr().err
    assert main(["runs", "show", "kept", "--json"]) == 0
