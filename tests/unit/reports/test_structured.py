import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports import structured

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
documents = st.lists(json_values, max_size=4) | st.dictionaries(st.text(max_size=8), json_values, max_size=5)


def text(runs):
    return "".join(run.text for run in runs)


def marked(runs):
    return [run.text for run in runs if run.changed]


@pytest.mark.parametrize(
    ("answer", "fenced"),
    [('{"a": 1}', False), (" [1, 2]\n", False), ('```json\n{"a": 1}\n```', True), ('```\n{"a": 1}\n```\n', True)],
)
def test_objects_and_lists_are_read_in_a_fence_or_not(answer, fenced):
    found = structured.read(answer)
    assert found is not None
    assert found.fenced is fenced


@pytest.mark.parametrize(
    "answer",
    [None, "", "12", '"text"', "true", "Here it is: {}", '{"a": 1', "[" * 50_000, '{"a": ' + "1" * 5_000 + "}",
     json.dumps([[]] * 5_000), json.dumps("x" * 200_000)],
)  # fmt: skip
def test_anything_else_and_what_is_too_much_to_compare_is_text(answer):
    assert structured.read(answer) is None


def test_nesting_is_bounded():
    deep = 1
    for _ in range(structured.MAX_DEPTH):
        deep = [deep]
    assert structured.read(json.dumps(deep)) is None
    assert structured.read(json.dumps(deep[0])) is not None


def test_what_differs_is_marked_by_key_whatever_the_order_of_keys():
    left = {"b": {"x": 1, "y": [1, 2, 3]}, "a": "same", "gone": None}
    right = {"a": "same", "new": {"k": 1}, "b": {"y": [1, 3], "x": 2}}
    found = structured.compare(left, right)
    assert marked(found.production) == ["1", "2", '"gone": null']
    assert marked(found.candidate) == ["2", '"new": {\n    "k": 1\n  }']
    assert found.changed == ("b.x",)
    assert found.only_production == ("b.y[1]", "gone")
    assert found.only_candidate == ("new",)
    assert text(found.production) == structured.written(left)


def test_another_type_is_another_value_and_one_is_one_point_nought():
    found = structured.compare({"a": True, "b": 1, "c": "1"}, {"a": 1, "b": 1.0, "c": 1})
    assert found.changed == ("a", "c")


def test_long_strings_are_compared_word_by_word():
    left = {"text": "The refund takes five days and then it is on your card again."}
    right = {"text": "The refund takes three weeks and then it is on your card again."}
    found = structured.compare(left, right)
    assert marked(found.production) == ["five days"]
    assert marked(found.candidate) == ["three weeks"]


@settings(deadline=None)
@given(documents, documents)
def test_each_side_is_written_in_full_and_the_same_means_no_mark(left, right):
    found = structured.compare(left, right)
    assert text(found.production) == structured.written(left)
    assert text(found.candidate) == structured.written(right)
    assert json.loads(structured.written(left)) == left
    assert found.is_same is not any(run.changed for run in found.production + found.candidate)
    assert structured.compare(left, left).is_same


@settings(deadline=None)
@given(documents, documents)
def test_both_sides_agree_on_whether_they_differ(left, right):
    # Where is another matter: items of a list may be aligned in several ways.
    assert structured.compare(left, right).is_same is structured.compare(right, left).is_same


without_lists = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=60),
    lambda inner: st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=8), without_lists), st.dictionaries(st.text(max_size=8), without_lists))
def test_both_sides_see_the_same_difference_by_key(left, right):
    one, other = structured.compare(left, right), structured.compare(right, left)
    assert sorted(one.changed) == sorted(other.changed)
    assert sorted(one.only_production) == sorted(other.only_candidate)
