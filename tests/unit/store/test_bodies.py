"""Bodies come back as they went in."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.store import bodies
from harness.store.tables import storable

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_any_json_value_survives(value: object) -> None:
    assert bodies.decode(bodies.encode(value)) == value


def test_repeated_text_is_compressed() -> None:
    assert len(bodies.encode({"text": "the same words again " * 500})) < 200


@pytest.mark.parametrize(
    ("text", "stored"),
    [("plain", "plain"), ("a\x00b", "a␀b"), ("ü\ud800", "ü?"), ("日本", "日本"), ("", "")],
)
def test_narrow_text_is_what_both_databases_can_hold(text: str, stored: str) -> None:
    assert storable(text) == stored
