"""A set-up that cannot work ends with 4 or 2, before it costs anything, and never as a verdict on the candidate."""

import json
import socket
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from harness.cli import main
from harness.cli.work import opened_session
from harness.config import load_experiment

KEY = "team-key-0123456789abcdef"
ANSWER = {"index": 0, "message": {"role": "assistant", "content": "Paris."}, "finish_reason": "stop"}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


class Provider(BaseHTTPRequestHandler):
    """Answers ``good``; refuses ``locked`` with the caller's own key in the message."""

    protocol_version = "HTTP/1.1"
    asked: list[str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(body["model"])  # type: ignore[attr-defined]
        if body["model"] == "good":
            status, reply = 200, {"id": "c", "object": "chat.completion", "created": 1, "model": "good",
                                  "choices": [ANSWER], "usage": USAGE}  # fmt: skip
        else:
            key = self.headers["authorization"].removeprefix("Bearer ")
            status = 400 if body["model"] == "chatty" else 401
            reply = {"error": {"message": f"no entry for {key} here", "type": "invalid_request_error"}}
        payload = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEAM_KEY", KEY)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def model_at(port: int, model: str, **more: object) -> dict:
    base = f"http://127.0.0.1:{port}/v1"
    return {"model": f"openai/{model}", "api_base": base, "api_key_env": "TEAM_KEY", "stream": False, **more}


def write(folder: Path, candidate: dict, n: int = 4, **more: object) -> str:
    with (folder / "export.jsonl").open("w", encoding="utf-8") as export:
        for i in range(n):
            request = {"model": "m", "messages": [{"role": "user", "content": f"Question {i}?"}]}
            line = {"id": f"r{i}", "latency_ms": 100, "request": request, "response": "Lyon."}
            export.write(json.dumps(line) + "\n")
    experiment = {
        "name": "broken",
        "traffic": {"source": "export.jsonl"},
        "candidates": [{"name": "new", **candidate}],
        "judges": ["exact"],
        "replay": {"max_attempts": 1},
        "decision": {"criteria": [{"metric": "coverage", "at_least": 1}, {"metric": "error_rate", "at_most": 0.9}]},
    }
    (folder / "x.yaml").write_text(yaml.safe_dump(experiment | more), encoding="utf-8")
    return "x.yaml"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_server_that_is_down_says_nothing_about_the_candidate_and_is_asked_again(tmp_path, provider, capsys):
    port = free_port()
    file = write(tmp_path, model_at(port, "good"))

    assert main(["run", file, "--quiet"]) == 4
    assert f"check that http://127.0.0.1:{port}/v1 is up" in capsys.readouterr().err
    assert main(["decide", file, "--quiet"]) == 3, "failures of the set-up are no evidence"

    revived = ThreadingHTTPServer(("127.0.0.1", port), Provider)
    revived.asked = []
    thread = threading.Thread(target=revived.serve_forever)
    thread.start()
    try:
        assert main(["run", file, "--quiet"]) == 0
        assert revived.asked == ["good"] * 4
    finally:
        revived.shutdown()
        thread.join()
        revived.server_close()


def test_a_judge_with_a_wrong_key_is_no_verdict_and_goes_on_once_mended(tmp_path, provider, capsys):
    def judges(model: str) -> list:
        options = {"model": {k: v for k, v in model_at(provider.server_port, model).items() if k != "stream"}}
        return ["exact", {"use": "pairwise", "options": options}]

    file = write(tmp_path, model_at(provider.server_port, "good"), judges=judges("locked"))
    assert main(["run", file, "--quiet"]) == 4
    said = capsys.readouterr()
    assert "judge pairwise: all of the first" in said.err
    assert "set TEAM_KEY to a key that may use this model" in said.err
    assert said.out == ""

    write(tmp_path, model_at(provider.server_port, "good"), judges=judges("good"))
    assert main(["run", file, "--quiet"]) == 0
    # The candidate's answers were paid for once.
    with sqlite3.connect("runs/harness.db") as database:
        attempts = database.execute("select sum(attempts) from observations where arm = 'new'").fetchone()
    assert attempts == (4,)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"decision": {"criteria": [{"metric": "coverge", "above": 1}]}}, "unknown metric 'coverge'"),
        ({"decision": {"cluster_by": "sesion"}}, "decision.cluster_by: 'sesion' is not known"),
        ({"report": {"slices": ["modl"]}}, "report.slices: 'modl' is not known"),
        ({"judges": ["exat"]}, "judge 'exat' is not installed"),
        (
            {"judges": [{"use": "rubric", "options": {"model": {"model": "openai/x", "api_key_env": "NO_SUCH"}}}]},
            "NO_SUCH is not set",
        ),
        (
            {
                "judges": [{"use": "pairwise", "options": {"model": model_at(9, "x") | {"stream": True}}}],
                "budget": {"judges_usd": 1},
            },
            "the price of 'openai/x' is unknown",
        ),
    ],
)
def test_what_a_later_stage_will_refuse_is_refused_before_anything_is_asked(tmp_path, provider, capsys, change, words):
    file = write(tmp_path, model_at(provider.server_port, "good"), **change)

    assert main(["run", file, "--quiet"]) == 2
    assert words in capsys.readouterr().err
    assert provider.asked == []
    assert main(["doctor", file]) == 2
    assert words in capsys.readouterr().out


