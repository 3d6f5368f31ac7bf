import base64
import hashlib
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from harness.domain.decision import Verdict
from harness.domain.observation import Completion, ToolCall
from reports import render_html, render_json
from reports.html import static_text
from tests.unit.reports import factory
from tests.unit.reports.page_reader import Page
from tests.unit.reports.pairs import examples, observation

SAMPLES = ("report", "three", "full", "two", "empty", "hostile")


@pytest.fixture(scope="module", params=SAMPLES)
def html(request) -> str:
    return render_html(getattr(factory, request.param)())


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page.of(html)


def test_same_value_same_bytes():
    assert render_html(factory.three()) == render_html(factory.three())


def test_every_tag_is_closed_where_it_belongs(page):
    assert page.open == []


def test_nothing_runs_and_nothing_is_loaded(html, page):
    assert not page.named("img", "iframe", "link", "object", "embed", "base", "video", "audio", "image")
    [script] = page.named("script")
    assert script.attributes == {}
    assert page.script == static_text("reports", "examples.js")
    for form in page.named("form"):
        assert set(form.attributes) == {"class", "hidden", "aria-label"}, (
            "it sends nothing, and is there for the script"
        )
    for tag in page.tags:
        assert not [name for name in tag.attributes if name.startswith("on") or name in {"src", "srcset", "style"}], tag
        for name in ("href", "xlink:href"):
            assert tag.attributes.get(name, "#").startswith("#"), tag
    assert re.search(r"@import|url\((?!#)", page.style) is None
    assert [tag.attributes["fill"] for tag in page.tags if "url(" in tag.attributes.get("fill", "")] == [
        "url(#hatch)" for tag in page.tags if tag.attributes.get("fill") == "url(#hatch)"
    ]


def test_policy_allows_this_style_sheet_and_script_and_nothing_else(page):
    [policy] = [t.attributes["content"] for t in page.named("meta") if "http-equiv" in t.attributes]
    style, script = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (page.style, page.script)
    )
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def test_ids_are_unique_and_every_anchor_leads_somewhere(page):
    ids = Counter(tag.attributes["id"] for tag in page.tags if "id" in tag.attributes)
    assert [name for name, count in ids.items() if count > 1] == []
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in ids)
    targets = {tag.attributes["href"][1:] for tag in page.tags if tag.attributes.get("href", "").startswith("#")}
    labels = {name for tag in page.tags for name in tag.attributes.get("aria-labelledby", "").split()}
    assert targets | labels <= set(ids)


def test_headings_do_not_skip_a_level(page):
    levels = [int(tag.name[1]) for tag in page.named("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_tables_have_a_caption_and_their_headings_a_scope(page):
    ours = [tag for tag in page.named("table") if tag.attributes.get("class") != "md-cells"]
    assert len(page.named("caption")) == len(ours)
    assert all(tag.attributes.get("scope") in {"col", "row", "rowgroup"} for tag in page.named("th"))


def test_drawings_have_a_name_or_are_hidden(page):
    for tag in page.named("svg"):
        named = {"aria-label", "aria-labelledby"} & set(tag.attributes) and tag.attributes.get("role") == "img"
        assert named or tag.attributes.get("aria-hidden") == "true", tag


def test_no_control_or_invisible_character_reaches_the_page(html):
    hidden = re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]", html
    )
    assert hidden is None
    html.encode()


def test_hostile_text_is_shown_as_it_was_written():
    text = Page.of(render_html(factory.hostile())).text
    assert "</script></style><script>document.title='owned'</script><img src=x onerror=" in text
    assert "{{ 7 * 7 }}" in text
    assert "[U+202E]gnp.exe[U+202C]" in text
    assert "␛[31mred␛]0;owned␇␀" in text
    assert "[U+D83D] lone [U+DC00]" in text


def test_first_screen_says_what_was_decided_about_what():
    text = Page.of(render_html(factory.report())).text
    for words in (
        "small-model in place of gpt-4o and 1 more model?",
        "INCONCLUSIVE small-model cannot be decided yet: 2 of 4 required criteria are not settled",
        "Still needed: about 3,918 more pairs, 5,100 in all; Win rate needs most.",
        "Production model gpt-4o and 1 more model gpt-4o 1,068, gpt-4o-mini 132",
        "Decided 2026-11-20 09:41 UTC run support-3fa9c1d2",
        "Pairs compared 1,182 of 1,200 sampled, 10 failed",
    ):
        assert words in text, words


