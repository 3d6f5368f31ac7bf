import json

import pytest

from harness.domain.observation import Completion, ToolCall
from reports import page_answers
from tests.unit.reports import kinds
from tests.unit.reports.kinds import call, calls


def text(runs):
    return "".join(run.text for run in runs)


def marked(runs):
    return [run.text for run in runs if run.changed]


def test_prose_is_compared_word_by_word():
    both = page_answers.shown("It takes five days.", "It takes three weeks.")
    assert (both.production.kind, both.candidate.kind) == ("prose", "prose")
    assert marked(both.production.runs) == ["five days"]
    assert both.production.source == ""


def test_json_is_compared_by_structure_with_its_source_beside_it():
    left = json.dumps(kinds.JSON_LEFT)
    both = page_answers.shown(left, f"```json\n{json.dumps(kinds.JSON_RIGHT)}\n```")
    assert both.production.kind == both.candidate.kind == "json"
    assert marked(both.production.runs) == ['"note": "paid twice"', "49.0", "2"]
    assert both.production.source == left
    assert both.notes == (
        "Both say something else at: refund.amount.",
        "Only production has: note, seats[1].",
        "Only the candidate has: reason.",
        "Only the candidate put its JSON into a code fence.",
    )


def test_one_side_of_json_is_written_out_and_said():
    both = page_answers.shown("I cannot.", '{"a":[1]}')
    assert both.production.kind == "prose"
    assert text(both.candidate.runs) == '{\n  "a": [\n    1\n  ]\n}'
    assert both.notes == ("Only the candidate's answer is JSON.",)
    assert page_answers.shown(None, '{"a":[1]}').notes == ()


def test_markdown_on_either_side_renders_both():
    both = page_answers.shown("It takes five days.", "It takes *three weeks*.")
    assert both.production.kind == both.candidate.kind == "markdown"
    assert both.candidate.source == "It takes *three weeks*."
    assert [p.run.text for p in both.candidate.pieces if p.run and p.run.changed] == ["three weeks"]


@pytest.mark.parametrize("missing", [None, "", "  "])
def test_a_missing_answer_is_shown_as_nothing(missing):
    both = page_answers.shown("# Title", missing)
    assert text(both.candidate.runs).strip() == ""
    assert [piece.run.text for piece in both.production.pieces if piece.run and piece.run.text] == ["Title"]


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("a b", " a  b\n", True),
        ("a b", "a c", False),
        ('{"a": 1, "b": 2}', '```json\n{"b":2,"a":1}\n```', True),
        ('{"a": 1}', '{"a": true}', False),
        (calls(call("f", x=1)), calls(call("f", x=1.0)), True),
        (calls(call("f", x=1)), calls(call("f", x=2)), False),
        (calls(call("f", x=1), call("g")), calls(call("g"), call("f", x=1)), True),
        (calls(call("f")), "f", False),
        (Completion(text=None, refusal="No."), "No.", True),
    ],
)
def test_what_counts_as_the_same_answer(left, right, same):
    sides = [side if isinstance(side, Completion) else Completion(text=side) for side in (left, right)]
    assert page_answers.is_same(*sides) is same
    assert page_answers.is_same(sides[0], None) is False


def test_calls_are_held_against_the_one_they_belong_to_whatever_their_order():
    left = calls(call("find", month="03"), call("refund", amount=49.0, lines=[1, 2]))
    right = calls(call("refund", amount=98.0, lines=[1]), call("find", month="03"), call("close", id=4))
    ours, theirs = page_answers.calls(left, right)
    assert [(view.name, view.badge.word) for view in ours] == [("find", "same"), ("refund", "arguments differ")]
    assert [(view.name, view.badge.word) for view in theirs] == [
        ("refund", "arguments differ"),
        ("find", "same"),
        ("close", "only the candidate"),
    ]
    assert marked(ours[1].runs) == ["49.0", "2"]
    assert ours[1].note == "Differs at: amount. Only here: lines[1]."
    assert marked(theirs[0].runs) == ["98.0"]
    assert theirs[0].note == "Differs at: amount."
    assert marked(theirs[2].runs) == [text(theirs[2].runs)]


def test_calls_without_an_answer_to_compare_with_are_not_marked():
    ours, theirs = page_answers.calls(calls(call("find", month="03")), None)
    assert ours[0].badge is None
    assert marked(ours[0].runs) == []
    assert theirs == ()


def test_arguments_that_are_no_json_are_compared_as_words():
    left = calls(ToolCall(name="run", arguments="select five days from t"))
    right = calls(ToolCall(name="run", arguments="select three weeks from t"))
    ours, theirs = page_answers.calls(left, right)
    assert marked(ours[0].runs) == ["five days"]
    assert marked(theirs[0].runs) == ["three weeks"]


def test_arguments_in_a_text_are_read_as_the_json_they_are():
    ours, _ = page_answers.calls(calls(ToolCall(name="f", arguments='{"b":1,"a":2}')), calls(call("f", a=2, b=1)))
    assert ours[0].badge.word == "same"
    assert text(ours[0].runs) == '{\n  "a": 2,\n  "b": 1\n}'


def test_long_answers_are_cut_and_say_so():
    both = page_answers.shown("word " * 5_000, json.dumps({"a": ["x" * 10] * 2_000}))
    assert both.production.note == "Cut for display: 6,000 of 25,000 characters shown."
    assert len(text(both.candidate.runs)) == 6_000
    assert both.candidate.note.startswith("Cut for display: 6,000 of ")
    many = page_answers.calls(calls(*(call("f", n=n) for n in range(50))), calls())[0]
    assert len(many) == 13
    assert many[-1].name == "38 more calls"
