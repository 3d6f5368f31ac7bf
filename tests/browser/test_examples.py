"""Pairs in full in a real browser: filters, addresses, keyboard, the switch to the source, and hostile words."""

from pathlib import Path
from urllib.parse import unquote

import pytest
from playwright.sync_api import Browser, Page

from reports import render_html
from tests.browser import axe
from tests.browser.pages import COLOURS, Noticed, contrast, watched
from tests.unit.reports import kinds

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("examples")
    written = {}
    for name, made in (("kinds", kinds.every_kind()), ("hostile", kinds.hostile())):
        written[name] = folder / f"{name}.html"
        written[name].write_text(render_html(kinds.report(made)), encoding="utf-8")
    return written


def opened(browser: Browser, file: Path, width: int = 1280, *, fragment: str = "", **options) -> tuple[Page, Noticed]:
    # Without smooth scrolling, so that a page is where it is going to be.
    view = {"viewport": {"width": width, "height": 800}, "reduced_motion": "reduce", "offline": True}
    context = browser.new_context(**{**view, **options})
    page, noticed = watched(context)
    page.goto(file.as_uri() + fragment)
    return page, noticed


def shown(page: Page) -> list[str]:
    """Ids of the exchanges that are listed, in their order."""
    return page.evaluate(
        "[...document.querySelectorAll('.example-list details.example')].filter(each => !each.hidden)"
        ".map(each => each.querySelector('.example-id code').textContent)"
    )


EVERY = ["json-and-prose", "markdown", "json", "prose", "tools"]


def test_different_answers_are_listed_and_the_same_ones_on_demand(browser, files):
    page, noticed = opened(browser, files["kinds"])
    assert shown(page) == EVERY
    status = page.locator(".filter-count")
    assert status.inner_text() == "5 of 7 examples shown; 2 with the same answer on both sides hidden."
    assert status.get_attribute("role") == "status"
    page.get_by_label("Different answers only").uncheck()
    assert set(shown(page)) == {*EVERY, "same-json", "same-prose"}
    assert status.inner_text() == "7 of 7 examples shown."
    assert page.url.endswith("#c1-examples:different=no")
    assert noticed.complaints == []
    page.context.close()


@pytest.mark.parametrize(
    ("name", "choice", "left", "address"),
    [
        ("Slice", "free (2)", ["json-and-prose", "json"], "slice=metadata.plan=free"),
        ("Judge", "pairwise (6)", ["json-and-prose", "markdown", "json", "tools"], "judge=pairwise"),
        ("Label", "win (1)", ["tools"], "label=win"),
        ("Sort by", "best first", ["tools", "prose", "json", "markdown", "json-and-prose"], "sort=best"),
    ],
)
def test_a_filtered_view_has_an_address_that_leads_back_to_it(browser, files, name, choice, left, address):
    page, _ = opened(browser, files["kinds"])
    page.get_by_label(name, exact=True).select_option(label=choice)
    assert shown(page) == left
    fragment = page.url.partition("#")[2]
    assert unquote(fragment) == f"c1-examples:{address}"
    page.context.close()

    page, noticed = opened(browser, files["kinds"], fragment=f"#{fragment}")
    assert shown(page) == left
    assert page.get_by_label(name, exact=True).evaluate("node => node.selectedOptions[0].textContent") == choice
    top = page.locator("#c1-examples").bounding_box()["y"]
    assert -5 < top < 400, "the address leads to the examples"
    assert noticed.complaints == []
    page.context.close()


def test_text_is_searched_in_all_of_a_pair_and_filters_add_up(browser, files):
    page, _ = opened(browser, files["kinds"])
    search = page.get_by_label("Text", exact=True)
    search.fill("THREE weeks")
    assert shown(page) == ["markdown", "prose"]
    page.get_by_label("Label", exact=True).select_option("loss")
    assert shown(page) == ["markdown"]
    assert page.locator(".filter-count").inner_text() == "1 of 7 examples shown."
    assert unquote(page.url.partition(":label=")[2]) == "loss&text=THREE+weeks"
    search.fill("nowhere at all")
    assert shown(page) == []
    assert page.locator(".filter-count").inner_text() == "0 of 7 examples shown."
    page.get_by_role("button", name="Reset").click()
    page.wait_for_function("document.querySelectorAll('.example-list details.example:not([hidden])').length === 5")
    assert page.url.endswith("#c1-examples")
    page.context.close()


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("id", ["tools", "same-json"])
def test_an_address_unfolds_its_pair_with_and_without_scripts(browser, files, scripts, id):
    page, _ = opened(browser, files["kinds"])
    anchor = page.locator(".example-body", has=page.locator(f".example-id code:text-is('{id}')")).get_attribute("id")
    page.context.close()
    page, _ = opened(browser, files["kinds"], fragment=f"#{anchor}", java_script_enabled=scripts)
    target = page.locator(f"#{anchor}")
    target.wait_for(state="visible")
    box = target.bounding_box()
    assert 0 <= box["y"] < 800
    page.context.close()


def test_an_address_shows_a_pair_that_is_filtered_away(browser, files):
    page, _ = opened(browser, files["kinds"])
    anchor = page.locator(".example-body", has=page.locator(".example-id code:text-is('tools')")).get_attribute("id")
    page.get_by_label("Label", exact=True).select_option("loss")
    assert "tools" not in shown(page)
    page.evaluate("anchor => { location.hash = anchor; }", anchor)
    page.locator(f"#{anchor}").wait_for(state="visible")
    assert "tools" in shown(page)
    page.context.close()


