"""What the candidate is asked, in the API shape the client used, and its answer as bytes of that shape."""

import math
from collections.abc import AsyncIterator, Mapping
from enum import StrEnum
from typing import Any

import orjson

from harness.domain.json import Json
from harness.domain.model import ModelSpec
from harness.errors import HarnessError
from harness.models import litellm_client
from harness.models.faults import describe
from harness.models.replies import messages_with_system, plain


class Shape(StrEnum):
    """The API a client speaks, by the end of its path."""

    CHAT = "/chat/completions"
    RESPONSES = "/responses"
    MESSAGES = "/messages"


class Unfit(Exception):  # noqa: N818  reads as what it is
    """The candidate is not asked, or gave no usable answer; ``reason`` is from a fixed set."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


# What a client may set. Anything else could steer litellm (`api_base`, `mock_response`) or lives at production.
_TAKEN = {
    Shape.CHAT: frozenset({
        "messages", "stream", "stream_options", "temperature", "top_p", "n", "stop", "max_tokens",
        "max_completion_tokens", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs",
        "response_format", "seed", "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call",
        "reasoning_effort", "verbosity", "modalities", "audio", "prediction",
    }),
    Shape.RESPONSES: frozenset({
        "input", "stream", "include", "instructions", "max_output_tokens", "parallel_tool_calls", "reasoning",
        "temperature", "text", "tool_choice", "tools", "top_p", "truncation", "max_tool_calls", "top_logprobs",
    }),
    Shape.MESSAGES: frozenset({
        "messages", "stream", "max_tokens", "stop_sequences", "system", "temperature", "thinking", "tool_choice",
        "tools", "top_k", "top_p",
    }),
}  # fmt: skip
# About the client's account with production; without them the candidate answers the same.
_LEFT_OUT = frozenset({
    "model", "metadata", "store", "user", "service_tier", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention",
})  # fmt: skip
_NEEDED = {Shape.CHAT: ("messages",), Shape.RESPONSES: ("input",), Shape.MESSAGES: ("messages", "max_tokens")}
_RENAMED = {
    Shape.CHAT: {},
    Shape.RESPONSES: {"max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens"},
    Shape.MESSAGES: {"max_completion_tokens": "max_tokens", "stop": "stop_sequences"},
}
_ENDS = {"response.completed", "response.incomplete"}


def arguments(shape: Shape, body: Mapping[str, Json], spec: ModelSpec) -> dict[str, Any]:
    """The request as the candidate gets it: the client's, with the candidate's settings and system prompt.

    Raises:
        Unfit: the request needs something that only production can give.
    """
    if any(not body.get(name) for name in _NEEDED[shape]):
        raise Unfit("unreadable_request")
    asked: dict[str, Any] = {}
    for name, value in body.items():
        if value is None or name in _LEFT_OUT:
            continue
        if name not in _TAKEN[shape]:
            # Better served by production than by a candidate that was asked something else.
            if value is False:
                continue
            raise Unfit("unsupported_request")
        asked[name] = plain(value)
    tools = asked.get("tools")
    if isinstance(tools, list) and any(isinstance(tool, dict) and tool.get("type") == "mcp" for tool in tools):
        raise Unfit("unsupported_request")
    _configure(shape, asked, spec.params)
    if spec.system_prompt is not None:
        _instruct(shape, asked, spec.system_prompt)
    return asked


def _configure(shape: Shape, asked: dict[str, Any], params: Mapping[str, Json]) -> None:
    """Put the candidate's settings in the place of the client's; null removes one."""
    for name, value in params.items():
        name = _RENAMED[shape].get(name, name)
        if name == "max_completion_tokens":
            asked.pop("max_tokens", None)
        elif name == "max_tokens" and shape is Shape.CHAT:
            asked.pop("max_completion_tokens", None)
        if value is None:
            asked.pop(name, None)
        elif name not in litellm_client._NEVER:
            asked[name] = plain(value)


def _instruct(shape: Shape, asked: dict[str, Any], prompt: str) -> None:
    """Put the candidate's system prompt in the place of the recorded one."""
    field = "input" if shape is Shape.RESPONSES else "messages"
    if isinstance(asked[field], list):
        with_system = messages_with_system(asked[field], prompt)
        asked[field] = with_system if shape is Shape.CHAT else with_system[1:]
    if shape is Shape.RESPONSES:
        asked["instructions"] = prompt
    elif shape is Shape.MESSAGES:
        asked["system"] = prompt


