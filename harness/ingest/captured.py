"""From what the gateway captured to an Exchange; everything in it is hostile until it has been read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson

from harness.domain.exchange import ChatRequest, Exchange, Source
from harness.domain.json import Json
from harness.domain.observation import PRODUCTION, ErrorKind, Observation, Status
from harness.ingest import codings, folding, values
from harness.ingest.dialects import bodies, failures
from harness.ingest.dialects.calls import MALFORMED, Answer, UnreadableRecord, rejected
from harness.spool.headers import SOURCE
from harness.spool.record import Captured
from harness.spool.sampling import surface_of

_ANSWER_KEY: Mapping[str, str] = {
    "chat": "choices", "completions": "choices", "messages": "content", "responses": "output",
}  # fmt: skip
"""What an answer of a surface has, unless it is an error."""
_HISTORY_ELSEWHERE = ("previous_response_id", "conversation", "prompt")
"""Fields of a Responses request that name messages which only the provider has."""
_ERROR_CHARS = 2_000
_LONGEST = 200
"""Characters of a name or value that is indexed; whatever a client sends is production's to refuse."""
_CUT = "the stream ended without its closing event"


def exchange_of(captured: Captured, place: str, *, metadata_headers: Sequence[str] = ()) -> Exchange:
    """The Exchange of a captured request; one that production failed is production's failed Observation.

    Args:
        captured: what the gateway saw.
        place: where the record stood, for the audit and to know it again.
        metadata_headers: request headers to keep as metadata.

    Raises:
        UnreadableRecord: it holds no request and answer that can be read; says why.
    """
    try:
        return _exchange(captured, place, metadata_headers)
    except UnreadableRecord:
        raise
    except MALFORMED as error:
        reject = rejected(error)
        raise UnreadableRecord(reject.code, reject.message) from None


def _exchange(captured: Captured, place: str, metadata_headers: Sequence[str]) -> Exchange:
    surface = surface_of(captured.method, captured.path)
    if surface is None:
        raise UnreadableRecord("surface", "is not a call whose answer can be compared")
    body = _request_body(captured)
    request = _request(body, surface)
    answer = _answer(captured, surface)
    at = datetime.fromtimestamp(captured.at_ns / 1e9, UTC)
    failed = answer.error is not None
    production = Observation(
        exchange_id=captured.id,
        arm=PRODUCTION,
        status=Status.FAILED if failed else Status.COMPLETED,
        completion=None if failed else answer.completion,
        error=answer.error,
        latency_ms=captured.latency_ms,
        ttft_ms=captured.ttft_ms,
        usage=answer.usage,
        started_at=at,
    )
    return Exchange(
        id=captured.id,
        request=request,
        production=production,
        timestamp=at,
        session=captured.session or _session(body),
        user=captured.user or _user(body),
        metadata=_metadata(captured, body, surface, metadata_headers),
        source=Source(file=place, line=None),
    )


def _request_body(captured: Captured) -> dict[str, Json]:
    raw = codings.decoded(captured.request, captured.request_headers.get("content-encoding"))
    body = _json(raw)
    if not isinstance(body, dict):
        raise UnreadableRecord("request", "holds a request that is no JSON object")
    return body


def _request(body: dict[str, Any], surface: str) -> ChatRequest:
    prompt = body.get("prompt")
    if surface == "completions" and isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        body = body | {"prompt": prompt[0]}
    if surface == "responses":
        for name in _HISTORY_ELSEWHERE:
            if values.is_stored(body.get(name)):
                raise UnreadableRecord("history", f"goes on from messages that only the provider has (`{name}`)")
    request = bodies.request(body)
    if request is None or not request.messages:
        raise UnreadableRecord("request", f"holds no {surface} request with messages that can be asked again")
    return replace(request, model=request.model[:_LONGEST]) if request.model else request


