"""Batch APIs: requests in one file, results in others, joined by ``custom_id`` whatever the order."""

from collections.abc import Iterator
from functools import partial

from harness.domain.json import Json
from harness.ingest import values
from harness.ingest.dialects import anthropic_body, bodies
from harness.ingest.dialects.calls import (
    Answer,
    Call,
    Context,
    JsonObject,
    Outcome,
    Repeat,
    Skip,
    UnreadableRecord,
    guarded,
)
from harness.ingest.dialects.parts import Part

_ANTHROPIC = ("anthropic request", "anthropic result")
_OPENAI = ("openai request", "openai result")
_CHAT_PATHS = ("/chat/completions", "/responses", "/completions")


def recognises_openai(record: JsonObject) -> bool:
    """Whether this is a line of an OpenAI batch's input, output or error file."""
    return "custom_id" in record and ("body" in record or "response" in record)


def recognises_anthropic(record: JsonObject) -> bool:
    """Whether this is a request or a result of an Anthropic batch."""
    if "custom_id" in record:
        return "params" in record or "result" in record
    requests = values.decoded(record.get("requests"))
    return isinstance(requests, list) and any(isinstance(item, dict) and "params" in item for item in requests)


def read_openai(record: JsonObject, context: Context) -> Iterator[Outcome]:
    """Put one half of a call aside until all files are read."""
    yield from _put(record, context, _OPENAI, is_request="body" in record)


def read_anthropic(record: JsonObject, context: Context) -> Iterator[Outcome]:
    """Put one half of a call aside until all files are read; a whole batch on one line gives all its requests."""
    halves = [record] if "custom_id" in record else values.as_list(record.get("requests"))
    for half in halves:
        half = values.as_object(half)
        yield from _put(half, context, _ANTHROPIC, is_request="params" in half)


def _put(record: JsonObject, context: Context, kinds: tuple[str, str], *, is_request: bool) -> Iterator[Outcome]:
    key = values.label(record.get("custom_id"))
    if key is None:
        raise UnreadableRecord("no_custom_id", "has no custom_id, so its other half cannot be found")
    kind = kinds[0] if is_request else kinds[1]
    if context.halves.has(kind, key):
        half = "request" if is_request else "result"
        yield Repeat(message=f"{context.place}: a second {half} for {key!r}; the first is kept")
        return
    part = Part(key=key, file=context.file, line=context.line, sha256=context.sha256, value=dict(record))
    context.halves.put(kind, part)


def finish_openai(context: Context) -> Iterator[Outcome]:
    """Every call in the order of the requests, then results whose request is missing."""
    requests, results = _OPENAI
    for part in context.halves.parts(requests):
        result = context.halves.first(results, part.key)
        place = at(context, part)
        yield guarded(partial(_openai_call, part, result, place), place)
    yield from _orphans(context, _OPENAI, "the batch's input file")


def finish_anthropic(context: Context) -> Iterator[Outcome]:
    """Every call in the order of the results, then requests whose result is missing."""
    requests, results = _ANTHROPIC
    for part in context.halves.parts(results):
        request = context.halves.first(requests, part.key)
        if request is not None:
            place = at(context, part)
            yield guarded(partial(_anthropic_call, request, part, place), place)
    for part in context.halves.parts(requests):
        if not context.halves.has(results, part.key):
            yield _no_result(at(context, part), part.key)
    yield from _orphans(context, _ANTHROPIC, "the batch's requests")


def at(context: Context, part: Part) -> Context:
    """The context of a part put aside earlier."""
    return Context(
        file=part.file,
        line=part.line,
        sha256=part.sha256,
        halves=context.halves,
        warn=context.warn,
        mapping=context.mapping,
    )


def _orphans(context: Context, kinds: tuple[str, str], missing: str) -> Iterator[Outcome]:
    requests, results = kinds
    for part in context.halves.parts(results):
        if not context.halves.has(requests, part.key):
            place = at(context, part)
            message = (
                f"{place.place}: a result whose request {part.key!r} is in no file read; add {missing} to the sources"
            )
            yield Skip(reason="no_request", message=message, context=place)


def _no_result(place: Context, key: str) -> Skip:
    message = f"{place.place}: no result for {key!r} in any file read; add the batch's output and error files"
    return Skip(reason="no_result", message=message, context=place)


def _openai_call(part: Part, result: Part | None, place: Context) -> Outcome:
    url = values.label(part.value.get("url")) or ""
    if url and not url.rstrip("/").endswith(_CHAT_PATHS):
        return Skip(reason="not_a_chat_call", message=f"{place.place}: {url} is no chat call", context=place)
    request = bodies.request(part.value.get("body"))
    if request is None:
        return Skip(reason="no_request", message=f"{place.place}: the request has no messages", context=place)
    if result is None:
        return _no_result(place, part.key)
    answer = _openai_answer(result.value)
    if isinstance(answer, str):
        message = f"{place.place}: the batch never ran it ({answer}), which says nothing about the model"
        return Skip(reason=answer, message=message, context=place)
    return Call(
        id=part.key,
        request=request,
        answer=answer,
        timestamp=answer.created,
        user=values.label(values.as_object(part.value.get("body")).get("user")),
        metadata=values.labels(values.as_object(values.as_object(part.value.get("body")).get("metadata"))),
        context=place,
    )


def _openai_answer(result: JsonObject) -> Answer | str:
    """The answer, or the reason why there never was a call."""
    response = values.as_object(result.get("response"))
    error = values.as_object(result.get("error"))
    if not response:
        code = values.label(error.get("code")) or ""
        if "expired" in code:
            return "expired"
        return "canceled" if "cancel" in code else bodies.failed(error or "the batch gives no response")
    body: Json = values.decoded(response.get("body"))
    status = values.count(response.get("status_code"))
    if (status or 200) >= 400:
        inner = body.get("error", body) if isinstance(body, dict) else body
        return bodies.failed(inner or error, status=status)
    return bodies.answer(body) or bodies.failed(error or "the batch gives no response body", status=status)


def _anthropic_call(request: Part, result: Part, place: Context) -> Outcome:
    asked = anthropic_body.request(values.as_object(request.value.get("params")))
    if asked is None:
        return Skip(reason="no_request", message=f"{place.place}: the request has no messages", context=place)
    stored = values.as_object(result.value.get("result"))
    kind = stored.get("type")
    if kind in {"canceled", "expired"}:
        message = f"{place.place}: the batch never ran it ({kind}), which says nothing about the model"
        return Skip(reason=str(kind), message=message, context=place)
    message_body = values.as_object(stored.get("message"))
    answer = anthropic_body.answer(message_body) if message_body else bodies.failed(stored.get("error"))
    user = values.as_object(values.as_object(request.value.get("params")).get("metadata")).get("user_id")
    return Call(id=request.key, request=asked, answer=answer, user=values.label(user), context=place)
