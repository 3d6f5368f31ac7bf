"""Domain values to rows and bodies, and back."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from harness.domain.exchange import ChatRequest, Exchange, Source
from harness.domain.judgment import Judgment, JudgmentState, Label, Order, UnscoredReason
from harness.domain.observation import CallError, Completion, ErrorKind, Observation, Status, ToolCall, Usage
from harness.store import attributes, bodies, bulk

Row = dict[str, Any]


def upsert(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert the rows, or replace what stands under their primary keys."""
    _write(connection, table, rows, replace=True)


def insert_new(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert the rows whose primary keys are free, and leave the others as they stand."""
    _write(connection, table, rows, replace=False)


def _write(connection: sa.Connection, table: sa.Table, rows: Sequence[Row], *, replace: bool) -> None:
    if not rows:
        return
    keys = [column.name for column in table.primary_key.columns]
    # One order for all writers: two that touch the same rows cannot wait for each other.
    ordered = sorted(rows, key=lambda row: tuple(row[key] for key in keys))
    insert = _insert(connection.dialect.name, table, replace=replace)
    if not bulk.write(connection, table, ordered, insert):
        connection.execute(insert, ordered)


@cache
def _insert(dialect: str, table: sa.Table, *, replace: bool) -> sa.Insert:
    """Built once: building it takes longer than running it for one row."""
    statement = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    keys = [column.name for column in table.primary_key.columns]
    if not replace:
        return statement.on_conflict_do_nothing(index_elements=keys)
    replaced: dict[str, Any] = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys}
    if not replaced:
        return statement.on_conflict_do_nothing(index_elements=keys)
    if "superseded_usd" in replaced:
        # What earlier calls under the same key cost is kept: a repeated call does not refund the first. Writing the
        # same call twice is told from repeating it by the measured latency.
        old, new = table.c, statement.excluded
        earlier = old.superseded_usd + sa.func.coalesce(old.cost_usd, 0.0)
        repeated = old.latency_ms.is_distinct_from(new.latency_ms)
        replaced["superseded_usd"] = sa.case((repeated, earlier), else_=old.superseded_usd)
    return statement.on_conflict_do_update(index_elements=keys, set_=replaced)


def exchange_row(run_id: str, exchange: Exchange, position: float, body: bytes) -> Row:
    """The narrow columns of one exchange."""
    request, source = exchange.request, exchange.source
    return {
        "run_id": run_id,
        "exchange_id": exchange.id,
        "position": position,
        "session": exchange.session,
        "user_id": exchange.user,
        "cluster": exchange.cluster,
        "model": request.model,
        "timestamp": exchange.timestamp,
        "n_messages": len(request.messages),
        "n_turns": attributes.turns(request),
        "has_tools": bool(request.tools),
        "prompt_chars": attributes.prompt_chars(request),
        "source_file": source.file if source else None,
        "source_line": source.line if source else None,
        "source_sha256": source.sha256 if source else None,
        "body_bytes": len(body),
    }


def exchange_body(exchange: Exchange) -> bytes:
    """The request, tags and metadata."""
    request = exchange.request
    return bodies.encode(
        {
            "messages": request.messages,
            "tools": request.tools,
            "params": request.params,
            "tags": exchange.tags,
            "metadata": exchange.metadata,
        }
    )


def exchange_of(row: Any, body: bytes, production: Observation) -> Exchange:
    """The exchange from its row, its body and production's observation."""
    text = bodies.decode(body)
    source = None
    if row.source_file is not None:
        source = Source(file=row.source_file, line=row.source_line, sha256=row.source_sha256)
    return Exchange(
        id=row.exchange_id,
        request=ChatRequest(
            model=row.model,
            messages=tuple(text["messages"]),
            tools=tuple(text["tools"]),
            params=text["params"],
        ),
        production=production,
        timestamp=row.timestamp,
        session=row.session,
        user=row.user_id,
        tags=tuple(text["tags"]),
        metadata=text["metadata"],
        source=source,
    )


def observation_row(run_id: str, observation: Observation, body: bytes, now: datetime) -> Row:
    """The narrow columns of one observation."""
    o, error, completion, usage = observation, observation.error, observation.completion, observation.usage
    return {
        "run_id": run_id,
        "arm": o.arm,
        "fingerprint": o.fingerprint,
        "exchange_id": o.exchange_id,
        "status": o.status.value,
        "reason": o.reason,
        "error_kind": error.kind.value if error else None,
        "error_code": error.code if error else None,
        "error_message": error.message if error else None,
        "http_status": error.http_status if error else None,
        "latency_ms": o.latency_ms,
        "ttft_ms": o.ttft_ms,
        "queue_ms": o.queue_ms,
        "retry_ms": o.retry_ms,
        "attempts": o.attempts,
        "tokens_in": usage.tokens_in,
        "tokens_out": usage.tokens_out,
        "tokens_cached": usage.tokens_cached,
        "tokens_reasoning": usage.tokens_reasoning,
        "cost_usd": o.cost_usd,
        "cost_estimated": o.cost_estimated,
        "superseded_usd": 0.0,
        "started_at": o.started_at,
        "cache_hit": o.cache_hit,
        "finish_reason": completion.finish_reason if completion else None,
        "answered_model": completion.model if completion else None,
        "answer_chars": completion.chars if completion else None,
        "n_tool_calls": len(completion.tool_calls) if completion else None,
        "dropped_params": " ".join(o.dropped_params) or None,
        "body_bytes": len(body),
        "recorded_at": now,
    }


def observation_body(observation: Observation) -> bytes:
    """The answer and whatever else is not a number."""
    completion = observation.completion
    body: Row = {}
    if completion is not None:
        body["completion"] = {
            "text": completion.text,
            "tool_calls": [{"name": c.name, "arguments": c.arguments, "id": c.id} for c in completion.tool_calls],
            "finish_reason": completion.finish_reason,
            "model": completion.model,
            "refusal": completion.refusal,
            "n_choices": completion.n_choices,
            "original_chars": completion.original_chars,
        }
    if observation.error is not None:
        body["error_message"] = observation.error.message
    if observation.dropped_params:
        body["dropped_params"] = observation.dropped_params
    if observation.extra:
        body["extra"] = observation.extra
    return bodies.encode(body)


def observation_of(row: Any, body: bytes) -> Observation:
    """The observation from its row and body."""
    text = bodies.decode(body)
    error = None
    if row.error_kind is not None:
        message = text.get("error_message", row.error_message)
        kind = ErrorKind(row.error_kind)
        error = CallError(kind=kind, message=message, code=row.error_code, http_status=row.http_status)
    return Observation(
        exchange_id=row.exchange_id,
        arm=row.arm,
        status=Status(row.status),
        completion=_completion(text.get("completion")),
        error=error,
        reason=row.reason,
        latency_ms=row.latency_ms,
        ttft_ms=row.ttft_ms,
        queue_ms=row.queue_ms,
        retry_ms=row.retry_ms,
        attempts=row.attempts,
        usage=Usage(
            tokens_in=row.tokens_in,
            tokens_out=row.tokens_out,
            tokens_cached=row.tokens_cached,
            tokens_reasoning=row.tokens_reasoning,
        ),
        cost_usd=row.cost_usd,
        cost_estimated=row.cost_estimated,
        started_at=row.started_at,
        cache_hit=row.cache_hit,
        dropped_params=tuple(text.get("dropped_params", ())),
        fingerprint=row.fingerprint,
        extra=text.get("extra", {}),
    )


def _completion(value: Row | None) -> Completion | None:
    if value is None:
        return None
    calls = tuple(ToolCall(name=c["name"], arguments=c["arguments"], id=c["id"]) for c in value["tool_calls"])
    return Completion(**(value | {"tool_calls": calls}))


def judgment_row(run_id: str, judgment: Judgment, now: datetime) -> Row:
    """The narrow columns of one judgment."""
    j = judgment
    return {
        "run_id": run_id,
        "arm": j.arm,
        "observation_fingerprint": j.observation_fingerprint,
        "judge_fingerprint": j.judge_fingerprint,
        "exchange_id": j.exchange_id,
        "answer_order": j.order.value,
        "judge": j.judge,
        "state": j.state.value,
        "reason": j.reason.value if j.reason else None,
        "value": j.value,
        "label": j.label.value if j.label else None,
        "model": j.model,
        "answered_model": j.answered_model,
        "prompt_sha256": j.prompt_sha256,
        "parser": j.parser,
        "tokens_in": j.tokens_in,
        "tokens_out": j.tokens_out,
        "cost_usd": j.cost_usd,
        "superseded_usd": 0.0,
        "attempts": j.attempts,
        "latency_ms": j.latency_ms,
        "recorded_at": now,
    }


def judgment_body(judgment: Judgment) -> bytes:
    """The judge's words."""
    return bodies.encode({"explanation": judgment.explanation, "raw": judgment.raw, "details": judgment.details})


def judgment_of(row: Any, body: bytes) -> Judgment:
    """The judgment from its row and body."""
    text = bodies.decode(body)
    return Judgment(
        exchange_id=row.exchange_id,
        arm=row.arm,
        judge=row.judge,
        judge_fingerprint=row.judge_fingerprint,
        observation_fingerprint=row.observation_fingerprint,
        order=Order(row.answer_order),
        state=JudgmentState(row.state),
        reason=UnscoredReason(row.reason) if row.reason else None,
        value=row.value,
        label=Label(row.label) if row.label else None,
        explanation=text["explanation"],
        details=text["details"],
        model=row.model,
        answered_model=row.answered_model,
        prompt_sha256=row.prompt_sha256,
        parser=row.parser,
        raw=text["raw"],
        tokens_in=row.tokens_in,
        tokens_out=row.tokens_out,
        cost_usd=row.cost_usd,
        attempts=row.attempts,
        latency_ms=row.latency_ms,
    )
