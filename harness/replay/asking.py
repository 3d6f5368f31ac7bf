"""Asks one arm one recorded request; whatever comes of it is an Observation."""

import time
from datetime import UTC, datetime

from harness.domain.batch import asking_for
from harness.domain.exchange import Exchange
from harness.domain.model import ModelClient, ModelError, ModelReply, ModelSpec
from harness.domain.observation import CallError, ErrorKind, Observation, Status
from harness.errors import HarnessError
from harness.replay.request import request_for

_MESSAGE_CHARS = 2_000


async def ask(
    exchange: Exchange, *, client: ModelClient, spec: ModelSpec, arm: str, fingerprint: str, deadline_s: float
) -> Observation:
    """Send the exchange's request to ``spec``; a failed call, and a client that raises what it likes, are data.

    Raises:
        HarnessError: the set-up is broken or the purse is empty: not this exchange's doing, and it was not asked.
    """
    started_at, begin = datetime.now(UTC), time.perf_counter()
    request = request_for(exchange, spec)
    try:
        with asking_for("replay", arm, fingerprint, exchange.id):
            reply = await client.complete(request, spec, deadline_s=deadline_s)
    except ModelError as error:
        return _failed(exchange, error, arm, fingerprint, started_at)
    except HarnessError:
        raise
    except Exception as error:  # noqa: BLE001  one odd answer must not end a run of thousands
        message = f"{type(error).__name__}: {error}"[:_MESSAGE_CHARS]
        elapsed = (time.perf_counter() - begin) * 1000
        unknown = ModelError(CallError(kind=ErrorKind.OTHER, message=message), latency_ms=elapsed)
        return _failed(exchange, unknown, arm, fingerprint, started_at)
    return _answered(exchange, reply, arm, fingerprint, started_at)


def _answered(exchange: Exchange, reply: ModelReply, arm: str, fingerprint: str, started_at: datetime) -> Observation:
    completion, error = reply.completion, None
    if completion.is_empty:
        # The user would have seen nothing: the candidate's failure, with what it cost.
        message = f"the answer is empty (finish reason {completion.finish_reason})"
        error = CallError(kind=ErrorKind.EMPTY_OUTPUT, message=message, code=completion.finish_reason)
    return Observation(
        exchange_id=exchange.id,
        arm=arm,
        status=Status.COMPLETED if error is None else Status.FAILED,
        completion=completion,
        error=error,
        latency_ms=reply.latency_ms,
        ttft_ms=reply.ttft_ms,
        queue_ms=reply.queue_ms,
        retry_ms=reply.retry_ms,
        attempts=reply.attempts,
        usage=reply.usage,
        cost_usd=reply.cost_usd,
        cost_estimated=reply.cost_usd is not None,
        started_at=reply.started_at or started_at,
        dropped_params=reply.dropped_params,
        fingerprint=fingerprint,
    )


def _failed(exchange: Exchange, error: ModelError, arm: str, fingerprint: str, started_at: datetime) -> Observation:
    return Observation(
        exchange_id=exchange.id,
        arm=arm,
        status=Status.FAILED,
        error=error.error,
        latency_ms=error.latency_ms,
        queue_ms=error.queue_ms,
        retry_ms=error.retry_ms,
        attempts=error.attempts,
        cost_usd=error.cost_usd,
        cost_estimated=error.cost_usd is not None,
        started_at=started_at,
        dropped_params=error.dropped_params,
        fingerprint=fingerprint,
    )
