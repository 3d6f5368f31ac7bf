"""No generated value survives in any text, and nothing else changes."""

import json
import string

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config import Redaction
from harness.ingest.patterns import IBAN_LENGTHS, luhn
from harness.ingest.redaction import Redactor

LETTERS = string.ascii_letters
ALNUM = LETTERS + string.digits
around = st.text(max_size=60)
edge = st.sampled_from([" ", "\n", "(", ", ", '"', "'", "\t", "<", "。"])


@st.composite
def emails(draw):
    local = draw(st.text(ALNUM + "._+%-", min_size=1, max_size=30))
    labels = draw(st.lists(st.text(ALNUM, min_size=1, max_size=12), min_size=1, max_size=3))
    return f"{local}@{'.'.join(labels)}.{draw(st.text(LETTERS, min_size=2, max_size=6))}"


@st.composite
def cards(draw):
    body = draw(st.sampled_from("23456")) + draw(st.text(string.digits, min_size=11, max_size=17))
    number = next(body + str(digit) for digit in range(10) if luhn(body + str(digit)))
    if len(set(number)) == 1:
        number = "4111111111111111"
    separator = draw(st.sampled_from(["", " ", "-"]))
    return separator.join(number[i : i + 4] for i in range(0, len(number), 4))


@st.composite
def ibans(draw):
    country = draw(st.sampled_from(sorted(IBAN_LENGTHS)))
    bban = draw(st.text(string.ascii_uppercase + string.digits, min_size=(n := IBAN_LENGTHS[country] - 4), max_size=n))
    check = 98 - int("".join(str(int(c, 36)) for c in bban + country + "00")) % 97
    number = f"{country}{check:02d}{bban}"
    separator = draw(st.sampled_from(["", " "]))
    return separator.join(number[i : i + 4] for i in range(0, len(number), 4))


@st.composite
def keys(draw):
    prefix = draw(st.sampled_from(["sk-", "sk-proj-", "sk-ant-api03-", "ghp_", "AIza", "hf_", "glpat-", "github_pat_"]))
    return prefix + draw(st.text(ALNUM, min_size=36, max_size=60)) + "7"


secrets = emails() | cards() | ibans() | keys()


@settings(max_examples=300)
@given(before=around, left=edge, value=secrets, right=edge, after=around)
def test_no_generated_value_survives_and_a_second_redaction_changes_nothing(before, left, value, right, after):
    subject = Redactor(Redaction())
    once = subject.text(before + left + value + right + after)
    assert value not in once
    assert subject.text(once) == once


@given(before=st.text("abcxyz ,.!?\n", max_size=40), value=secrets, after=st.text("abcxyz ,!?\n", max_size=40))
def test_the_text_around_a_value_stays(before, value, after):
    text = Redactor(Redaction()).text(f"{before} {value} {after}")
    assert text.startswith(f"{before} ")
    assert text.endswith(f" {after}")


@given(st.text(st.characters(exclude_characters="@:=", exclude_categories=["Nd", "Nl", "No", "Cs"]), max_size=300))
def test_text_without_digits_addresses_and_assignments_is_unchanged(text):
    assert Redactor(Redaction()).text(text) == text


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20) | secrets,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(LETTERS, max_size=8), inner, max_size=4),
    max_leaves=12,
)


def shape(value):
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value).__name__


@settings(max_examples=200)
@given(st.dictionaries(st.text(LETTERS, max_size=8), documents, max_size=4), secrets)
def test_json_keeps_its_keys_and_types_and_loses_the_value(document, value):
    document["hidden"] = [f"x\n{value}"]
    redacted = Redactor(Redaction()).text(json.dumps(document, ensure_ascii=False))
    assert shape(json.loads(redacted)) == shape(document)
    assert value not in json.loads(redacted)["hidden"][0]


@settings(max_examples=150)
@given(st.text(string.digits + " -.+()/:@ab_=", max_size=60))
def test_redaction_is_idempotent_on_text_full_of_near_misses(text):
    subject = Redactor(Redaction())
    once = subject.text(text)
    assert subject.text(once) == once
