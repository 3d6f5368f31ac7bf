"""The report of a rollout in a real browser: from disk, without network, in every width, scheme and medium."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from reports import render_rollout_html
from tests.browser.pages import COLOURS, Noticed, contrast, luminance, watched
from tests.unit.rollout import histories

pytestmark = pytest.mark.browser

SAMPLES = ("completed", "rolled_back", "asked", "long", "hostile")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("rollouts")
    written = {}
    for name in SAMPLES:
        written[name] = folder / f"{name}.html"
        html = render_rollout_html(histories.report(getattr(histories, name)()))
        written[name].write_text(html, encoding="utf-8")
    return written


def opened(browser: Browser, file: Path, width: int, **options) -> tuple[Page, Noticed]:
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True, **options)
    page, noticed = watched(context)
    page.goto(file.as_uri())
    return page, noticed


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_opens_quietly_and_fits_the_window(browser, files, name, width):
    page, noticed = opened(browser, files[name], width)
    page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    page.wait_for_timeout(50)
    sizes = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert sizes[0] <= sizes[1], f"{name} is {sizes[0]} wide in a window of {sizes[1]}"
    assert noticed.complaints == []
    assert noticed.requests == [files[name].as_uri()]
    assert page.title() == "Rollout of small-model · Shadow Harness"
    assert page.evaluate("[document.scripts.length, document.images.length, frames.length]") == [0, 0, 0]
    page.context.close()


def test_says_the_same_without_scripts(browser, files):
    page, _ = opened(browser, files["rolled_back"], 1280, java_script_enabled=False)
    assert page.get_by_role("heading", level=1).inner_text() == "Rollout of small-model"
    assert page.get_by_role("heading", name="ROLLED BACK", exact=True).is_visible()
    for name in ("Shares over time", "Phases", "Timeline", "Approvals", "Users", "Spend", "Alpha ledger", "Actions",
                 "Pairs", "Provenance", "Glossary"):  # fmt: skip
        assert page.get_by_role("heading", name=name, exact=True, level=2).is_visible(), name
    page.context.close()


@pytest.mark.parametrize("name", ["rolled_back", "asked"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(browser, files, scheme, name):
    page, _ = opened(browser, files[name], 1280, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    grounds = set()
    for selector in ("p", ".sub", ".badge", "th", "td", "a", "dt", "dd", "summary", "b", ".verdict-word", ".tag"):
        pairs = {tuple(pair) for pair in page.evaluate(COLOURS, selector)}
        assert pairs, selector
        for text, ground in pairs:
            assert contrast(text, ground) >= 4.5, (selector, text, ground)
        grounds |= {luminance(ground) < 0.2 for _, ground in pairs}
    assert grounds == {scheme == "dark"}
    page.context.close()


@pytest.mark.parametrize("width", [360, 1280])
def test_one_of_two_pictures_is_shown_and_nothing_in_it_is_cut(browser, files, width):
    page, _ = opened(browser, files["completed"], width)
    shown = page.get_by_role("img", name="Shares over time")
    assert shown.count() == 1
    frame = page.locator("#ramp").bounding_box()
    for text in shown.locator("text").all():
        box = text.bounding_box()
        assert box["x"] >= frame["x"], text.text_content()
        assert box["x"] + box["width"] <= frame["x"] + frame["width"], text.text_content()
        assert box["height"] >= 11, text.text_content()
    page.context.close()


# What is written, and where; lines may come close to one another without touching.
BOXES = """
nodes => nodes.map(node => {
  const box = node.getBoundingClientRect();
  return [node.textContent, box.left, box.top + 2, box.right, box.bottom - 2];
})
"""


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("name", ["completed", "rolled_back", "asked", "long"])
def test_no_two_words_of_the_picture_lie_on_one_another(browser, files, name, width):
    page, _ = opened(browser, files[name], width)
    boxes = page.get_by_role("img", name="Shares over time").locator("text").evaluate_all(BOXES)
    assert len(boxes) > 12
    for index, (one, left, top, right, bottom) in enumerate(boxes):
        for other, left_2, top_2, right_2, bottom_2 in boxes[index + 1 :]:
            assert right <= left_2 or right_2 <= left or bottom <= top_2 or bottom_2 <= top, (one, other)
    page.context.close()


def test_every_shape_of_the_picture_is_defined(browser, files):
    """A `use` of an unknown symbol draws nothing and complains to nobody."""
    page, _ = opened(browser, files["completed"], 1280)
    missing = page.evaluate(
        "[...document.querySelectorAll('use')].map(u => u.getAttribute('href')).filter(h => !document.querySelector(h))"
    )
    assert missing == []
    page.context.close()


def test_paper_unfolds_everything_and_leaves_the_contents_out(browser, files, tmp_path):
    page, noticed = opened(browser, files["rolled_back"], 794)
    page.emulate_media(media="print")
    assert not page.locator("nav.contents").is_visible()
    closed = page.locator(".event details:not([open]) .checks").first
    assert closed.bounding_box()["height"] > 100, "folded checks are unfolded on paper"
    assert page.locator("svg.ramp-wide").is_visible()
    assert not page.locator("svg.ramp-narrow").is_visible()
    document = page.pdf(path=tmp_path / "rollout.pdf", format="A4")
    assert document.startswith(b"%PDF")
    assert noticed.complaints == []
    page.context.close()


def test_keyboard_reaches_the_result_unfolds_checks_and_follows_words(browser, files):
    page, _ = opened(browser, files["completed"], 1280)
    page.keyboard.press("Tab")
    assert page.locator("a.skip").evaluate("node => node === document.activeElement")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    event = page.locator("#e9")
    event.locator("summary").focus()
    page.keyboard.press("Enter")
    assert event.locator("details").get_attribute("open") is not None
    page.locator("#phases").get_by_role("link", name="Bake time").click()
    assert page.url.endswith("#word-bake-time")
    page.locator("#phases").get_by_role("link", name="event 10", exact=True).click()
    assert page.url.endswith("#e10")
    page.context.close()


def test_on_a_phone_tables_are_read_without_scrolling_and_are_still_tables(browser, files):
    page, _ = opened(browser, files["completed"], 360)
    page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    tables = page.locator("table.stacked")
    assert tables.count() == 6
    for table in tables.all():
        wrapper, inside = table.locator("xpath=..").bounding_box(), table.bounding_box()
        assert inside["width"] <= wrapper["width"] + 1, table.locator("caption").inner_text()
    assert page.locator("#phases table").get_by_role("rowheader").count() == 8
    assert page.get_by_role("table", name="Roll-back tests").get_by_role("rowheader").count() == 4
    page.context.close()


def test_hostile_words_can_neither_run_nor_widen_nor_reorder_the_page(browser, files):
    page, noticed = opened(browser, files["hostile"], 360)
    assert page.title() == "Rollout of small-model · Shadow Harness"
    assert "[U+202E]gnp.exe" in page.locator(".lead").inner_text()
    assert page.locator("b b, p p, script, img").count() == 0
    assert noticed.complaints == []
    page.context.close()


def test_a_long_history_opens_at_once(browser, files):
    page, _ = opened(browser, files["long"], 1280)
    took = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    assert took < 5_000
    assert page.locator("li.event").count() == 200
    page.context.close()
