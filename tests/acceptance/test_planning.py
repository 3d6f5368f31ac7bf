"""Before the run: what it will take (`harness plan`), and what production does to itself (`harness calibrate`)."""

import json
from pathlib import Path

import pytest
import yaml

from harness.cli import main

PRICE = {"input_per_mtok": 100.0, "output_per_mtok": 200.0}


def experiment(folder: Path, base: str, *, answer: str = "The capital of France is Paris. (14)", n: int = 300,
               latency_ms: float = 60_000, **sections: object) -> Path:  # fmt: skip
    with (folder / "export.jsonl").open("w", encoding="utf-8") as export:
        for i in range(n):
            request = {"model": "m", "messages": [{"role": "user", "content": f"Question {i:04}?"}]}
            line = {"id": f"r{i}", "latency_ms": latency_ms + i, "request": request, "response": answer}
            export.write(json.dumps(line) + "\n")
    raw = {
        "name": "planned",
        "traffic": {"source": "export.jsonl"},
        "candidates": [{"name": "new", "model": "openai/upstream", "api_base": base, "price": PRICE}],
        "replica": {"model": "openai/upstream", "api_base": base, "price": PRICE, "share": 0.1},
        "judges": ["exact", "length"],
        "decision": {"criteria": [{"metric": "latency_p95_ratio", "below": 1.2}]},
        **sections,
    }
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("HARNESS_STORE", "HARNESS_RUN", "HARNESS_RUNS_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def in_json(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict]:
    code = main([*argv, "--json", "--quiet"])
    return code, json.loads(capsys.readouterr().out)


def test_a_plan_names_requests_dollars_and_what_takes_most_and_asks_nobody(upstream, folder, capsys):
    base, log = upstream
    criteria = [{"metric": "latency_p95_ratio", "below": 1.2}, {"metric": "win_rate", "above": 0.48}]
    judges = ["exact", {"use": "pairwise", "options": {"model": {"model": "openai/upstream", "api_base": base,
                                                                  "price": PRICE}}}]  # fmt: skip
    file = experiment(folder, base, judges=judges, decision={"criteria": criteria})
    code, plan = in_json(capsys, "plan", str(file))
    assert code == 0
    [arm] = plan["arms"]
    assert (plan["sampled"], arm["attempt"], arm["binding"]) == (300, 1, "win_rate")
    assert 3_000 < arm["pairs"]["0.8"] < 8_000
    # Candidate, a tenth of a replica, and a judge that reads both orders of all of these.
    assert arm["usd"] == pytest.approx(arm["usd_per_1k"] * arm["pairs"]["0.8"] / 1000)
    assert any("300 requests: a GO is unlikely" in note for note in plan["notes"])
    assert not log.exists() or log.read_text(encoding="utf-8") == ""


def test_a_plan_for_people_reads_as_a_table(upstream, folder, capsys):
    base, _ = upstream
    file = experiment(folder, base)
    assert main(["plan", str(file), "--expect", "latency_p95_ratio=1.1", "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "latency_p95_ratio below 1.2x" in shown
    assert "1.1x" in shown
    assert main(["plan", str(file), "--expect", "speed=2", "--quiet"]) == 2
    assert "no such metric" in capsys.readouterr().err


def test_a_plan_says_what_is_missing(upstream, folder, capsys):
    base, _ = upstream
    file = experiment(folder, base, replica=None, decision={})
    _, plan = in_json(capsys, "plan", str(file))
    assert "nothing measures win_rate: add a judge for it, or take it out of the criteria" in plan["notes"]
    assert any(note.startswith("similarity_from_floor needs a replica") for note in plan["notes"])


def test_production_that_repeats_itself_is_calibrated(upstream, folder, capsys):
    base, log = upstream
    file = experiment(folder, base, decision={"criteria": [{"metric": "exact_match", "above": 0.95}]})
    code, found = in_json(capsys, "calibrate", str(file), "--requests", "250")
    # A recording at 60 s against an instant replay is a deviation; the criterion itself can be met.
    assert code == 2
    assert (found["pairs"], found["unattainable"], found["sound"]) == (250, [], False)
    assert {item["metric"]: item["value"] for item in found["floor"]}["exact_match"] == 1.0
    assert "latency_p95_ratio" in {item["metric"] for item in found["deviations"]}
    assert len(log.read_text(encoding="utf-8").splitlines()) == 250 + 25
    assert Path(found["report"]).exists()


def test_a_criterion_that_production_fails_is_found_and_then_unattainable(upstream, folder, capsys):
    base, _ = upstream
    rule = {"criteria": [{"metric": "exact_match", "above": 0.95}]}
    file = experiment(folder, base, answer="Lyon, as far as I know.", decision=rule)
    code, found = in_json(capsys, "calibrate", str(file), "--requests", "200")
    assert code == 2
    assert [item["criterion"]["metric"] for item in found["unattainable"]] == ["exact_match"]

    code, result = in_json(capsys, "run", str(file))
    assert (code, result["verdict"], result["stop_reason"]) == (3, "INCONCLUSIVE", None)
    [judged] = result["decisions"][0]["results"]
    assert judged["outcome"] == "unattainable"
    assert "production itself does not reach above 95%" in judged["reason"]


def test_calibration_needs_to_know_how_to_ask_production(upstream, folder, capsys):
    base, _ = upstream
    assert main(["calibrate", str(experiment(folder, base, replica=None)), "--quiet"]) == 2
    assert "add `replica:`" in capsys.readouterr().err
