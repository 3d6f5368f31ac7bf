"""Chat JSON lines: home-made logs and proxies that keep a request body and a response body of any vendor."""

from collections.abc import Iterator

from harness.domain.exchange import ChatRequest
from harness.domain.json import Json
from harness.ingest import folding, values
from harness.ingest.dialects import bodies, chat_body
from harness.ingest.dialects.calls import Answer, Call, Context, JsonObject, Outcome, Skip

_REQUESTS = ("request", "input", "body", "kwargs")
_RESPONSES = ("response", "output", "completion")
_STARTS = ("timestamp", "created_at", "ts", "start_time", "startTime", "started_at", "time", "created")
_ENDS = ("end_time", "endTime", "ended_at", "completed_at")
# A trace may hold many calls, so its id is never a call's: it is kept as metadata.
_IDS = ("id", "request_id", "call_id", "span_id")
_SESSIONS = ("session_id", "session", "conversation_id", "thread_id")
_USERS = ("user_id", "user", "end_user")
_USED = frozenset([
    *_REQUESTS, *_RESPONSES, *_STARTS, *_ENDS, *_IDS, "trace_id",
    *_SESSIONS, *_USERS, *chat_body.PARAMS, "messages", "model",
    "tools",
    "tags", "metadata", "usage", "error", "latency_ms", "latency", "duration", "duration_ms", "ttft_ms", "cost_usd",
    "system",
    "time_to_first_token_ms", "status_code", "status", "choices", "object", "cache_hit", "stream", "instructions",
    "cost",
])  # fmt: skip
_PATHS = ("url", "path", "endpoint", "call_type")
_OURS = frozenset(["messages", "choices", *_REQUESTS, *_RESPONSES])
_OTHER_CALLS = ("embedding", "/images", "/audio", "moderation", "rerank", "transcri", "/threads", "/files", "speech")


def recognises(record: JsonObject) -> bool:
    """Whether this looks like a chat log line."""
    if isinstance(values.decoded(record.get("messages")), list) or record.get("object") == "chat.completion":
        return True
    stored = {key: values.decoded(record[key]) for key in _REQUESTS if key in record}
    if any(isinstance(item, dict) and {"messages", "contents", "input"} & item.keys() for item in stored.values()):
        return True
    return any(
        isinstance(item, list) and bool(item) and isinstance(item[0], dict) and "role" in item[0]
        for item in stored.values()
    )


def belongs(record: JsonObject) -> bool:
    """Whether a record of a file of this dialect is one, even if it lacks what matters."""
    return not _OURS.isdisjoint(record)


def read(record: JsonObject, context: Context) -> Iterator[Outcome]:
    """One call per line; a conversation without a response gives its last assistant message as the answer."""
    if _is_other_call(record):
        yield Skip(reason="not_a_chat_call", message=f"{context.place}: is no chat call")
        return
    answer = _answer(record)
    model = values.label(record.get("model")) or (answer.completion.model if answer and answer.completion else None)
    request = _request(record, model)
    if answer is None and request is not None and request.messages[-1]["role"] == "assistant":
        request, answer = _split(request)
    if request is None:
        yield Skip(reason="no_request", message=f"{context.place}: holds no request; log the request's messages too")
    elif answer is None:
        yield Skip(reason="no_result", message=f"{context.place}: holds no response; log the response body too")
    elif not request.model:
        message = f"{context.place}: names no model; add a `model` field, or use `dialect: mapping` with default_model"
        yield Skip(reason="no_model", message=message)
    else:
        yield _call(record, request, answer, context)


def _request(record: JsonObject, model: str | None) -> ChatRequest | None:
    for key in _REQUESTS:
        stored = values.decoded(record.get(key))
        if values.is_stored(stored) and (found := bodies.request(stored, model)) is not None:
            return found
    return bodies.request(record, model, known_only=True) if "messages" in record else None


