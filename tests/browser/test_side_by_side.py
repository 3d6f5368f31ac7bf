"""Several candidates side by side in a real browser: nothing is cut, everything can be reached, nothing is refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from reports import render_html
from tests.browser.axe import VIEWS, findings, viewed
from tests.browser.pages import watched
from tests.unit.reports import beside

pytestmark = pytest.mark.browser

SIZES = (2, 3, 12)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("beside")
    found = {}
    for k in SIZES:
        found[k] = folder / f"{k}.html"
        found[k].write_text(render_html(beside.several(k)), encoding="utf-8")
    return found


@pytest.fixture
def wide(browser: Browser, files: dict[int, Path]) -> Iterator[Page]:
    page, noticed = watched(browser.new_context(viewport={"width": 1280, "height": 900}))
    page.goto(files[12].as_uri())
    yield page
    assert noticed.complaints == []
    assert [url for url in noticed.requests if not url.startswith("file:")] == []
    page.context.close()


@pytest.mark.parametrize(("view", "k"), [*((view, 12) for view in VIEWS), ("phone light", 3), ("wide dark", 2)])
def test_is_accessible(browser: Browser, files: dict[int, Path], view: str, k: int):
    with viewed(browser, view) as (page, noticed):
        page.goto(files[k].as_uri())
        assert findings(page) == []
        assert noticed.complaints == []


@pytest.mark.parametrize("k", SIZES)
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_wide_things_scroll_in_their_own_region_and_the_page_does_not(
    browser: Browser, files: dict[int, Path], k: int, width: int
):
    page, _ = watched(browser.new_context(viewport={"width": width, "height": 800}))
    page.goto(files[k].as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    regions = page.locator("#beside .scroll, #beside .columns")
    for region in regions.all():
        assert region.get_attribute("tabindex") == "0"
        assert region.get_attribute("aria-label")
    page.context.close()


LABELS = """
() => [...document.querySelectorAll('#beside svg.scatter')].map(svg => ({
  frame: svg.getBoundingClientRect().toJSON(),
  labels: [...svg.querySelectorAll('.point-label')].map(node => node.getBoundingClientRect().toJSON()),
}))
"""


@pytest.mark.parametrize("k", SIZES)
@pytest.mark.parametrize("width", [360, 1280])
def test_labels_of_the_picture_are_as_wide_as_was_thought(browser: Browser, files: dict[int, Path], k: int, width: int):
    # The layout is made without knowing the font: here it is held against the one of the browser.
    page, _ = watched(browser.new_context(viewport={"width": width, "height": 800}))
    page.goto(files[k].as_uri())
    drawings = page.evaluate(LABELS)
    assert len(drawings) == 2
    for drawing in drawings:
        labels = drawing["labels"]
        assert len(labels) == k + 1
        for at, one in enumerate(labels):
            assert one["left"] >= drawing["frame"]["left"] - 1
            assert one["right"] <= drawing["frame"]["right"] + 1
            for other in labels[at + 1 :]:
                apart = (
                    one["right"] <= other["left"] + 1
                    or other["right"] <= one["left"] + 1
                    or one["bottom"] <= other["top"] + 4
                    or other["bottom"] <= one["top"] + 4
                )
                assert apart, (one, other)
    page.context.close()


def test_the_row_head_stays_in_sight_while_columns_are_scrolled(wide: Page):
    region = wide.get_by_role("group", name="Every metric by candidate")
    assert region.evaluate("node => node.scrollWidth > node.clientWidth")
    head = region.locator("tbody th[scope=row]").first
    before = head.evaluate("node => node.getBoundingClientRect().left")
    region.evaluate("node => { node.scrollLeft = 400; }")
    assert region.evaluate("node => node.scrollLeft") == 400
    assert head.evaluate("node => node.getBoundingClientRect().left") == before


def test_answers_can_be_scrolled_by_keyboard_alone(wide: Page):
    region = wide.get_by_role("group", name="Answers to the same request, 13 columns").first
    region.focus()
    for _ in range(10):
        wide.keyboard.press("ArrowRight")
    wide.wait_for_function("() => document.activeElement.scrollLeft > 0")


def test_on_a_phone_answers_stand_below_each_other(browser: Browser, files: dict[int, Path]):
    page, _ = watched(browser.new_context(viewport={"width": 360, "height": 800}))
    page.goto(files[3].as_uri())
    sides = page.locator("#beside details[open] .columns > .side")
    boxes = [side.bounding_box() for side in sides.all()]
    assert len(boxes) == 4
    assert len({round(box["x"]) for box in boxes}) == 1
    assert [box["y"] for box in boxes] == sorted(box["y"] for box in boxes)
    page.context.close()


def test_a_request_has_an_address_of_its_own(wide: Page, files: dict[int, Path]):
    link = wide.locator("#beside .example-id a").first
    target = link.get_attribute("href")
    assert target is not None
    page = wide.context.new_page()
    page.goto(files[12].as_uri() + target)
    assert page.locator(target).evaluate("node => node.matches(':target') && node.open")
    page.close()


def test_marks_are_words_and_shapes_and_not_colour_alone(wide: Page):
    badges = wide.evaluate(
        """() => [...document.querySelectorAll('#beside .badge')].map(
        node => [node.textContent.trim(), node.querySelectorAll('svg.icon use').length])"""
    )
    assert len(badges) > 10
    assert {shapes for _, shapes in badges} == {1}
    assert {"best", "best set", "ahead", "behind"} <= {word for word, _ in badges}


@pytest.mark.parametrize("k", SIZES)
def test_nothing_is_cut_on_paper(browser: Browser, files: dict[int, Path], k: int):
    page, _ = watched(browser.new_context(viewport={"width": 690, "height": 1000}))
    page.emulate_media(media="print")
    page.goto(files[k].as_uri())
    edge = page.evaluate("""() => Math.max(...[...document.querySelectorAll('#beside td, #beside th, #beside .side')]
        .filter(node => node.offsetParent).map(node => node.getBoundingClientRect().right))""")
    assert edge <= 690
    page.context.close()
