"""The report as one HTML file that loads nothing and runs nothing but one script of its own."""

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import BaseLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.domain.report import EvaluationReport
from reports.page import view_of
from reports.privacy import publishable
from reports.terms import TERMS
from reports.text import visible

TOKENS = "tokens.css"
"""Colours, type and spacing, which every page of the product shares."""
_STYLES = ("report.css", "glance.css", "side_by_side.css", "examples.css")


def render_html(report: EvaluationReport) -> str:
    """A self-contained page: no request, one hashed style sheet and script, complete without scripts and on paper."""
    style, script = _style(), _script()
    page = _environment().get_template("report.html.j2")
    return page.render(
        view=view_of(publishable(report)),
        style=Markup(style),  # noqa: S704  our own file
        script=Markup(script),  # noqa: S704  our own file
        policy=content_security_policy(style, script),
    )


def content_security_policy(style: str, script: str = "") -> str:
    """Nothing but this style sheet and script: even a tag that slipped through could neither run nor load."""
    scripts = f" script-src {_source(script)};" if script else ""
    return (
        f"default-src 'none'; style-src {_source(style)};{scripts} img-src data:; base-uri 'none'; form-action 'none'"
    )


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def environment(loader: BaseLoader) -> Environment:
    """Templates that escape every text and refuse an undefined name."""
    built = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    built.globals["terms"] = {}
    return built


def static_text(package: str, name: str) -> str:
    """A file of the package's ``static`` folder."""
    return resources.files(package).joinpath("static", name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    built = environment(PackageLoader("reports"))
    built.globals["terms"] = dict(TERMS)
    return built


@cache
def _style() -> str:
    return "".join(static_text("reports", name) for name in (TOKENS, *_STYLES))


@cache
def _script() -> str:
    return static_text("reports", "examples.js")


def _finalize(value: Any) -> Any:
    """Every text that reaches the page passes here before it is escaped, so that no field can be forgotten."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
