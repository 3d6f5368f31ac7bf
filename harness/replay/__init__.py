"""Sends recorded requests to candidates and to production again: bounded, retried, resumable."""
