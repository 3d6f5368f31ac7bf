"""Azure OpenAI RequestResponse diagnostics: how long calls took, and not a word of what was said."""

from collections.abc import Iterator

from harness.ingest import values
from harness.ingest.dialects.calls import Context, JsonObject, Outcome, Skip


def recognises(record: JsonObject) -> bool:
    """Whether this is such a diagnostic record."""
    return record.get("category") == "RequestResponse" or record.get("Category") == "RequestResponse"


def read(record: JsonObject, context: Context) -> Iterator[Outcome]:
    """Always skipped: these records hold neither prompt nor answer."""
    properties = values.as_object(record.get("properties"))
    facts = {
        "id": values.label(record.get("correlationId")),
        "model": values.label(values.pick(properties, "modelDeploymentName", "modelName")),
        "latency_ms": values.duration(values.pick(record, "durationMs", "DurationMs"), 1.0),
        "timestamp": values.time(record.get("time")),
    }
    message = (
        f"{context.place}: these diagnostics hold no text and no tokens; log request and response bodies in the gateway"
        " in front (API Management, or a proxy) and export those"
    )
    yield Skip(reason="no_content_recorded", message=message, facts=facts)
