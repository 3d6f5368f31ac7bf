"""No page violates WCAG 2.2 AA as axe-core sees it, and none meets its own Content-Security-Policy."""

from pathlib import Path

import pytest

from reports import render_html, render_rollout_html
from tests.browser.axe import VIEWS, findings, viewed
from tests.unit.reports import factory
from tests.unit.rollout import histories

pytestmark = pytest.mark.browser

REPORTS = ("report", "three", "hostile")
ROLLOUTS = ("rolled_back", "hostile")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    pages = {f"report {name}": render_html(getattr(factory, name)()) for name in REPORTS}
    pages |= {f"rollout {name}": render_rollout_html(histories.report(getattr(histories, name)())) for name in ROLLOUTS}
    for name, html in pages.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in pages}


@pytest.mark.parametrize("name", [f"report {name}" for name in REPORTS] + [f"rollout {name}" for name in ROLLOUTS])
@pytest.mark.parametrize("view", VIEWS)
def test_a_report_violates_nothing(browser, files, name, view):
    with viewed(browser, view, offline=True) as (page, noticed):
        page.goto(files[name].as_uri())
        assert findings(page) == []
        assert noticed.complaints == []


def test_axe_sees_a_page_that_is_broken(browser, files, tmp_path):
    """Without this the tests above could pass because nothing was looked at."""
    html = files["report report"].read_text(encoding="utf-8")
    broken = tmp_path / "broken.html"
    broken.write_text(html.replace('<html lang="en">', "<html>").replace("</main>", "<a href='#x'></a></main>"))
    with viewed(browser, "wide light", offline=True) as (page, _):
        page.goto(broken.as_uri())
        found = {line.partition(":")[0] for line in findings(page)}
    assert {"html-has-lang", "link-name"} <= found


def test_what_the_policy_refuses_is_noticed(browser, files, tmp_path):
    html = files["report report"].read_text(encoding="utf-8")
    broken = tmp_path / "styled.html"
    broken.write_text(html.replace("</main>", '<p style="color:red">x</p></main>'))
    with viewed(browser, "wide light", offline=True) as (page, noticed):
        page.goto(broken.as_uri())
        page.wait_for_timeout(100)
        assert any(line.startswith("error: refused by the policy: style-src-attr") for line in noticed.complaints)