def _answer(record: JsonObject) -> Answer | None:
    status = values.count(record.get("status_code"))
    stored = values.pick(record, *_RESPONSES)
    if isinstance(stored, dict) and isinstance(stored.get("body"), dict | str) and "choices" not in stored:
        # Proxies wrap the body together with its HTTP status.
        status = status or values.count(values.pick(stored, "status_code", "status"))
        stored = stored["body"]
    if stored is None and "choices" in record:
        stored = dict(record)
    error = record.get("error")
    found = bodies.answer(stored) if stored is not None else None
    if values.is_stored(error) or (status or 0) >= 400:
        body = values.decoded(stored) if stored is not None else None
        inner = body.get("error", body) if isinstance(body, dict) else body
        return bodies.failed(error if values.is_stored(error) else inner, status=status)
    if found is not None and isinstance(record.get("usage"), dict | str):
        found = bodies.with_usage(found, chat_body.usage(values.as_object(record["usage"])))
    return found


def _split(request: ChatRequest) -> tuple[ChatRequest | None, Answer | None]:
    """The conversation up to its last message, and that message as the answer."""
    last = dict(request.messages[-1])
    before = request.messages[:-1]
    if not any(message["role"] == "user" for message in before):
        return None, None
    answer = Answer(completion=chat_body.message_completion(last, model=request.model or None))
    asked = ChatRequest(model=request.model, messages=before, tools=request.tools, params=request.params)
    return asked, answer


def _call(record: JsonObject, request: ChatRequest, answer: Answer, context: Context) -> Call:
    def naive() -> None:
        context.warn(f"{context.file}: times without a zone are taken as UTC")

    start = values.time(values.pick(record, *_STARTS), naive)
    latency = values.duration(values.pick(record, "latency_ms", "duration_ms"), 1.0)
    if latency is None:
        latency = values.between_ms(start, values.time(values.pick(record, *_ENDS), naive))
    if latency is None and values.pick(record, "latency", "duration") is not None:
        context.warn(
            f"{context.file}: `latency` and `duration` do not tell their unit and are left out; use `latency_ms`,"
            " or `dialect: mapping` with `latency_unit`"
        )
    tags, metadata = values.tags_and_metadata(record.get("tags"))
    body: dict[str, Json] = next((item for key in _REQUESTS if (item := values.as_object(record.get(key)))), {})
    metadata |= values.labels(values.as_object(body.get("metadata"))) | values.labels(
        values.as_object(record.get("metadata"))
    )
    metadata |= {key: value for key, value in values.labels(record, without=_USED).items() if len(value) <= 200}
    id_ = values.label(values.pick(record, *_IDS)) or answer.id
    trace = values.label(record.get("trace_id"))
    if trace:
        metadata["trace_id"] = trace
    return Call(
        id=id_,
        request=request,
        answer=answer,
        latency_ms=latency,
        ttft_ms=values.duration(values.pick(record, "ttft_ms", "time_to_first_token_ms"), 1.0),
        cost_usd=None if answer.error else values.scaled(record.get("cost_usd"), 1.0),
        timestamp=start or answer.created,
        session=values.label(values.pick(record, *_SESSIONS)),
        user=values.label(values.pick(record, *_USERS) or body.get("user")),
        tags=tags,
        metadata=metadata,
        cache_hit=values.flag(record.get("cache_hit")),
    )


def _is_other_call(record: JsonObject) -> bool:
    where = [str(record[key]).lower() for key in _PATHS if key in record]
    if any(sign in path for path in where for sign in _OTHER_CALLS):
        return True
    response: Json = values.pick(record, *_RESPONSES)
    response = values.decoded(response) if isinstance(response, str) and len(response) < 100_000 else response
    if isinstance(response, dict) and response.get("object") == "list":
        return True
    return (
        isinstance(response, dict)
        and "data" in response
        and "choices" not in response
        and not folding.is_stream(response)
    )
