"""What axe-core says about a page: the rules of WCAG 2.2 AA, in a real browser, in every width and scheme we promise.

    @pytest.mark.parametrize("view", VIEWS)
    def test_is_accessible(browser, file, view):
        with viewed(browser, view) as (page, noticed):
            page.goto(file.as_uri())
            assert findings(page) == []
            assert noticed.complaints == []

``noticed.complaints`` holds what the page's Content-Security-Policy refused, too (see ``pages.watched``). axe itself
comes in through the debugger, beside that policy and not through it: the page is tested under the policy it ships with.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import Any

from playwright.sync_api import Browser, Page

from tests.browser.pages import Noticed, watched

TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
VIEWS: Mapping[str, Mapping[str, Any]] = {
    "wide light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "wide dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone light": {"viewport": {"width": 360, "height": 800}, "color_scheme": "light", "has_touch": True},
    "phone dark": {"viewport": {"width": 360, "height": 800}, "color_scheme": "dark", "has_touch": True},
}
_RUN = """
async tags => {
  const found = await axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']});
  return {
    rules: found.passes.length + found.violations.length,
    violations: found.violations.map(rule => ({
      id: rule.id, help: rule.help,
      nodes: rule.nodes.map(node => ({html: node.html, target: node.target.join(' '), why: node.failureSummary})),
    })),
  };
}
"""


@contextmanager
def viewed(browser: Browser, view: str, **options: Any) -> Iterator[tuple[Page, Noticed]]:
    """A page of a new context with the width and scheme of the view; ``options`` go to the context."""
    context = browser.new_context(**{**VIEWS[view], **options})
    try:
        yield watched(context)
    finally:
        context.close()


def findings(page: Page, *, unfold: bool = True) -> list[str]:
    """Each violation of WCAG 2.2 AA on one line, with the element and what to do; empty when there is none.

    What is folded is unfolded first, because axe does not look at what nobody sees. A run that looked at next to
    nothing is an error, not a clean bill.
    """
    if unfold:
        page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(_axe())
    result = page.evaluate(_RUN, list(TAGS))
    assert result["rules"] >= 10, f"axe applied only {result['rules']} rules to {page.url}"
    return [_line(rule, node) for rule in result["violations"] for node in rule["nodes"]]


def _line(rule: Mapping[str, Any], node: Mapping[str, str]) -> str:
    why = " ".join(node["why"].split())
    return f"{rule['id']}: {rule['help']}: {node['target']}: {node['html'][:200]}: {why}"


@cache
def _axe() -> str:
    return resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
