import pytest

from harness.ingest.places import NOTHING, value_at

RECORD = {
    "label": 1,
    "empty": None,
    "a.b": {"c": "dotted key"},
    "a": {"b": {"d": "nested"}},
    "results": [{"swap = False": {"winner": "1"}}, {"swap = False": {"winner": "2"}, "n": [[7, 8]]}],
    "1": "a key that looks like a position",
}


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("label", 1),
        ("empty", None),
        ("a.b.c", "dotted key"),
        ("a.b.d", "nested"),
        ("results.-1.swap = False.winner", "2"),
        ("results.0.swap = False.winner", "1"),
        ("results.1.n.0.-1", 8),
        ("1", "a key that looks like a position"),
        ("a.b", {"c": "dotted key"}),
    ],
)
def test_what_stands_at_a_place(place, value):
    assert value_at(RECORD, place) == value


@pytest.mark.parametrize(
    "place", ["other", "label.x", "results.2", "results.-3", "results.first", "results.0.", "a..b", "", "empty.x", "."]
)
def test_a_place_that_is_not_there_is_nothing_and_not_null(place):
    assert value_at(RECORD, place) is NOTHING
