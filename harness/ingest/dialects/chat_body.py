"""Bodies of the OpenAI chat completions API, and of everything that speaks it."""

from collections.abc import Mapping, Sequence

import orjson

from harness.domain.exchange import ChatRequest
from harness.domain.json import Json
from harness.domain.observation import Completion, ToolCall, Usage
from harness.ingest import values
from harness.ingest.dialects.calls import Answer, JsonObject

_NOT_PARAMS = frozenset([
    "model", "messages", "tools", "functions", "stream", "stream_options", "user", "metadata", "tags", "prompt",
    "input",
    "system", "instructions", "store", "api_base", "base_url", "api_version", "timeout", "request_timeout",
    "num_retries",
    "max_retries", "client", "custom_llm_provider", "extra_headers", "extra_query", "caching", "fallbacks",
    "mock_response",
    "proxy_server_request", "logger_fn", "anthropic_version",
    "anthropic_beta", "verbose", "max_workers", "user_id", "session_id", "trace_id",
])  # fmt: skip
"""Fields of a request body that say who asked or how it was sent, not what is asked."""
PARAMS = frozenset([
    "temperature", "top_p", "top_k", "min_p", "max_tokens", "max_completion_tokens", "stop", "seed", "n",
    "presence_penalty", "frequency_penalty", "repetition_penalty", "logit_bias", "logprobs", "top_logprobs",
    "response_format", "tool_choice", "parallel_tool_calls", "function_call", "reasoning_effort", "reasoning",
    "verbosity",
    "modalities", "thinking", "stop_sequences",
])  # fmt: skip
"""Settings by name, for records where a request's fields stand among other columns."""
_NUMBERS = frozenset([
    "temperature", "top_p", "top_k", "min_p", "max_tokens", "max_completion_tokens", "seed", "n", "presence_penalty",
    "frequency_penalty", "repetition_penalty", "top_logprobs",
])  # fmt: skip


def request(body: JsonObject, model: str | None, *, known_only: bool = False) -> ChatRequest | None:
    """The request in a chat body; ``None`` when it has no messages.

    ``known_only`` takes only well-known settings, for records that keep other things at the same level.
    """
    found = messages(body.get("messages"))
    if not found:
        return None
    return ChatRequest(
        model=values.label(body.get("model")) or model or "",
        messages=found,
        tools=tools(body),
        params=params(body, known_only=known_only),
    )


def messages(stored: Json) -> tuple[Mapping[str, Json], ...]:
    """Chat messages as stored, nested JSON decoded; anything that is no message is left out."""
    stored = values.decoded(stored)
    if isinstance(stored, dict):
        stored = stored.get("messages", [stored])
    found = []
    for item in values.as_list(stored):
        item = values.as_object(item)
        if item.get("role") is not None or item.get("content") is not None:
            found.append(_message(item))
    return tuple(found)


def _message(item: dict[str, Json]) -> Mapping[str, Json]:
    message = {key: value for key, value in item.items() if value is not None and not key.startswith("provider_")}
    message["role"] = values.label(item.get("role")) or "user"
    content = item.get("content")
    if content is None:
        content = item.get("content_parts")
        message.pop("content_parts", None)
    # Text that is JSON stays text, so only real lists are parts; other JSON keeps its spelling.
    message["content"] = content if isinstance(content, str | list) or content is None else values.text(content)
    if "tool_calls" in message:
        calls = [_tool_call(values.as_object(call)) for call in values.as_list(message.pop("tool_calls"))]
        if calls:
            message["tool_calls"] = calls
    if message.get("audio") is None and message.get("function_call") == {}:
        message.pop("function_call")
    return message


def _tool_call(call: dict[str, Json]) -> dict[str, Json]:
    function = values.as_object(call.get("function")) or call
    return outgoing_call(call.get("id"), function.get("name"), function.get("arguments", function.get("args")))


def outgoing_call(id_: Json, name: Json, arguments: Json) -> dict[str, Json]:
    """A tool call as a request's history carries it: arguments are JSON text."""
    if not isinstance(arguments, str):
        arguments = "{}" if arguments is None else orjson.dumps(arguments, default=str).decode()
    return {"id": id_, "type": "function", "function": {"name": values.label(name) or "", "arguments": arguments}}


def tools(body: JsonObject) -> tuple[Mapping[str, Json], ...]:
    """Tool definitions in OpenAI form, also out of the older ``functions`` and Anthropic's ``input_schema``."""
    found = [tool for item in values.as_list(body.get("tools")) if (tool := _tool(values.as_object(item)))]
    legacy = [values.as_object(item) for item in values.as_list(body.get("functions"))]
    return (*found, *({"type": "function", "function": item} for item in legacy if item))


def _tool(tool: dict[str, Json]) -> dict[str, Json]:
    if "function" in tool:
        function = values.as_object(tool["function"])
        if "parameters" in function:
            function = function | {"parameters": values.decoded(function["parameters"])}
        return tool | {"function": function}
    schema = tool.get("input_schema", tool.get("parameters", tool.get("inputSchema")))
    if "name" not in tool or schema is None:
        return tool
    function = {"name": tool["name"], "description": tool.get("description"), "strict": tool.get("strict")}
    known = {key: value for key, value in function.items() if value is not None}
    return {"type": "function", "function": known | {"parameters": values.decoded(schema)}}


