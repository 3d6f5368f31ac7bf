"""`harness judges evaluate` on recorded verdicts: no model, no store."""

import json
import shutil
from pathlib import Path

import pytest

from harness.cli import main

DATA = Path(__file__).parents[2] / "data" / "labelled" / "questions.jsonl"
WORDS = ["--first", "A", "--second", "B", "--tie", "same"]
BOTH = ["--verdict-first", "verdicts.-1.a shown first", "--verdict-second", "verdicts.-1.b shown first"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(DATA, tmp_path / "questions.jsonl")


def evaluate(*arguments: str) -> int:
    return main(["judges", "evaluate", "questions.jsonl", *WORDS, *arguments])


def row(text: str, title: str) -> str:
    [line] = [line for line in text.splitlines() if line.strip().startswith(title)]
    return line.strip().removeprefix(title).strip()


def test_recorded_verdicts_are_held_against_people(capsys, tmp_path):
    assert evaluate(*BOTH) == 0
    printed = capsys.readouterr()
    assert "3 labelled pairs, 1 without a majority of labellers" in printed.err
    assert "request question, answers answer_a and answer_b, labels annotator1, annotator2" in printed.err
    assert row(printed.out, "accuracy").startswith("66.67% (")
    assert row(printed.out, "right, answer 1 first") == "1 of 3"
    assert row(printed.out, "right, answer 2 first") == "3 of 3"
    assert row(printed.out, "flips") == "1 of 2"
    assert row(printed.out, "health") == "usable"
    assert "A pair without a verdict counts as wrong" in printed.out
    assert "not known: people. Only 3 pairs it scored are labelled" in printed.out
    assert sorted(item.name for item in tmp_path.iterdir()) == ["questions.jsonl"], "nothing is stored"


def test_judges_stand_beside_each_other(capsys):
    one = "verdicts.0.a shown first"
    assert evaluate(*BOTH, "--verdict", one, "--json", "--quiet") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    found = json.loads(printed.out)
    assert [card["judge"] for card in found["judges"]] == [one, " and ".join(BOTH[1::2])]
    assert [card["correct"] is None for card in found["judges"]] == [True, False]
    assert found["judges"][0]["unscored"] == {"parse_failed": 1}
    assert found["judges"][0]["health"]["usable"] is True
    assert (found["pairs"], found["records"], found["unscored"]) == (3, 4, "wrong")
    assert found["left_out"] == {"without a majority of labellers": 1}


def test_every_judgment_is_written_in_the_sets_own_words(tmp_path, capsys):
    assert evaluate(*BOTH, "--output", "out.jsonl") == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 6
    assert {(r["row"], r["shown_first"]): (r["verdict"], r["people"], r["reason"]) for r in rows} == {
        (1, 1): ("A", "A", None), (1, 2): ("A", "A", None), (2, 1): ("A", "B", None), (2, 2): ("B", "B", None),
        (4, 1): (None, "B", "parse_failed"), (4, 2): ("B", "B", None),
    }  # fmt: skip


def test_how_many_and_how_missing_verdicts_count_can_be_chosen(capsys):
    assert evaluate(*BOTH, "--sample", "2", "--unscored", "left-out") == 0
    printed = capsys.readouterr()
    assert "2 of them drawn" in printed.err
    assert row(printed.out, "pairs") == "2"
    assert "A pair without a verdict is left out" in printed.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a judge: --model, --experiment, --verdict"),
        (["--verdict", "gone"], "no record has anything at 'gone'; columns: annotator1, annotator2, answer_a"),
        (["--verdict-first", "verdicts.0.a shown first"], "they go in pairs"),
        ([*BOTH, "--unscored", "half"], "--unscored 'half': choose from wrong, left-out, tie"),
        (["-m", "openai/x", "--mode", "loud"], "--mode 'loud': choose from plain, structured, soft"),
        (["-m", "openai/x", "--price", "cheap"], "--price 'cheap': expected two numbers"),
        ([*BOTH, "--tie", "A"], "the word 'a' stands for two verdicts"),
        ([*BOTH, "--key", "question", "--join", "missing.jsonl"], "no export file matches 'missing.jsonl'"),
        ([*BOTH, "--output", "no/such/folder/out.jsonl"], "name a file in a folder that is there"),
        ([*BOTH, "--output", "."], "name a file in a folder that is there"),
    ],
)
def test_what_is_wrong_is_said(arguments, message, capsys):
    assert evaluate(*arguments) in {2, 4}
    assert message in capsys.readouterr().err


def test_an_experiment_whose_judges_ask_no_model_has_nobody_to_try(tmp_path, capsys):
    (tmp_path / "e.yaml").write_text(
        "{name: a, traffic: {source: x.jsonl}, judges: [exact], candidates: [{name: b, model: openai/x}]}",
        encoding="utf-8",
    )
    assert evaluate("--experiment", "e.yaml") == 2
    assert "none of its judges asks a model (exact)" in capsys.readouterr().err


def test_two_judges_of_one_name_are_refused_before_anything_is_asked(tmp_path, capsys):
    (tmp_path / "e.yaml").write_text(
        "{name: a, traffic: {source: x.jsonl}, candidates: [{name: b, model: openai/x}],"
        " judges: [{use: pairwise, name: openai/x plain, options: {model: openai/x}}]}",
        encoding="utf-8",
    )
    assert evaluate("--experiment", "e.yaml", "-m", "openai/x", "--mode", "plain") == 2
    assert "two judges are called 'openai/x plain'" in capsys.readouterr().err


def test_text_that_could_drive_a_terminal_is_made_visible(tmp_path, capsys):
    record = {"prompt": "q", "output_1": "x", "output_2": "y", "label": "1", "v\x1b[2J": "\x1b]0;owned\x07"}
    (tmp_path / "questions.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    assert main(["judges", "evaluate", "questions.jsonl", "--verdict", "v\x1b[2J"]) == 0
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert main(["judges", "evaluate", "questions.jsonl", "--verdict", "v\x1b[2J", "--json"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_help_says_that_it_measures_and_does_not_decide(capsys):
    assert main(["judges", "evaluate", "--help"]) == 0
    assert "the exit code is 0 whatever it finds" in " ".join(capsys.readouterr().out.split())