def test_several_candidates_stand_side_by_side_first():
    text = Page.of(render_html(factory.three())).text
    table = text.index("Verdicts and criteria")
    assert table < text.index("small-model may take over")
    assert "Verdict GO NO_GO INCONCLUSIVE" in text
    assert "The run stopped early (budget)." in text
    assert "The judge and the candidate are of the same family." in text


def test_sections_say_what_they_know():
    text = Page.of(render_html(factory.report())).text
    for words in (
        "P95 latency below 1.2x",
        "0.83x at most 0.88x with 97.5% confidence at one look production 2,140 ms, candidate 1,776 ms",
        "1,182 pairs in 731 conversations bounds 0.78x to 0.88x, by clustered bootstrap, percentile",
        "Still needed: 2,918 more pairs (4,100 in all)",
        "candidate better 402 (34.42%)",
        "97 of 1,168 pairs read in both orders flipped (8.30%).",
        "Nobody has labelled pairs that it scored, so how far people agree with it is not known.",
        "12,411 = 11,020 + 1,200 duplicate + 148 no answer + 31 rejected as unreadable + 12 no model call",
        "1,200 = 1,188 + 7 failed: timeout + 3 failed: rate limit + 2 skipped: budget",
        "31 records could not be used. They are in runs/support-3fa9c1d2/rejects.jsonl with file, line and reason.",
        "Redaction was on: 913 replacements before anything was stored.",
        "By metadata.plan, worst win rate first",
        "too small for a rate",
        "The month assumes 1,250,000 requests (configured)",
        "3 calls without a known price are missing from every amount; unknown is not free.",
        "frequency_penalty 310",
        "production against itself 0.962 (95% interval 0.955 to 0.969)",
        "harness report support-3fa9c1d2",
        "no data No request asked for structured output. no structured answer to check",
        "What the intervals do not cover:",
        "Both sides",
    ):
        assert words.casefold() in text.casefold(), words


def test_a_run_of_which_everything_is_known_shows_it():
    text = Page.of(render_html(factory.two())).text
    for words in (
        # First screen: what keeps it from a GO, how sure that is, what was left unasked.
        "What keeps it from a GO: a part of the traffic loses. What to do: Look at their examples",
        "How sure is this? Nothing is decided yet, so nothing is decided wrongly.",
        "This is attempt 2 of its family, and may spend 0.76% of the 5% that all attempts together may.",
        "Requests asked 1,500 of 5,000 stopped: the decision already stood",
        "Saved by stopping about $4.31 3,500 requests not asked and not judged",
        # Criteria: bounds that decide, what cannot be met, what does not count.
        "54.80% at least 48.90% with 99.24% confidence at any look",
        "1,168 pairs in 731 conversations, worth 610 independent ones, 14 without a value "
        "bounds 48.90% to 60.70%, by ppi",
        "unattainable Similarity is 0.951, but production itself does not reach above 0.97",
        "+3.10 points at least +1.70 points with 99.81% confidence at any look",
        "a fail needs 1.05x to 1.45x, 99.81% confidence at any look",
        "The judge cannot be believed. What to do: Ask for token probabilities ( mode: soft )",
        # Trust: judges, people, floor, slices, attempts.
        "pairwise not usable openai/gpt-4.1",
        "fail Preference for the answer shown first It prefers the answer shown first in 71.20% of its verdicts.",
        "Flips by similarity of the two answers",
        "its own rate is void, and this one is corrected by labels",
        "To label: harness label support-3fa9c1d2 --arm cheap-model . harness decide then decides again,",
        "120 requests (10% wanted) went to production a second time.",
        "6 combinations of slice and criterion tested",
        "Whoever tries often enough gets a GO by chance.",
        "3,500 not asked: the decision already stood",
    ):
        assert words in text, words


def test_a_run_that_stopped_because_nothing_was_left_to_decide_is_not_warned_about():
    text = Page.of(render_html(factory.full(stop_reason="settled"))).text
    assert "stopped early" not in text
    assert "Ended early: the decision already stood" in text
    told = "The run stopped early because the budget was spent; what was asked is a random part of the sample."
    text = Page.of(render_html(factory.full(stop_reason="budget", warnings=(told,)))).text
    assert text.count("The run stopped early") == 1


def test_sections_lead_where_the_contents_say():
    page = Page.of(render_html(factory.full()))
    ids = [tag.attributes["id"] for tag in page.named("section") if tag.attributes.get("id", "").startswith("c1-")]
    keys = "criteria quality noise judges people latency errors cost coverage slices attempts examples"
    assert ids == [f"c1-{key}" for key in keys.split()]


