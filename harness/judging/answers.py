"""What several judges need to know about an answer; not a judge."""

from typing import Any

import orjson

from harness.domain.observation import Completion, ToolCall


class NotJson(ValueError):  # noqa: N818  an answer that is no JSON is a finding, not a fault
    """The text is not one JSON value."""


def text_of(completion: Completion | None) -> str | None:
    """What the user reads: the text, else the refusal; ``None`` when the answer is only tool calls."""
    if completion is None:
        return None
    return completion.text or completion.refusal or None


def parse(text: str | None) -> Any:
    """The JSON value a text consists of.

    Raises:
        NotJson: it is no JSON, or holds more than that (a code fence, a sentence).
    """
    try:
        return orjson.loads((text or "").strip())
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise NotJson(str(error)) from None


def canonical(value: Any) -> Any:
    """A hashable form that is equal for equal JSON: keys in any order, 1 equals 1.0, and true does not equal 1."""
    if isinstance(value, dict):
        return ("object", frozenset((key, canonical(item)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return ("list", tuple(canonical(item) for item in value))
    return ("bool", value) if isinstance(value, bool) else value


def call_key(call: ToolCall) -> Any:
    """Name and arguments of a tool call; arguments that were sent as text are compared as JSON when they are JSON."""
    arguments = call.arguments
    if isinstance(arguments, str):
        try:
            arguments = parse(arguments)
        except NotJson:
            return (call.name, arguments)
    return (call.name, canonical(arguments))
