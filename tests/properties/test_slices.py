"""Any text has its slices, and the same ones every time."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.pipeline import topic_model
from harness.store.attributes import attributes_of
from harness.store.language import UNKNOWN, language
from harness.store.prose import prose, without_placeholders
from harness.testing import exchange

# Lone surrogates and NUL included, with what the patterns look for among them.
anything = st.text(st.characters() | st.sampled_from("\ud800\udfff\x00\n")) | st.lists(
    st.sampled_from(
        ["```", "~~~", "`", "<", ">", "<EMAIL_1a2b>", "http://", "@", "\n", "\x00", "\ud83d", "a", "é", "漢"]
    ),
    max_size=60,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(anything)
def test_every_text_has_a_language_or_none(text):
    found = language(prose(text))
    assert found == UNKNOWN or (len(found) == 2 and found.isascii() and found.islower())
    assert language(prose(text)) == found


@settings(deadline=None)
@given(anything)
def test_what_is_left_can_be_stored_and_holds_nothing_more_to_take_away(text):
    left = without_placeholders(text)
    left.encode()
    assert "\x00" not in left
    assert left == " ".join(left.split())


@settings(deadline=None)
@given(prompt=anything, answer=anything)
def test_attributes_do_not_depend_on_when_they_are_worked_out(prompt, answer):
    item = exchange(answer, prompt=prompt)
    found = list(attributes_of(item))
    assert found == list(attributes_of(item))
    assert {"language", "answer_length", "prompt_length"} <= {key for key, _ in found}


@settings(deadline=None)
@given(anything)
def test_the_words_of_a_topic_are_inert(text):
    for word in topic_model.words_of(text):
        assert 2 <= len(word) <= 20
        assert not set(word) & set("<>&\"'`{}[]()|\\/\x00\n\r\t ")
        assert word.isprintable()


@pytest.mark.parametrize(
    "piece", ["`", "```", "<", "<a", "a@", "~~~\n", "http://", "a", "a.b-", "\n ~~~ x", "<a ", "é"]
)
def test_no_text_takes_long(piece):
    begin = time.process_time()
    prose(piece * (100_000 // len(piece)))
    assert time.process_time() - begin < 1
