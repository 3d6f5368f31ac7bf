"""Bodies of the OpenAI Responses API, turned into chat form."""

from collections.abc import Mapping

from harness.domain.exchange import ChatRequest
from harness.domain.json import Json
from harness.domain.observation import Completion
from harness.ingest import values
from harness.ingest.dialects import chat_body
from harness.ingest.dialects.calls import Answer, JsonObject

_DROPPED = frozenset(["max_output_tokens", "text", "include", "truncation", "background", "previous_response_id",
                      "conversation", "prompt_cache_key", "safety_identifier"])  # fmt: skip


def is_request(body: JsonObject) -> bool:
    """Whether a body is a request of this API."""
    return "messages" not in body and ("input" in body or "instructions" in body)


def is_answer(body: JsonObject) -> bool:
    """Whether a response body is one of this API."""
    return body.get("object") == "response" or (isinstance(body.get("output"), list) and "choices" not in body)


def request(body: JsonObject, model: str | None = None) -> ChatRequest | None:
    """The request; ``None`` when it has no input."""
    found: list[dict[str, Json]] = []
    stored = body.get("input")
    if isinstance(stored, str):
        found.append({"role": "user", "content": stored})
    for item in stored if isinstance(stored, list) else ():
        if isinstance(item, dict):
            _add(found, item)
    if not found:
        return None
    if body.get("instructions"):
        found.insert(0, {"role": "system", "content": values.text(body["instructions"])})
    return ChatRequest(
        model=values.label(body.get("model")) or model or "",
        messages=tuple(found),
        tools=chat_body.tools(body),
        params=_params(body),
    )


def _add(found: list[dict[str, Json]], item: JsonObject) -> None:
    kind = item.get("type", "message")
    if kind == "function_call":
        call = chat_body.outgoing_call(item.get("call_id") or item.get("id"), item.get("name"), item.get("arguments"))
        if found and found[-1]["role"] == "assistant":
            found[-1] = found[-1] | {"tool_calls": [*found[-1].get("tool_calls", []), call]}
        else:
            found.append({"role": "assistant", "content": None, "tool_calls": [call]})
    elif kind == "function_call_output":
        output = item.get("output")
        content = [part(piece) for piece in output] if isinstance(output, list) else values.text(output)
        found.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": content})
    elif kind == "message" and item.get("role"):
        content = item.get("content")
        if isinstance(content, list):
            content = [part(piece) for piece in content]
        found.append({"role": item["role"], "content": content})


def part(piece: Json) -> Json:
    """A content part of this API as one of the chat API."""
    if not isinstance(piece, Mapping):
        return {"type": "text", "text": values.text(piece) or ""}
    match piece.get("type"):
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": values.text(piece.get("text")) or ""}
        case "input_image":
            url = piece.get("image_url")
            image = {"url": url, "detail": piece.get("detail")}
            return {"type": "image_url", "image_url": {key: value for key, value in image.items() if value}}
        case "input_file":
            file = {key: piece[key] for key in ("file_id", "file_data", "filename") if piece.get(key)}
            return {"type": "file", "file": file}
        case _:
            return dict(piece)


def _params(body: JsonObject) -> dict[str, Json]:
    found = {key: value for key, value in chat_body.params(body).items() if key not in _DROPPED}
    if body.get("max_output_tokens") is not None:
        found["max_tokens"] = body["max_output_tokens"]
    reasoning = found.pop("reasoning", None)
    if isinstance(reasoning, dict) and reasoning.get("effort"):
        found["reasoning_effort"] = reasoning["effort"]
    text = values.as_object(body.get("text"))
    form = values.as_object(text.get("format"))
    if form.get("type") == "json_schema":
        found["response_format"] = {"type": "json_schema",
                                    "json_schema": {k: v for k, v in form.items() if k != "type"}}  # fmt: skip
    elif form.get("type") not in {None, "text"}:
        found["response_format"] = form
    if text.get("verbosity"):
        found["verbosity"] = text["verbosity"]
    choice = found.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "function" and "name" in choice:
        found["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
    return found


def answer(body: JsonObject) -> Answer:
    """The answer: texts of all message items run together, reasoning left out.

    The finish reason is why it is incomplete, or the status.
    """
    items = [item for item in values.as_list(body.get("output")) if isinstance(item, dict)]
    parts = [
        part
        for item in items
        if item.get("type") == "message"
        for part in values.as_list(item.get("content"))
        if isinstance(part, dict)
    ]
    calls = tuple(
        chat_body.tool_call(dict(item) | {"id": item.get("call_id") or item.get("id")})
        for item in items
        if item.get("type") == "function_call"
    )
    refusal = "".join(part["refusal"] for part in parts if isinstance(part.get("refusal"), str)) or None
    cause = values.as_object(body.get("incomplete_details")).get("reason")
    completion = Completion(
        text=chat_body.answer_text(parts, has_other=bool(calls or refusal)),
        tool_calls=calls,
        finish_reason=values.label(cause or body.get("status")),
        model=values.label(body.get("model")),
        refusal=refusal,
    )
    return Answer(
        completion=completion,
        usage=chat_body.usage(values.as_object(body.get("usage"))),
        created=values.time(body.get("created_at")),
        id=values.label(body.get("id")),
    )
