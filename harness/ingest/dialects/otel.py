"""OpenTelemetry GenAI: OTLP traces and logs, and spans as back ends dump them."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from harness.domain.exchange import ChatRequest
from harness.domain.json import Json
from harness.domain.observation import Usage
from harness.ingest import values
from harness.ingest.dialects import bodies, chat_body, langfuse, otel_content
from harness.ingest.dialects.batches import at
from harness.ingest.dialects.calls import (
    MALFORMED,
    Answer,
    Call,
    Context,
    Ignore,
    JsonObject,
    Outcome,
    Skip,
    guarded,
    rejected,
)
from harness.ingest.dialects.otel_values import attributes, identifier, indexed, logs, spans
from harness.ingest.dialects.parts import Part

_SPAN = "otel span"
_LOG = "otel log"
_TOLD = "otel told"
"""Spans that needed no log records; what logs they have says nothing new."""
_CHAT = frozenset(["chat", "text_completion", "generate_content", "completion"])
_SETTINGS = {
    "gen_ai.request.max_tokens": "max_tokens", "gen_ai.request.temperature": "temperature",
    "gen_ai.request.top_p": "top_p",
    "gen_ai.request.top_k": "top_k", "gen_ai.request.stop_sequences": "stop", "gen_ai.request.seed": "seed",
    "gen_ai.request.frequency_penalty": "frequency_penalty", "gen_ai.request.presence_penalty": "presence_penalty",
    "gen_ai.request.choice.count": "n", "llm.top_k": "top_k", "llm.frequency_penalty": "frequency_penalty",
    "llm.presence_penalty": "presence_penalty",
}  # fmt: skip
_HINT = (
    "the messages were not recorded, which is the default; set OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    " (true, or span_only in newer versions) in the instrumented service,"
    " and export its logs too if content goes there"
)


def recognises(record: JsonObject) -> bool:
    """Whether this is an OTLP batch of spans or logs, or a flat span with GenAI attributes."""
    if {"resourceSpans", "resourceLogs", "resource_spans", "resource_logs"} & record.keys():
        return True
    if not {"span_id", "spanId", "span_name", "trace_id", "traceId", "context"} & record.keys():
        return False
    return any(name.startswith(("gen_ai.", "llm.", "openinference.")) for name in attributes(record.get("attributes")))


def belongs(record: JsonObject) -> bool:
    """Whether a record of a file of this dialect is one: any span is, also one that is no model call."""
    return recognises(record) or "attributes" in record


def read(record: JsonObject, context: Context) -> Iterator[Outcome]:
    """One outcome per span; spans without content wait for the log records that may hold it."""
    if values.pick(record, "resourceLogs", "resource_logs") is not None:
        yield from _put_logs(record, context)
        if values.pick(record, "resourceSpans", "resource_spans") is None:
            return
    for span in spans(record):
        try:
            yield from _span(span, context)
        except MALFORMED as error:
            # The other spans of the line are sound.
            yield rejected(error)


def _put_logs(record: JsonObject, context: Context) -> Iterator[Outcome]:
    found = False
    for log in logs(record):
        name = otel_content.event_name(log)
        key = _key(log)
        if key is not None and (name.startswith("gen_ai.") or not name):
            context.halves.put(_LOG, Part(key=key, file=context.file, line=context.line, sha256=None, value=log))
            found = True
    if not found:
        yield Ignore()


def _key(item: JsonObject) -> str | None:
    trace = identifier(values.pick(item, "traceId", "trace_id"))
    span = identifier(values.pick(item, "spanId", "span_id"))
    return f"{trace}/{span}" if trace and span else None


def _span(span: JsonObject, context: Context) -> Iterator[Outcome]:
    found = attributes(span.get("attributes"))
    if any(name.startswith("langfuse.observation.") for name in found):
        yield from langfuse.from_attributes(found, _named(span), context)
        return
    kind = _kind(found)
    key = _key(span)
    if kind is None:
        yield Ignore()
        return
    if kind == "other":
        _told(key, context)
        operation = values.label(found.get("gen_ai.operation.name")) or "embedding"
        yield Skip(reason="not_a_chat_call", message=f"{context.place}: {operation} is no chat call")
        return
    events = [event for event in values.as_list(span.get("events")) if isinstance(event, dict)]
    content = otel_content.find(found, events)
    answered = content.completion is not None or _error(span, found, content) is not None
    if key is not None and not (content.messages and answered):
        part = Part(key=key, file=context.file, line=context.line, sha256=context.sha256, value=dict(span))
        context.halves.put(_SPAN, part)
        return
    _told(key, context)
    yield _call(span, found, content, context)


def _told(key: str | None, context: Context) -> None:
    if key is not None:
        context.halves.put(_TOLD, Part(key=key, file=context.file, line=context.line, sha256=None, value=None))


def _named(span: JsonObject) -> dict[str, Json]:
    return dict(span) | {"span_id": identifier(values.pick(span, "spanId", "span_id")),
                         "trace_id": identifier(values.pick(span, "traceId", "trace_id"))}  # fmt: skip


def finish(context: Context) -> Iterator[Outcome]:
    """Spans that waited, joined with their log records; then log records whose span is in no file."""
    for part in context.halves.parts(_SPAN):
        place = at(context, part)
        events = [event for event in values.as_list(part.value.get("events")) if isinstance(event, dict)]
        events += [log.value for log in context.halves.parts(_LOG, part.key)]
        found = attributes(part.value.get("attributes"))
        yield guarded(partial(_joined, part.value, found, events, place), place)
    seen: set[str] = set()
    for log in context.halves.parts(_LOG):
        if log.key in seen or any(context.halves.has(kind, log.key) for kind in (_SPAN, _TOLD)):
            continue
        seen.add(log.key)
        place = at(context, log)
        message = f"{place.place}: log records of a call whose span is in no file read; add the traces to the sources"
        yield Skip(reason="no_request", message=message, context=place)


def _joined(span: JsonObject, found: JsonObject, events: Sequence[JsonObject], place: Context) -> Outcome:
    return _call(span, found, otel_content.find(found, events), place)


def _kind(found: JsonObject) -> str | None:
    """``chat``, ``other`` for calls that are none, ``None`` for spans that are no model call."""
    operation = values.label(values.pick(found, "gen_ai.operation.name", "llm.request.type"))
    if operation is not None:
        operation = operation.lower()
        if operation in _CHAT:
            return "chat"
        return "other" if operation in {"embeddings", "embedding", "image_generation", "rerank", "speech"} else None
    kind = (values.label(found.get("openinference.span.kind")) or "").upper()
    if kind:
        return {"LLM": "chat", "EMBEDDING": "other", "RERANKER": "other"}.get(kind)
    return "chat" if "gen_ai.request.model" in found else None


def _error(span: JsonObject, found: JsonObject, content: otel_content.Content) -> Answer | None:
    status = span.get("status")
    status = values.as_object(status) if not isinstance(status, str) else {"code": status}
    code = values.pick(status, "code", "status_code") or values.pick(span, "status_code", "otel.status_code")
    failed = str(code).upper() in {"2", "ERROR", "STATUS_CODE_ERROR"}
    kind = values.label(found.get("error.type"))
    if not failed and (kind is None or content.completion is not None):
        return None
    message = values.label(values.pick(status, "message", "description")) or values.label(span.get("status_message"))
    for event in values.as_list(span.get("events")):
        if isinstance(event, dict) and event.get("name") == "exception":
            told = attributes(event.get("attributes"))
            message = message or values.label(told.get("exception.message"))
            kind = kind or values.label(told.get("exception.type"))
    http = values.pick(found, "http.response.status_code", "http.status_code")
    if http is None and kind is not None and kind.isdigit():
        http = kind
    return bodies.failed(None, status=http, code=kind, message=message)


def _call(span: JsonObject, found: JsonObject, content: otel_content.Content, context: Context) -> Outcome:
    def naive() -> None:
        context.warn(f"{context.file}: times without a zone are taken as UTC")

    answered = values.label(values.pick(found, "gen_ai.response.model", "llm.model_name"))
    model = values.label(values.pick(found, "gen_ai.request.model", "llm.model_name")) or answered
    answer = _error(span, found, content)
    if answer is None and content.completion is not None:
        answer = Answer(
            completion=otel_content.finished(content.completion, reason=_finish(found), model=answered),
            usage=_usage(found),
        )
    start = values.time(
        values.pick(span, "startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime", "timestamp"), naive
    )
    end = values.time(values.pick(span, "endTimeUnixNano", "end_time_unix_nano", "end_time", "endTime"), naive)
    id_ = identifier(values.pick(span, "spanId", "span_id") or values.as_object(span.get("context")).get("span_id"))
    trace = identifier(
        values.pick(span, "traceId", "trace_id") or values.as_object(span.get("context")).get("trace_id")
    )
    latency = values.between_ms(start, end)
    if not content.messages or answer is None:
        facts = {"id": id_, "model": model, "latency_ms": latency, "timestamp": start}
        return Skip(reason="no_content_recorded", message=f"{context.place}: {_HINT}", facts=facts, context=context)
    names = {"trace_id": trace, "name": values.pick(span, "name", "span_name"),
             "provider": values.pick(found, "gen_ai.provider.name", "gen_ai.system", "llm.provider")}  # fmt: skip
    metadata = values.labels(names) | values.labels(values.as_object(found.get("metadata")))
    tags, _ = values.tags_and_metadata(found.get("tag.tags"))
    return Call(
        id=id_,
        part=id_,
        request=ChatRequest(
            model=model or "unknown", messages=content.messages, tools=_tools(found), params=_params(found)
        ),
        answer=answer,
        latency_ms=latency,
        ttft_ms=values.duration(
            values.pick(found, "gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token"), 1000.0
        ),
        timestamp=start,
        session=values.label(values.pick(found, "gen_ai.conversation.id", "session.id")),
        user=values.label(values.pick(found, "user.id", "enduser.id")),
        tags=tags,
        metadata=metadata,
        context=context,
    )


def _finish(found: JsonObject) -> str | None:
    reasons = found.get("gen_ai.response.finish_reasons")
    first = values.decoded(reasons)
    return values.label(first[0] if isinstance(first, list) and first else first if isinstance(first, str) else None)


def _usage(found: JsonObject) -> Usage:
    def counted(*names: str) -> int | None:
        return values.count(values.pick(found, *names))

    return Usage(
        tokens_in=counted("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
        tokens_out=counted(
            "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"
        ),
        tokens_cached=counted(
            "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens",
            "llm.token_count.prompt_details.cache_read",
        ),
        tokens_reasoning=counted(
            "gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens",
            "llm.token_count.completion_details.reasoning",
        ),
    )  # fmt: skip


def _params(found: JsonObject) -> dict[str, Json]:
    params = {name: found[key] for key, name in _SETTINGS.items() if found.get(key) is not None}
    if found.get("gen_ai.output.type") == "json":
        params["response_format"] = {"type": "json_object"}
    invocation = values.as_object(found.get("llm.invocation_parameters"))
    return chat_body.params(invocation) | params


def _tools(found: JsonObject) -> tuple[Mapping[str, Json], ...]:
    stored = values.pick(found, "gen_ai.tool.definitions")
    if stored is None:
        stored = indexed(found, "llm.request.functions")
    if stored is None:
        listed = values.as_list(indexed(found, "llm.tools"))
        stored = [
            values.decoded(values.as_object(values.as_object(item).get("tool", item)).get("json_schema"))
            for item in listed
        ]
    return chat_body.tools({"tools": stored})
