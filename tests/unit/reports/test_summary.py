"""The few lines for a pull request, and the message for a chat."""

from dataclasses import replace

import pytest

from harness.domain.decision import Verdict
from reports import render_markdown
from reports.summary import chat_message, render_summary
from tests.unit.reports import factory


def test_says_verdict_criteria_cost_and_where_the_report_is():
    text = render_summary(factory.three(), link="https://r.example/a/report.html", compared="https://r.example/c.html")
    for words in (
        "### Shadow Harness: support",
        "**✅ GO: small-model** in place of gpt-4o, gpt-4o-mini. small-model may",
        "**❌ NO_GO: cheap-model**",
        "| P95 latency | 0.83x (0.78x to 0.88x) | below 1.2x | ✅ pass |",
        "| Similarity (advisory) |",
        "1,000 requests cost $0.61 instead of $4.12 · a month $762.00 instead of $5,150",
        "[Full report](https://r.example/a/report.html) · [Compared with the run before](https://r.example/c.html)",
    ):
        assert words in text, words


@pytest.mark.parametrize("name", ["report", "three", "two", "full"])
def test_is_shorter_than_the_report_as_markdown(name):
    report = getattr(factory, name)()
    assert len(render_summary(report)) < len(render_markdown(report))


def test_fits_a_comment_and_quotes_nobody():
    many = factory.report(*(factory.candidate(f"candidate-{number}") for number in range(60)))
    text = render_summary(many)
    assert len(text) < 20_000
    assert "50 more candidates in the report." in text
    assert "invoice" not in text
    assert "No candidate was evaluated." in render_summary(replace(factory.report(), candidates=()))


def test_hostile_names_stay_literal():
    text = render_summary(factory.hostile())
    assert "<script" not in text
    assert "@everyone" not in text
    assert "](javascript" not in text
    title, body, bad = chat_message(factory.hostile())
    assert bad
    assert "\n" not in title
    for words in ("@everyone", "<script", "](javascript", "://evil", "\x1b", "\u202e"):
        assert words not in title + body, words


def test_a_chat_hears_what_did_not_pass_worst_first():
    title, body, bad = chat_message(factory.report(factory.candidate(verdict=Verdict.NO_GO)), link="https://r.example")
    assert title == "NO_GO: small-model in place of gpt-4o, gpt-4o-mini (support)"
    assert body.splitlines() == [
        "small-model should not take over: it fails 1 of 4 required criteria on 1,182 compared pairs (Win rate above "
        "50%).",
        "- Win rate 41.80%, required above 50%: fail",
        "- Error rate -0.10 points, required below 0 points: inconclusive",
        "1,182 comparable pairs of 1,200 sampled · 1,000 requests cost $0.61 instead of $4.12 · a month $762.00 "
        "instead of $5,150",
        "https://r.example",
    ]
    assert bad
    _, several, bad = chat_message(factory.report(factory.candidate(verdict=Verdict.GO)))
    assert several.splitlines()[-1] == "run support-3fa9c1d2"
    assert not bad
