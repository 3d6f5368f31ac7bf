"""Langfuse: blob exports (observations, older ones beside a table of traces), the API, and span attributes."""

from collections.abc import Iterator, Mapping
from functools import partial

from harness.domain.exchange import ChatRequest
from harness.domain.json import Json
from harness.domain.observation import Completion, Usage
from harness.ingest import values
from harness.ingest.dialects import bodies, chat_body
from harness.ingest.dialects.batches import at
from harness.ingest.dialects.calls import (
    Answer,
    Call,
    Context,
    Ignore,
    JsonObject,
    Outcome,
    Skip,
    UnreadableRecord,
    guarded,
)
from harness.ingest.dialects.parts import Part

_OBSERVATION = "langfuse observation"
_TRACE = "langfuse trace"
_NAMES = {
    "traceId": "trace_id", "startTime": "start_time", "endTime": "end_time", "modelParameters": "model_parameters",
    "completionStartTime": "completion_start_time", "timeToFirstToken": "time_to_first_token",
    "usageDetails": "usage_details",
    "costDetails": "cost_details", "totalCost": "total_cost", "calculatedTotalCost": "total_cost",
    "sessionId": "session_id",
    "userId": "user_id", "statusMessage": "status_message", "providedModelName": "provided_model_name",
    "toolCalls": "tool_calls", "promptName": "prompt_name",
}  # fmt: skip
_TYPES = frozenset(
    ["GENERATION", "SPAN", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "EMBEDDING", "GUARDRAIL"]
)


def recognises(record: JsonObject) -> bool:
    """Whether this is an observation of a blob export or of the API, or a span with this vendor's attributes."""
    if "provided_model_name" in record or "usageDetails" in record or "providedModelName" in record:
        return True
    if ("trace_id" in record or "traceId" in record) and str(record.get("type")).upper() in _TYPES:
        return "level" in record or "input" in record
    attributes = values.as_object(record.get("attributes"))
    return any(name.startswith("langfuse.observation.") for name in attributes)


def recognises_trace(record: JsonObject) -> bool:
    """Whether this is a row of the traces table, or a trace of the API with its observations in it."""
    if "observations" in record and "id" in record:
        return True
    return (
        "id" in record
        and "timestamp" in record
        and bool({"user_id", "userId", "session_id", "sessionId"} & record.keys())
    )


def belongs(record: JsonObject) -> bool:
    """Whether a record of a file of this dialect is one."""
    return recognises(record) or recognises_trace(record) or "attributes" in record


def read(record: JsonObject, context: Context) -> Iterator[Outcome]:
    """One call per GENERATION; rows that leave session and user to their trace wait for the table of traces."""
    if isinstance(record.get("attributes"), dict | str) and "type" not in record:
        attributes = values.as_object(record["attributes"])
        yield from from_attributes(attributes, record, context)
        return
    row = _renamed(record)
    if isinstance(values.decoded(row.get("observations")), list):
        shared = {key: row.get(key) for key in ("session_id", "user_id", "tags")}
        for item in values.as_list(row["observations"]):
            if isinstance(item, dict):
                yield from _read_row(_renamed(item) | shared, context)
        return
    if "type" not in row and recognises_trace(record):
        context.halves.put(_TRACE, _part(str(row["id"]), row, context))
        yield Ignore()
        return
    yield from _read_row(row, context)


def _renamed(record: JsonObject) -> dict[str, Json]:
    """The record with the API's names spelled as in the tables."""
    return {_NAMES.get(key, key): value for key, value in record.items()}


def _read_row(row: JsonObject, context: Context) -> Iterator[Outcome]:
    kind = str(row.get("type") or "GENERATION").upper()
    if kind == "EMBEDDING":
        yield Skip(reason="not_a_chat_call", message=f"{context.place}: an embedding is no chat call")
    elif kind != "GENERATION":
        yield Ignore()
    elif "session_id" not in row and values.label(row.get("trace_id")):
        context.halves.put(_OBSERVATION, _part(str(row["trace_id"]), row, context))
    else:
        yield _call(row, context)


