"""Where a telemetry span keeps its prompt and answer: seven places, tried in order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.domain.json import Json
from harness.domain.observation import Completion
from harness.ingest import values
from harness.ingest.dialects import chat_body
from harness.ingest.dialects.anthropic_body import data_url
from harness.ingest.dialects.calls import JsonObject, UnreadableRecord
from harness.ingest.dialects.otel_values import attributes, indexed

DETAILS = "gen_ai.client.inference.operation.details"
_ROLES = {"gen_ai.system.message": "system", "gen_ai.user.message": "user", "gen_ai.assistant.message": "assistant",
          "gen_ai.tool.message": "tool"}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """Prompt and answer of a span, either of which may be missing."""

    messages: tuple[Mapping[str, Json], ...] = ()
    completion: Completion | None = None


def find(found: JsonObject, events: Sequence[JsonObject]) -> Content:
    """Prompt and answer out of a span's attributes, its events and the log records that belong to it."""
    messages: tuple[Mapping[str, Json], ...] = ()
    for content in _places(found, events):
        messages = messages or content.messages
        # The prompt may stand in one place and the answer, which came later, in another.
        if messages and content.completion is not None:
            return Content(messages=messages, completion=content.completion)
    return Content(messages=messages)


def _places(found: JsonObject, events: Sequence[JsonObject]) -> Iterable[Content]:
    yield _structured(found)
    for event in events:
        yield _structured(event_attributes(event))
    yield _logged(events)
    yield _span_events(events)
    yield _indexed(found)
    yield _openinference(found)
    yield _plain(found)


def structure(stored: Json) -> list[Json]:
    """A list that must stand here, also as its JSON.

    Raises:
        UnreadableRecord: it is JSON cut off at an attribute length limit.
    """
    found = values.decoded(stored)
    if isinstance(found, str) and found.lstrip()[:1] in {"[", "{"}:
        raise UnreadableRecord(
            "cut_content",
            "a recorded message list is cut off; raise OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT and a collector's limits",
        )
    if isinstance(found, dict):
        return [found]
    return found if isinstance(found, list) else []


def event_name(event: JsonObject) -> str:
    """Name of an event: a field of its own, or an older attribute."""
    found = values.pick(event, "eventName", "event_name", "name")
    return values.label(found or event_attributes(event).get("event.name")) or ""


def event_attributes(event: JsonObject) -> dict[str, Json]:
    """Attributes of a span event or log record; a structured body counts as more of them."""
    found = attributes(event.get("attributes"))
    body = _event_body(event)
    return {**body, **found} if any(key.startswith("gen_ai.") for key in body) else found


def _event_body(event: JsonObject) -> dict[str, Json]:
    body = attributes({"body": event.get("body")}).get("body")
    return values.as_object(body)


def _structured(found: JsonObject) -> Content:
    messages: list[Mapping[str, Json]] = []
    instructions = structure(found.get("gen_ai.system_instructions"))
    text = "\n".join(_part_text(part) for part in instructions)
    if text:
        messages.append({"role": "system", "content": text})
    elif isinstance(raw := found.get("gen_ai.system_instructions"), str) and raw and not instructions:
        messages.append({"role": "system", "content": raw})
    for message in structure(found.get("gen_ai.input.messages")):
        messages.extend(_from_parts(values.as_object(message)))
    choices = [values.as_object(item) for item in structure(found.get("gen_ai.output.messages"))]
    completion = _completion(choices[0], len(choices)) if choices else None
    asked = any(message["role"] != "system" for message in messages)
    return Content(messages=tuple(messages) if asked else (), completion=completion)


def _completion(message: JsonObject, n_choices: int) -> Completion:
    turns = list(_from_parts(message)) or [{"role": "assistant", "content": None}]
    answer = turns[0]
    finish = values.label(message.get("finish_reason"))
    return chat_body.message_completion(answer, finish_reason=finish, n_choices=max(1, n_choices))


def _part_text(part: Json) -> str:
    part = part if isinstance(part, dict) else {"content": part}
    return values.text(values.pick(part, "content", "text")) or ""


