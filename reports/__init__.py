"""Renders an EvaluationReport as HTML, JSON, Markdown and JUnit, and a RolloutReport as HTML and JSON.

The same value gives the same bytes; nothing here reads the store, the clock or the network.
"""

from reports.html import render_html
from reports.junit import render_junit
from reports.machine import load_json, render_json
from reports.markdown import render_markdown
from reports.pair_links import link_run
from reports.rollout import load_rollout_json, render_rollout_html, render_rollout_json

__all__ = [
    "link_run",
    "load_json",
    "load_rollout_json",
    "render_html",
    "render_json",
    "render_junit",
    "render_markdown",
    "render_rollout_html",
    "render_rollout_json",
]