def _part(key: str, row: JsonObject, context: Context) -> Part:
    return Part(key=key, file=context.file, line=context.line, sha256=context.sha256, value=dict(row))


def finish(context: Context) -> Iterator[Outcome]:
    """Observations that waited for their trace; without one, session and user stay unknown."""
    for part in context.halves.parts(_OBSERVATION):
        trace = context.halves.first(_TRACE, part.key)
        shared = {key: trace.value.get(key) for key in ("session_id", "user_id", "tags")} if trace else {}
        place = at(context, part)
        yield guarded(partial(_call, part.value | shared, place), place)


def _call(row: JsonObject, context: Context) -> Outcome:
    def naive() -> None:
        context.warn(f"{context.file}: times without a zone are taken as UTC")

    start, end, first = (
        values.time(row.get(key), naive) for key in ("start_time", "end_time", "completion_start_time")
    )
    latency = values.duration(row.get("latency"), 1000.0)
    ttft = values.duration(row.get("time_to_first_token"), 1000.0)
    answer = _answer(row)
    model = values.label(values.pick(row, "provided_model_name", "model"))
    if answer is not None and answer.completion is not None:
        model = model or answer.completion.model
    request = _request(row, model)
    if request is None or answer is None:
        half = "input" if request is None else "output"
        message = (
            f"{context.place}: the {half} was not recorded; switch on input and output capture in the Langfuse SDK,"
            " and export those columns"
        )
        return Skip(reason="no_content_recorded", message=message, context=context)
    tags, _ = values.tags_and_metadata(row.get("tags"))
    return Call(
        id=values.label(row.get("id")),
        request=request,
        answer=answer,
        latency_ms=values.between_ms(start, end) if latency is None else latency,
        ttft_ms=values.between_ms(start, first) if ttft is None else ttft,
        cost_usd=None if answer.error else _cost(row),
        timestamp=start,
        session=values.label(row.get("session_id")),
        user=values.label(row.get("user_id")),
        tags=tags,
        metadata=_metadata(row),
        context=context,
    )


def _request(row: JsonObject, model: str | None) -> ChatRequest | None:
    stored = values.decoded(row.get("input"))
    if not values.is_stored(stored):
        return None
    found = bodies.request(stored, model)
    if found is None:
        # Text that happens to be JSON stays as it was written.
        content = row["input"] if isinstance(row["input"], str) else values.text(stored)
        found = ChatRequest(model="", messages=({"role": "user", "content": content},))
    settings = {key: _plain(value) for key, value in values.as_object(row.get("model_parameters")).items()}
    known = chat_body.params({key: value for key, value in settings.items() if values.is_stored(value)})
    tools = found.tools or chat_body.tools({"tools": settings.get("tools")})
    return ChatRequest(
        model=model or found.model or "unknown", messages=found.messages, tools=tools, params={**known, **found.params}
    )


def _plain(value: Json) -> Json:
    """A setting that the exporter wrote as text."""
    if not isinstance(value, str):
        return value
    if value in {"true", "True", "false", "False"}:
        return value in {"true", "True"}
    found = values.number(value)
    if found is None:
        return value
    return int(found) if found.is_integer() and "." not in value else found


def _answer(row: JsonObject) -> Answer | None:
    if str(row.get("level")).upper() == "ERROR":
        return bodies.failed(None, message=row.get("status_message"))
    stored = row.get("output")
    if not values.is_stored(stored) and not values.is_stored(row.get("tool_calls")):
        return None
    inner = values.decoded(stored)
    # Plain answers come as they are or as a JSON text.
    found = bodies.answer(inner if isinstance(inner, str) else stored) or Answer(completion=Completion(text=None))
    completion = found.completion
    calls = tuple(chat_body.tool_call(item) for item in values.as_list(row.get("tool_calls")))
    if calls and completion is not None and not completion.tool_calls:
        completion = Completion(
            text=completion.text or None,
            tool_calls=calls,
            finish_reason=completion.finish_reason,
            model=completion.model,
        )
        found = Answer(completion=completion, usage=found.usage)
    return bodies.with_usage(found, _usage(row))