def _from_parts(message: JsonObject) -> Iterable[dict[str, Json]]:
    """A message with parts; tool results in it become messages of their own."""
    role = values.label(message.get("role")) or "user"
    if "parts" not in message:
        yield from (dict(item) for item in chat_body.messages([message]))
        return
    parts: list[Json] = []
    calls: list[Json] = []
    for part in structure(message.get("parts")):
        part = part if isinstance(part, dict) else {"type": "text", "content": part}
        kind = part.get("type")
        if kind == "tool_call":
            calls.append(chat_body.outgoing_call(part.get("id"), part.get("name"), part.get("arguments")))
        elif kind == "tool_call_response":
            result = values.pick(part, "response", "result", "content")
            yield {"role": "tool", "tool_call_id": part.get("id"), "content": values.text(result) or ""}
        elif kind not in {"reasoning", "thinking"}:
            parts.append(_part(part))
    if parts or calls or not message.get("parts"):
        turn: dict[str, Json] = {"role": role, "content": _content(parts)}
        yield turn | {"tool_calls": calls} if calls else turn


def _content(parts: list[Json]) -> Json:
    # One text is how plain content is written in this form.
    if len(parts) == 1 and parts[0].get("type") == "text":
        return parts[0]["text"]
    return parts or None


def _part(part: JsonObject) -> dict[str, Json]:
    kind = part.get("type")
    if kind == "text":
        return {"type": "text", "text": _part_text(part)}
    is_image = part.get("modality") == "image" or str(part.get("mime_type", "")).startswith("image/")
    if kind == "blob" and is_image:
        url = data_url(part.get("mime_type"), values.pick(part, "content", "data"))
        return {"type": "image_url", "image_url": {"url": url}}
    if kind == "uri" and is_image:
        return {"type": "image_url", "image_url": {"url": part.get("uri")}}
    if kind == "file":
        return {"type": "file", "file": {"file_id": part.get("file_id")}}
    return dict(part)


def _indexed(found: JsonObject) -> Content:
    """OpenLLMetry: ``gen_ai.prompt.N.role``, ``gen_ai.completion.N.content``, tool calls below them."""
    messages = chat_body.messages(indexed(found, "gen_ai.prompt"))
    answers = values.as_list(indexed(found, "gen_ai.completion"))
    first = values.as_object(answers[0]) if answers else None
    finish = values.label(first.get("finish_reason")) if first else None
    completion = (
        chat_body.message_completion(_with_content(first), finish_reason=finish, n_choices=len(answers))
        if first
        else None
    )
    return Content(messages=tuple(_parts_of(message) for message in messages), completion=completion)


def _with_content(message: JsonObject) -> JsonObject:
    content = message.get("content")
    # This instrumentation writes answer blocks as JSON, which is structure here and never the text itself.
    blocks = values.decoded(content) if isinstance(content, str) and content.startswith('[{"type"') else content
    return dict(message) | {"content": blocks}


def _parts_of(message: Mapping[str, Json]) -> Mapping[str, Json]:
    found = _with_content(message)
    return found if isinstance(found["content"], list) else message


def _openinference(found: JsonObject) -> Content:
    """OpenInference: ``llm.input_messages.N.message.*``, ``llm.output_messages.N.message.*``."""
    asked = [_unwrapped(item) for item in values.as_list(indexed(found, "llm.input_messages"))]
    answered = [_unwrapped(item) for item in values.as_list(indexed(found, "llm.output_messages"))]
    completion = chat_body.message_completion(answered[0], n_choices=len(answered)) if answered else None
    if completion is None and found.get("output.value") is not None:
        completion = _output_value(found)
    return Content(messages=chat_body.messages(asked), completion=completion)


def _unwrapped(item: Json) -> dict[str, Json]:
    message = dict(values.as_object(values.as_object(item).get("message", item)))
    calls = []
    for stored in values.as_list(message.pop("tool_calls", None)):
        inner = values.as_object(values.as_object(stored).get("tool_call", stored))
        calls.append(inner)
    if calls:
        message["tool_calls"] = calls
    parts = []
    for stored in values.as_list(message.pop("contents", None)):
        inner = values.as_object(values.as_object(stored).get("message_content", stored))
        image = values.as_object(values.as_object(inner.get("image")).get("image", inner.get("image")))
        if inner.get("type") == "image":
            parts.append({"type": "image_url", "image_url": {"url": image.get("url")}})
        else:
            parts.append({"type": "text", "text": values.text(inner.get("text")) or ""})
    if parts:
        message["content"] = parts
    return message


