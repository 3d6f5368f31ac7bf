"""Helicone: the export tool's JSON, JSON lines and CSV."""

from collections.abc import Iterator

from harness.domain.json import Json
from harness.domain.observation import Usage
from harness.ingest import values
from harness.ingest.dialects import bodies
from harness.ingest.dialects.calls import Answer, Call, Context, JsonObject, Outcome, Skip

_SESSION = "Helicone-Session-Id"


def recognises(record: JsonObject) -> bool:
    """Whether this is a request of this gateway's export."""
    keys = record.keys()
    return "delay_ms" in keys and bool({"request_body", "signed_body_url", "request_created_at"} & keys)


def read(record: JsonObject, context: Context) -> Iterator[Outcome]:
    """One call per record; bodies are there only when the export asked for them."""
    model = values.label(values.pick(record, "model_override", "request_model", "model", "response_model"))
    request = bodies.request(record.get("request_body"), model)
    if request is None:
        stored = " (`signed_body_url` only points to them, and expires)" if record.get("signed_body_url") else ""
        message = f"{context.place}: the bodies are not in this export{stored}; export again with `--include-body`"
        yield Skip(reason="no_content_recorded", message=message, facts={"model": model})
        return
    answer = _answer(record)
    if answer is None:
        message = f"{context.place}: the response body is not in this export; export again with `--include-body`"
        yield Skip(reason="no_content_recorded", message=message, facts={"model": model})
        return

    def naive() -> None:
        context.warn(f"{context.file}: times without a zone are taken as UTC")

    start = values.time(record.get("request_created_at"), naive)
    latency = values.duration(record.get("delay_ms"), 1.0)
    if latency is None:
        latency = values.between_ms(start, values.time(record.get("response_created_at"), naive))
    if "latency" in record:
        context.warn(f"{context.file}: the unit of the `latency` column is not documented, so it is left out")
    properties = values.as_object(values.pick(record, "request_properties", "properties"))
    yield Call(
        id=values.label(values.pick(record, "request_id", "id")),
        request=request,
        answer=bodies.with_usage(answer, _usage(record)),
        latency_ms=latency,
        ttft_ms=values.duration(record.get("time_to_first_token"), 1.0),
        cost_usd=None if answer.error else values.scaled(values.pick(record, "costUSD", "cost_usd"), 1.0),
        timestamp=start,
        session=values.label(properties.get(_SESSION)),
        user=values.label(values.pick(record, "request_user_id", "helicone_user", "user_id")),
        metadata=values.labels(properties, without=frozenset([_SESSION])),
        cache_hit=values.is_stored(record.get("cache_reference_id"))
        and str(record.get("cache_reference_id")).strip("0-") != "",
    )


def _answer(record: JsonObject) -> Answer | None:
    status = values.number(record.get("response_status"))
    stored: Json = values.decoded(record.get("response_body"))
    if isinstance(stored, dict) and values.is_stored(stored.get("streamed_data")):
        stored = stored["streamed_data"]
    if status is not None and status <= 0:
        return bodies.failed(stored if isinstance(stored, dict) else None, code="no_response",
                             message="the vendor gave no answer")  # fmt: skip
    if status is not None and status >= 400:
        inner = stored.get("error", stored) if isinstance(stored, dict) else stored
        return bodies.failed(inner, status=status)
    return bodies.answer(stored) if values.is_stored(stored) else None


def _usage(record: JsonObject) -> Usage:
    read = values.count(record.get("prompt_tokens"))
    cached = values.count(record.get("prompt_cache_read_tokens"))
    return Usage(
        tokens_in=None
        if read is None
        else values.total(read, cached, values.count(record.get("prompt_cache_write_tokens"))),
        tokens_out=values.count(record.get("completion_tokens")),
        tokens_cached=cached,
    )
