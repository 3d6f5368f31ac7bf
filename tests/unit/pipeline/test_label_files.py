import csv
import gzip
import io
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from harness.domain.judgment import Label
from harness.domain.label import LabelSource
from harness.errors import ConfigurationError, InputError
from harness.pipeline.label_files import (
    COLUMNS,
    Reading,
    as_csv,
    as_jsonl,
    export_rows,
    import_labels,
    meanings,
)
from harness.pipeline.label_plan import Wish, prepare_plan
from harness.store import Store
from tests.unit.pipeline.labelled_run import NOW, RUN, fill, label, session_of

IDS = [f"e{i}" for i in range(20)]


@pytest.fixture
def session(store, tmp_path):
    return session_of(store, tmp_path)


@pytest.fixture
def arm(session):
    return fill(session, IDS, failed=IDS[18:])


def labels_of(session, arm):
    return session.store.labels(RUN, arm.name, arm.fingerprint)


def written(tmp_path, rows, name="given.jsonl"):
    file = tmp_path / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def test_every_row_ends_in_one_way_and_the_good_ones_are_in_the_store(session, arm, tmp_path):
    session.store.put_labels(RUN, [label(arm, "e7", Label.WIN, "bob"), label(arm, "e8", Label.WIN, "bob")])
    file = tmp_path / "people.jsonl"
    rows = [
        {"id": "e1", "label": "WIN", "labeller": "bob", "note": "clearer", "seconds": 3},
        {"id": "e2", "label": "skip", "labeller": "bob"},
        {"id": "e7", "label": "loss", "labeller": "bob"},
        {"id": "e8", "label": "win", "labeller": "bob", "recorded_at": (NOW - timedelta(days=1)).isoformat()},
        {"id": "e1", "label": "loss", "labeller": "bob"},
        {"id": "e3", "label": "great", "labeller": "bob"},
        {"id": "e3", "label": None, "labeller": "bob"},
        {"id": "e99", "label": "win"},
        {"id": "e19", "label": "win"},
        {"label": "win"},
        {"id": "e4", "label": "win", "probability": 1.5},
        {"id": "e4", "label": "win", "arm": "other"},
        {"id": "e4", "label": "win", "observation_fingerprint": "old"},
        {"id": "e4", "label": "win", "labeller": "x" * 70},
        {"id": "e5", "label": "tie"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n\n", encoding="utf-8")

    found = import_labels(session, arm, str(file), Reading())

    assert found.rows == 16
    assert found.endings == {
        "imported": 3, "replaced": 1, "older": 1, "duplicate": 1, "bad_label": 1, "no_label": 1, "unknown_id": 1,
        "not_comparable": 1, "no_id": 1, "bad_probability": 1, "other_arm": 1, "other_answer": 1, "bad_labeller": 1,
        "unreadable": 1,
    }  # fmt: skip
    assert sum(found.endings.values()) == found.rows
    places = {problem.ending: problem.place for problem in found.problems}
    assert (places["bad_label"], places["unreadable"]) == ("people.jsonl:6", "people.jsonl:16")
    stored = {(item.exchange_id, item.labeller): item for item in labels_of(session, arm)}
    assert {key: item.label for key, item in stored.items()} == {
        ("e1", "bob"): Label.WIN,
        ("e2", "bob"): None,
        ("e5", "people"): Label.TIE,
        ("e7", "bob"): Label.LOSS,
        ("e8", "bob"): Label.WIN,
    }
    assert (stored["e1", "bob"].note, stored["e1", "bob"].seconds) == ("clearer", 3.0)
    assert stored["e1", "bob"].source is LabelSource.IMPORT
    assert found.labellers == ("bob", "people")
    assert (found.n_pairs, found.n_comparable, found.with_probability) == (5, 18, 0)


def test_own_columns_and_words(session, arm, tmp_path):
    file = tmp_path / "votes.csv.gz"
    file.write_bytes(gzip.compress(b"request;vote;who;p\ne1;B;ann;0.5\ne2; a ;ann;0.25\ne3;=;ann;\n"))
    words = meanings(["B"], ["=", "same"], ["A"], ["?"])

    found = import_labels(
        session, arm, str(file), Reading(id="request", label="vote", labeller="who", probability="p", words=words)
    )

    assert found.endings == {"imported": 3}
    assert [(item.label, item.probability) for item in labels_of(session, arm)] == [
        (Label.WIN, 0.5),
        (Label.LOSS, 0.25),
        (Label.TIE, None),
    ]
    assert found.with_probability == 2


def test_one_word_cannot_mean_two_things():
    with pytest.raises(ConfigurationError, match="two meanings"):
        meanings(["a"], ["A "], ["b"], [])


def test_the_same_file_again_changes_nothing(session, arm, tmp_path):
    file = written(tmp_path, [{"id": "e1", "label": "win", "labeller": "ann"}])
    import_labels(session, arm, file, Reading())
    before = labels_of(session, arm)

    assert import_labels(session, arm, file, Reading()).endings == {"unchanged": 1}
    assert labels_of(session, arm) == before


def test_a_random_sample_has_the_chance_of_its_size(session, arm, tmp_path):
    rows = [{"id": f"e{i}", "label": "tie", "labeller": name} for i in range(6) for name in ("ann", "bob")]

    found = import_labels(session, arm, written(tmp_path, rows), Reading(random_sample=True))

    assert {item.probability for item in labels_of(session, arm)} == {6 / 18}
    assert found.with_probability == 12
    evidence = session.store.evidence(RUN, arm.name, arm.fingerprint, judges={})
    assert evidence.labels.probability[:6].tolist() == pytest.approx([1 / 3] * 6)


def test_a_random_sample_with_chances_of_its_own_is_a_contradiction(session, arm, tmp_path):
    file = written(tmp_path, [{"id": "e1", "label": "win", "probability": 0.5}])
    with pytest.raises(InputError, match="contradicts --as-random-sample"):
        import_labels(session, arm, file, Reading(random_sample=True))
    prepare_plan(session, arm, Wish(size=4))
    with pytest.raises(ConfigurationError, match="drawn by a plan"):
        import_labels(session, arm, written(tmp_path, [{"id": "e1", "label": "win"}]), Reading(random_sample=True))


@pytest.mark.parametrize(
    ("rows", "reading", "words"),
    [
        ([{"id": "e1", "verdict": "win"}], Reading(), "no row has a column 'label'"),
        ([{"exchange": "e1", "label": "win"}], Reading(), "no row has a column 'exchange_id'"),
        ([{"id": "e1", "label": "win"}], Reading(id="key"), "no row has a column 'key'"),
        ([{"id": "x", "label": "win"}], Reading(), "kept out as unknown_id; given.jsonl:1: no exchange 'x'"),
        ([], Reading(), "holds no row"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(session, arm, tmp_path, rows, reading, words):
    with pytest.raises(InputError, match=words):
        import_labels(session, arm, written(tmp_path, rows), reading)
    assert labels_of(session, arm) == []


@pytest.fixture
def labelled(session, arm):
    """Labels of every kind: by the plan and outside it, with notes that are hard on a table."""
    prepare_plan(session, arm, Wish(size=9))
    planned = [item.exchange_id for item in session.store.label_plan(RUN, arm.name, arm.fingerprint)]
    outside = next(item for item in IDS[:18] if item not in planned)
    notes = ["=HYPERLINK(1)", "'=quoted", 'a, "b"\nc', "-", None]
    made = [
        label(arm, item, verdict, "ann", shown_first="candidate", seconds=2.5, note=note)
        for item, verdict, note in zip(planned, [*Label, None, Label.TIE], notes, strict=False)
    ]
    made += [
        label(arm, planned[0], Label.LOSS, "=bob"),
        label(arm, outside, source=LabelSource.IMPORT, probability=0.25),
    ]
    session.store.put_labels(RUN, made)
    return session


FORMATS = {"out.jsonl": as_jsonl, "out.csv": as_csv}


@pytest.mark.parametrize("name", FORMATS)
def test_what_was_exported_comes_back_as_the_same_labels(labelled, arm, tmp_path, name):
    before = labels_of(labelled, arm)
    file = tmp_path / name
    file.write_text(FORMATS[name](list(export_rows(labelled, [arm]))), encoding="utf-8", newline="")

    assert import_labels(labelled, arm, str(file), Reading()).endings == {"unchanged": len(before)}
    with Store.open(f"sqlite:///{tmp_path}/other.db") as other:
        session = session_of(other, tmp_path)
        fill(session, IDS, failed=IDS[18:])
        assert import_labels(session, arm, str(file), Reading()).endings == {"imported": len(before)}
        after = labels_of(session, arm)
        evidence = other.evidence(RUN, arm.name, arm.fingerprint, judges={})
    assert [replace(item, probability=None) for item in after] == [replace(item, probability=None) for item in before]
    mine = labelled.store.evidence(RUN, arm.name, arm.fingerprint, judges={}).labels
    labels = mine.labellers > 0
    assert evidence.labels.probability[labels].tolist() == mine.probability[labels].tolist()


def test_the_export_says_how_each_pair_came_to_be_labelled(labelled, arm):
    rows = list(export_rows(labelled, [arm]))

    assert all(tuple(row) == COLUMNS for row in rows)
    chances = {(row["probability"], row["design"]) for row in rows}
    assert chances == {(0.5, "uniform, seed 0, size 9"), (0.25, None)}
    assert {row["label"] for row in rows} == {"win", "tie", "loss", "skip"}


def test_no_cell_of_the_table_is_a_formula(labelled, arm):
    table = list(csv.reader(io.StringIO(as_csv(list(export_rows(labelled, [arm]))))))

    cells = [cell for row in table for cell in row]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] == []
    assert "'=HYPERLINK(1)" in cells
