"""Folding a stream that was stored as chunks into the one answer the user saw."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from harness.domain.json import Json

_END = "[DONE]"
_ERROR_EVENTS = frozenset(["error", "response.failed"])


def is_stream(value: Json) -> bool:
    """Whether a stored response is a list of stream events or the raw text of one."""
    if isinstance(value, str):
        start = value.lstrip()[:6]
        if not start.startswith(("data:", "event:", ": ", "id:")) or "data:" not in value:
            return False
        # An answer may begin with such a word too.
        return _END in value or next(iter(_from_text(value)), None) is not None
    if not isinstance(value, list) or not value:
        return False
    return any(_is_event(item) for item in value[:5])


def _is_event(item: Json) -> bool:
    if isinstance(item, str):
        return item.strip() == _END or is_stream(item) or any(map(_is_event, _parsed(item)))
    if not isinstance(item, Mapping):
        return False
    kind = item.get("type")
    return (
        item.get("object") in {"chat.completion.chunk", "text_completion"}
        or (isinstance(item.get("choices"), list) and "messages" not in item)
        or (isinstance(kind, str) and (kind.startswith(("message_", "content_block_", "response.")) or kind == "error"))
        or "candidates" in item
    )


def fold(value: Json) -> dict[str, Json]:
    """The body a plain call would have returned: of a chat completion, an Anthropic message, a Response or Gemini.

    Chunks may be objects, their JSON, or raw ``data:`` lines. An error event gives a body with ``error``, whatever
    came before it.
    """
    events = _events(value)
    for event in events:
        error = event.get("error")
        if error:
            return {"error": error}
        if event.get("type") in _ERROR_EVENTS:
            return {"error": (event.get("response") or {}).get("error") or event}
    kinds = [kind for event in events if isinstance(kind := event.get("type"), str)]
    if any(kind.startswith("response.") for kind in kinds):
        return _fold_responses(events)
    if any(kind.startswith(("message_", "content_block_")) for kind in kinds):
        return _fold_anthropic(events)
    if any("candidates" in event for event in events):
        return _fold_gemini(events)
    return _fold_chat(events)


def _events(value: Json) -> list[dict[str, Any]]:
    if isinstance(value, str):
        return list(_from_text(value))
    events: list[dict[str, Any]] = []
    for item in value:
        if isinstance(item, str):
            events.extend(_from_text(item) if "data:" in item[:200] else _parsed(item))
        elif isinstance(item, Mapping):
            events.append(dict(item))
    return events


def _from_text(text: str) -> Iterable[dict[str, Any]]:
    data: list[str] = []
    for line in [*text.replace("\r\n", "\n").split("\n"), ""]:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line.strip() and data:
            yield from _joined(data)
            data = []
    yield from _joined(data)


def _joined(data: list[str]) -> Iterable[dict[str, Any]]:
    # One event may spread its data over lines; loggers that lose the blank lines leave one event per line.
    whole = list(_parsed("\n".join(data)))
    if whole or len(data) < 2:
        yield from whole
        return
    for line in data:
        yield from _parsed(line)


def _parsed(text: str) -> Iterable[dict[str, Any]]:
    try:
        event = orjson.loads(text)
    except orjson.JSONDecodeError:
        return
    if isinstance(event, dict):
        yield event


def _append(target: dict[str, Any], key: str, piece: Json) -> None:
    if isinstance(piece, str):
        target[key] = (target.get(key) or "") + piece


def _fold_chat(events: list[dict[str, Any]]) -> dict[str, Json]:
    body: dict[str, Any] = {"object": "chat.completion", "choices": []}
    choices: dict[int, dict[str, Any]] = {}
    for event in events:
        for key in ("id", "model", "created", "system_fingerprint"):
            if event.get(key):
                body.setdefault(key, event[key])
        if event.get("usage"):
            body["usage"] = event["usage"]
        for position, piece in enumerate(event.get("choices") or []):
            if isinstance(piece, Mapping):
                index = piece.get("index")
                _add_choice(choices, index if isinstance(index, int) else position, piece)
    for index in sorted(choices):
        choice = choices[index]
        calls = choice.pop("calls")
        if calls:
            choice["message"]["tool_calls"] = [calls[key] for key in sorted(calls)]
        body["choices"].append(choice)
    return body


def _add_choice(choices: dict[int, dict[str, Any]], index: int, piece: Mapping[str, Any]) -> None:
    new = {"index": index, "message": {"role": "assistant", "content": None}, "finish_reason": None, "calls": {}}
    choice = choices.setdefault(index, new)
    delta = piece.get("delta") or piece.get("message") or {}
    message = choice["message"]
    for key in ("content", "refusal"):
        _append(message, key, delta.get(key))
    _append(message, "content", piece.get("text"))
    if isinstance(legacy := delta.get("function_call"), Mapping):
        call = message.setdefault("function_call", {"name": "", "arguments": ""})
        _append(call, "name", legacy.get("name"))
        _append(call, "arguments", legacy.get("arguments"))
    for position, part in enumerate(delta.get("tool_calls") or []):
        if isinstance(part, Mapping):
            _add_tool_call(choice["calls"], part, position)
    if piece.get("finish_reason"):
        choice["finish_reason"] = piece["finish_reason"]


def _add_tool_call(calls: dict[int, dict[str, Any]], part: Mapping[str, Any], position: int) -> None:
    index = part.get("index")
    if not isinstance(index, int):
        # Some gateways leave the index out: a piece with an id begins a call, one without goes on with the last.
        index = len(calls) if part.get("id") else max(calls, default=position)
    call = calls.setdefault(index, {"id": None, "type": "function", "function": {"name": None, "arguments": ""}})
    call["id"] = call["id"] or part.get("id")
    function = part.get("function") or {}
    call["function"]["name"] = call["function"]["name"] or function.get("name")
    _append(call["function"], "arguments", function.get("arguments"))


def _fold_anthropic(events: list[dict[str, Any]]) -> dict[str, Json]:
    body: dict[str, Any] = {"type": "message", "role": "assistant", "content": []}
    blocks: dict[int, dict[str, Any]] = {}
    for event in events:
        kind = event.get("type")
        if kind == "message_start":
            body |= {key: value for key, value in (event.get("message") or {}).items() if key != "content"}
        elif kind == "content_block_start":
            blocks[event.get("index", len(blocks))] = dict(event.get("content_block") or {}) | {"pieces": ""}
        elif kind == "content_block_delta":
            block = blocks.setdefault(event.get("index", 0), {"type": "text", "text": "", "pieces": ""})
            delta = event.get("delta") or {}
            _append(block, "text", delta.get("text"))
            _append(block, "thinking", delta.get("thinking"))
            _append(block, "pieces", delta.get("partial_json"))
        elif kind == "message_delta":
            body |= {key: value for key, value in (event.get("delta") or {}).items() if value is not None}
            usage = {key: value for key, value in (event.get("usage") or {}).items() if value is not None}
            body["usage"] = (body.get("usage") or {}) | usage
    for index in sorted(blocks):
        block = blocks[index]
        pieces = block.pop("pieces")
        if pieces:
            block["input"] = pieces
        body["content"].append(block)
    return body


def _fold_responses(events: list[dict[str, Any]]) -> dict[str, Json]:
    body: dict[str, Any] = {"object": "response", "output": []}
    items: dict[int, dict[str, Any]] = {}
    for event in events:
        kind = event.get("type")
        if isinstance(whole := event.get("response"), Mapping):
            body |= whole
        elif kind in {"response.output_item.added", "response.output_item.done"}:
            items[event.get("output_index", len(items))] = dict(event.get("item") or {})
        elif kind == "response.output_text.delta":
            item = items.setdefault(event.get("output_index", 0), {"type": "message", "content": []})
            parts = item["content"] = item.get("content") or [{"type": "output_text", "text": ""}]
            _append(parts[-1], "text", event.get("delta"))
        elif kind == "response.refusal.delta":
            item = items.setdefault(event.get("output_index", 0), {"type": "message", "content": []})
            parts = item["content"] = item.get("content") or [{"type": "refusal", "refusal": ""}]
            _append(parts[-1], "refusal", event.get("delta"))
        elif kind == "response.function_call_arguments.delta":
            _append(items.setdefault(event.get("output_index", 0), {"type": "function_call"}), "arguments",
                    event.get("delta"))  # fmt: skip
    # The closing event repeats everything; a cut stream has only the pieces.
    body["output"] = body.get("output") or [items[index] for index in sorted(items)]
    return body


def _fold_gemini(events: list[dict[str, Any]]) -> dict[str, Json]:
    body: dict[str, Any] = {}
    candidates: dict[int, dict[str, Any]] = {}
    for event in events:
        body |= {key: value for key, value in event.items() if key != "candidates" and value}
        for position, piece in enumerate(event.get("candidates") or []):
            index = piece.get("index", position)
            candidate = candidates.setdefault(index, {"index": index, "content": {"parts": []}})
            candidate["content"]["parts"].extend((piece.get("content") or {}).get("parts") or [])
            if piece.get("finishReason"):
                candidate["finishReason"] = piece["finishReason"]
    return body | {"candidates": [candidates[index] for index in sorted(candidates)]}
