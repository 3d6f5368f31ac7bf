"""Bodies of Bedrock's Converse API, turned into OpenAI chat form."""

from harness.domain.exchange import ChatRequest
from harness.domain.json import Json
from harness.domain.observation import Completion, ToolCall, Usage
from harness.ingest import values
from harness.ingest.dialects import chat_body
from harness.ingest.dialects.anthropic_body import data_url
from harness.ingest.dialects.calls import Answer, JsonObject

_SETTINGS = {"maxTokens": "max_tokens", "temperature": "temperature", "topP": "top_p", "stopSequences": "stop"}
_KEYS = frozenset(
    ["text", "image", "toolUse", "toolResult", "guardContent", "document", "cachePoint", "reasoningContent"]
)


def is_request(body: JsonObject) -> bool:
    """Whether a body with messages is of this API: its blocks have no ``type``, their key says what they are."""
    if "inferenceConfig" in body or "toolConfig" in body:
        return True
    for message in values.as_list(body.get("messages")):
        content = message.get("content") if isinstance(message, dict) else None
        for block in content if isinstance(content, list) else ():
            return isinstance(block, dict) and "type" not in block and bool(_KEYS & block.keys())
    return False


def is_answer(body: JsonObject) -> bool:
    """Whether a response body is one of this API."""
    return isinstance(body.get("output"), dict) and "message" in body["output"]


def request(body: JsonObject, model: str | None = None) -> ChatRequest | None:
    """The request; ``None`` when it has no messages."""
    found: list[dict[str, Json]] = []
    system = [_text(block) for block in values.as_list(body.get("system"))]
    if any(system):
        found.append({"role": "system", "content": "\n".join(text for text in system if text)})
    for message in values.as_list(body.get("messages")):
        if isinstance(message, dict):
            found.extend(_turns(message))
    if not any(message["role"] != "system" for message in found):
        return None
    settings = values.as_object(body.get("inferenceConfig"))
    extra = values.as_object(body.get("additionalModelRequestFields"))
    specs = [
        values.as_object(tool["toolSpec"])
        for tool in values.as_list(values.as_object(body.get("toolConfig")).get("tools"))
        if isinstance(tool, dict) and "toolSpec" in tool
    ]
    tools = [spec | {"inputSchema": values.as_object(spec.get("inputSchema")).get("json")} for spec in specs]
    return ChatRequest(
        model=values.label(body.get("model")) or model or "",
        messages=tuple(found),
        tools=chat_body.tools({"tools": tools}),
        params={name: settings[key] for key, name in _SETTINGS.items() if settings.get(key) is not None}
        | chat_body.params(extra),
    )


def _text(block: Json) -> str:
    if not isinstance(block, dict):
        return values.text(block) or ""
    guarded = values.as_object(values.as_object(block.get("guardContent")).get("text")).get("text")
    return values.text(block.get("text", guarded)) or ""


def _turns(message: JsonObject) -> list[dict[str, Json]]:
    role = values.label(message.get("role")) or "user"
    turns: list[dict[str, Json]] = []
    parts: list[Json] = []
    calls: list[Json] = []
    for block in values.as_list(message.get("content")):
        block = block if isinstance(block, dict) else {"text": values.text(block)}
        if isinstance(use := block.get("toolUse"), dict):
            calls.append(chat_body.outgoing_call(use.get("toolUseId"), use.get("name"), use.get("input")))
        elif isinstance(result := block.get("toolResult"), dict):
            content = [_result(item) for item in values.as_list(result.get("content"))]
            turns.append({"role": "tool", "tool_call_id": result.get("toolUseId"), "content": "".join(content)})
        elif "reasoningContent" not in block and "cachePoint" not in block:
            parts.append(_part(block))
    if parts or calls:
        turn: dict[str, Json] = {"role": role, "content": parts or None}
        turns.append(turn | {"tool_calls": calls} if calls else turn)
    return turns


def _result(item: Json) -> str:
    if isinstance(item, dict) and "json" in item:
        return values.text(item["json"]) or ""
    return _text(item)


def _part(block: JsonObject) -> dict[str, Json]:
    image = block.get("image")
    if isinstance(image, dict):
        source = values.as_object(image.get("source"))
        if source.get("bytes"):
            url = data_url(f"image/{image.get('format') or 'png'}", source["bytes"])
            return {"type": "image_url", "image_url": {"url": url}}
    if "text" in block or "guardContent" in block:
        return {"type": "text", "text": _text(block)}
    return dict(block)


def answer(body: JsonObject) -> Answer:
    """The answer: text blocks run together, reasoning left out."""
    message = values.as_object(values.as_object(body.get("output")).get("message"))
    blocks = [block for block in values.as_list(message.get("content")) if isinstance(block, dict)]
    uses = [values.as_object(block["toolUse"]) for block in blocks if "toolUse" in block]
    calls = tuple(
        ToolCall(
            id=values.label(use.get("toolUseId")),
            name=values.label(use.get("name")) or "",
            arguments=chat_body.arguments(use.get("input")),
        )
        for use in uses
    )
    spoken = [{"text": _text(block)} for block in blocks if "text" in block or "guardContent" in block]
    completion = Completion(
        text=chat_body.answer_text(spoken, has_other=bool(calls)),
        tool_calls=calls,
        finish_reason=values.label(body.get("stopReason")),
    )
    return Answer(completion=completion, usage=usage(values.as_object(body.get("usage"))))


def usage(stored: JsonObject) -> Usage:
    """Tokens as this API counts them: input leaves out what the cache gave and took, which is added here."""
    cached = values.count(values.pick(stored, "cacheReadInputTokens", "cacheReadInputTokenCount"))
    written = values.count(values.pick(stored, "cacheWriteInputTokens", "cacheWriteInputTokenCount"))
    fresh = values.count(values.pick(stored, "inputTokens", "inputTokenCount"))
    return Usage(
        tokens_in=None if fresh is None else values.total(fresh, cached, written),
        tokens_out=values.count(values.pick(stored, "outputTokens", "outputTokenCount")),
        tokens_cached=cached,
    )
