import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from harness.domain.judgment import Label
from harness.errors import ConfigurationError, InputError
from harness.ingest.labelled import Columns, LabelledSet, Words, read_labelled, word_at


def written(folder: Path, *records: dict[str, Any], name: str = "set.jsonl") -> str:
    file = folder / name
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(file)


def read(folder: Path, *records: dict[str, Any], words: Words | None = None, **columns: Any) -> LabelledSet:
    return read_labelled(written(folder, *records), Columns(**columns), words or Words())


PAIR = {"prompt": "Capital of France?", "output_1": "Paris.", "output_2": "Rome.", "label": 1}


def test_a_pair_is_a_request_two_answers_and_a_label_from_answer_2s_side(tmp_path):
    [pair] = read(tmp_path, PAIR).pairs
    assert pair.messages == ({"role": "user", "content": "Capital of France?"},)
    assert (pair.answer_1, pair.answer_2, pair.label, pair.id) == ("Paris.", "Rome.", Label.LOSS, "row-000001")


@pytest.mark.parametrize(
    ("record", "prompt", "answers", "labels"),
    [
        (PAIR, ["prompt"], ("output_1", "output_2"), ["label"]),
        (
            {"instruction": "Add.", "input": "1 2", "response1": "3", "response2": "4", "annotator1": 1,
             "annotator2": 1},
            ["instruction", "input"], ("response1", "response2"), ["annotator1", "annotator2"],
        ),
        (
            {"question": "q", "answer_a": "x", "answer_b": "y", "winner": "2"},
            ["question"], ("answer_a", "answer_b"), ["winner"],
        ),
        ({"input": "q", "response_1": "x", "response_2": "y", "preference": 2}, ["input"], ("response_1", "response_2"),
         ["preference"]),
    ],
)  # fmt: skip
def test_usual_columns_are_found(tmp_path, record, prompt, answers, labels):
    found = read(tmp_path, record).columns
    assert (list(found.prompt), (found.answer_1, found.answer_2), list(found.labels)) == (prompt, answers, labels)


def test_columns_may_be_named_and_lie_deep(tmp_path):
    record = {
        "q": {"text": "Hello"},
        "sides": ["Hi", "Go away"],
        "votes": [{"who wins?": "left"}, {"who wins?": "right"}],
    }
    found = read(
        tmp_path, record, words=Words(first=["left"], second=["right"]), prompt=["q.text"], answer_1="sides.0",
        answer_2="sides.-1", labels=["votes.0.who wins?"], further=["votes.1.who wins?"],
    )  # fmt: skip
    [pair] = found.pairs
    assert (pair.answer_1, pair.answer_2, pair.label) == ("Hi", "Go away", Label.LOSS)
    assert pair.further == {"votes.1.who wins?": "right"}


@pytest.mark.parametrize("form", ["jsonl", "list", "csv", "gzip"])
def test_every_form_of_file_reads_the_same(tmp_path, form):
    records = [PAIR, PAIR | {"prompt": "Capital of Italy?", "label": 2}]
    file = tmp_path / {"jsonl": "a.jsonl", "list": "a.json", "csv": "a.csv", "gzip": "a.jsonl.gz"}[form]
    lines = "\n".join(json.dumps(record) for record in records)
    if form == "csv":
        table = io.StringIO()
        writer = csv.DictWriter(table, list(PAIR))
        writer.writeheader()
        writer.writerows(records)
        file.write_text(table.getvalue(), encoding="utf-8")
    elif form == "gzip":
        file.write_bytes(gzip.compress(lines.encode()))
    else:
        file.write_text(json.dumps(records) if form == "list" else lines, encoding="utf-8")
    assert [pair.label for pair in read_labelled(str(file), Columns(), Words()).pairs] == [Label.LOSS, Label.WIN]


@pytest.mark.parametrize(
    ("value", "word"),
    [(1, "1"), (1.0, "1"), ("1", "1"), (" 1 ", "1"), (1.5, "1.5"), (True, "true"), ("Tie", "Tie"), (None, None),
     ("", None), ({"a": 1}, None), ([1], None)],
)  # fmt: skip
def test_a_verdict_is_a_word_however_it_is_written(value, word):
    assert word_at({"v": value}, "v") == word


