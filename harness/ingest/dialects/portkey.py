"""Portkey: log exports as JSON lines, whose columns are chosen when exporting."""

from collections.abc import Iterator

from harness.domain.observation import Usage
from harness.ingest import values
from harness.ingest.dialects import bodies
from harness.ingest.dialects.calls import Call, Context, JsonObject, Outcome, Skip

_EXPECTED = ("ai_model", "response_time", "created_at", "cost", "response_status_code")
_SESSIONS = ("session_id", "conversation_id", "_session")
_USERS = ("_user", "user", "user_id")


def recognises(record: JsonObject) -> bool:
    """Whether this is a log of this gateway."""
    return "ai_org" in record or "req_units" in record


def read(record: JsonObject, context: Context) -> Iterator[Outcome]:
    """One call per log; costs come in cents, times in milliseconds."""
    missing = [name for name in _EXPECTED if name not in record]
    if missing:
        context.warn(f"{context.file}: columns left out of the export, unknown here: {', '.join(missing)}")
    model = values.label(record.get("ai_model"))
    request = bodies.request(values.reach(record, "request.body"), model)
    stored = values.reach(record, "response.body")
    status = values.count(record.get("response_status_code"))
    failed = (status or 200) >= 400 or ("is_success" in record and not values.flag(record["is_success"]))
    if request is None or not (failed or values.is_stored(stored)):
        column = "request" if request is None else "response"
        message = f"{context.place}: the {column} was not exported; choose the `request` and `response` columns"
        yield Skip(reason="no_content_recorded", message=message, facts={"model": model})
        return
    if failed:
        body = values.decoded(stored)
        answer = bodies.failed(body.get("error", body) if isinstance(body, dict) else body, status=status)
    else:
        usage = Usage(tokens_in=values.count(record.get("req_units")), tokens_out=values.count(record.get("res_units")))
        answer = bodies.with_usage(bodies.answer(stored) or bodies.failed(None), usage)

    def naive() -> None:
        context.warn(f"{context.file}: times without a zone are taken as UTC")

    metadata = _metadata(record)
    in_dollars = str(record.get("cost_currency") or "USD").upper() == "USD"
    yield Call(
        id=values.label(values.pick(record, "id", "request_id", "trace_id")),
        request=request,
        answer=answer,
        latency_ms=values.duration(record.get("response_time"), 1.0),
        cost_usd=values.scaled(record.get("cost"), 0.01) if in_dollars and not answer.error else None,
        timestamp=values.time(record.get("created_at"), naive),
        session=next((metadata[name] for name in _SESSIONS if name in metadata), None),
        user=next((metadata[name] for name in _USERS if name in metadata), None),
        metadata=metadata | values.labels({name: record.get(name) for name in ("trace_id", "mode", "ai_org")}),
        cache_hit=str(record.get("cache_status")).upper() in {"HIT", "SEMANTIC HIT"},
    )


def _metadata(record: JsonObject) -> dict[str, str]:
    """Metadata as an object, as pairs, or as parallel lists of keys and values."""
    stored = values.decoded(record.get("metadata"))
    keys, found = values.reach(record, "metadata.key"), values.reach(record, "metadata.value")
    if isinstance(keys, list) and isinstance(found, list):
        return values.labels(dict(zip(map(str, keys), found, strict=False)))
    if isinstance(stored, list):
        pairs = [item for item in stored if isinstance(item, dict) and "key" in item]
        return values.labels({str(item["key"]): item.get("value") for item in pairs})
    if isinstance(keys, str):
        return values.labels({keys: found})
    return values.labels(values.as_object(stored))
