"""Renders an EvaluationReport as HTML, JSON, Markdown and JUnit.

The same value gives the same bytes; nothing here reads the store, the clock or the network.
"""

from reports.html import render_html
from reports.junit import render_junit
from reports.machine import load_json, render_json
from reports.markdown import render_markdown

__all__ = ["load_json", "render_html", "render_json", "render_junit", "render_markdown"]
