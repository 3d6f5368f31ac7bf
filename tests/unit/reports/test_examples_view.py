from dataclasses import replace

import pytest

from harness.domain.judgment import Label
from harness.domain.report import CandidateReport
from reports import html, page_examples, render_html
from reports.page_examples import examples_of, weight
from tests.unit.reports import factory, kinds
from tests.unit.reports.page_reader import Page
from tests.unit.reports.pairs import examples


def view_of(made, **more):
    candidate: CandidateReport = factory.candidate(examples=tuple(made))
    report = factory.report(candidate, **more)
    return examples_of(report, candidate, "c1")


def test_the_worst_comes_first_and_the_same_answers_last():
    view = view_of(kinds.every_kind())
    assert [item.id for item in view.different] == ["json-and-prose", "markdown", "json", "prose", "tools"]
    assert [item.id for item in view.same] == ["same-json", "same-prose"]
    assert [item.is_open for item in view.shown] == [True] + [False] * 6
    assert view.same_title == "2 pairs with the same answer on both sides"


def test_a_failure_stands_with_the_worst():
    view = view_of(examples("small-model"))
    assert [item.why.word for item in view.different] == ["worst"] * 3 + ["failed"] + ["best"] * 3


def test_filters_offer_what_there_is_with_numbers():
    view = view_of(kinds.every_kind())
    assert [(group.title, [option.title for option in group.options]) for group in view.slices] == [
        ("language", ["de (1)", "en (6)"]),
        ("plan", ["free (2)", "team (5)"]),
    ]
    assert [option.key for group in view.slices for option in group.options] == [
        "language=de", "language=en", "metadata.plan=free", "metadata.plan=team",
    ]  # fmt: skip
    assert [option.title for option in view.judges] == ["pairwise (6)"]
    assert [option.title for option in view.labels] == ["loss (2)", "tie (3)", "win (1)"]
    by_id = {item.id: item for item in view.shown}
    assert (by_id["tools"].slices, by_id["tools"].verdicts) == ("3 1", "0:win")
    assert by_id["prose"].verdicts == ""


def test_both_orders_make_one_verdict_and_a_failure_is_one_too():
    view = view_of(examples("small-model"))
    by_id = {item.id: item.verdicts for item in view.shown}
    assert by_id["req-worst-0001"] == "0:loss 1:unscored", "a loss and a tie lean to a loss"
    assert by_id["req-failed-0001"] == "-:failed"
    assert [option.value for option in view.labels] == ["loss", "win", "failed", "unscored"]


def test_reports_from_before_slices_were_kept_are_filtered_by_their_tags():
    view = view_of(examples("small-model"))
    assert [group.title for group in view.slices] == ["locale", "plan"]


@pytest.mark.parametrize("made", [kinds.every_kind, kinds.hostile, lambda: examples("small-model")])
def test_the_weight_of_an_example_bounds_its_bytes(made):
    """What is added to a page by one more example is never more than was reckoned."""
    for one in made():
        pages = [render_html(kinds.report(some)) for some in ((one,), (replace(one, exchange_id="other"), one))]
        [view] = [
            item for item in view_of((replace(one, exchange_id="other"), one)).shown if item.id == one.exchange_id
        ]
        assert len(pages[1].encode()) - len(pages[0].encode()) <= weight(view)


def test_a_page_of_many_long_pairs_stays_within_its_budget_and_keeps_every_kind():
    long = "A sentence of an answer that goes on & on, <as> answers do. " * 200
    made = [
        kinds.example(f"e{n:04}", long + str(n), long + f"other {n}", label=label, why=why)
        for n in range(400)
        for label in [(Label.LOSS, Label.TIE, Label.WIN)[n % 3]]
        for why in [("worst", "best", "slice", "failed")[n % 4]]
    ]
    view = view_of(made)
    assert 20 < len(view.shown) < 400
    assert {item.why.word for item in view.shown} == {"worst", "best", "worst of its slice", "failed"}
    assert f"{400 - len(view.shown)} more chosen pairs would have made the page too large" in view.left_out
    several = tuple(factory.candidate(arm=f"arm-{n}", examples=tuple(made)) for n in range(4))
    page = render_html(factory.report(*several))
    assert len(page.encode()) < 3_000_000
    assert page.count('class="example"') > 40


def test_what_does_not_fit_leaves_room_for_what_does(monkeypatch):
    made = (kinds.example("long", "x " * 3_000, "y " * 3_000), kinds.example("short", "yes", "no"))
    monkeypatch.setattr(page_examples, "CANDIDATE_BYTES", 12_000)
    view = view_of(made)
    assert [item.id for item in view.shown] == ["short"]
    assert view.left_out.startswith("1 more chosen pair would have made the page too large; report.json has it.")


def test_addresses_stay_whatever_a_pair_is_shown_for():
    one = kinds.example("e1", "a", "b")
    anchors = {view_of((replace(one, why=why),)).shown[0].anchor for why in ("worst", "best", "flip", "anything")}
    assert len(anchors) == 1
    assert anchors.pop().startswith("c1-pair-")


def test_a_pair_on_a_page_of_its_own_is_the_same_and_unfolded():
    made = kinds.every_kind()
    [alone] = [
        page_examples.example_of(kinds.report(made), one, kinds.ARM, "pair")
        for one in made
        if one.exchange_id == "tools"
    ]
    [among] = [item for item in view_of(made).shown if item.id == "tools"]
    assert alone.is_open
    assert alone.answers == among.answers
    assert alone.anchor == among.anchor.replace("c1-", "pair-")


def test_without_text_there_is_none_and_no_word_of_where_it_would_be():
    view = view_of(kinds.every_kind(), show_text=False)
    assert view.beside == ""


def test_no_examples_say_so():
    view = view_of(())
    assert (view.empty, view.intro, view.beside) == ("No example is part of this report.", "", "")


def test_pages_of_hostile_words_load_nothing_and_break_nothing():
    page = Page.of(render_html(kinds.report(kinds.hostile())))
    assert page.open == []
    assert len(page.named("script")) == 1
    assert page.script == html.static_text("reports", "examples.js")
    assert not page.named("img", "iframe", "link", "object", "embed", "base")
    for tag in page.tags:
        assert not [name for name in tag.attributes if name.startswith("on") or name in {"src", "style"}], tag
        assert tag.attributes.get("href", "#").startswith("#")
