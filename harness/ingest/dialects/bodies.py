"""Telling vendors' request and response bodies apart, wherever an export keeps them."""

import re
from collections.abc import Callable
from dataclasses import replace

from harness.domain.exchange import ChatRequest
from harness.domain.json import Json
from harness.domain.observation import Completion, Usage
from harness.ingest import folding, values
from harness.ingest.dialects import anthropic_body, chat_body, converse_body, failures, gemini_body, responses_body
from harness.ingest.dialects.calls import Answer, JsonObject, UnreadableRecord

# Encoded once or more, with quotes escaped accordingly. A prompt or an answer may be broken JSON in its own right, so
# only what begins as a body of an API or a list of messages does is taken for one.
_CUT_REQUEST = re.compile(
    r'[\s"\\]*(?:\[\s*\{\s*\\*"(?:role|content|parts)\\*"\s*:|\{\s*\\*"(?:messages|contents)\\*"\s*:'
    r'|\{\s*\\*"role\\*"\s*:\s*\\*"(?:user|system|assistant|developer)|\{\s*\\*"(?:model|system)\\*"\s*:.{0,400}"messages)',
    re.DOTALL,
)
_CUT_ANSWER = re.compile(
    r'[\s"\\]*(?:\{.{0,400}\\*"(?:choices|candidates)\\*"\s*:\s*\[|\{.{0,200}\\*"object\\*"\s*:\s*\\*"(?:chat\.completion|response)'
    r'|(?:\[\s*)?\{.{0,200}\\*"role\\*"\s*:\s*\\*"assistant\\*")',
    re.DOTALL,
)


def request(stored: Json, model: str | None = None, *, known_only: bool = False) -> ChatRequest | None:
    """The chat request in a body of any vendor, a list of messages or a plain prompt; ``None`` when there is none.

    Raises:
        UnreadableRecord: it is JSON that was cut off or cannot be sent.
    """
    stored = _whole(values.decoded(stored), _CUT_REQUEST)
    if isinstance(stored, list):
        stored = {"messages": stored}
    if isinstance(stored, str):
        stored = {"messages": [{"role": "user", "content": stored}]} if stored else {}
    if not isinstance(stored, dict):
        return None
    if isinstance(stored.get("messages"), str):
        stored = stored | {"messages": _whole(values.decoded(stored["messages"]), _CUT_REQUEST)}
    if gemini_body.is_request(stored):
        return gemini_body.request(stored, model)
    if "messages" not in stored and "role" in stored:
        return chat_body.request({"messages": [stored]}, model)
    if "messages" not in stored and isinstance(stored.get("prompt"), str):
        stored = dict(stored) | {"messages": [{"role": "user", "content": stored["prompt"]}]}
    if responses_body.is_request(stored):
        return responses_body.request(stored, model)
    if converse_body.is_request(stored):
        return converse_body.request(stored, model)
    if anthropic_body.is_request(stored):
        return anthropic_body.request(stored, model, known_only=known_only)
    return chat_body.request(stored, model, known_only=known_only)


def answer(stored: Json) -> Answer | None:
    """The answer in a body of any vendor, folded if it is a stream, or in plain text; ``None`` when there is none.

    Raises:
        UnreadableRecord: it is JSON that was cut off or cannot be sent.
    """
    _whole(values.decoded(stored), _CUT_ANSWER)
    plain = isinstance(stored, str)
    stored = values.decoded(stored) if _holds_body(stored) else stored
    if folding.is_stream(stored):
        stored = folding.fold(stored)
    # A word that means nothing elsewhere is an answer here.
    if not values.is_stored(stored) and stored != "None":
        return Answer(completion=Completion(text="")) if plain and stored == "" else None
    if isinstance(stored, list):
        # A list that is no stream: messages (the last is the answer) or content blocks.
        blocks = [item for item in stored if isinstance(item, dict)]
        if blocks and "role" in blocks[-1]:
            return answer(blocks[-1])
        return Answer(completion=Completion(text=chat_body.answer_text(stored)))
    if not isinstance(stored, dict):
        return Answer(completion=Completion(text=values.text(stored)))
    return _body(stored)


