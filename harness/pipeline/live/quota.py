"""Keeps candidates from eating the quota that production lives on."""

import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from harness.domain.model import ModelSpec
from harness.spool.record import Captured

_LEAST_LEFT = 0.2
"""Share of a limit that has to be left."""
_PAIRS = tuple(
    (f"{prefix}limit-{what}", f"{prefix}remaining-{what}")
    for prefix, names in (("x-ratelimit-", ("requests", "tokens")),)
    for what in names
) + tuple(
    (f"anthropic-ratelimit-{what}-limit", f"anthropic-ratelimit-{what}-remaining")
    for what in ("requests", "tokens", "input-tokens", "output-tokens")
)
"""Headers that tell a limit and what is left of it."""
_HOSTS: Mapping[str, str] = {
    "openai": "api.openai.com",
    "anthropic": "api.anthropic.com",
    "mistral": "api.mistral.ai",
    "groq": "api.groq.com",
    "deepseek": "api.deepseek.com",
    "together_ai": "api.together.xyz",
    "fireworks_ai": "api.fireworks.ai",
    "openrouter": "openrouter.ai",
    "xai": "api.x.ai",
    "cohere": "api.cohere.com",
    "cohere_chat": "api.cohere.com",
    "gemini": "generativelanguage.googleapis.com",
}
"""Where a provider without an address of the user's own is reached."""


def host_of(spec: ModelSpec) -> str | None:
    """The host (and port) that a model is asked at; ``None`` when it cannot be told."""
    if spec.api_base:
        return urlsplit(spec.api_base).netloc.lower()
    return _HOSTS.get(spec.provider)


def is_strained(captured: Captured) -> bool:
    """Whether production was told to slow down, or is about to be."""
    if captured.status == 429:
        return True
    headers = captured.response_headers
    for limit_name, left_name in _PAIRS:
        limit, left = _number(headers.get(limit_name)), _number(headers.get(left_name))
        if limit and left is not None and left < _LEAST_LEFT * limit:
            return True
    return False


class QuotaGuard:
    """Says until when arms at production's provider have to rest.

    It cannot tell accounts apart: a candidate with an account of its own at production's provider rests too, which
    costs it a part of the sample and nothing else.
    """

    def __init__(self, upstream: str, pause_s: float, *, clock: Callable[[], float] = time.time) -> None:
        self._host = urlsplit(upstream).netloc.lower()
        self._pause_s = pause_s
        self._clock = clock
        self._until = 0.0

    def saw(self, captured: Captured) -> bool:
        """Take note of one of production's answers; true when a pause begins with it."""
        if not is_strained(captured):
            return False
        # From when it happened: a record that waited in the spool says little about now.
        until = captured.at_ns / 1e9 + self._pause_s
        begins = self.remaining_s == 0 and until > self._clock()
        self._until = max(self._until, until)
        return begins

    @property
    def remaining_s(self) -> float:
        """How long the pause goes on; 0 without one."""
        return max(0.0, self._until - self._clock())

    def covers(self, spec: ModelSpec) -> bool:
        """Whether the model is reached at production's provider."""
        return host_of(spec) == self._host


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
