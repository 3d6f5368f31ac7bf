"""Asking through the vendors' batch APIs."""
