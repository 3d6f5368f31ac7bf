import re
from dataclasses import replace

import pytest

from harness.domain.decision import Outcome, Verdict
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


def test_says_what_speaks_against_the_figures_and_how_sure_they_are():
    text = render_markdown(factory.two())
    for words in (
        "> ⛔ What to do: Look at their examples, keep that traffic on production, or mend the candidate.",
        "| Similarity (advisory) | 0.951 | 0.943 to 0.959 | above 0.97 | 🚫 unattainable |",
        "| Error rate, difference | +3.10 points | +1.70 to +4.50 points | below +0.5 points | ❌ fail |",
        "| Win rate | 56.10% | 51.70% to 60.50% | above 48% | ❔ inconclusive, does not count |",
        "> ⛔ Win rate does not count. What to do: Ask for token probabilities",
        "Each bound holds with 99.24% confidence at any look.",
        "Each bound holds with 99.24% confidence at any look; those of a fail with 99.81% confidence at any look.",
        "3,500 not asked because the decision already stood, about $4.31 saved",
        "not to be believed: judge pairwise",
        "252 pairs labelled by people",
        "attempt 2, may spend 0.76%",
    ):
        assert words in text, words
    assert text.count("1 slice loses where the whole does not") == 1


def test_bounds_of_fails_alone_are_named_too():
    candidate = factory.failing()
    results = tuple(item for item in candidate.decision.results if item.outcome is Outcome.FAIL)
    text = render_markdown(factory.full(replace(candidate, decision=replace(candidate.decision, results=results))))
    assert "Each bound holds with 99.81% confidence at any look.\n" in text


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
