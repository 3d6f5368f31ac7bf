"""Bodies of Gemini's generateContent, turned into OpenAI chat form."""

from harness.domain.exchange import ChatRequest
from harness.domain.json import Json
from harness.domain.observation import Completion, ToolCall, Usage
from harness.ingest import values
from harness.ingest.dialects import chat_body
from harness.ingest.dialects.anthropic_body import data_url
from harness.ingest.dialects.calls import Answer, JsonObject

_SETTINGS = {
    "temperature": "temperature", "topP": "top_p", "topK": "top_k", "maxOutputTokens": "max_tokens", "seed": "seed",
    "stopSequences": "stop", "presencePenalty": "presence_penalty", "frequencyPenalty": "frequency_penalty",
}  # fmt: skip


def is_request(body: JsonObject) -> bool:
    """Whether a body is a request of this API."""
    return isinstance(body.get("contents"), list)


def is_answer(body: JsonObject) -> bool:
    """Whether a response body is one of this API."""
    return isinstance(body.get("candidates"), list) or "promptFeedback" in body


def request(body: JsonObject, model: str | None = None) -> ChatRequest | None:
    """The request; ``None`` when it has no contents."""
    found: list[dict[str, Json]] = []
    system = values.as_object(values.pick(body, "systemInstruction", "system_instruction"))
    if text := chat_body.text_parts(values.as_list(system.get("parts")), "\n"):
        found.append({"role": "system", "content": text})
    for content in values.as_list(body.get("contents")):
        if isinstance(content, dict):
            found.extend(_turns(content))
    if not any(message["role"] != "system" for message in found):
        return None
    settings = values.as_object(values.pick(body, "generationConfig", "generation_config"))
    functions = [
        item
        for tool in values.as_list(body.get("tools"))
        if isinstance(tool, dict)
        for item in values.as_list(values.pick(tool, "functionDeclarations", "function_declarations"))
    ]
    return ChatRequest(
        model=values.label(body.get("model")) or model or "",
        messages=tuple(found),
        tools=chat_body.tools({"functions": functions}),
        params={name: settings[key] for key, name in _SETTINGS.items() if settings.get(key) is not None},
    )


def _turns(content: JsonObject) -> list[dict[str, Json]]:
    parts: list[Json] = []
    calls: list[Json] = []
    results: list[dict[str, Json]] = []
    for part in values.as_list(content.get("parts")):
        part = part if isinstance(part, dict) else {"text": part}
        call = values.pick(part, "functionCall", "function_call")
        result = values.pick(part, "functionResponse", "function_response")
        inline = values.pick(part, "inlineData", "inline_data")
        if isinstance(call, dict):
            # This API has no call ids; the name is what its results refer to.
            calls.append(
                chat_body.outgoing_call(call.get("id") or call.get("name"), call.get("name"), call.get("args"))
            )
        elif isinstance(result, dict):
            answer = values.text(result.get("response")) or ""
            results.append({"role": "tool", "tool_call_id": result.get("id") or result.get("name"), "content": answer})
        elif isinstance(inline, dict):
            url = data_url(values.pick(inline, "mimeType", "mime_type"), inline.get("data"))
            parts.append({"type": "image_url", "image_url": {"url": url}})
        elif part.get("text") is not None and not part.get("thought"):
            parts.append({"type": "text", "text": values.text(part["text"])})
        elif not part.get("thought"):
            parts.append(part)
    if not parts and not calls:
        return results
    turn: dict[str, Json] = {
        "role": "assistant" if content.get("role") == "model" else "user",
        "content": parts or None,
    }
    return [*results, turn | {"tool_calls": calls} if calls else turn]


def answer(body: JsonObject) -> Answer:
    """The answer of the first candidate, thoughts left out."""
    candidates = [item for item in values.as_list(body.get("candidates")) if isinstance(item, dict)]
    first = candidates[0] if candidates else {}
    parts = [
        part for part in values.as_list(values.as_object(first.get("content")).get("parts")) if isinstance(part, dict)
    ]
    stored = [values.as_object(call) for part in parts if (call := values.pick(part, "functionCall", "function_call"))]
    calls = tuple(
        ToolCall(
            id=values.label(call.get("id")),
            name=values.label(call.get("name")) or "",
            arguments=chat_body.arguments(call.get("args")),
        )
        for call in stored
    )
    blocked = values.as_object(body.get("promptFeedback")).get("blockReason")
    spoken = [{"text": part["text"]} for part in parts if part.get("text") is not None and not part.get("thought")]
    completion = Completion(
        text=chat_body.answer_text(spoken, has_other=bool(calls)),
        tool_calls=calls,
        finish_reason=values.label(values.pick(first, "finishReason", "finish_reason") or blocked),
        model=values.label(values.pick(body, "modelVersion", "model")),
        n_choices=max(1, len(candidates)),
    )
    usage = values.as_object(values.pick(body, "usageMetadata", "usage_metadata"))
    return Answer(
        completion=completion,
        usage=_usage(usage),
        created=values.time(body.get("createTime")),
        id=values.label(body.get("responseId")),
    )


def _usage(stored: JsonObject) -> Usage:
    thought = values.count(stored.get("thoughtsTokenCount"))
    return Usage(
        tokens_in=values.count(stored.get("promptTokenCount")),
        tokens_out=values.total(values.count(stored.get("candidatesTokenCount")), thought),
        tokens_cached=values.count(stored.get("cachedContentTokenCount")),
        tokens_reasoning=thought,
    )
