"""LiteLLM: rows of its spend log table, and the payloads its callbacks write to object stores and queues."""

import re
from collections.abc import Iterator
from datetime import datetime

from harness.domain.exchange import ChatRequest
from harness.domain.json import Json
from harness.domain.observation import Usage
from harness.ingest import values
from harness.ingest.dialects import bodies
from harness.ingest.dialects.calls import Answer, Call, Context, JsonObject, Outcome, Skip

_OTHER_CALLS = re.compile(
    r"embedding|image|speech|transcription|rerank|moderation|file|batch|thread|assistant|vector|fine_tun|realtime|health"
    r"|search|ocr|video|list_|_mcp|mcp_",
    re.IGNORECASE,
)


def recognises_spend(record: JsonObject) -> bool:
    """Whether this is a row of LiteLLM_SpendLogs."""
    return "request_id" in record and "spend" in record and "startTime" in record


def recognises_standard(record: JsonObject) -> bool:
    """Whether this is a StandardLoggingPayload."""
    return "response_cost" in record and "model_parameters" in record


def read_spend(record: JsonObject, context: Context) -> Iterator[Outcome]:
    """One call per row; prompts are there only when the proxy was told to store them."""
    times = _times(record, context)
    metadata = values.as_object(record.get("metadata"))
    latency = values.duration(record.get("request_duration_ms"), 1.0)
    yield _outcome(
        record,
        context,
        times,
        latency_ms=values.between_ms(*times[:2]) if latency is None else latency,
        cost=record.get("spend"),
        error=metadata.get("error_information"),
        extra=metadata,
    )


def read_standard(record: JsonObject, context: Context) -> Iterator[Outcome]:
    """One call per payload; its own response time wins over the difference of its times, except for a stream's."""
    times = _times(record, context)
    # LiteLLM's `get_response_time` ends at a stream's first token.
    latency = None if values.flag(record.get("stream")) else values.duration(record.get("response_time"), 1000.0)
    error = values.as_object(record.get("error_information"))
    if not values.is_stored(error.get("error_message")):
        error = dict(error) | {"error_message": record.get("error_str")}
    yield _outcome(
        record,
        context,
        times,
        latency_ms=values.between_ms(*times[:2]) if latency is None else latency,
        cost=record.get("response_cost"),
        error=error,
        extra=values.as_object(record.get("metadata")),
    )


_Times = tuple[datetime | None, datetime | None, datetime | None]


def _times(record: JsonObject, context: Context) -> _Times:
    def naive() -> None:
        context.warn(f"{context.file}: times without a zone are taken as UTC")

    names = ("startTime", "endTime", "completionStartTime")
    start, end, first = (values.time(record.get(name), naive) for name in names)
    return start, end, first


def _outcome(
    record: JsonObject,
    context: Context,
    times: _Times,
    *,
    latency_ms: float | None,
    cost: Json,
    error: Json,
    extra: JsonObject,
) -> Outcome:
    start, end, first = times
    cache_hit = values.flag(record.get("cache_hit"))
    model = values.label(record.get("model")) or values.label(record.get("model_group"))
    id_ = values.label(values.pick(record, "request_id", "id"))
    usage = _usage(record)
    facts: dict[str, Json] = {
        "id": id_, "model": model, "latency_ms": latency_ms, "tokens_in": usage.tokens_in,
        "tokens_out": usage.tokens_out,
        "cost_usd": values.scaled(cost, 1.0), "timestamp": start, "session": values.label(record.get("session_id")),
    }  # fmt: skip
    call_type = values.label(record.get("call_type")) or ""
    if _OTHER_CALLS.search(call_type):
        return Skip(reason="not_a_chat_call", message=f"{context.place}: {call_type} is no chat call", facts=facts)
    body = _body(record, call_type)
    request = bodies.request(body, model) if body else None
    if request is None:
        message = (
            f"{context.place}: the prompt was not stored; set `store_prompts_in_spend_logs: true` under"
            " `general_settings` of the LiteLLM proxy (and leave message redaction off), then export again"
        )
        return Skip(reason="no_prompt_stored", message=message, facts=facts)
    hidden = _hidden(request)
    if hidden is not None:
        return Skip(reason="no_prompt_stored", message=f"{context.place}: {hidden}", facts=facts)
    answer = _answer(record, error)
    if answer is None:
        message = f"{context.place}: the response was not stored; set `store_prompts_in_spend_logs: true`"
        return Skip(reason="no_content_recorded", message=message, facts=facts)
    tags, metadata = values.tags_and_metadata(record.get("request_tags"))
    return Call(
        id=id_,
        request=request if request.model else _named(request, answer),
        answer=bodies.with_usage(answer, usage),
        latency_ms=latency_ms,
        # Equal to the end: the answer was not streamed, or its first token was not seen.
        ttft_ms=None if first == end or cache_hit else values.between_ms(start, first),
        cost_usd=None if answer.error else facts["cost_usd"],
        timestamp=start,
        session=facts["session"],
        user=values.label(values.pick(record, "end_user", "user")),
        tags=tags,
        metadata=metadata | _metadata(record, extra),
        cache_hit=cache_hit,
    )


