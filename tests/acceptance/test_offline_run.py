"""The main job as a user runs it: through the command line, on files, with the verdict as exit code."""

import json
import sqlite3
from pathlib import Path

import pytest
import yaml

from harness.cli import main

TEXTS = ["Paris.", "Rome.", "Berlin.", "Madrid."]


def export_line(i: int, text: str, *, latency_ms: float = 800.0, model: str = "prod-model") -> str:
    return json.dumps(
        {
            "id": f"req-{i}",
            "timestamp": 1_760_000_000 + i * 60,
            "session": f"chat-{i // 2}",
            "metadata": {"feature": "faq" if i % 2 else "geo"},
            "latency_ms": latency_ms + i,
            "request": {"model": model, "messages": [{"role": "user", "content": f"Capital number {i}?"}]},
            "response": {
                "model": model,
                "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 3},
            },
        }
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("HARNESS_STORE", "HARNESS_RUN", "HARNESS_RUNS_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write_experiment(folder: Path, *, candidate: list[str], verdicts: list[str], criteria: list[dict]) -> Path:
    production = [export_line(i, TEXTS[i % 4]) for i in range(len(candidate))]
    (folder / "export.jsonl").write_text(
        "\n".join([*production[:5], "{broken", *production[5:]]) + "\n", encoding="utf-8"
    )
    lines = [export_line(i, text, latency_ms=400.0, model="new-model") for i, text in enumerate(candidate)]
    (folder / "candidate.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = [json.dumps({"id": f"req-{i}", "winner": verdict}) for i, verdict in enumerate(verdicts)]
    (folder / "labels.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    experiment = {
        "name": "swap",
        "traffic": {"source": "export.jsonl"},
        "candidates": [{"name": "new", "responses": "candidate.jsonl"}],
        "judges": [
            "exact",
            "length",
            {
                "use": "recorded",
                "name": "people",
                "options": {
                    "file": "labels.jsonl",
                    "key": "id",
                    "label": "winner",
                    "labels": {"new": "win", "same": "tie", "old": "loss"},
                },
            },
        ],
        "decision": {"criteria": criteria},
        "report": {"slices": ["metadata.feature"], "min_slice": 5},
    }
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    return file


FASTER = {"metric": "latency_p95_ratio", "below": 1.2}
BETTER = {"metric": "win_rate", "above": 0.5}
ENOUGH = {"metric": "coverage", "at_least": 200}


def run_json(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict]:
    code = main([*argv, "--json", "--quiet"])
    return code, json.loads(capsys.readouterr().out)


def test_a_better_and_faster_candidate_is_go(folder, capsys):
    n = 1200
    answers = [TEXTS[i % 4] if i % 3 else "Something else." for i in range(n)]
    verdicts = ["new" if i % 10 < 7 else "old" for i in range(n)]
    file = write_experiment(folder, candidate=answers, verdicts=verdicts, criteria=[FASTER, BETTER, ENOUGH])

    code, result = run_json(capsys, "run", str(file))

    assert code == 0
    assert result["verdict"] == "GO"
    report = json.loads(Path(result["files"]["json"]).read_text(encoding="utf-8"))
    ingest = report["ingest"]
    assert (ingest["read"], ingest["kept"], ingest["rejected"], ingest["sampled"]) == (1201, 1200, 1, 1200)
    estimates = {item["metric"]: item for item in report["candidates"][0]["estimates"]}
    assert estimates["exact_match"]["value"] == pytest.approx(2 / 3)
    assert estimates["win_rate"]["value"] == pytest.approx(0.7)
    assert estimates["win_rate"]["n_clusters"] == 600
    assert estimates["win_rate"]["low"] < 0.7 < estimates["win_rate"]["high"]
    assert estimates["latency_p95_ratio"]["value"] == pytest.approx((400 + 1139) / (800 + 1139), rel=1e-6)
    assert report["candidates"][0]["funnel"]["completed"] == 1200
    assert {item["value"]: item["n"] for item in report["candidates"][0]["slices"]} == {"faq": 600, "geo": 600}
    rejects = (folder / "runs" / result["run"] / "rejects.jsonl").read_text(encoding="utf-8")
    assert json.loads(rejects)["line"] == 6


def test_a_worse_candidate_is_no_go(folder, capsys):
    verdicts = ["old" if i % 10 < 8 else "new" for i in range(240)]
    file = write_experiment(folder, candidate=["No."] * 240, verdicts=verdicts, criteria=[BETTER])

    code, result = run_json(capsys, "run", str(file))

    assert (code, result["verdict"]) == (1, "NO_GO")


def test_too_little_evidence_is_inconclusive_and_says_how_much_more(folder, capsys):
    verdicts = ["new" if i % 2 else "old" for i in range(40)]
    file = write_experiment(folder, candidate=["Yes."] * 40, verdicts=verdicts, criteria=[BETTER, ENOUGH])

    code, result = run_json(capsys, "run", str(file))

    assert (code, result["verdict"]) == (3, "INCONCLUSIVE")
    coverage = next(r for r in result["decisions"][0]["results"] if r["criterion"]["metric"] == "coverage")
    assert coverage["outcome"] == "inconclusive"
    assert coverage["n_needed"] == 200


def test_the_stages_one_by_one_give_the_same_as_run(folder, capsys):
    verdicts = ["new" if i % 10 < 7 else "old" for i in range(60)]
    file = write_experiment(folder, candidate=["Yes."] * 60, verdicts=verdicts, criteria=[BETTER])
    assert main(["ingest", str(file), "--quiet"]) == 0
    assert main(["replay", str(file), "--quiet"]) == 0
    assert main(["judge", str(file), "--quiet"]) == 0
    capsys.readouterr()
    _, stages = run_json(capsys, "decide", str(file))

    _, whole = run_json(capsys, "run", str(file), "--runs-dir", "elsewhere")

    assert stages["decisions"] == whole["decisions"]


def test_running_again_judges_and_reads_nothing_twice(folder, capsys):
    file = write_experiment(folder, candidate=["Yes."] * 20, verdicts=["new"] * 20, criteria=[BETTER])
    _, first = run_json(capsys, "run", str(file))
    with sqlite3.connect(folder / "runs" / "harness.db") as database:
        before = database.execute("SELECT judge, recorded_at FROM judgments ORDER BY 1, 2").fetchall()

    _, second = run_json(capsys, "run", str(file))

    with sqlite3.connect(folder / "runs" / "harness.db") as database:
        assert database.execute("SELECT judge, recorded_at FROM judgments ORDER BY 1, 2").fetchall() == before
    assert second["decisions"] == first["decisions"]


def test_a_report_renders_again_from_the_store_and_from_its_own_json(folder, capsys):
    file = write_experiment(folder, candidate=["Yes."] * 20, verdicts=["new"] * 20, criteria=[BETTER])
    _, result = run_json(capsys, "run", str(file))
    html = Path(result["files"]["html"]).read_bytes()

    code, files = run_json(capsys, "report", result["run"], "--output", "again")
    _, copies = run_json(capsys, "report", result["files"]["json"], "--output", "copy")

    assert code == 0
    assert Path(copies["html"]).read_bytes() == html
    assert Path(files["html"]).read_bytes() == html


def test_a_refused_command_leaves_no_empty_run(folder, capsys):
    file = write_experiment(folder, candidate=["Yes."] * 3, verdicts=["new"] * 3, criteria=[BETTER])

    assert main(["judge", str(file), "--run", "typo", "--quiet"]) == 2
    assert "comes first" in capsys.readouterr().err
    main(["runs", "list", "--json"])

    assert json.loads(capsys.readouterr().out) == []


def test_a_judge_that_changes_judges_again_without_reading_the_candidate_again(folder, capsys):
    file = write_experiment(folder, candidate=["yes."] * 20, verdicts=["new"] * 20, criteria=[BETTER])
    run_json(capsys, "run", str(file))
    experiment = yaml.safe_load(file.read_text(encoding="utf-8"))
    experiment["judges"][0] = {"use": "exact", "options": {"ignore_case": True}}
    file.write_text(yaml.safe_dump(experiment), encoding="utf-8")

    assert main(["judge", str(file)]) == 0

    printed = capsys.readouterr()
    assert "new · exact: 20 scored" in printed.out
    assert "new · people: nothing to do" in printed.out


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["run", "missing.yaml"], 2, "harness init"),
        (["run"], 2, "Missing argument"),
        (["fly"], 2, "No such command"),
        (["report", "nobody"], 2, "no run 'nobody'"),
        (["ingest", "missing.jsonl"], 2, "missing.jsonl"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(folder, capsys, argv, code, says):
    assert main(argv) == code

    printed = capsys.readouterr()
    assert says in printed.err
    assert "Traceback" not in printed.err


def test_an_export_without_a_usable_line_is_an_error(folder, capsys):
    file = write_experiment(folder, candidate=["Yes."] * 3, verdicts=["new"] * 3, criteria=[BETTER])
    (folder / "export.jsonl").write_text("{broken\n{also\n", encoding="utf-8")

    assert main(["run", str(file), "--quiet"]) == 2
    assert "error:" in capsys.readouterr().err


def test_help_names_every_environment_variable(capsys):
    assert main(["run", "--help"]) == 0

    text = capsys.readouterr().out
    for name in ("HARNESS_EXPERIMENT", "HARNESS_RUN", "HARNESS_STORE", "HARNESS_JSON", "HARNESS_RETRY_ERRORS"):
        assert name in text


def test_a_dry_run_shows_what_candidates_and_judges_would_cost_and_asks_nobody(folder, capsys):
    file = write_experiment(folder, candidate=["Yes."] * 20, verdicts=["new"] * 20, criteria=[BETTER])
    experiment = yaml.safe_load(file.read_text(encoding="utf-8"))
    nowhere = {"api_base": "http://127.0.0.1:9/v1", "price": {"input_per_mtok": 1.0, "output_per_mtok": 4.0}}
    experiment["candidates"] = [{"name": "new", "model": "openai/new", **nowhere}]
    experiment["judges"] = ["exact", {"use": "pairwise", "options": {"model": {"model": "openai/judge", **nowhere}}}]
    file.write_text(yaml.safe_dump(experiment), encoding="utf-8")

    code, shown = run_json(capsys, "run", str(file), "--dry-run")

    assert code == 0
    arm, canaries, judge = shown["estimates"]
    calls = {item["who"]: item["calls"] for item in shown["estimates"]}
    assert calls == {"new": 20, "canaries · pairwise": 48, "new · pairwise": 40}
    assert 0 < canaries["cost"]["expected_usd"] < 0.1
    # 18 to 19 characters and some overhead in, production's own 3 tokens out, for 20 requests
    assert 20 * (3 * 4.0 + 4) / 1e6 < arm["cost"]["expected_usd"] < 20 * (3 * 4.0 + 30) / 1e6
    assert 0 < arm["cost"]["low_usd"] < arm["cost"]["expected_usd"] < arm["cost"]["high_usd"]
    assert judge["cost"]["expected_usd"] > arm["cost"]["expected_usd"]
