import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.cli import main
from harness.cli.work import _alone
from harness.domain.judgment import Label
from harness.pipeline.label_plan import Wish, prepare_plan
from harness.store import Store
from tests.unit.pipeline.labelled_run import RUN, experiment, fill, label, session_of

IDS = [f"e{i}" for i in range(12)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with a plan and some labels, in the default store of a folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("HARNESS_STORE", "HARNESS_RUN", "HARNESS_RUNS_DIR", "HARNESS_LABELLER"):
        monkeypatch.delenv(name, raising=False)
    with Store.open(f"sqlite:///{tmp_path}/runs/harness.db") as store:
        session = session_of(store, tmp_path / "runs")
        arm = fill(session, IDS)
        prepare_plan(session, arm, Wish(size=6))
        store.put_labels(RUN, [label(arm, "e0"), label(arm, "e0", Label.TIE, "bob"), label(arm, "e1", None, "bob")])
    return tmp_path


def answer(capsys, *argv):
    code = main([*argv, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_status_shows_everybody_and_how_they_agree(folder, capsys):
    code, [arm] = answer(capsys, "labels", "status", RUN)

    assert code == 0
    assert (arm["arm"], arm["planned"], arm["design"]) == ("zq-candidate", 6, "uniform, seed 0, size 6")
    assert [(item["labeller"], item["labelled"], item["skipped"]) for item in arm["labellers"]] == [
        ("ann", 1, 0),
        ("bob", 1, 1),
    ]
    assert arm["agreement"] == [{"labellers": ["ann", "bob"], "n": 1, "equal": 0, "share": 0.0}]
    assert main(["labels", "status", RUN]) == 0
    assert "ann and bob: the same label on 0 of 1 pairs (0.0%)" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["labels.csv", "labels.jsonl", None])
def test_labels_go_out_and_come_back(folder, capsys, name):
    assert main(["labels", "export", RUN, *(["-o", name] if name else [])]) == 0
    printed = capsys.readouterr().out
    if name is None:
        name = "labels.jsonl"
        (folder / name).write_text(printed, encoding="utf-8")
    else:
        assert printed == f"{name}: 3 labels\n"

    code, found = answer(capsys, "labels", "import", RUN, name)

    assert (code, found["rows"], found["endings"]) == (0, 3, {"unchanged": 3})


def test_bad_rows_are_told_with_file_and_line_and_the_rest_goes_in(folder, capsys):
    (folder / "votes.csv").write_text("key,vote\ne2,new\ne3,old\ne4,perhaps\nx,new\n", encoding="utf-8")
    words = ["--id", "key", "--label", "vote", "--win", "new", "--loss", "old", "--labeller-name", "cid"]

    assert main(["labels", "import", RUN, "votes.csv", "--arm", "zq-candidate", *words]) == 0

    out, err = capsys.readouterr()
    assert "4 rows: 1 bad_label, 2 imported, 1 unknown_id" in out
    assert "2 of 12 comparable pairs, by cid" in out
    assert "! votes.csv:3: the label 'perhaps' is none of" in err
    assert "! votes.csv:4: no exchange 'x' in this run" in err
    _, [arm] = answer(capsys, "labels", "status", RUN)
    assert next(item for item in arm["labellers"] if item["labeller"] == "cid")["wins"] == 1


def test_labels_without_a_known_chance_are_said_to_correct_nothing(folder, capsys):
    with Store.open(f"sqlite:///{folder}/runs/harness.db") as store:
        session_of(store, folder, run="r2")
        fill(session_of(store, folder, run="r2"), IDS)
    (folder / "votes.jsonl").write_text('{"id": "e2", "label": "win"}\n', encoding="utf-8")

    assert main(["labels", "import", "r2", "votes.jsonl"]) == 0
    assert "correct no estimate" in capsys.readouterr().err
    assert main(["labels", "import", "r2", "votes.jsonl", "--as-random-sample"]) == 0
    assert "correct no estimate" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["label", "nothing"], "no run 'nothing'"),
        (["label", RUN, "--arm", "other"], "no arm 'other'"),
        (["label", RUN, "--seed", "3"], "`uniform, seed 0, size 6`"),
        (["label", RUN, "--design", "uncertain"], "`uniform, seed 0, size 6`"),
        (["label", RUN, "--labeller", " "], "1 to 60 visible characters"),
        (["label", RUN, "--labeller", "ann", "--ask-name"], "exclude each other"),
        (["label", "none.yaml"], "no such file"),
        (["labels", "export", RUN, "-o", "x.txt"], ".csv or .jsonl"),
        (["labels", "import", RUN, "none.jsonl"], "no export file matches"),
        (["labels", "import", RUN, "none.jsonl", "--win", "a", "--tie", "a"], "two meanings"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line_and_ends_with_2(folder, capsys, argv, words):
    assert main(argv) == 2

    out, err = capsys.readouterr()
    assert words in err
    assert out == ""


def serving(folder: Path, *argv: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "harness", "label", *argv, "--no-open"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_run_is_named_by_its_experiment_file_while_another_command_works_on_it(folder):
    parsed = experiment()
    raw = parsed.model_dump(mode="json", exclude_none=True, exclude={"replica"})
    (folder / "export.jsonl").write_text("{}\n", encoding="utf-8")
    raw["traffic"]["source"] = ["export.jsonl"]
    (folder / "e.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    from harness.config import load_experiment

    run = load_experiment(Path("e.yaml")).default_run_id
    with Store.open(f"sqlite:///{folder}/runs/harness.db") as store:
        fill(session_of(store, folder, run=run), IDS)

    with _alone(folder / "runs" / run, run):
        process = serving(folder, "e.yaml", "--labeller", "ann", "--json")
        assert process.stdout is not None
        text = ""
        while line := process.stdout.readline():
            text += line
            if line == "}\n":
                break
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)

    told = json.loads(text)
    assert (told["run"], told["planned"], told["comparable"], told["labelled"]) == (run, 12, 12, 0)
    assert told["url"].startswith("http://127.0.0.1:")
    assert process.returncode == 130
    assert "the same command goes on where it stopped" in err
    assert told["url"].rsplit("=", 1)[1] not in err


def test_a_page_for_other_machines_warns(folder):
    process = serving(folder, RUN, "--labeller", "ann", "--host", "0.0.0.0")  # noqa: S104
    assert process.stdout is not None
    assert process.stdout.readline().startswith("http://")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "open to other machines, unencrypted" in err
    assert "Traceback" not in err