def _whole(stored: Json, cut: re.Pattern[str]) -> Json:
    """What was stored, unless it is text that began as a body and does not parse."""
    if isinstance(stored, str) and cut.match(stored):
        raise UnreadableRecord(
            "cut_content",
            "holds a body as JSON text that does not parse (cut off, or half of a surrogate pair in it); raise the"
            " length limit of whatever stored it, and export again",
        )
    return stored


def _holds_body(stored: Json) -> bool:
    """Whether a text is the JSON of a body and not an answer that happens to be JSON."""
    inner = values.decoded(stored)
    if isinstance(inner, dict):
        return (
            not inner
            or bool(_BODY_KEYS & inner.keys())
            or any(isinstance(inner.get(key), kind) for key, kind in _STRUCTURES)
        )
    return isinstance(inner, list) and (not inner or folding.is_stream(inner) or _are_messages(inner))


_BODY_KEYS = frozenset(["choices", "candidates", "role", "stop_reason", "promptFeedback"])
# A model's own JSON may have an `error` or a `message` too, but not of this shape.
_STRUCTURES = (("error", dict), ("message", dict), ("output", list | dict))


def _are_messages(stored: list[Json]) -> bool:
    return all(isinstance(item, dict) and "role" in item for item in stored)


def _body(stored: JsonObject) -> Answer:
    error = stored.get("error")
    if "choices" in stored:
        choices = values.as_list(stored.get("choices"))
        error = error or (values.as_object(choices[0]).get("error") if choices else None)
        return failed(error) if error and not _has_content(stored) else chat_body.answer(stored)
    if error or stored.get("type") == "error":
        return failed(error or stored)
    for is_answer, read in _VENDORS:
        if is_answer(stored):
            return read(stored)
    return _loose(stored)


_VENDORS: tuple[tuple[Callable[[JsonObject], bool], Callable[[JsonObject], Answer]], ...] = (
    (responses_body.is_answer, responses_body.answer),
    (gemini_body.is_answer, gemini_body.answer),
    (converse_body.is_answer, converse_body.answer),
    (anthropic_body.is_answer, anthropic_body.answer),
)


def _loose(stored: JsonObject) -> Answer:
    """A message on its own, or an object that wraps one; any other object is a structured answer, kept as text."""
    for key in ("generation", "completion", "outputText"):
        if isinstance(stored.get(key), str):
            # Older single-text answers of hosted models.
            finish = values.label(values.pick(stored, "stop_reason", "completionReason"))
            return Answer(completion=Completion(text=stored[key], finish_reason=finish))
    for key in ("message", "completion", "response"):
        if isinstance(stored.get(key), dict | list):
            return answer(stored[key]) or Answer()
    if not {"role", "content", "tool_calls", "function_call", "refusal"} & stored.keys():
        return Answer(completion=Completion(text=values.text(dict(stored))))
    finish = values.label(values.pick(stored, "finish_reason", "stop_reason"))
    completion = chat_body.message_completion(stored, finish_reason=finish, model=values.label(stored.get("model")))
    return Answer(completion=completion, usage=chat_body.usage(values.as_object(stored.get("usage"))))


def _has_content(stored: JsonObject) -> bool:
    completion = chat_body.answer(stored).completion
    return completion is not None and not completion.is_empty


def failed(error: Json, *, status: Json = None, code: Json = None, message: Json = None) -> Answer:
    """A failed call; its usage is unknown, whatever zeros the export holds."""
    return Answer(error=failures.call_error(error, status=status, code=code, message=message))


def with_usage(found: Answer, usage: Usage) -> Answer:
    """The answer with usage the export keeps apart, where the body does not tell."""
    if found.error is not None:
        return found
    own = found.usage
    merged = Usage(
        tokens_in=own.tokens_in if usage.tokens_in is None else usage.tokens_in,
        tokens_out=own.tokens_out if usage.tokens_out is None else usage.tokens_out,
        tokens_cached=own.tokens_cached if usage.tokens_cached is None else usage.tokens_cached,
        tokens_reasoning=own.tokens_reasoning if usage.tokens_reasoning is None else usage.tokens_reasoning,
    )
    return replace(found, usage=merged)