@pytest.mark.parametrize(
    ("labels", "label"),
    [
        ([1, 1, 2], Label.LOSS),
        ([0, 2, 2], Label.WIN),
        (["tie", "TIE", 1], Label.TIE),
        ([1, None, None], Label.LOSS),
        ([1, "cannot say", None], Label.LOSS),
    ],
)
def test_the_majority_of_labellers_counts(tmp_path, labels, label):
    record = {key: value for key, value in PAIR.items() if key != "label"}
    record |= {f"rater_{i}": said for i, said in enumerate(labels)}
    assert read(tmp_path, record).pairs[0].label is label


def test_what_is_no_labelled_pair_is_left_out_and_counted(tmp_path):
    found = read(
        tmp_path, PAIR, PAIR | {"label": None}, PAIR | {"label": "both"}, PAIR | {"output_2": None},
        PAIR | {"prompt": " "}, {"prompt": "x", "output_1": "y", "output_2": "z"},
    )  # fmt: skip
    assert (len(found.pairs), found.read) == (1, 6)
    assert found.left_out == {
        "without a label": 2, "with a label that means nothing": 1, "without two answers": 1, "without a request": 1
    }  # fmt: skip


def test_no_majority_is_left_out_and_counted(tmp_path):
    split = {"prompt": "q", "output_1": "x", "output_2": "y", "annotator1": 1, "annotator2": 2}
    found = read(tmp_path, split, split | {"annotator2": 1})
    assert found.left_out == {"without a majority of labellers": 1}


def test_answers_that_are_no_text_are_shown_as_json_and_chat_messages_stay_messages(tmp_path):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is it?"}]
    [pair] = read(tmp_path, PAIR | {"output_1": True, "output_2": {"a": "é"}, "prompt": messages}).pairs
    assert (pair.answer_1, pair.answer_2) == ("true", '{"a": "é"}')
    assert [message["role"] for message in pair.messages] == ["system", "user"]


def test_further_columns_of_other_files_are_joined(tmp_path):
    source = written(tmp_path, PAIR | {"idx": 7}, PAIR | {"idx": 8})
    other = written(tmp_path, {"idx": "8", "said": "2", "label": 2}, {"idx": 9, "said": "1"}, name="other.jsonl")
    found = read_labelled(source, Columns(further=["said"]), Words(), joined=[other], key="idx")
    assert [pair.further["said"] for pair in found.pairs] == [None, "2"]
    assert {pair.label for pair in found.pairs} == {Label.LOSS}, "a record's own columns count before joined ones"


def test_a_larger_sample_begins_with_a_smaller_one(tmp_path):
    found = read(tmp_path, *[PAIR | {"prompt": str(i)} for i in range(30)])
    assert found.sample(20, seed=1)[:10] == found.sample(10, seed=1)
    assert found.sample(10, seed=1) != found.sample(10, seed=2)
    assert len(found.sample(None, seed=0)) == 30


# What cannot be read


@pytest.mark.parametrize(
    ("record", "columns", "message"),
    [
        (PAIR, {"labels": ["gold"]}, "no record has anything at 'gold'; columns: label, output_1, output_2, prompt"),
        (PAIR, {"further": ["results.0.w"]}, "no record has anything at 'results.0.w'"),
        ({"prompt": "q", "output_1": "x", "label": 1}, {}, "no column holds answer 1; name it with --answer-1"),
        ({"ask": "q", "output_1": "x", "output_2": "y", "label": 1}, {}, "no column holds the request"),
        ({"prompt": "q", "output_1": "x", "output_2": "y"}, {}, "no column holds people's label; name it with --label"),
        (PAIR | {"label": "A"}, {}, "labels are 'A', not 1, 2, 0, tie: name them with --first, --second and --tie"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_with_what_is_there(tmp_path, record, columns, message):
    with pytest.raises((InputError, ConfigurationError)) as error:
        read(tmp_path, record, **columns)
    assert message in str(error.value)


def test_a_bad_line_is_named(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(PAIR) + "\n{oops\n" + json.dumps(PAIR) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.jsonl, line 2"):
        read_labelled(str(file), Columns(), Words())


def test_an_empty_file_and_a_join_without_a_key_are_refused(tmp_path):
    with pytest.raises(InputError, match="holds no record"):
        read(tmp_path)
    source = written(tmp_path, PAIR)
    with pytest.raises(ConfigurationError, match="--key"):
        read_labelled(source, Columns(), Words(), joined=[source])
    with pytest.raises(InputError, match="nothing at 'idx'"):
        read_labelled(source, Columns(), Words(), joined=[source], key="idx")


def test_a_word_cannot_mean_two_things():
    with pytest.raises(ConfigurationError, match="'1' stands for two verdicts"):
        Words(tie=["1"])
