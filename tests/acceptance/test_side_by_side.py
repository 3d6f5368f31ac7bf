"""Several candidates in one run, as a user gets them: which may be the best, at the terminal and in every file."""

import json
import random
from pathlib import Path

import pytest
import yaml

from harness.cli import main
from tests.acceptance.test_offline_run import export_line

N = 600
ARMS = {"good": (0.75, 500.0), "twin": (0.75, 800.0), "bad": (0.2, 300.0)}
"""How often it answers as production does, and how long it takes."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("HARNESS_STORE", "HARNESS_RUN", "HARNESS_RUNS_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(folder: Path, *, arms: dict[str, tuple[float, float]], **report: object) -> Path:
    """An experiment on recorded answers, one file per candidate, held against production's."""
    rng = random.Random(5)
    lines = [export_line(i, f"answer {i}", latency_ms=700.0) for i in range(N)]
    (folder / "export.jsonl").write_text("\n".join(lines), encoding="utf-8")
    for arm, (share, latency) in arms.items():
        lines = []
        for i in range(N):
            # The twin knows nothing of places.
            same = rng.random() < (share - 0.6 * (arm == "twin" and i % 2 == 0))
            text = f"answer {i}" if same else f"{arm} thinks otherwise of {i}"
            lines.append(export_line(i, text, latency_ms=latency, model=arm))
        (folder / f"{arm}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    experiment = {
        "name": "several",
        "traffic": {"source": "export.jsonl"},
        "candidates": [{"name": arm, "responses": f"{arm}.jsonl"} for arm in arms],
        "judges": ["exact"],
        "decision": {"criteria": [{"metric": "exact_match", "above": 0.5}]},
        "report": {"slices": ["metadata.feature"], "min_slice": 20, **report},
    }
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    return file


def test_the_best_are_told_at_the_terminal_and_in_every_file(folder, capsys):
    file = write(folder, arms=ARMS)

    assert main(["run", str(file), "--quiet"]) == 1
    said = capsys.readouterr().out
    main(["decide", str(file), "--json", "--quiet"])
    result = json.loads(capsys.readouterr().out)

    assert "the best is among those named with 95% confidence at any look:" in said
    assert "Exact match              good; beaten: twin (by good), bad (by good)" in said
    assert "95th percentile latency  bad; beaten: good (by bad), twin (by bad)" in said
    sets = {item["metric"]: item for item in result["side_by_side"]["best_sets"]}
    assert sets["exact_match"]["best"] == ["good"]
    assert sets["latency_p95"]["beaten_by"] == {"good": "bad", "twin": "bad"}
    assert "requests" not in result["side_by_side"]

    report = json.loads(Path(result["files"]["json"]).read_text(encoding="utf-8"))["side_by_side"]
    slices = {item["value"]: item["best"]["best"] for item in report["slices"]}
    assert slices == {"faq": ["good", "twin"], "geo": ["good"]}
    duel = next(item for item in report["duels"] if (item["first"], item["second"]) == ("good", "bad"))
    assert (duel["judge"], duel["n"], duel["told"]) == ("exact", N, True)
    assert duel["first_better"] + duel["same"] + duel["second_better"] == N
    first = report["requests"][0]
    assert first["why"] == "disagree"
    assert [item["arm"] for item in first["answers"]] == list(ARMS)
    number = first["exchange_id"].removeprefix("req-")
    texts = {item["arm"]: item["observation"]["completion"]["text"] for item in first["answers"]}
    scores = {item["arm"]: item["score"] for item in first["answers"]}
    assert {texts[arm] == f"answer {number}" for arm in ARMS if scores[arm] == 1.0} == {True}
    assert f"bad thinks otherwise of {number}" in texts["bad"]
    assert {(item["why"], item["about"]) for item in report["requests"]} >= {("worst", "bad"), ("best", "good")}

    page = Path(result["files"]["html"]).read_text(encoding="utf-8")
    assert f"bad thinks otherwise of {number}" in page.replace("<ins>", "").replace("</ins>", "")
    assert "Exact match: the best of 3 is good." in page
    assert "### Side by side" in Path(result["files"]["markdown"]).read_text(encoding="utf-8")


def test_answers_stay_out_of_it_when_they_must_not_be_shown(folder, capsys):
    file = write(folder, arms=ARMS, show_text=False)
    main(["run", str(file), "--json", "--quiet"])
    result = json.loads(capsys.readouterr().out)
    report = json.loads(Path(result["files"]["json"]).read_text(encoding="utf-8"))
    assert report["side_by_side"]["requests"] == []
    for name in ("html", "json", "markdown"):
        assert "thinks otherwise" not in Path(result["files"][name]).read_text(encoding="utf-8")


def test_one_candidate_has_nobody_beside_it(folder, capsys):
    file = write(folder, arms={"good": ARMS["good"]})
    main(["run", str(file), "--json", "--quiet"])
    assert json.loads(capsys.readouterr().out)["side_by_side"] is None
