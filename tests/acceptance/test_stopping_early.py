"""A run stops asking a candidate as soon as its decision stands, or cannot be reached, and says what that saved."""

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from harness.cli import main
from harness.store import Store

N = 900


def experiment(folder: Path, base: str, *, verdict: str, criteria: list[dict], **sections: object) -> Path:
    folder.mkdir(exist_ok=True)
    lines, labels = [], []
    for i in range(N):
        request = {"model": "m", "messages": [{"role": "user", "content": f"Question {i}?"}]}
        lines.append({"id": f"r{i}", "latency_ms": 1e6, "request": request, "response": "Paris."})
        word = verdict if verdict != "even" else ("win", "loss")[i % 2]
        labels.append({"id": f"r{i}", "winner": word})
    for name, rows in (("export", lines), ("labels", labels)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    model = {"model": "openai/upstream", "api_base": base, "price": {"input_per_mtok": 1.0, "output_per_mtok": 2.0}}
    raw = {
        "name": "early",
        "traffic": {"source": "export.jsonl"},
        "candidates": [{"name": "new", **model}],
        "judges": [{"use": "recorded", "options": {"file": "labels.jsonl", "label": "winner"}}],
        "decision": {"criteria": criteria, "look_every": 150},
        **sections,
    }
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return file


def run(capsys: pytest.CaptureFixture[str], file: Path) -> tuple[int, dict]:
    code = main(["run", str(file), "--json", "--quiet", "--runs-dir", str(file.parent / "runs")])
    return code, json.loads(capsys.readouterr().out)


def asked(log: Path) -> Counter[str]:
    return Counter(log.read_text(encoding="utf-8").splitlines()) if log.exists() else Counter()


BETTER = {"metric": "win_rate", "above": 0.48}
FASTER = {"metric": "latency_p95_ratio", "below": 1.2}


def test_a_clear_winner_is_go_after_a_part_of_the_sample(upstream, tmp_path, capsys):
    base, log = upstream
    file = experiment(tmp_path / "a", base, verdict="win", criteria=[BETTER, FASTER])
    code, result = run(capsys, file)
    assert (code, result["verdict"], result["stop_reason"]) == (0, "GO", "settled")
    first = asked(log)
    assert set(first.values()) == {1}
    assert 150 <= len(first) <= 450
    with Store.open(f"sqlite:///{tmp_path}/a/runs/harness.db") as store:
        [stored] = store.runs()
        looks = store.looks(stored.id)
    # One after every part that was asked, and the decision.
    assert len({point.at for point in looks}) == len(first) / 150 + 1
    assert {point.metric for point in looks} == {"win_rate", "latency_p95_ratio"}
    assert (looks[-1].verdict, looks[0].n) == ("GO", 150)

    report = json.loads(Path(result["files"]["json"]).read_text(encoding="utf-8"))
    funnel = report["candidates"][0]["funnel"]
    assert (funnel["sampled"], funnel["completed"], funnel["skipped"]) == (N, len(first), {"settled": N - len(first)})
    stopping = report["candidates"][0]["stopping"]
    assert (stopping["asked"], stopping["sampled"]) == (len(first), N)
    assert stopping["saved_usd"] == pytest.approx(
        report["candidates"][0]["cost"]["candidate_usd"] * (N - len(first)) / len(first), rel=1e-6
    )

    # The same command has nothing to add.
    again, repeated = run(capsys, file)
    assert (again, repeated["stop_reason"], asked(log)) == (0, "settled", first)


def test_a_clear_loser_is_no_go_early(upstream, tmp_path, capsys):
    base, log = upstream
    code, result = run(capsys, experiment(tmp_path / "a", base, verdict="loss", criteria=[BETTER, FASTER]))
    assert (code, result["verdict"], result["stop_reason"]) == (1, "NO_GO", "settled")
    assert len(asked(log)) == 150


def test_what_the_sample_cannot_settle_is_not_paid_for(upstream, tmp_path, capsys):
    base, log = upstream
    hard = {"metric": "win_rate", "above": 0.499}
    code, result = run(capsys, experiment(tmp_path / "a", base, verdict="even", criteria=[hard]))
    assert (code, result["verdict"], result["stop_reason"]) == (3, "INCONCLUSIVE", "out_of_reach")
    assert len(asked(log)) < N


def test_all_is_asked_when_that_is_wanted(upstream, tmp_path, capsys):
    base, log = upstream
    budget = {"stop_when_settled": False, "stop_when_out_of_reach": False}
    code, result = run(capsys, experiment(tmp_path / "a", base, verdict="win", criteria=[BETTER], budget=budget))
    assert (code, result["stop_reason"], len(asked(log))) == (0, None, N)


def test_planned_looks_stop_at_a_planned_look(upstream, tmp_path, capsys):
    base, log = upstream
    decision = {"criteria": [BETTER], "looks": "planned", "planned_looks": 3}
    code, result = run(capsys, experiment(tmp_path / "a", base, verdict="win", criteria=[], decision=decision))
    assert (code, result["verdict"], len(asked(log))) == (0, "GO", N // 3)
    assert result["decisions"][0]["terms"]["planned_look"] == 1


def test_a_time_limit_counts_over_all_looks(upstream, tmp_path, capsys):
    base, log = upstream
    file = experiment(tmp_path / "a", base, verdict="even", criteria=[BETTER], budget={"time_limit_s": 0.05})
    _, result = run(capsys, file)
    assert result["stop_reason"] == "time_limit"
    assert len(asked(log)) < N
