"""Metrics, criteria and the decision rule; pure."""
