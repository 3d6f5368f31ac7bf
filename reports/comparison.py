"""The page that holds one run against another: one HTML file that runs nothing, and the same as JSON."""

import hashlib
import json
from functools import cache

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from harness.domain.comparison import COMPARISON_SCHEMA, RunComparison
from harness.errors import InputError
from reports.html import TOKENS, content_security_policy, environment, static_text
from reports.machine import as_json
from reports.page_comparison import view_of

FOLDER = "compare"
"""Where the pages lie in a place."""
_MOST_BYTES = 150
"""Of both ids together: a file's name may have 255 bytes."""


def render_html(comparison: RunComparison, *, published: bool = False) -> str:
    """The page; ``published`` when it lies in a place with an index, to which it then leads back."""
    style = _style()
    page = _environment().get_template("comparison.html.j2")
    view = view_of(comparison, published=published)
    return page.render(view=view, style=Markup(style), policy=content_security_policy(style))  # noqa: S704  our own file


def render_json(comparison: RunComparison) -> str:
    """The whole value as JSON with sorted keys; every number on the page is in it."""
    return as_json(comparison)


def load(content: bytes) -> RunComparison:
    """What :func:`render_json` wrote.

    Raises:
        InputError: it is none, or by a newer version of this program.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        raw = json.loads(content)
    except (ValueError, RecursionError):
        raise InputError("this is not a saved comparison: not JSON") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("schema"), int) or raw["schema"] > COMPARISON_SCHEMA:
        raise InputError("this is not a saved comparison of a schema this version reads")
    try:
        return TypeAdapter(RunComparison).validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"this is not a saved comparison: {where}: {first['msg']}") from None


def name_of(before: str, after: str) -> str:
    """Name of the page of two runs, without its suffix: ``a--b``.

    Ids that are long, or have ``--`` in them, so that two pairs could share a name, get a hash to it.
    """
    name = f"{before}--{after}"
    if "--" not in before + "|" + after and len(name.encode("utf-8", "replace")) <= _MOST_BYTES:
        return name
    digest = hashlib.sha256(json.dumps([before, after]).encode()).hexdigest()[:12]
    return f"{name.encode('utf-8', 'replace')[:_MOST_BYTES].decode('utf-8', 'ignore')}.{digest}"


@cache
def _environment() -> Environment:
    return environment(PackageLoader("reports"))


@cache
def _style() -> str:
    return "".join(static_text("reports", name) for name in (TOKENS, "report.css", "published.css"))