def _answer(captured: Captured, surface: str) -> Answer:
    if captured.status == 0:
        said = captured.error or "production gave no answer"
        return Answer(error=failures.call_error(message=said))
    if captured.status >= 400:
        return Answer(error=failures.call_error(_error_body(captured), status=captured.status))
    raw = codings.decoded(captured.response, captured.response_headers.get("content-encoding"))
    if captured.error:
        return Answer(error=failures.call_error(message=captured.error, kind=ErrorKind.CUT_STREAM))
    if _is_stream(captured, raw):
        text = raw.decode("utf-8", "replace")
        body: Json = folding.fold(text)
        if not body.get("error") and not _is_closed(text, body, surface):
            return Answer(error=failures.call_error(message=_CUT, kind=ErrorKind.CUT_STREAM))
    else:
        body = _json(raw)
    if not isinstance(body, dict) or not (body.get("error") or isinstance(body.get(_ANSWER_KEY[surface]), list)):
        raise UnreadableRecord("answer", f"holds no answer of the {surface} API")
    if body.get("status") in {"queued", "in_progress"}:
        raise UnreadableRecord("answer", "holds no answer yet: it was asked for in the background")
    return bodies.answer(body) or Answer()


def _is_stream(captured: Captured, raw: bytes) -> bool:
    kind = captured.response_headers.get("content-type", "")
    return "event-stream" in kind.lower() or raw.lstrip()[:6].startswith((b"data:", b"event:"))


def _is_closed(text: str, body: Mapping[str, Any], surface: str) -> bool:
    """Whether the provider has said that the answer is over."""
    match surface:
        case "messages":
            return "message_stop" in text[-4096:]
        case "responses":
            return body.get("status") in {"completed", "incomplete", "failed", "cancelled"}
        case _:
            choices = body.get("choices") or [{}]
            return "[DONE]" in text[-4096:] or choices[0].get("finish_reason") is not None


def _error_body(captured: Captured) -> Json:
    """What can be read of an error's body; its status alone says enough."""
    try:
        raw = codings.decoded(captured.response, captured.response_headers.get("content-encoding"))
    except UnreadableRecord:
        return None
    try:
        return _json(raw)
    except UnreadableRecord:
        return raw[: 4 * _ERROR_CHARS].decode("utf-8", "replace")[:_ERROR_CHARS] or None


def _json(raw: bytes) -> Json:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass
    try:
        # Half a surrogate pair, or bytes of another encoding: what can be read of it is compared.
        return orjson.loads(raw.decode("utf-8", "replace"))
    except orjson.JSONDecodeError:
        raise UnreadableRecord("not_json", "holds a body that is no JSON") from None


def _session(body: Mapping[str, Json]) -> str | None:
    """The conversation as the request itself names it."""
    meta = body.get("metadata")
    places: list[Mapping[str, Json]] = [meta, body] if isinstance(meta, dict) else [body]
    for place in places:
        for name in ("session_id", "conversation_id", "thread_id", "conversation"):
            found = place.get(name)
            if isinstance(found, dict):
                found = found.get("id")
            if isinstance(found, str | int) and not isinstance(found, bool) and (named := values.label(found)):
                return named[:_LONGEST]
    return None


def _user(body: Mapping[str, Json]) -> str | None:
    meta = body.get("metadata")
    found = (
        body.get("user"),
        meta.get("user_id") if isinstance(meta, dict) else None,
        body.get("safety_identifier"),
    )
    for item in found:
        if isinstance(item, str | int) and not isinstance(item, bool) and (named := values.label(item)):
            return named[:_LONGEST]
    return None


def _metadata(
    captured: Captured, body: Mapping[str, Json], surface: str, metadata_headers: Sequence[str]
) -> dict[str, str]:
    found = {"surface": surface, "rate": f"{captured.rate:g}", "transport": "stream" if body.get("stream") else "whole"}
    if source := captured.request_headers.get(SOURCE):
        found["source"] = source
    for name in metadata_headers:
        if value := captured.request_headers.get(name):
            found[name] = value[:_LONGEST]
    return found