def _hidden(request: ChatRequest) -> str | None:
    """Why a stored prompt is not the one that was asked."""
    contents = [message.get("content") for message in request.messages]
    if "redacted-by-litellm" in contents:
        return "the prompt was redacted by the proxy; set `turn_off_message_logging: false` and export again"
    if any(isinstance(content, str) and "(litellm_truncated " in content for content in contents):
        return "the prompt was cut by the proxy; raise MAX_STRING_LENGTH_PROMPT_IN_DB there, or export from a callback"
    return None


def _named(request: ChatRequest, answer: Answer) -> ChatRequest:
    model = answer.completion.model if answer.completion else None
    return ChatRequest(model=model or "unknown", messages=request.messages, tools=request.tools, params=request.params)


def _usage(record: JsonObject) -> Usage:
    read, written = values.count(record.get("prompt_tokens")), values.count(record.get("completion_tokens"))
    # Zero tokens both ways is how the table says that nobody counted.
    return Usage() if not read and not written else Usage(tokens_in=read, tokens_out=written)


def _body(record: JsonObject, call_type: str) -> dict[str, Json]:
    """The request: settings from the body the proxy received, messages from their own column when it has them."""
    received = values.as_object(record.get("proxy_server_request"))
    if isinstance(values.decoded(received.get("body")), dict):
        received = values.as_object(received["body"])
    stored = values.decoded(record.get("messages"))
    if isinstance(stored, dict):
        stored = stored.get("messages", [stored] if "role" in stored else None)
    settings = {
        key: value for key, value in values.as_object(record.get("model_parameters")).items() if value is not None
    }
    body: dict[str, Json] = {**settings, **received}
    if values.is_stored(stored) and "responses" in call_type and "messages" not in body:
        body.setdefault("input", stored)
    elif values.is_stored(stored) and "contents" not in body:
        body["messages"] = stored
    elif isinstance(body.get("prompt"), str) and "messages" not in body:
        body["messages"] = [{"role": "user", "content": body["prompt"]}]
    if isinstance(body.get("messages"), str):
        # A prompt of its own is what text completions store; JSON that does not parse is told by the reader of bodies.
        prompt = bodies.request(body["messages"])
        body["messages"] = list(prompt.messages) if prompt else []
    # The column says what was called; the body repeats the alias the client used.
    if values.label(record.get("model")):
        body.pop("model", None)
    return body if {"messages", "input", "contents"} & body.keys() else {}


def _answer(record: JsonObject, error: Json) -> Answer | None:
    error = values.as_object(error)
    message = values.label(error.get("error_message")) or values.label(record.get("error_str"))
    if record.get("status") == "failure" or (message and not values.is_stored(record.get("response"))):
        name = values.label(error.get("error_class"))
        code = error.get("error_code")
        return bodies.failed(None, status=code, code=name or code, message=message)
    stored = record.get("response")
    return bodies.answer(stored) if values.is_stored(stored) else None


def _metadata(record: JsonObject, extra: JsonObject) -> dict[str, str]:
    names = ("model_group", "custom_llm_provider", "team_id", "organization_id", "trace_id", "model_id", "call_type")
    found = values.labels({name: record.get(name) for name in names})
    for name in ("spend_logs_metadata", "requester_metadata"):
        found |= values.labels(values.as_object(extra.get(name)))
    return found
