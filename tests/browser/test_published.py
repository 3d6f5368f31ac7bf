"""The index of published runs and the page of two runs in a real browser: from a folder, without network."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from harness.domain.report import Readers
from harness.pipeline.publishing.place import Place
from harness.pipeline.publishing.publishing import Source, Terms, publish
from tests.browser.axe import VIEWS, findings, viewed
from tests.browser.pages import COLOURS, Noticed, contrast, watched
from tests.unit.reports import factory, histories

pytestmark = pytest.mark.browser

COMPARED = "compare/support-02c4d1--support-03c4d1.html"
PAGES = ("index.html", COMPARED)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Eight weeks of one experiment, two runs of another with three candidates, and one whose every text is hostile."""
    folder = tmp_path_factory.mktemp("published")
    weeks = histories.weeks(8)
    vendors = [
        replace(factory.three(), name="vendors", run_id=f"vendors-{week}", decided_at=weeks[week].decided_at)
        for week in (5, 6)
    ]
    hostile = replace(factory.hostile(), run_id="hostile-run")
    items = (*weeks[:7], histories.endless(weeks[7]), *vendors, hostile)
    publish([Source(report=item) for item in items], Place(str(folder)), Terms())
    return folder


@pytest.fixture(scope="module")
def outside(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("outside")
    publish([Source(report=item) for item in histories.weeks(2)], Place(str(folder)), Terms(readers=Readers.OUTSIDE))
    return folder


def opened(browser: Browser, file: Path, width: int, **options: Any) -> tuple[Page, Noticed]:
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True, **options)
    page, noticed = watched(context)
    page.goto(file.as_uri())
    return page, noticed


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_opens_quietly_and_fits_the_window(browser, place, name, width):
    page, noticed = opened(browser, place / name, width)
    page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    sizes = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert sizes[0] <= sizes[1], f"{name} is {sizes[0]} wide in a window of {sizes[1]}"
    assert noticed.complaints == []
    assert noticed.requests == [(place / name).as_uri()]
    assert page.title() != "owned"
    assert page.evaluate("[document.scripts.length, document.images.length, frames.length]") == [0, 0, 0]
    page.context.close()


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", PAGES)
def test_is_accessible(browser, place, name, view):
    with viewed(browser, view) as (page, noticed):
        page.goto((place / name).as_uri())
        assert findings(page) == []
        assert noticed.complaints == []


def test_the_keyboard_leads_from_the_index_to_a_report_and_to_a_comparison_and_back(browser, place):
    page, noticed = opened(browser, place / "index.html", 1280, java_script_enabled=True)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.get_by_role("link", name="with support-02c4d1").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/compare/**")
    assert page.get_by_role("heading", level=1).inner_text() == "support-02c4d1 and support-03c4d1"
    assert page.get_by_role("heading", name="Not comparable").is_visible()
    page.get_by_role("link", name="Report of support-03c4d1").press("Enter")
    page.wait_for_url("**/support-03c4d1/report.html")
    assert page.get_by_role("heading", name="GO", exact=True).is_visible()
    page.go_back()
    page.get_by_role("link", name="All published runs").press("Enter")
    page.wait_for_url("**/index.html")
    assert noticed.complaints == []
    page.context.close()


def test_every_link_of_every_page_leads_to_a_file(browser, place):
    page, _ = opened(browser, place / "index.html", 1280)
    found = set(page.evaluate("[...document.querySelectorAll('a')].map(link => link.href)"))
    page.goto((place / COMPARED).as_uri())
    found |= set(page.evaluate("[...document.querySelectorAll('a')].map(link => link.href)"))
    root = place.as_uri()
    assert len(found) > 50
    for target in found:
        assert target.startswith(root), target
        path = Path(page.evaluate("url => decodeURIComponent(new URL(url).pathname)", target))
        assert path.is_file(), target
    page.context.close()


def test_drawings_and_tables_have_names_and_say_the_same_without_scripts(browser, place):
    page, _ = opened(browser, place / "index.html", 360, java_script_enabled=False)
    assert page.get_by_role("img", name="Win rate over the runs").count() >= 4
    assert page.get_by_role("heading", name="support INCONCLUSIVE").is_visible()
    assert page.get_by_role("rowheader", name="support-03c4d1").is_visible()
    page.context.close()
    page, _ = opened(browser, place / COMPARED, 360, java_script_enabled=False)
    assert page.get_by_role("img", name="Win rate: before and after").count() == 1
    assert page.get_by_role("rowheader", name="Win rate Another judge: not comparable.").is_visible()
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_text_has_enough_contrast(browser, place, name, scheme):
    page, _ = opened(browser, place / name, 1280, color_scheme=scheme)
    for selector in ("p", ".sub", ".badge", "a", "th", "td", ".notice", ".criterion-note", ".value", "code"):
        for text, ground in {tuple(pair) for pair in page.evaluate(COLOURS, selector)}:
            assert contrast(text, ground) >= 4.5, (selector, text, ground)
    page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_paper_shows_both(browser, place, name):
    page, noticed = opened(browser, place / name, 794)
    page.emulate_media(media="print")
    assert not page.locator("nav.contents").is_visible()
    document = page.pdf(format="A4")
    assert document.startswith(b"%PDF")
    assert len(document) > 20_000
    assert noticed.complaints == []
    page.context.close()


def test_readers_outside_are_told_whom_the_pages_are_for(browser, outside):
    page, _ = opened(browser, outside / "index.html", 1280)
    assert page.get_by_text("For readers outside: no message, answer or example").is_visible()
    page.get_by_role("link", name="support-01c4d1", exact=True).click()
    assert page.get_by_text("This report is for readers outside").is_visible()
    assert page.locator("details.example").count() == 0
    page.context.close()