def test_two_models_of_one_name_share_no_price(tmp_path, provider, capsys):
    port = provider.server_port
    priced = model_at(port, "good", price={"input_per_mtok": 1.0, "output_per_mtok": 1.0})
    replica = model_at(port, "good", share=1.0)
    file = write(tmp_path, priced, replica=replica)

    assert main(["run", file, "--quiet"]) == 0
    with sqlite3.connect("runs/harness.db") as database:
        rows = database.execute(
            "select arm, status, cost_usd is null, count(*) from observations "
            "where arm <> 'production' group by 1, 2, 3"
        ).fetchall()
    assert sorted(rows) == [("new", "completed", 0, 4), ("replica", "completed", 1, 4)]


def test_a_key_the_provider_repeats_is_kept_nowhere(tmp_path, provider, capsys):
    file = write(tmp_path, model_at(provider.server_port, "chatty"))

    assert main(["run", file, "--json"]) in {1, 3}
    said = capsys.readouterr()
    assert KEY not in said.out + said.err
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert {"harness.db", "report.html", "report.json"} <= {path.name for path in files}
    assert [path.name for path in files if KEY.encode() in path.read_bytes()] == []
    assert main(["runs", "show", json.loads(said.out)["run"], "--json"]) == 0
    assert KEY not in capsys.readouterr().out


@pytest.mark.parametrize("run_id", ["../out", "a/b", "..", ".", "a\nb", "", "x" * 101])
def test_a_run_id_cannot_lead_out_of_the_runs_folder(tmp_path, provider, capsys, run_id):
    file = write(tmp_path, model_at(provider.server_port, "good"))

    assert main(["run", file, "--run", run_id, "--quiet"]) == 2
    assert "cannot name a folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_rendering_a_decision_again_changes_nothing(tmp_path, provider, capsys):
    file = write(tmp_path, model_at(provider.server_port, "good"))
    assert main(["run", file, "--run", "Läufe 1", "--quiet"]) == 0
    assert main(["decide", file, "--run", "Läufe 1", "--quiet"]) == 0

    assert main(["report", "Läufe 1", "--output", "again", "--quiet"]) == 0
    for name in ("report.html", "report.json", "report.md", "junit.xml"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "runs" / "Läufe 1" / name).read_bytes()


def test_a_second_command_on_a_run_asks_nothing_while_the_first_is_at_work(tmp_path, provider, capsys):
    file = write(tmp_path, model_at(provider.server_port, "good"))
    experiment = load_experiment(Path(file))
    at_work = opened_session(experiment, store=None, runs_dir=Path("runs"), run_id="shared", quiet=True)

    with at_work:
        assert main(["run", file, "--run", "shared", "--quiet"]) == 4
        assert "another process is working on run 'shared'" in capsys.readouterr().err
        assert provider.asked == []
        assert main(["runs", "show", "shared", "--json"]) == 0, "reading is free"
    assert main(["run", file, "--run", "shared", "--quiet"]) == 0
    assert provider.asked == ["good"] * 4


def test_a_runs_folder_that_cannot_be_made_is_named(tmp_path, provider, capsys):
    file = write(tmp_path, model_at(provider.server_port, "good"))
    (tmp_path / "taken").write_text("a file")

    assert main(["run", file, "--runs-dir", "taken", "--store", "sqlite:///s.db", "--quiet"]) == 4
    assert "cannot be written" in capsys.readouterr().err
    assert provider.asked == []
