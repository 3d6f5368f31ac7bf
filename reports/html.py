"""The report as one HTML file that loads nothing and runs nothing."""

import base64
import hashlib
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.domain.report import EvaluationReport
from reports.page import view_of
from reports.privacy import publishable
from reports.text import visible


def render_html(report: EvaluationReport) -> str:
    """A self-contained page: no script, no request, one hashed style sheet, readable from disk and on paper."""
    environment, style = _environment(), _style()
    page = environment.get_template("report.html.j2")
    return page.render(view=view_of(publishable(report)), style=Markup(style), policy=content_security_policy(style))  # noqa: S704  our own file


def content_security_policy(style: str) -> str:
    """Nothing but the style sheet with this text: even a tag that slipped through could neither run nor load."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _style() -> str:
    loader = PackageLoader("reports", "static")
    return loader.get_source(Environment(autoescape=True), "report.css")[0]


def _finalize(value: Any) -> Any:
    """Every text that reaches the page passes here before it is escaped, so that no field can be forgotten."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
