"""The report in a real browser: from disk, without network, in every width, scheme and medium."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from reports import render_html
from tests.browser.pages import COLOURS, Noticed, contrast, luminance, watched
from tests.unit.reports import factory

pytestmark = pytest.mark.browser

SAMPLES = ("report", "three", "full", "two", "empty", "hostile")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    written = {}
    for name in SAMPLES:
        written[name] = folder / f"{name}.html"
        written[name].write_text(render_html(getattr(factory, name)()), encoding="utf-8")
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
    title = page.title()
    page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    page.wait_for_timeout(50)
    sizes = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert sizes[0] <= sizes[1], f"{name} is {sizes[0]} wide in a window of {sizes[1]}"
    assert noticed.complaints == []
    assert noticed.requests == [files[name].as_uri()]
    assert page.title() == title != "owned"
    assert page.evaluate("[document.scripts.length, document.images.length, frames.length]") == [1, 0, 0]
    page.context.close()


def test_says_the_same_without_scripts(browser, files):
    page, _ = opened(browser, files["report"], 1280, java_script_enabled=False)
    assert page.get_by_role("heading", level=1).inner_text() == "small-model in place of gpt-4o and 1 more model?"
    assert page.get_by_role("heading", name="INCONCLUSIVE", exact=True).is_visible()
    for name in ("Criteria", "Quality", "Noise floor", "Judge health", "People", "Latency", "Errors", "Cost and tokens",
                 "Coverage", "Slices", "Examples"):  # fmt: skip
        assert page.get_by_role("heading", name=name, exact=True, level=3).is_visible(), name
    page.context.close()


def test_the_style_sheet_is_applied_under_the_policy(browser, files):
    page, _ = opened(browser, files["report"], 1280)
    assert page.evaluate("getComputedStyle(document.querySelector('.page')).display") == "grid"
    page.context.close()


def test_a_script_added_later_is_refused_by_the_policy(browser, tmp_path):
    """The second wall: had a tag slipped through the escaping, the browser would still not run it."""
    html = render_html(factory.report())
    file = tmp_path / "broken.html"
    file.write_text(html.replace("</main>", "<script>document.title='owned'</script></main>"), encoding="utf-8")
    page, noticed = opened(browser, file, 1280)
    assert page.title() != "owned"
    assert any("Content Security Policy" in complaint for complaint in noticed.complaints)
    page.context.close()


@pytest.mark.parametrize("name", ["three", "two"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(browser, files, scheme, name):
    page, _ = opened(browser, files[name], 1280, color_scheme=scheme)
    grounds = set()
    for selector in (
        "p",
        ".sub",
        ".badge",
        ".notice",
        "th",
        "td",
        "del",
        "ins",
        "a",
        ".cut",
        ".error",
        "dt",
        ".verdict-word",
        ".objection",
        ".claim",
        ".remedy",
    ):
        pairs = {tuple(pair) for pair in page.evaluate(COLOURS, selector)}
        for text, ground in pairs:
            assert contrast(text, ground) >= 4.5, (selector, text, ground)
        grounds |= {luminance(ground) < 0.2 for _, ground in pairs}
    assert grounds == {scheme == "dark"}
    page.context.close()


def test_paper_shows_examples_and_leaves_the_contents_out(browser, files, tmp_path):
    page, noticed = opened(browser, files["report"], 794)
    page.emulate_media(media="print")
    assert not page.locator("nav.contents").is_visible()
    closed = page.locator("details.example:not([open]) .example-body").first
    assert closed.bounding_box()["height"] > 100, "a folded example is unfolded on paper"
    document = page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert document.startswith(b"%PDF")
    assert len(document) > 50_000
    assert noticed.complaints == []
    page.context.close()


def test_keyboard_reaches_the_result_and_a_link_unfolds_its_example(browser, files):
    page, _ = opened(browser, files["report"], 1280)
    page.keyboard.press("Tab")
    skip = page.locator("a.skip")
    assert skip.evaluate("node => node === document.activeElement")
    assert skip.bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    last = page.locator("details.example").last
    last.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert last.get_attribute("open") is not None
    last.get_by_role("link", name="Link to this example").click()
    assert page.url.endswith("#" + last.locator(".example-body").get_attribute("id"))
    page.context.close()


def test_hostile_words_can_neither_widen_nor_reorder_the_page(browser, files):
    page, noticed = opened(browser, files["hostile"], 360)
    heading = page.locator("h1").bounding_box()
    assert heading["x"] >= 0
    assert heading["x"] + heading["width"] <= 360
    assert "[U+202E]gnp.exe" in page.locator("h1").inner_text()
    assert noticed.complaints == []
    page.context.close()


def test_on_a_phone_tables_that_matter_are_read_without_scrolling(browser, files):
    page, _ = opened(browser, files["two"], 360)
    tables = page.locator("table.stacked")
    assert tables.count() == 8
    for table in tables.all():
        wrapper, inside = table.locator("xpath=..").bounding_box(), table.bounding_box()
        assert inside["width"] <= wrapper["width"] + 1, table.locator("caption").inner_text()
    # What a column is called stands beside every value, and the table is still one.
    cell = page.locator("table.noise td").first
    assert cell.evaluate("node => getComputedStyle(node, '::before').content") == '"Candidate"'
    assert page.get_by_role("table", name="Beside the noise floor").first.get_by_role("rowheader").count() == 7
    page.context.close()


def test_assistive_technology_finds_tables_and_drawings_by_name(browser, files):
    page, _ = opened(browser, files["report"], 360)
    assert page.get_by_role("table", name="What every judge scored").count() == 1
    assert page.get_by_role("img", name="P95 latency: interval against threshold").count() == 1
    assert page.get_by_role("img", name="Time to first token").count() == 1
    # Laid out as cards on a phone, it is still a table.
    assert page.locator("#c1-criteria table").get_by_role("rowheader").count() == 6
    page.context.close()
