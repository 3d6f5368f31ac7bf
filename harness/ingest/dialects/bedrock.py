"""Bedrock model invocation logs, as delivered to object stores."""

from collections.abc import Iterator

from harness.domain.json import Json
from harness.ingest import folding, values
from harness.ingest.dialects import bodies, converse_body
from harness.ingest.dialects.calls import Answer, Call, Context, JsonObject, Outcome, Skip

_CHAT = frozenset(["Converse", "ConverseStream", "InvokeModel", "InvokeModelWithResponseStream", ""])


def recognises(record: JsonObject) -> bool:
    """Whether this is one invocation."""
    return record.get("schemaType") == "ModelInvocationLog"


def read(record: JsonObject, context: Context) -> Iterator[Outcome]:
    """One call per record; bodies above 100 KB lie in files of their own, named by path."""
    model = values.label(record.get("modelId"))
    asked, answered = values.as_object(record.get("input")), values.as_object(record.get("output"))
    request = bodies.request(asked.get("inputBodyJson"), model)
    stored: Json = values.decoded(answered.get("outputBodyJson"))
    operation = values.label(record.get("operation")) or ""
    if operation not in _CHAT or (request is None and _is_embedding(asked)):
        yield Skip(reason="not_a_chat_call", message=f"{context.place}: {operation} of {model} is no chat call")
        return
    failed = values.is_stored(record.get("errorCode"))
    if request is None or not (failed or values.is_stored(stored)):
        path = values.pick(asked, "inputBodyS3Path") or values.pick(answered, "outputBodyS3Path")
        where = f"; it lies in {path}, put it into the record" if path else "; switch on text delivery of the log"
        yield Skip(reason="no_content_recorded", message=f"{context.place}: a body is not in the log{where}")
        return
    answer = bodies.failed(stored, code=record["errorCode"]) if failed else _answer(stored)
    usage = converse_body.usage({**asked, **answered})
    metadata = values.labels(values.as_object(record.get("requestMetadata")))
    metrics = values.as_object(stored.get("metrics")) if isinstance(stored, dict) else {}
    yield Call(
        id=values.label(record.get("requestId")),
        request=request,
        answer=bodies.with_usage(answer, usage),
        latency_ms=values.duration(metrics.get("latencyMs"), 1.0),
        timestamp=values.time(record.get("timestamp")),
        metadata=metadata | values.labels({"operation": operation or None, "region": record.get("region")}),
    )


def _answer(stored: Json) -> Answer:
    if isinstance(stored, list):
        # A stream may end in a text that is no event.
        stored = [values.decoded(item) for item in stored if item != "[DONE]"]
        if not folding.is_stream(stored) and stored:
            stored = stored[-1]
    return bodies.answer(stored) or Answer()


def _is_embedding(asked: JsonObject) -> bool:
    body = values.as_object(asked.get("inputBodyJson"))
    return bool({"inputText", "texts", "taskType"} & body.keys()) and "textGenerationConfig" not in body
