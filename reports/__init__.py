"""Renders an EvaluationReport as HTML, JSON, Markdown and JUnit."""