def test_without_scripts_every_pair_is_there_and_no_control(browser, files):
    page, _ = opened(browser, files["kinds"], java_script_enabled=False)
    assert not page.locator("form.filters").is_visible()
    assert page.get_by_role("button").count() == 0
    assert page.locator("details.example summary:visible").count() >= 5
    page.locator("details.same > summary").click()
    assert page.locator("details.same details.example").first.is_visible()
    page.locator("details.example", has=page.locator("code:text-is('markdown')")).locator("> summary").click()
    page.get_by_text("As it was sent").and_(page.locator(":visible")).first.click()
    assert page.locator(".as-sent[open] pre").first.is_visible()
    page.context.close()


def test_answers_are_rendered_and_can_be_seen_as_they_were_sent(browser, files):
    page, _ = opened(browser, files["kinds"])
    example = page.locator("details.example", has=page.locator("code:text-is('markdown')"))
    example.locator("> summary").click()
    answer = example.locator(".side-candidate .md")
    assert answer.locator("li").count() == 4
    assert answer.locator("ins").all_inner_texts() == ["invoice", "three weeks", "30"]
    assert answer.locator("a").count() == 0, "an address in an answer cannot be followed"
    assert "(https://docs.example/refund" in answer.inner_text()
    switch = example.get_by_role("button", name="Show as sent")
    switch.click()
    assert switch.get_attribute("aria-pressed") == "true"
    assert not answer.is_visible()
    assert "## Refunds" in example.locator(".side-candidate .as-sent pre").inner_text()
    switch.click()
    assert answer.is_visible()
    page.context.close()


def test_the_keyboard_reaches_and_works_every_control(browser, files):
    page, _ = opened(browser, files["kinds"])
    page.get_by_label("Slice", exact=True).focus()
    reached = []
    for _ in range(8):
        reached.append(page.evaluate("document.activeElement.name || document.activeElement.textContent"))
        page.keyboard.press("Tab")
    assert reached[:7] == ["slice", "judge", "label", "sort", "text", "different", "Unfold all"]
    page.get_by_label("Label", exact=True).focus()
    page.keyboard.press("ArrowDown")
    assert shown(page) == ["json-and-prose", "markdown"]
    page.get_by_label("Text", exact=True).focus()
    page.keyboard.type("weeks")
    page.keyboard.press("Enter")
    assert shown(page) == ["markdown"]
    page.get_by_role("button", name="Unfold all").focus()
    page.keyboard.press("Enter")
    assert page.locator(".example-list details.example:not([hidden])[open]").count() == 1
    assert page.get_by_role("button", name="Fold all").is_visible()
    page.context.close()


def test_paper_has_every_pair_and_no_control(browser, files):
    page, _ = opened(browser, files["kinds"], width=794)
    page.get_by_label("Label", exact=True).select_option("win")
    page.emulate_media(media="print")
    assert not page.locator("form.filters").is_visible()
    assert page.locator(".example-list details.example").count() == len(EVERY)
    assert all(item.is_visible() for item in page.locator(".example-list details.example").all())
    page.context.close()


@pytest.mark.parametrize("width", [360, 1280])
def test_hostile_words_neither_run_nor_load_nor_widen(browser, files, width):
    page, noticed = opened(browser, files["hostile"], width=width)
    title = page.title()
    page.get_by_label("Different answers only").or_(page.get_by_label("Text", exact=True)).first.wait_for()
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    page.get_by_role("button", name="Show as sent").first.click()
    for option in page.locator("form.filters option").all():
        value, select = option.get_attribute("value"), option.locator("xpath=ancestor::select")
        select.select_option(value)
    page.get_by_role("button", name="Reset").click()
    page.wait_for_timeout(100)
    sizes = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert sizes[0] <= sizes[1]
    assert page.title() == title
    assert noticed.complaints == []
    assert noticed.requests == [files["hostile"].as_uri()]
    assert page.evaluate("[document.scripts.length, document.images.length, frames.length]") == [1, 0, 0]
    assert page.evaluate(
        "[...document.querySelectorAll('.example a')].every(a => a.getAttribute('href').startsWith('#'))"
    )
    page.context.close()


def test_hostile_words_can_be_read(browser, files):
    page, _ = opened(browser, files["hostile"])
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    for kind in ("prose", "markdown", "json", "tools"):
        text = page.locator("details.example", has=page.locator(f".example-id code:text('{kind}-')")).first.inner_text()
        for part in ("<script>document.title='owned'</script>", "[U+202E]gpj.exe[U+202C]", "wwwwwwwwww"):
            assert part in text, (kind, part)
    long = page.locator("details.example", has=page.locator(".example-id code:text('long-')")).first
    assert "of 1,99" in long.inner_text(), "two megabytes are cut, and that is said"
    # A word of 3,000 letters is broken into lines inside its column.
    for answer in page.locator(".answer:visible").all():
        assert answer.evaluate("node => node.scrollWidth <= node.clientWidth + 1")
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_answers_and_controls_have_enough_contrast(browser, files, scheme):
    page, _ = opened(browser, files["kinds"], color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    for selector in (".md p", ".md code", ".md blockquote p", ".json", ".as-sent summary", ".call-note", "del", "ins",
                     ".filters label", ".filters select", ".filter-count", ".md-info", ".example-note"):  # fmt: skip
        pairs = {tuple(pair) for pair in page.evaluate(COLOURS, selector)}
        assert pairs, selector
        for text, ground in pairs:
            assert contrast(text, ground) >= 4.5, (selector, text, ground)
    page.context.close()


@pytest.mark.parametrize("name", ["kinds", "hostile"])
@pytest.mark.parametrize("view", axe.VIEWS)
def test_axe_finds_no_violation(browser, files, name, view):
    with axe.viewed(browser, view) as (page, noticed):
        page.goto(files[name].as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        assert axe.findings(page) == []
        assert noticed.complaints == []
