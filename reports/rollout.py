"""The report of a rollout: one HTML file that loads nothing and runs nothing, and the same as JSON.

Two minutes for a stakeholder, everything for an auditor: timeline, evidence at each gate, who approved, spend, alpha
ledger, links to the pairs.
"""

import json
from functools import cache

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from harness.domain.rollout_report import ROLLOUT_REPORT_SCHEMA, RolloutReport
from harness.errors import InputError
from reports.html import TOKENS, content_security_policy, environment, static_text
from reports.machine import as_json
from reports.page_rollout import view_of
from reports.views_rollout import RolloutView


def render_rollout_html(report: RolloutReport) -> str:
    """The page of a rollout."""
    return render(view_of(report))


def render(view: RolloutView) -> str:
    """The page with what the view holds."""
    style = _style()
    page = _environment().get_template("rollout.html.j2")
    return page.render(view=view, style=Markup(style), policy=content_security_policy(style))  # noqa: S704  our own file


def render_rollout_json(report: RolloutReport) -> str:
    """The whole value as JSON with sorted keys, every event with all of its evidence; ``schema`` is its version."""
    return as_json(report)


def load_rollout_json(text: str) -> RolloutReport:
    """What :func:`render_rollout_json` wrote.

    Raises:
        InputError: not JSON, not a report of a rollout, or written by a newer version of this program.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        raw = json.loads(text)
    except ValueError as error:
        raise InputError(f"this is not a saved report of a rollout: {error}") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("schema"), int) or "rollout_id" not in raw:
        raise InputError("this is not a saved report of a rollout: it has no schema number, or no rollout")
    if raw["schema"] > ROLLOUT_REPORT_SCHEMA:
        raise InputError(
            f"the report has schema {raw['schema']} and this version reads up to {ROLLOUT_REPORT_SCHEMA}; upgrade "
            "shadow-harness"
        )
    try:
        return TypeAdapter(RolloutReport).validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"this is not a saved report of a rollout: {where}: {first['msg']}") from None


@cache
def _environment() -> Environment:
    return environment(PackageLoader("reports"))


@cache
def _style() -> str:
    return "".join(static_text("reports", name) for name in (TOKENS, "report.css", "rollout.css"))