class Asking:
    """Asks one candidate with its own credentials; once, without retries and fallbacks."""

    def __init__(self, spec: ModelSpec, *, deadline_s: float) -> None:
        self._spec = spec
        self._route = litellm_client._find_route(spec)
        # Ours fires first; the library's own is a net under it.
        self._timeout = math.ceil(deadline_s) + 5

    async def ask(self, shape: Shape, body: Mapping[str, Json]) -> bytes | AsyncIterator[bytes]:
        """The whole answer, or the events of a stream; each piece is one complete event.

        Raises:
            Unfit: there is no answer, or, from the iterator, no rest of it.
        """
        asked = arguments(shape, body, self._spec) | self._route.arguments
        litellm = litellm_client._litellm()
        call = {
            Shape.CHAT: litellm.acompletion, Shape.RESPONSES: litellm.aresponses,
            Shape.MESSAGES: litellm.anthropic_messages,
        }[shape]  # fmt: skip
        try:
            answer = await call(timeout=self._timeout, **asked)
        except Exception as error:  # noqa: BLE001  a hundred providers raise what they like
            raise self._unfit(error, started=False) from None
        if asked.get("stream"):
            return self._events(shape, answer)
        whole = answer if isinstance(answer, dict) else answer.model_dump(mode="json", exclude_none=True)
        if whole.get("error") or not whole.get(
            {Shape.CHAT: "choices", Shape.RESPONSES: "output"}.get(shape, "content")
        ):
            raise Unfit("malformed_response")
        return orjson.dumps(whole)

    async def _events(self, shape: Shape, answer: Any) -> AsyncIterator[bytes]:
        read = {Shape.CHAT: _chat, Shape.RESPONSES: _responses, Shape.MESSAGES: _messages}[shape]
        try:
            async for event in read(answer):
                yield event
        except Exception as error:  # noqa: BLE001  a hundred providers raise what they like
            raise self._unfit(error, started=True) from None
        finally:
            close = getattr(answer, "aclose", None)
            if close is not None:
                await close()

    def _unfit(self, error: Exception, *, started: bool) -> Unfit:
        if isinstance(error, Unfit):
            return error
        if isinstance(error, HarnessError):
            return Unfit("misconfigured")
        secrets = (self._route.key,) if self._route.key else ()
        return Unfit(str(describe(error, secrets=secrets, started=started).error.kind))


async def _chat(wrapper: Any) -> AsyncIterator[bytes]:
    finished = False
    async for chunk in wrapper:
        if any(choice.finish_reason for choice in chunk.choices):
            # litellm's wrapper makes up a `stop` when a stream ends early.
            if not (wrapper.received_finish_reason or wrapper.intermittent_finish_reason):
                raise Unfit("cut_stream")
            finished = True
        yield b"data: " + orjson.dumps(chunk.model_dump(mode="json", exclude_none=True)) + b"\n\n"
    if not finished:
        raise Unfit("cut_stream")
    yield b"data: [DONE]\n\n"


async def _responses(events: Any) -> AsyncIterator[bytes]:
    async for event in events:
        value = event.model_dump(mode="json", exclude_none=True)
        kind = value["type"]
        if kind in {"error", "response.failed"}:
            raise Unfit("server_error")
        yield _named(kind, value)
        if kind in _ENDS:
            return
    raise Unfit("cut_stream")


async def _messages(pieces: Any) -> AsyncIterator[bytes]:
    """Only complete events are passed on, so that what follows a broken one is still read as an event."""
    pending = b""
    async for piece in pieces:
        if isinstance(piece, dict):
            pending += _named(piece["type"], piece)
        else:
            pending += piece.encode() if isinstance(piece, str) else piece
        *whole, pending = pending.replace(b"\r\n", b"\n").split(b"\n\n")
        for event in whole:
            data = b"".join(line[5:] for line in event.split(b"\n") if line.startswith(b"data:"))
            if not data:
                continue
            value = orjson.loads(data)
            if value["type"] == "error":
                raise Unfit("server_error")
            yield _named(value["type"], value)
            if value["type"] == "message_stop":
                return
    raise Unfit("cut_stream")


def _named(kind: str, value: Mapping[str, Any]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(value) + b"\n\n"


def broken(shape: Shape, reason: str, number: int) -> bytes:
    """The event that ends a stream whose rest is missing; ``number`` is how many events went before."""
    text = f"shadow canary: the answer broke off ({reason})"
    if shape is Shape.CHAT:
        error = {"message": text, "type": "server_error", "param": None, "code": reason}
        return b"data: " + orjson.dumps({"error": error}) + b"\n\n"
    if shape is Shape.RESPONSES:
        event = {"type": "error", "code": reason, "message": text, "param": None, "sequence_number": number}
        return _named("error", event)
    return _named("error", {"type": "error", "error": {"type": "api_error", "message": text}})
