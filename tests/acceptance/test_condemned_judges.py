"""A judge that cannot be believed decides nothing, and by default is not paid to try."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness.cli import main
from tests.upstream import Upstream, in_thread

N = 150


def always_the_first(body: dict) -> str:
    """What a judge says that looks at places."""
    return json.dumps({"reason": "It comes first.", "verdict": "A"})


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    monkeypatch.setattr("tests.upstream.answer_to", always_the_first)
    with in_thread(Upstream()) as upstream:
        yield upstream


def experiment(folder: Path, judge: Upstream, **sections: object) -> Path:
    for name, answer in (("export", "Paris is the capital."), ("candidate", "The capital of France is Paris.")):
        lines = []
        for i in range(N):
            request = {"model": "m", "messages": [{"role": "user", "content": f"Capital of France, question {i}?"}]}
            lines.append(json.dumps({"id": f"r{i}", "request": request, "response": answer}) + "\n")
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    model = {"model": "openai/judge", "api_base": f"http://127.0.0.1:{judge.port}/v1"}
    raw = {
        "name": "condemned",
        "traffic": {"source": "export.jsonl"},
        "candidates": [{"name": "new", "responses": "candidate.jsonl"}],
        "judges": [{"use": "pairwise", "options": {"mode": "structured", "model": model}}],
        # Half of the verdicts go to either side: far above what is asked for.
        "decision": {"criteria": [{"metric": "win_rate", "above": 0.2}]},
        **sections,
    }
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return file


def run(file: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict, dict, str]:
    code = main(["run", str(file), "--json", "--runs-dir", str(file.parent / "runs")])
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    report = json.loads(Path(result["files"]["json"]).read_text(encoding="utf-8"))
    return code, result, report["candidates"][0], printed.err


def test_a_judge_that_fails_its_canaries_is_not_paid_for_pairs(judge, tmp_path, capsys):
    code, _, candidate, said = run(experiment(tmp_path, judge), capsys)
    assert code == 3
    assert len(judge.questions) < 60
    assert candidate["judges"][0]["scored"] == 0
    assert "judge pairwise: It is right on only" in said
    [health] = candidate["health"]
    assert {check["name"] for check in health["checks"] if check["state"] == "fail"} >= {"canaries"}


def test_what_it_says_all_the_same_decides_nothing(judge, tmp_path, capsys):
    code, result, candidate, _ = run(experiment(tmp_path, judge, canaries="warn"), capsys)
    assert (code, result["verdict"]) == (3, "INCONCLUSIVE")
    assert candidate["judges"][0]["flips"] == candidate["judges"][0]["both_orders"] == N
    [held] = candidate["decision"]["results"]
    assert held["estimate"]["low"] > 0.2
    assert (held["outcome"], held["objection"]["kind"]) == ("inconclusive", "judge")
    assert "mode: soft" in held["objection"]["remedy"]
    [health] = candidate["health"]
    failed = {check["name"] for check in health["checks"] if check["state"] == "fail"}
    assert failed >= {"canaries", "position", "flips"}


def test_without_canaries_its_leaning_to_a_place_is_seen_on_the_pairs_themselves(judge, tmp_path, capsys):
    _, _, candidate, _ = run(experiment(tmp_path, judge, canaries="off"), capsys)
    [health] = candidate["health"]
    states = {check["name"]: check["state"] for check in health["checks"]}
    assert (states["canaries"], states["position"]) == ("unknown", "fail")
    assert candidate["decision"]["verdict"] == "INCONCLUSIVE"
