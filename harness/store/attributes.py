"""What an exchange is sliced by, worked out once when it is stored."""

import math
import re
from collections import deque
from collections.abc import Iterator, Sequence

from harness.domain.exchange import ChatRequest, Exchange
from harness.domain.observation import Status
from harness.store.language import language
from harness.store.prose import prose

_PROMPTS = (
    (500, "under 500 characters"), (2_000, "500 to 2,000 characters"), (8_000, "2,000 to 8,000 characters"),
    (32_000, "8,000 to 32,000 characters"), (math.inf, "32,000 and more characters"),
)  # fmt: skip
_ANSWERS = (
    (1, "no text"), (200, "under 200 characters"), (1_000, "200 to 1,000 characters"),
    (4_000, "1,000 to 4,000 characters"), (math.inf, "4,000 and more characters"),
)  # fmt: skip
_SAMPLE = 4_000
_SCRIPTS = {
    "latin": r"A-Za-z\u00c0-\u024f\u1e00-\u1eff",
    "cyrillic": r"\u0400-\u052f",
    "greek": r"\u0370-\u03ff\u1f00-\u1fff",
    "arabic": r"\u0600-\u06ff\u0750-\u077f",
    "hebrew": r"\u0590-\u05ff",
    "devanagari": r"\u0900-\u097f",
    "thai": r"\u0e00-\u0e7f",
    "hangul": r"\u1100-\u11ff\uac00-\ud7af",
    "kana": r"\u3040-\u30ff",
    "han": r"\u3400-\u4dbf\u4e00-\u9fff",
}
_PATTERNS = {name: re.compile(f"[{ranges}]") for name, ranges in _SCRIPTS.items()}


def texts(request: ChatRequest, *, role: str | None = None) -> Iterator[str]:
    """Every text of the messages, text parts included; only those of ``role`` when given."""
    for message in request.messages:
        if role is not None and message.get("role") != role:
            continue
        content = message.get("content")
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            for part in content:
                if isinstance(part, dict) and isinstance(part.get("text"), str):
                    yield part["text"]


def last_user_text(request: ChatRequest) -> str:
    """The last text the user wrote, to 4,000 characters; empty when there is none."""
    return next(iter(deque(texts(request, role="user"), maxlen=1)), "")[:_SAMPLE]


def prompt_chars(request: ChatRequest) -> int:
    """Characters of all messages."""
    return sum(map(len, texts(request)))


def turns(request: ChatRequest) -> int:
    """User messages in the request."""
    return sum(message.get("role") == "user" for message in request.messages)


def script(request: ChatRequest) -> str | None:
    """The writing system most letters of the last user text are in; ``None`` without letters.

    Not the language: Latin letters are English as well as Swahili. Text with any kana is Japanese writing
    and counts as ``kana``, although most of its letters may be Han.
    """
    sample = last_user_text(request)
    if sample.isascii():
        return "latin" if _PATTERNS["latin"].search(sample) else None
    counts = {name: len(pattern.findall(sample)) for name, pattern in _PATTERNS.items()}
    if counts["kana"]:
        counts["kana"] += counts.pop("han")
    name = max(counts, key=counts.__getitem__)
    return name if counts[name] else None


def answer_length(exchange: Exchange) -> str | None:
    """Length of production's recorded answer, before redaction; ``None`` when production gave none."""
    production = exchange.production
    if production.status is not Status.COMPLETED or production.completion is None:
        return None
    return _band(production.completion.chars, _ANSWERS)


def attributes_of(exchange: Exchange) -> Iterator[tuple[str, str]]:
    """Key and value of every slice the exchange belongs to; ``tag`` once per tag, the others at most once.

    Nothing here depends on what a candidate answered: a slice chosen by its outcome would prove whatever it was
    chosen for.
    """
    request = exchange.request
    yield "model", request.model
    yield "has_tools", "yes" if request.tools else "no"
    count = turns(request)
    yield "turns", "1" if count <= 1 else "2-3" if count <= 3 else "4+"
    yield "prompt_length", _band(prompt_chars(request), _PROMPTS)
    length = answer_length(exchange)
    if length is not None:
        yield "answer_length", length
    yield "language", language(prose(last_user_text(request)))
    writing = script(request)
    if writing is not None:
        yield "script", writing
    for tag in dict.fromkeys(exchange.tags):
        yield "tag", tag
    for key, value in exchange.metadata.items():
        yield f"metadata.{key}", value


def _band(chars: int, bands: Sequence[tuple[float, str]]) -> str:
    """Name of the first band whose limit is above ``chars``."""
    return next(name for limit, name in bands if chars < limit)
