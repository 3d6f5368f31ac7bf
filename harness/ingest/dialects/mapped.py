"""Tables no dialect knows, read by the column names in the experiment."""

from collections.abc import Iterator

from harness.config import Mapping_
from harness.domain.exchange import ChatRequest
from harness.domain.json import Json
from harness.domain.observation import Completion, Usage
from harness.errors import ConfigurationError
from harness.ingest import values
from harness.ingest.dialects import bodies, chat_body
from harness.ingest.dialects.calls import Answer, Call, Context, JsonObject, Outcome, Skip

_TO_MS = {"ms": 1.0, "s": 1000.0, "us": 1e-3, "ns": 1e-6}
_TO_USD = {"usd": 1.0, "cents": 0.01}


def recognises(record: JsonObject) -> bool:
    """Never: which column is which has to be said."""
    return False


_WELL_KNOWN = {
    "prompt": ("prompt",), "system_prompt": ("system_prompt",), "response": ("response", "completion"),
    "id": ("id", "request_id"), "model": ("model",), "latency": ("latency_ms",), "ttft": ("ttft_ms",),
    "tokens_in": ("tokens_in", "input_tokens", "prompt_tokens"),
    "tokens_out": ("tokens_out", "output_tokens", "completion_tokens"), "cost": ("cost_usd",),
    "timestamp": ("timestamp", "created_at"), "session": ("session_id", "conversation_id"), "user": ("user_id",),
    "error": ("error",), "finish_reason": ("finish_reason",), "tags": ("tags",),
}  # fmt: skip
"""Names that mean one thing in every table, units included; a `latency` or a `cost` does not."""


def guess(record: JsonObject) -> Mapping_ | None:
    """The mapping of a table whose columns have well-known names; ``None`` without a prompt and a response."""
    found = {
        role: name for role, names in _WELL_KNOWN.items() if (name := next((n for n in names if n in record), None))
    }
    return Mapping_.model_validate(found) if {"prompt", "response"} <= found.keys() else None


def read(record: JsonObject, context: Context) -> Iterator[Outcome]:
    """One call per row.

    A prompt becomes one user message, a system prompt the message before it; a response that is the JSON of a vendor's
    body is read as one, any other is text.

    Raises:
        ConfigurationError: there is no mapping.
    """
    mapping = context.mapping
    if mapping is None:
        raise ConfigurationError("`dialect: mapping` needs `mapping:`, which names the columns")
    for column in (mapping.model, mapping.latency, mapping.cost, mapping.timestamp, mapping.session):
        if column is not None and column not in record and column.partition(".")[0] not in record:
            context.warn(f"{context.file}: column {column!r} of the mapping is not in every record")
    answer = _answer(record, mapping)
    model = values.label(_get(record, mapping.model)) or mapping.default_model
    if model is None and answer and answer.completion:
        model = answer.completion.model
    request = _request(record, mapping, model)
    if request is None:
        column = mapping.prompt or mapping.messages
        yield Skip(reason="no_request", message=f"{context.place}: column {column!r} is empty or missing")
    elif answer is None:
        yield Skip(reason="no_result", message=f"{context.place}: column {mapping.response!r} is empty or missing")
    else:
        yield _call(record, mapping, request, answer, context)


def _get(record: JsonObject, column: str | None) -> Json:
    return None if column is None else values.reach(record, column)


def _request(record: JsonObject, mapping: Mapping_, model: str | None) -> ChatRequest | None:
    if mapping.prompt is not None:
        prompt = values.text(_get(record, mapping.prompt))
        found = ({"role": "user", "content": prompt},) if prompt else ()
        body = ChatRequest(model="", messages=found) if found else None
    else:
        body = bodies.request(_get(record, mapping.messages))
    if body is None:
        return None
    system = values.text(_get(record, mapping.system_prompt))
    messages = ({"role": "system", "content": system}, *body.messages) if system else body.messages
    tools = chat_body.tools({"tools": _get(record, mapping.tools)}) or body.tools
    params = dict(body.params) | chat_body.params(values.as_object(_get(record, mapping.params)))
    return ChatRequest(model=model or body.model or "unknown", messages=messages, tools=tools, params=params)


def _answer(record: JsonObject, mapping: Mapping_) -> Answer | None:
    error = _get(record, mapping.error)
    if values.is_stored(error) and error is not False:
        return bodies.failed(error)
    stored = _get(record, mapping.response)
    if stored is None:
        return None
    found = bodies.answer(stored) if isinstance(stored, dict | list | str) else None
    found = found or Answer(completion=Completion(text=values.text(stored)))
    usage = Usage(
        tokens_in=values.count(_get(record, mapping.tokens_in)),
        tokens_out=values.count(_get(record, mapping.tokens_out)),
    )
    finish = values.label(_get(record, mapping.finish_reason))
    completion = found.completion
    if finish and completion is not None:
        completion = Completion(
            text=completion.text, tool_calls=completion.tool_calls, finish_reason=finish, model=completion.model,
            refusal=completion.refusal, n_choices=completion.n_choices,
        )  # fmt: skip
        found = Answer(completion=completion, usage=found.usage, created=found.created, id=found.id)
    return bodies.with_usage(found, usage)


def _call(record: JsonObject, mapping: Mapping_, request: ChatRequest, answer: Answer, context: Context) -> Call:
    def naive() -> None:
        context.warn(f"{context.file}: times without a zone are taken as UTC")

    tags, metadata = values.tags_and_metadata(_get(record, mapping.tags))
    metadata |= values.labels({name: _get(record, name) for name in mapping.metadata})
    return Call(
        id=values.label(_get(record, mapping.id)),
        request=request,
        answer=answer,
        latency_ms=values.duration(_get(record, mapping.latency), _TO_MS[mapping.latency_unit]),
        ttft_ms=values.duration(_get(record, mapping.ttft), _TO_MS[mapping.latency_unit]),
        cost_usd=values.scaled(_get(record, mapping.cost), _TO_USD[mapping.cost_unit]),
        timestamp=values.time(_get(record, mapping.timestamp), naive) or answer.created,
        session=values.label(_get(record, mapping.session)),
        user=values.label(_get(record, mapping.user)),
        tags=tags,
        metadata=metadata,
    )
