"""Bodies of the Anthropic Messages API, turned into OpenAI chat form."""

from collections.abc import Iterable, Mapping

from harness.domain.exchange import ChatRequest
from harness.domain.json import Json
from harness.domain.observation import Completion, ToolCall, Usage
from harness.ingest import values
from harness.ingest.dialects import chat_body
from harness.ingest.dialects.calls import Answer, JsonObject

_BLOCKS = frozenset(["tool_use", "tool_result", "thinking", "redacted_thinking", "server_tool_use", "document"])


def is_request(body: JsonObject) -> bool:
    """Whether a body with messages is of this API: a system prompt beside them, or its content blocks in them."""
    if values.is_stored(body.get("system")):
        return True
    for message in values.as_list(body.get("messages")):
        content = message.get("content") if isinstance(message, dict) else None
        for block in content if isinstance(content, list) else ():
            if isinstance(block, dict) and (block.get("type") in _BLOCKS or isinstance(block.get("source"), dict)):
                return True
    return any("input_schema" in tool for tool in values.as_list(body.get("tools")) if isinstance(tool, dict))


def is_answer(body: JsonObject) -> bool:
    """Whether a response body is a message of this API."""
    return isinstance(body.get("content"), list) and ("stop_reason" in body or body.get("type") == "message")


def request(body: JsonObject, model: str | None = None, *, known_only: bool = False) -> ChatRequest | None:
    """The request; ``None`` when it has no messages."""
    found = [*_system(body.get("system"))]
    for message in values.as_list(body.get("messages")):
        found.extend(_message(values.as_object(message)))
    if not any(message["role"] != "system" for message in found):
        return None
    return ChatRequest(
        model=values.label(body.get("model")) or model or "",
        messages=tuple(found),
        tools=chat_body.tools(body),
        params=chat_body.params(body, known_only=known_only),
    )


def _system(stored: Json) -> Iterable[dict[str, Json]]:
    # A prompt that is itself JSON text stays text: only a list that stands as one is blocks.
    if isinstance(stored, list):
        stored = chat_body.text_parts(stored, "\n")
    if stored:
        yield {"role": "system", "content": values.text(stored)}


def _message(message: JsonObject) -> Iterable[dict[str, Json]]:
    """A turn; tool results in it become messages of their own, in place."""
    role = values.label(message.get("role")) or "user"
    content = message.get("content")
    if not isinstance(content, list):
        yield dict(chat_body.messages([message])[0]) if message else {"role": role, "content": None}
        return
    if role == "assistant":
        yield _assistant(message, content)
        return
    parts: list[Json] = []
    for block in content:
        block = block if isinstance(block, dict) else {"type": "text", "text": values.text(block)}
        if block.get("type") != "tool_result":
            parts.append(part(block))
            continue
        if parts:
            yield {"role": role, "content": parts}
            parts = []
        yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": _result(block.get("content"))}
    if parts:
        yield {"role": role, "content": parts}


def _assistant(message: JsonObject, content: list[Json]) -> dict[str, Json]:
    parts: list[Json] = []
    calls = [
        *chat_body.messages([{"role": "assistant", "tool_calls": message.get("tool_calls")}])[0].get("tool_calls", [])
    ]
    for block in content:
        block = block if isinstance(block, dict) else {"type": "text", "text": values.text(block)}
        if block.get("type") == "tool_use":
            calls.append(chat_body.outgoing_call(block.get("id"), block.get("name"), block.get("input")))
        elif block.get("type") not in {"thinking", "redacted_thinking"}:
            parts.append(part(block))
    found: dict[str, Json] = {"role": "assistant", "content": parts or None}
    return found | {"tool_calls": calls} if calls else found


def _result(content: Json) -> Json:
    if isinstance(content, list):
        parts = [
            part(block) if isinstance(block, dict) else {"type": "text", "text": values.text(block)}
            for block in content
        ]
        if all(item.get("type") == "text" for item in parts):
            return "".join(values.text(item.get("text")) or "" for item in parts)
        return parts
    return values.text(content) or ""


def part(block: Mapping[str, Json]) -> dict[str, Json]:
    """A content block as an OpenAI content part; blocks unknown there are kept as they are."""
    kind = block.get("type")
    if kind == "text":
        return {"type": "text", "text": values.text(block.get("text")) or ""}
    source = block.get("source")
    if kind == "image" and isinstance(source, dict):
        url = source.get("url") or data_url(source.get("media_type"), source.get("data"))
        return {"type": "image_url", "image_url": {"url": url}}
    if kind == "document" and isinstance(source, dict):
        if source.get("type") == "text":
            return {"type": "text", "text": values.text(source.get("data")) or ""}
        if source.get("data"):
            data = data_url(source.get("media_type"), source["data"])
            return {"type": "file", "file": {"filename": block.get("title") or "document", "file_data": data}}
    return dict(block)


def data_url(media_type: Json, data: Json) -> str:
    """Bytes in base64 as a URL."""
    return f"data:{media_type or 'application/octet-stream'};base64,{data}"


def answer(body: JsonObject) -> Answer:
    """The answer in a message: text blocks run together, thinking left out."""
    blocks = [block for block in values.as_list(body.get("content")) if isinstance(block, dict)]
    calls = tuple(
        ToolCall(
            id=values.label(block.get("id")),
            name=values.label(block.get("name")) or "",
            arguments=chat_body.arguments(block.get("input")),
        )
        for block in blocks
        if block.get("type") == "tool_use"
    )
    completion = Completion(
        text=chat_body.answer_text([block for block in blocks if block.get("type") == "text"], has_other=bool(calls)),
        tool_calls=calls,
        finish_reason=values.label(body.get("stop_reason")),
        model=values.label(body.get("model")),
    )
    return Answer(
        completion=completion, usage=usage(values.as_object(body.get("usage"))), id=values.label(body.get("id"))
    )


def usage(stored: JsonObject) -> Usage:
    """Tokens as this API counts them: input leaves out cache reads and writes, which are added here."""
    cached = values.count(stored.get("cache_read_input_tokens"))
    fresh = values.count(stored.get("input_tokens"))
    written = values.count(stored.get("cache_creation_input_tokens"))
    return Usage(
        tokens_in=None if fresh is None else values.total(fresh, cached, written),
        tokens_out=values.count(stored.get("output_tokens")),
        tokens_cached=cached,
    )