def _output_value(found: JsonObject) -> Completion | None:
    from harness.ingest.dialects import bodies

    answer = bodies.answer(found["output.value"])
    return answer.completion if answer else None


def _logged(events: Sequence[JsonObject]) -> Content:
    """Log records of 1.28 to 1.36: one per message, one per choice, in no order of their own."""
    messages: list[Mapping[str, Json]] = []
    choices: list[JsonObject] = []
    for event in _sorted(events):
        name = event_name(event)
        own = event_attributes(event)
        body = _event_body(event) or values.as_object(own.get("gen_ai.event.content")) or own
        if name in _ROLES:
            messages.append(_logged_message(_ROLES[name], body))
        elif name == "gen_ai.choice":
            choices.append(body)
    choices.sort(key=lambda choice: values.number(choice.get("index")) or 0)
    completion = None
    if choices:
        inner = values.as_object(choices[0].get("message")) or choices[0]
        finish = values.label(choices[0].get("finish_reason"))
        completion = chat_body.message_completion(inner, finish_reason=finish, n_choices=len(choices))
    return Content(messages=tuple(messages), completion=completion)


def _logged_message(role: str, body: JsonObject) -> Mapping[str, Json]:
    message = {key: value for key, value in body.items() if not key.startswith(("gen_ai.", "event."))}
    id_ = message.pop("id", None)
    message["role"] = values.label(message.get("role")) or role
    if role == "tool" and id_ is not None:
        message["tool_call_id"] = id_
    return chat_body.messages([{"content": None} | message])[0]


def _sorted(events: Sequence[JsonObject]) -> list[JsonObject]:
    # Sorting is stable, so records of one instant stay in the order they were written.
    return sorted(events, key=_when)


def _when(event: JsonObject) -> int:
    for name in ("timeUnixNano", "time_unix_nano", "observedTimeUnixNano", "observed_time_unix_nano"):
        found = values.number(event.get(name))
        if found:
            return int(event[name])
    return 0


def _span_events(events: Sequence[JsonObject]) -> Content:
    """Span events of 1.27: prompt and completion as JSON in one attribute each."""
    by_name = {event_name(event): event_attributes(event) for event in _sorted(events)}
    prompt = by_name.get("gen_ai.content.prompt", {}).get("gen_ai.prompt")
    answer = by_name.get("gen_ai.content.completion", {}).get("gen_ai.completion")
    return _pair(prompt, answer)


def _plain(found: JsonObject) -> Content:
    """Prompt and completion in one attribute each, on the span itself."""
    if values.is_stored(found.get("gen_ai.prompt")):
        return _pair(found["gen_ai.prompt"], found.get("gen_ai.completion"))
    if values.is_stored(found.get("input.value")):
        from harness.ingest.dialects import bodies

        request = bodies.request(found["input.value"])
        return Content(
            messages=request.messages if request else (),
            completion=_output_value({"output.value": found.get("output.value")}),
        )
    return Content()


def _pair(prompt: Json, answer: Json) -> Content:
    asked = values.decoded(prompt)
    if isinstance(asked, str) and asked.lstrip()[:2] in {"[{", '{"'}:
        structure(asked)
    messages = chat_body.messages(asked) if isinstance(asked, list | dict) else ()
    if isinstance(asked, str) and asked:
        messages = ({"role": "user", "content": asked},)
    answered = values.decoded(answer)
    if isinstance(answered, list):
        answered = answered[0] if answered else None
    if isinstance(answered, dict):
        inner = values.as_object(answered.get("message")) or answered
        finish = values.label(answered.get("finish_reason"))
        return Content(messages=messages, completion=chat_body.message_completion(inner, finish_reason=finish))
    return Content(messages=messages, completion=Completion(text=answered) if isinstance(answered, str) else None)


def finished(completion: Completion, *, reason: str | None, model: str | None) -> Completion:
    """The completion with what the span knows about it where its message does not say."""
    return replace(completion, finish_reason=completion.finish_reason or reason, model=completion.model or model)