def test_what_is_to_be_typed_is_set_as_code_and_stays_text():
    hostile = "`<b>x</b>` and `open"
    [judge] = factory.thorough().health
    check = replace(judge.checks[0], remedy=hostile)
    html = render_html(factory.full(factory.thorough(health=(replace(judge, checks=(check,)),))))
    assert "<code>&lt;b&gt;x&lt;/b&gt;</code> and open" in html


def test_redaction_turned_off_is_said_loudly():
    off = replace(factory.ingest(), redaction_enabled=False, redactions={})
    text = Page.of(render_html(factory.report(ingest=off))).text
    assert text.count("Redaction was turned off") == 2
    assert "Redaction was off." in text


def test_counts_that_do_not_add_up_are_said_and_not_hidden():
    text = Page.of(render_html(factory.report(ingest=replace(factory.ingest(), kept=11_000)))).text
    assert "These counts do not add up" in text
    assert "12,411 is not 11,000 + 1,200 duplicate" in text


def test_a_run_without_anything_still_renders_and_claims_nothing():
    text = Page.of(render_html(factory.empty())).text
    for words in (
        "Nothing was measured.",
        "No criterion was set",
        "No judge was set",
        "No example is part of this report.",
    ):
        assert words in text
    assert "No monthly figure: the monthly volume is unknown: the export has no times." in text
    assert "$0.00" not in text


def test_an_answer_of_two_megabytes_is_cut_with_a_note():
    word = "x" * 2_000_000
    [worst, *rest] = examples("small-model")
    huge = replace(
        worst,
        production=observation("production", word),
        candidate=observation("small-model", word + "y"),
        messages=({"role": "user", "content": word},),
    )
    html = render_html(factory.report(factory.candidate(examples=(huge, *rest))))
    assert len(html) < 400_000
    text = Page.of(html).text
    assert "Cut for display: 6,000 of 2,000,000 characters shown." in text
    assert "Cut for display: 6,000 of 2,000,001 characters shown." in text
    assert "Cut for display: 3,000 of 2,000,000 characters shown." in text


def test_an_ordinary_report_stays_below_a_megabyte():
    filled = examples("small-model", each=10)
    long = [replace(e, production=replace(e.production, completion=Completion(text="word and other words. " * 250)))
            if e.why == "best" else e for e in filled]  # fmt: skip
    assert len(render_html(factory.report(factory.candidate(examples=tuple(long)))).encode()) < 1_000_000


def test_tool_calls_are_shown_as_structure():
    html = render_html(factory.report())
    assert "<code>refund</code>" in html
    assert "&#34;amount&#34;: 49.0,\n  &#34;invoice&#34;: &#34;2026-03&#34;" in html
    assert "&#34;lines&#34;: true,\n  &#34;month&#34;: &#34;2026-03&#34;" in html


def test_differing_words_are_marked_on_their_own_side():
    html = render_html(factory.report())
    assert "<del>I have refunded</del>" in html
    assert "<ins>Refunds usually take 2</ins>" in html


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_has_a_word_and_a_shape(verdict):
    html = render_html(factory.report(factory.candidate("one", verdict)))
    word, icon = {
        Verdict.GO: ("GO", "check"),
        Verdict.NO_GO: ("NO_GO", "cross"),
        Verdict.INCONCLUSIVE: ("INCONCLUSIVE", "question"),
    }[verdict]
    assert f'<span class="verdict-word">{word}</span>' in html
    assert f'<use href="#icon-{icon}"/>' in html


def test_text_that_must_not_be_shown_is_in_no_part_of_the_page():
    html = render_html(factory.report(show_text=False))
    assert "Messages and answers are left out of this report" in html
    for secret in ("double charge", "ticket 4100", "One answer solves the problem", "2026-03", "30 s elapsed"):
        assert secret not in html


def test_arguments_nested_without_end_do_not_stop_the_report():
    deep: list = []
    for _ in range(5_000):
        deep = [deep]
    call = ToolCall(name="dig", arguments=deep)
    [worst, *rest] = examples("small-model")
    answer = observation("small-model", None, completion=Completion(text=None, tool_calls=(call,)))
    raw = {"function": {"name": "dig", "arguments": "[" * 100_000}}
    asked = ({"role": "assistant", "content": None, "tool_calls": [raw]},)
    report = factory.report(factory.candidate(examples=(replace(worst, candidate=answer, messages=asked), *rest)))
    assert "[cannot be shown: nested too deeply or too large]" in render_html(report)
    assert "[nested too deeply]" in render_json(report)
