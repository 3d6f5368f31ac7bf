import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import diff


def sides(difference: diff.Difference) -> tuple[str, str]:
    return "".join(run.text for run in difference.production), "".join(run.text for run in difference.candidate)


def changed(runs: tuple[diff.Run, ...]) -> list[str]:
    return [run.text for run in runs if run.changed]


def test_marks_whole_words():
    found = diff.words("The capital is Paris, surely.", "The capital is Lyon, surely.")
    assert changed(found.production) == ["Paris"]
    assert changed(found.candidate) == ["Lyon"]


def test_white_space_alone_is_no_difference():
    found = diff.words("one  two\nthree", "one two three")
    assert changed(found.production) == changed(found.candidate) == []
    assert sides(found) == ("one  two\nthree", "one two three")


def test_answers_with_little_in_common_are_not_painted_all_over():
    found = diff.words("Yes, the capital of France is Paris.", "I cannot help with that request, sorry about it.")
    assert "too different" in found.unmarked
    assert changed(found.production) == changed(found.candidate) == []


@given(st.text(alphabet="ab .,\n", max_size=60), st.text(alphabet="ab .,\n", max_size=60))
def test_no_character_is_lost(left, right):
    assert sides(diff.words(left, right)) == (left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("a " * 3_000, "b " * 3_000),
        ("a b " * 600, "b a c " * 400),
        ("." * 6_000, "," + "." * 5_999),
    ],
)
def test_what_would_take_long_is_shown_unmarked(left, right):
    begin = time.perf_counter()
    found = diff.words(left, right)
    assert time.perf_counter() - begin < 2
    assert "too long or too repetitive" in found.unmarked
    assert sides(found) == (left, right)
    assert changed(found.production) == []


def test_the_most_expensive_comparison_that_is_made_stays_short():
    rng = random.Random(3)
    words = [f"w{number}" for number in range(25)]
    left, right = (" ".join(rng.choice(words) for _ in range(2_400)) for _ in range(2))
    begin = time.perf_counter()
    assert "too long" not in diff.words(left, right).unmarked
    assert time.perf_counter() - begin < 5
