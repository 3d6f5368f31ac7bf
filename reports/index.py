"""The index of published runs: one HTML file that loads nothing and runs nothing, and the same as JSON."""

from functools import cache

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from harness.domain.published import PublishedIndex
from reports.html import TOKENS, content_security_policy, environment, static_text
from reports.machine import as_json
from reports.page_index import view_of


def render_html(index: PublishedIndex) -> str:
    """The page that leads to every run, with the trend of each criterion; the same value gives the same bytes."""
    style = _style()
    page = _environment().get_template("index.html.j2")
    return page.render(view=view_of(index), style=Markup(style), policy=content_security_policy(style))  # noqa: S704  our own file


def render_json(index: PublishedIndex) -> str:
    """The whole value as JSON with sorted keys; every number on the page is in it."""
    return as_json(index)


@cache
def _environment() -> Environment:
    return environment(PackageLoader("reports"))


@cache
def _style() -> str:
    return "".join(static_text("reports", name) for name in (TOKENS, "report.css", "published.css"))
