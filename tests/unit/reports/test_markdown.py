import re

import pytest

from harness.domain.decision import Verdict
from reports import render_markdown
from reports.markdown import escape
from tests.unit.reports import factory


def test_says_what_was_decided_and_why():
    text = render_markdown(factory.three())
    for words in (
        "## Shadow Harness: support",
        "### ✅ **GO**: small-model (openai/small-model-2026-09)",
        "### ❌ **NO_GO**: cheap-model",
        "### ❔ **INCONCLUSIVE**: new-prompt",
        "| P95 latency | 0.83x | 0.78x to 0.88x | below 1.2x | ✅ pass |",
        "| Win rate | 51.20% | 48.60% to 53.80% | above 50% | ❔ inconclusive, needs 5,100 pairs |",
        "| Similarity (advisory) |",
        "| Structure (advisory) | unknown | none | at least 98% | ▫️ no data |",
        "per 1,000 requests $0.61 instead of $4.12",
        "> ⚠️ The judge and the candidate are of the same family.",
    ):
        assert words in text, words


def test_fits_a_comment():
    many = factory.report(*(factory.candidate(f"candidate-{number}", Verdict.NO_GO) for number in range(40)))
    text = render_markdown(many)
    assert len(text) < 65_536
    assert "20 more candidates are in the full report." in text


def test_quotes_no_message_and_no_answer():
    assert "double charge" not in render_markdown(factory.report())


def test_an_empty_run_is_said_to_be_empty():
    assert "Nothing was measured." in render_markdown(factory.empty())


def test_hostile_text_stays_text():
    text = render_markdown(factory.hostile())
    assert re.search(r"<[a-zA-Z/!]", text) is None
    assert re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text) is None
    assert "](javascript" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", "a\\|b"),
        ("`code` *x* _y_", "\\`code\\` \\*x\\* \\_y\\_"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("@team #12", "@\u200bteam \\#\u200b12"),
        ("https://evil.example www.evil.example", "https&#58;//evil.example www&#46;evil.example"),
        ("two\nlines", "two lines"),
        ("back\\slash", "back\\\\slash"),
    ],
)
def test_escape(text, escaped):
    assert escape(text) == escaped