def params(body: JsonObject, *, known_only: bool = False) -> dict[str, Json]:
    """Settings of a request."""
    found = {}
    for key, value in body.items():
        wanted = key in PARAMS if known_only else key not in _NOT_PARAMS and not key.startswith("litellm_")
        if wanted and value is not None and not values.is_private(key):
            found[key] = _setting(key, value)
    if isinstance(choice := found.get("tool_choice"), dict) and choice.get("type") in {"auto", "any", "tool", "none"}:
        found["tool_choice"] = _tool_choice(choice)
    if "stop_sequences" in found:
        found.setdefault("stop", found.pop("stop_sequences"))
    return found


def _setting(key: str, value: Json) -> Json:
    """A setting as the API takes it: exporters write structures and numbers as text."""
    if key in {"response_format", "tool_choice", "logit_bias"}:
        return values.decoded(value)
    number = values.number(value) if key in _NUMBERS and isinstance(value, str) else None
    if number is None:
        return value
    return int(number) if value.strip().lstrip("+-").isdigit() else number


def _tool_choice(choice: JsonObject) -> Json:
    if choice.get("type") == "tool":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return "required" if choice.get("type") == "any" else choice.get("type")


def answer(body: JsonObject) -> Answer:
    """The answer in a ``chat.completion`` (or older text completion); of several choices, index 0."""
    choices = [item for item in values.as_list(body.get("choices")) if isinstance(item, dict)]
    choice = next((item for item in choices if item.get("index") == 0), choices[0] if choices else {})
    message = values.as_object(choice.get("message"))
    if not message and "text" in choice:
        message = {"content": choice["text"]}
    completion = message_completion(
        message,
        finish_reason=values.label(choice.get("finish_reason")),
        model=values.label(body.get("model")),
        n_choices=max(1, len(choices)),
    )
    return Answer(
        completion=completion,
        usage=usage(values.as_object(body.get("usage"))),
        created=values.time(body.get("created")),
        id=values.label(body.get("id")),
    )


def message_completion(
    message: JsonObject, *, finish_reason: str | None = None, model: str | None = None, n_choices: int = 1
) -> Completion:
    """An assistant message as a Completion."""
    calls = tuple(tool_call(item) for item in values.as_list(message.get("tool_calls")))
    legacy = values.as_object(message.get("function_call"))
    if legacy.get("name"):
        calls += (tool_call(legacy),)
    refusal = _refusal(message)
    return Completion(
        text=answer_text(message.get("content"), has_other=bool(calls or refusal)),
        tool_calls=calls,
        finish_reason=finish_reason,
        model=model,
        refusal=refusal,
        n_choices=n_choices,
    )


def _refusal(message: JsonObject) -> str | None:
    if message.get("refusal"):
        return values.text(message["refusal"])
    content = message.get("content")
    if isinstance(content, list):
        pieces = [
            part["refusal"] for part in content if isinstance(part, dict) and isinstance(part.get("refusal"), str)
        ]
        return "".join(pieces) or None
    return None


def answer_text(content: Json, *, has_other: bool = False) -> str | None:
    """What the user saw: text parts run together, thinking left out; ``None`` when there is none.

    An empty text beside tool calls or a refusal says nothing and is none.
    """
    if isinstance(content, list):
        parts = [part if isinstance(part, dict) else {"text": part} for part in content]
        pieces = [values.text(part.get("text")) or "" for part in parts if _is_text(part)]
        return "".join(pieces) if any(pieces) or (pieces and not has_other) else None
    found = values.text(content)
    return found if found or not has_other else None


def _is_text(part: JsonObject) -> bool:
    return part.get("type", "text") in {"text", "output_text", "input_text"} and part.get("text") is not None


def tool_call(stored: Json) -> ToolCall:
    """A tool call, its arguments decoded when they are valid JSON."""
    call = values.as_object(stored)
    function = values.as_object(call.get("function")) or call
    return ToolCall(
        id=values.label(call.get("id")),
        name=values.label(function.get("name")) or "",
        arguments=arguments(values.pick(function, "arguments", "args", "input")),
    )


def arguments(stored: Json) -> Json:
    """Arguments of a tool call: JSON when they are, else the raw text; none at all is an empty object."""
    if stored is None:
        return {}
    if not isinstance(stored, str):
        return stored
    try:
        found = orjson.loads(stored)
    except orjson.JSONDecodeError:
        return stored
    return values.decoded(found)


def usage(stored: JsonObject) -> Usage:
    """Tokens as chat completions count them: cached and reasoning tokens are part of the totals.

    Usage in Anthropic's words is counted as there, where cached tokens come on top.
    """
    read = values.as_object(values.pick(stored, "prompt_tokens_details", "input_tokens_details"))
    written = values.as_object(values.pick(stored, "completion_tokens_details", "output_tokens_details"))
    cached = values.pick(read, "cached_tokens")
    tokens_in = values.count(values.pick(stored, "prompt_tokens", "input_tokens"))
    if "prompt_tokens" not in stored and not read and tokens_in is not None:
        apart = (values.count(stored.get(name)) for name in ("cache_read_input_tokens", "cache_creation_input_tokens"))
        tokens_in = values.total(tokens_in, *apart)
    return Usage(
        tokens_in=tokens_in,
        tokens_out=values.count(values.pick(stored, "completion_tokens", "output_tokens")),
        tokens_cached=values.count(values.pick(stored, "cache_read_input_tokens") if cached is None else cached),
        tokens_reasoning=values.count(written.get("reasoning_tokens")),
    )


def text_parts(content: Sequence[Json], separator: str = "") -> str:
    """The text of a list of parts, run together."""
    return separator.join(text for part in content if (text := answer_text([part])))
