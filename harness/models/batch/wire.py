"""What a live call would send, without sending it, and what a live call would make of an answer.

Batch and live are the same request and the same answer because the same code makes and reads them: the adapter's call
runs with its transport turned aside, once to see what it sends and once more to be given what the vendor answered.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from harness.domain.exchange import ChatRequest
from harness.domain.json import Json
from harness.domain.model import ModelError, ModelReply, ModelSpec
from harness.errors import ConfigurationError
from harness.models.guard import DETOUR
from harness.models.litellm_client import LitellmClient

if TYPE_CHECKING:
    import httpx

_DEADLINE_S = 300.0
"""For work on this machine alone, behind thousands of others."""
_SUFFIX = {"openai": "/chat/completions", "anthropic": "/v1/messages"}
_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "input_tokens": 1, "output_tokens": 1}
_NOTHING: dict[str, Json] = {
    "id": "none", "object": "chat.completion", "created": 0, "model": "none", "usage": _USAGE, "type": "message",
    "role": "assistant", "content": [{"type": "text", "text": "-"}], "stop_reason": "end_turn",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "-"}}],
}  # fmt: skip
"""An answer in both vendors' shapes, for a call that is made to see what it sends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wire:
    """One request as a vendor's batch takes it."""

    vendor: str
    base_url: str
    body: bytes
    betas: str = ""
    """Anthropic's header of that name."""


async def sent(client: LitellmClient, request: ChatRequest, model: ModelSpec) -> Wire:
    """What a live call that does not stream would send.

    Raises:
        ConfigurationError: the vendor has no batch API that takes it.
        ModelError: nothing would be sent, since the request cannot be translated.
    """
    seen: list[httpx.Request] = []

    def look(call: "httpx.Request") -> "httpx.Response":
        import httpx

        seen.append(call)
        return httpx.Response(200, json=_NOTHING, request=call)

    try:
        await _detoured(client, request, model, look)
    except ModelError:
        if not seen:
            raise
    vendor = model.provider.split("@", 1)[0]
    suffix = _SUFFIX.get(vendor)
    url = str(seen[0].url.copy_with(query=None)) if seen else ""
    if suffix is None or not url.endswith(suffix):
        asked = f"is asked at {url}" if url else "cannot be seen on its way"
        raise ConfigurationError(
            f"model {model.model!r} has no batch API we know ({asked}): `batch` works with OpenAI's chat "
            "completions (`openai/...`) and Anthropic's messages (`anthropic/...`); take `batch` out to ask it live"
        )
    return Wire(
        vendor=vendor,
        base_url=url.removesuffix(suffix),
        body=_without_stream(await seen[0].aread()),
        betas=seen[0].headers.get("anthropic-beta", ""),
    )


async def read(client: LitellmClient, request: ChatRequest, model: ModelSpec, status: int, body: bytes) -> ModelReply:
    """What a live call would make of this answer; time is unknown, and cost is that of a batch.

    Raises:
        ModelError: as a live call's.
    """

    def answer(call: "httpx.Request") -> "httpx.Response":
        import httpx

        return httpx.Response(status, content=body, headers={"content-type": "application/json"}, request=call)

    factor = model.batch.price_factor if model.batch is not None else 1.0
    try:
        reply = await _detoured(client, request, model, answer)
    except ModelError as error:
        error.latency_ms = None
        error.cost_usd = None if error.cost_usd is None else error.cost_usd * factor
        raise
    return replace(
        reply, latency_ms=None, ttft_ms=None, cost_usd=None if reply.cost_usd is None else reply.cost_usd * factor
    )


async def _detoured(
    client: LitellmClient, request: ChatRequest, model: ModelSpec, way: "Callable[[httpx.Request], httpx.Response]"
) -> ModelReply:
    token = DETOUR.set(way)
    try:
        return await client.complete(request, replace(model, stream=False), deadline_s=_DEADLINE_S)
    finally:
        DETOUR.reset(token)


def _without_stream(body: bytes) -> bytes:
    """A batch takes the body of a request that does not stream, and no mention of it."""
    value: dict[str, Any] = orjson.loads(body)
    value.pop("stream", None)
    value.pop("stream_options", None)
    # Sorted, so that the same request has the same hash in every process.
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
