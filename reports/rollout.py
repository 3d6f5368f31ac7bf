"""The report of a rollout: one HTML file that loads nothing and runs nothing, and the same as JSON.

Two minutes for a stakeholder, everything for an auditor: timeline, evidence at each gate, who approved, spend, alpha
ledger, links to the pairs.
"""

from functools import cache

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from harness.domain.rollout_report import RolloutReport
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


@cache
def _environment() -> Environment:
    return environment(PackageLoader("reports"))


@cache
def _style() -> str:
    return "".join(static_text("reports", name) for name in (TOKENS, "report.css", "rollout.css"))
