import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.config import load_experiment


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_init_writes_a_valid_experiment_and_never_over_one(tmp_path, capsys):
    assert main(["init", "mine.yaml"]) == 0
    assert load_experiment(tmp_path / "mine.yaml").name == "my-first-comparison"
    (tmp_path / "mine.yaml").write_text("mine", encoding="utf-8")

    assert main(["init", "mine.yaml"]) == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "mine.yaml").read_text(encoding="utf-8") == "mine"
    assert main(["init", "mine.yaml", "--force"]) == 0


def test_judges_list_names_the_built_in_judges(capsys):
    assert main(["judges", "list", "--json"]) == 0

    rows = {row["judge"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) >= {"exact", "similarity", "structure", "refusal", "length", "recorded", "pairwise", "rubric"}
    assert rows["pairwise"]["metric"] == "win_rate"
    assert all(row["meaning"] for row in rows.values())


def test_runs_list_is_empty_at_first(capsys):
    assert main(["runs", "list"]) == 0
    assert "no runs yet" in capsys.readouterr().out


def test_doctor_finds_a_missing_key(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    (tmp_path / "export.jsonl").write_text("{}\n", encoding="utf-8")
    (tmp_path / "e.yaml").write_text(
        "{name: a, traffic: {source: export.jsonl}, judges: [exact],"
        " candidates: [{name: b, model: openai/gpt-4o-mini, api_key_env: NO_SUCH_KEY}]}",
        encoding="utf-8",
    )

    assert main(["doctor", "e.yaml"]) == 2

    printed = capsys.readouterr().out
    assert "BAD  b:" in printed
    assert "NO_SUCH_KEY" in printed


def test_doctor_is_content_with_a_sound_installation(capsys):
    assert main(["doctor", "--json"]) == 0
    findings = {item["check"]: item for item in json.loads(capsys.readouterr().out)}
    assert findings["package judges"]["message"] == "ours alone"


@pytest.mark.parametrize(
    ("model", "name", "litellm", "base"),
    [
        ("openai/gpt-4o-mini", "openai-gpt-4o-mini", "openai/gpt-4o-mini", None),
        ("small=openai/gpt-4o-mini", "small", "openai/gpt-4o-mini", None),
        ("own=openai/mine@http://127.0.0.1:8000/v1", "own", "openai/mine", "http://127.0.0.1:8000/v1"),
        ("vertex_ai/claude-3@20240229", "vertex_ai-claude-3-20240229", "vertex_ai/claude-3@20240229", None),
    ],
)
def test_compare_reads_a_model_from_one_argument(model, name, litellm, base):
    from harness.cli.compare import _candidate

    fields = _candidate(model)

    assert (fields["name"], fields["model"], fields.get("api_base")) == (name, litellm, base)


def test_compare_refuses_what_it_cannot_read(capsys):
    assert main(["compare", "x.jsonl", "-m", "a name=openai/x"]) == 2
    assert "NAME=MODEL" in capsys.readouterr().err


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("shadow-harness 0.")