def _usage(row: JsonObject) -> Usage:
    """Tokens; the vendor keeps cached ones apart from the input or within it, and the total tells which."""
    details = {key: values.count(value) for key, value in values.as_object(row.get("usage_details")).items()}
    if not details:
        legacy = values.as_object(row.get("usage"))
        return Usage(
            tokens_in=values.count(values.pick(legacy, "input", "promptTokens")),
            tokens_out=values.count(values.pick(legacy, "output", "completionTokens")),
        )
    cached = _first(details, "input_cached_tokens", "cache_read_input_tokens", "input_cache_read")
    written = _first(details, "cache_creation_input_tokens", "input_cache_creation")
    reasoning = _first(details, "output_reasoning_tokens", "reasoning_tokens", "output_reasoning")
    read = _first(details, "input", "prompt_tokens", "input_tokens")
    out = _first(details, "output", "completion_tokens", "output_tokens")
    whole = _first(details, "total", "total_tokens")
    within = whole is not None and whole == (read or 0) + (out or 0)
    return Usage(
        tokens_in=read if within or read is None else values.total(read, cached, written),
        tokens_out=out if within or out is None else values.total(out, reasoning),
        tokens_cached=cached,
        tokens_reasoning=reasoning,
    )


def _first(details: Mapping[str, int | None], *names: str) -> int | None:
    return next((found for name in names if (found := details.get(name)) is not None), None)


def _cost(row: JsonObject) -> float | None:
    cost = values.scaled(row.get("total_cost"), 1.0)
    if cost is None:
        cost = values.scaled(values.as_object(row.get("cost_details")).get("total"), 1.0)
    # Nothing counted and nothing charged is how an unpriced model looks.
    return None if cost == 0 and not values.as_object(row.get("usage_details")) else cost


def _metadata(row: JsonObject) -> dict[str, str]:
    found = values.labels(values.as_object(row.get("metadata")))
    names = ("name", "environment", "release", "version", "prompt_name", "trace_id")
    return found | values.labels({key: row.get(key) for key in names})


def from_attributes(attributes: JsonObject, span: JsonObject, context: Context) -> Iterator[Outcome]:
    """A span that carries ``langfuse.observation.*`` attributes.

    Raises:
        UnreadableRecord: the input was cut at an attribute length limit.
    """
    prefix = "langfuse.observation."
    own = {key.removeprefix(prefix): value for key, value in attributes.items() if key.startswith(prefix)}
    if not own:
        yield Ignore()
        return
    stored = own.get("input")
    if isinstance(stored, str) and stored.lstrip()[:2] in {'{"', "[{"} and isinstance(values.decoded(stored), str):
        raise UnreadableRecord(
            "cut_content", "the recorded input is cut off; raise the attribute length limit of the SDK"
        )
    row = {
        "id": values.pick(span, "span_id", "spanId", "id"),
        "trace_id": values.pick(span, "trace_id", "traceId"),
        "type": own.get("type", "generation"),
        "input": stored,
        "output": own.get("output"),
        "model": values.pick(own, "model.name", "model"),
        "model_parameters": own.get("model.parameters"),
        "usage_details": own.get("usage_details"),
        "total_cost": own.get("cost_details.total"),
        "cost_details": own.get("cost_details"),
        "level": own.get("level"),
        "status_message": own.get("status_message"),
        "start_time": values.pick(span, "start_time", "startTimeUnixNano"),
        "end_time": values.pick(span, "end_time", "endTimeUnixNano"),
        "completion_start_time": values.decoded(own.get("completion_start_time")),
        "session_id": values.pick(attributes, "session.id", "langfuse.session.id"),
        "user_id": values.pick(attributes, "user.id", "langfuse.user.id"),
        "tags": attributes.get("langfuse.trace.tags"),
        "name": span.get("name"),
        "environment": attributes.get("langfuse.environment"),
        "release": attributes.get("langfuse.release"),
        "metadata": {key.removeprefix("metadata."): value for key, value in own.items() if key.startswith("metadata.")},
    }
    yield from _read_row(row, context)
