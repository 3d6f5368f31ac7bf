"""Public test kit: a scripted model client, a fake embedder and factories for domain values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from typing import Any

from harness.domain.exchange import ChatRequest, Exchange
from harness.domain.model import ModelError, ModelReply, ModelSpec
from harness.domain.observation import PRODUCTION, CallError, Completion, ErrorKind, Observation, Status, Usage
from harness.domain.pair import Pair

Script = str | ModelReply | ModelError
"""An answer's text, a whole reply, or the error to raise."""


@dataclass
class ScriptedModelClient:
    """Answers from a list, in order, or from a function of the request; records what it was asked."""

    script: Sequence[Script] | Callable[[ChatRequest, ModelSpec], Script]
    calls: list[tuple[ChatRequest, ModelSpec]] = field(default_factory=list)

    async def complete(self, request: ChatRequest, model: ModelSpec, *, deadline_s: float) -> ModelReply:
        """The next scripted answer; ``deadline_s`` is ignored.

        Raises:
            ModelError: as scripted.
            AssertionError: the script is shorter than the conversation.
        """
        self.calls.append((request, model))
        if callable(self.script):
            item = self.script(request, model)
        elif len(self.calls) <= len(self.script):
            item = self.script[len(self.calls) - 1]
        else:
            raise AssertionError(f"the script has {len(self.script)} answers and call {len(self.calls)} came")
        if isinstance(item, ModelError):
            raise item
        return reply(item) if isinstance(item, str) else item


class FakeEmbedder:
    """Similarity by shared characters: deterministic, no model."""

    name = "fake/1"

    def similarity(self, left: Sequence[str], right: Sequence[str]) -> list[float]:
        """Ratio of matching characters, 0 to 1."""
        return [SequenceMatcher(None, a, b, autojunk=False).ratio() for a, b in zip(left, right, strict=True)]


def reply(text: str | None = "Paris.", **fields: Any) -> ModelReply:
    """A completed call answering ``text``."""
    completion = fields.pop("completion", Completion(text=text, finish_reason="stop", model="scripted"))
    defaults: dict[str, Any] = {"usage": Usage(tokens_in=10, tokens_out=5), "cost_usd": 0.0, "latency_ms": 1.0}
    return ModelReply(completion=completion, **(defaults | fields))


def model_error(kind: ErrorKind = ErrorKind.SERVER_ERROR, message: str = "scripted", **fields: Any) -> ModelError:
    """A failed call."""
    return ModelError(CallError(kind=kind, message=message), **fields)


def observation(
    text: str | None = "Paris.", *, arm: str = PRODUCTION, exchange_id: str = "e1", **fields: Any
) -> Observation:
    """A completed Observation, or a failed one when ``error`` is given."""
    failed = fields.get("error") is not None
    defaults: dict[str, Any] = {
        "status": Status.FAILED if failed else Status.COMPLETED,
        "completion": None if failed else Completion(text=text, finish_reason="stop", model=f"{arm}-model"),
        "latency_ms": 100.0,
        "usage": Usage(tokens_in=10, tokens_out=5),
        "fingerprint": "" if arm == PRODUCTION else "f1",
    }
    return Observation(exchange_id=exchange_id, arm=arm, **(defaults | fields))


def exchange(
    text: str | None = "Paris.", *, id: str = "e1", prompt: str = "Capital of France?", **fields: Any
) -> Exchange:
    """An Exchange with one user message."""
    request = fields.pop("request", ChatRequest(model="gpt-4o", messages=({"role": "user", "content": prompt},)))
    production = fields.pop("production", None) or observation(text, exchange_id=id)
    return Exchange(id=id, request=request, production=replace(production, exchange_id=id), **fields)


def pair(production: str | None = "Paris.", candidate: str | None = "Paris.", *, id: str = "e1", **fields: Any) -> Pair:
    """A comparable Pair of two texts."""
    return Pair(
        exchange=exchange(production, id=id, **fields),
        candidate=observation(candidate, arm="candidate", exchange_id=id),
    )
