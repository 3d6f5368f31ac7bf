"""Asking one arm what production was asked: bounded, resumable, cancellable."""

from harness.replay.request import request_for
from harness.replay.runner import ReplayResult, replay

__all__ = ["ReplayResult", "replay", "request_for"]
