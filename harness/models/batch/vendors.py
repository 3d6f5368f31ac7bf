"""The two batch APIs through their vendors' own clients."""

import os
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import orjson

from harness.domain.batch import VendorBatch
from harness.domain.model import ModelSpec
from harness.domain.observation import CallError, ErrorKind
from harness.errors import InfrastructureError
from harness.models.faults import describe
from harness.models.litellm_client import NO_KEY, find_route

_OURS = "harness_batch"
_TIMEOUT_S = 300.0
_CLOCK_SLACK = timedelta(minutes=5)
"""How far a vendor's clock may be from ours."""
_WINDOW = timedelta(minutes=30)
"""A batch that was made later than this after we meant to is not ours."""
_STATUS = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "api_error": 500, "timeout_error": 504,
    "overloaded_error": 529,
}  # fmt: skip
"""The status a live call's error of that type comes with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """What a vendor says of a batch."""

    word: str
    """The vendor's own for its state."""
    ended: bool
    done: int
    failed: int
    total: int
    files: tuple[str, ...] = ()
    """Of OpenAI: where the results are."""
    refused: CallError | None = None
    """Why the whole batch was not begun; nothing was paid."""
    refused_lines: tuple[int, ...] = ()
    """The requests, from 0, that are to blame for it; none when it is not about a request."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """A response as a live call would have got it."""

    status: int
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Unanswered:
    """The vendor did not try, and bills nothing."""

    why: str
    """``expired`` or ``cancelled``."""


Result = Answered | Unanswered


class Unclear(Exception):  # noqa: N818  reads as the state it reports
    """Whether a batch reached the vendor cannot be told yet."""


class Vendor(Protocol):
    """One account at one vendor."""

    async def submit(self, batch: VendorBatch, requests: Sequence[tuple[str, bytes]], *, betas: str) -> str:
        """Hand over requests by custom id; returns the vendor's id. Never tries twice."""
        ...

    async def find(self, batch: VendorBatch, *, known: Collection[str]) -> str | None:
        """The vendor's id of a batch whose submission was not answered; ``None`` when it never arrived.

        Raises:
            Unclear: a batch that may be this one has not ended.
        """
        ...

    async def look(self, vendor_id: str) -> Sight:
        """How far it is."""
        ...

    def results(self, vendor_id: str, sight: Sight) -> AsyncIterator[tuple[str, Result]]:
        """Results by custom id, in any order; lines that cannot be read are left out."""
        ...

    async def cancel(self, vendor_id: str) -> None:
        """Ask the vendor to end it; what is finished is kept and paid."""
        ...

    async def aclose(self) -> None:
        """Close the session."""
        ...


def open_vendor(vendor: str, *, base_url: str, model: ModelSpec) -> tuple[Vendor, str]:
    """A vendor's client, and the key it uses, which must be kept out of messages.

    Raises:
        ConfigurationError: the key's variable is not set.
    """
    key = find_route(model).key or os.environ.get(f"{vendor.upper()}_API_KEY", "").strip() or NO_KEY
    opened: Vendor = OpenAIVendor(base_url, key) if vendor == "openai" else AnthropicVendor(base_url, key)
    return opened, key


async def cancel_batch(batch: VendorBatch) -> None:
    """Have a batch's vendor end it.

    Raises:
        ConfigurationError: the key's variable is not set.
        InfrastructureError: the vendor refused or cannot be reached.
    """
    model = ModelSpec(model=batch.model, api_base=batch.api_base, api_key_env=batch.api_key_env)
    vendor, key = open_vendor(batch.vendor, base_url=batch.base_url, model=model)
    try:
        await vendor.cancel(batch.vendor_id or batch.id)
    except Exception as error:  # noqa: BLE001  whatever a client raises is a refusal
        said = describe(error, secrets=(key,)).error
        raise InfrastructureError(
            f"batch {batch.vendor_id} was not cancelled: {said.kind}: {said.message}; try again"
        ) from None
    finally:
        await vendor.aclose()


class OpenAIVendor:
    """Files and batches; a batch is found again by its metadata."""

    def __init__(self, base_url: str, key: str) -> None:
        from openai import AsyncOpenAI

        self._client: AsyncOpenAI = AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=_TIMEOUT_S)

    async def submit(self, batch: VendorBatch, requests: Sequence[tuple[str, bytes]], *, betas: str) -> str:
        """Upload the file, then create the batch."""
        # Put together by hand: the bodies are JSON already.
        lines = b"\n".join(
            b'{"custom_id":%s,"method":"POST","url":"/v1/chat/completions","body":%s}' % (orjson.dumps(name), body)
            for name, body in requests
        )
        uploaded = await self._client.files.create(file=(f"harness-{batch.id}.jsonl", lines), purpose="batch")
        created = await self._client.batches.create(
            input_file_id=uploaded.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={_OURS: batch.id},
        )
        return created.id

    async def find(self, batch: VendorBatch, *, known: Collection[str]) -> str | None:
        """By the metadata, which nobody else has."""
        async for item in self._client.batches.list(limit=100):
            if (item.metadata or {}).get(_OURS) == batch.id and item.id not in known:
                return item.id
            if item.created_at < (batch.created_at - _CLOCK_SLACK).timestamp():
                return None
        return None

    async def look(self, vendor_id: str) -> Sight:
        """Retrieve the batch."""
        batch = await self._client.batches.retrieve(vendor_id)
        counts = batch.request_counts
        refused: CallError | None = None
        lines: tuple[int, ...] = ()
        if batch.status == "failed":
            refused, lines = _refusal(batch)
        return Sight(
            word=batch.status,
            ended=batch.status in {"completed", "expired", "cancelled", "failed"},
            done=(counts.completed + counts.failed) if counts else 0,
            failed=counts.failed if counts else 0,
            total=counts.total if counts else 0,
            files=tuple(file for file in (batch.output_file_id, batch.error_file_id) if file),
            refused=refused,
            refused_lines=lines,
        )

    async def results(self, vendor_id: str, sight: Sight) -> AsyncIterator[tuple[str, Result]]:
        """Read the file of answers, then that of errors."""
        for file in sight.files:
            async with self._client.files.with_streaming_response.content(file) as response:
                async for line in response.iter_lines():
                    found = _openai_line(line)
                    if found is not None:
                        yield found

    async def cancel(self, vendor_id: str) -> None:
        """Cancel the batch."""
        await self._client.batches.cancel(vendor_id)

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.close()


def _refusal(batch: Any) -> tuple[CallError, tuple[int, ...]]:
    found = list(batch.errors.data or ()) if batch.errors else []
    first = found[0] if found else None
    code = (first.code if first else None) or "batch_failed"
    message = (first.message if first else None) or "the batch was refused without a reason"
    kind = ErrorKind.RATE_LIMIT if "limit" in code else ErrorKind.BAD_REQUEST
    lines = tuple(error.line - 1 for error in found if error.line)
    return CallError(kind=kind, message=message, code=code), lines


def _openai_line(line: str) -> tuple[str, Result] | None:
    try:
        value: dict[str, Any] = orjson.loads(line)
        name = str(value["custom_id"])
        response, error = value.get("response"), value.get("error")
        if response and response.get("body") is not None:
            return name, Answered(status=int(response["status_code"]), body=orjson.dumps(response["body"]))
        code = str((error or {}).get("code") or "")
        if code == "batch_expired":
            return name, Unanswered(why="expired")
        if code == "batch_cancelled":
            return name, Unanswered(why="cancelled")
        return name, Answered(status=500, body=orjson.dumps({"error": error or {"message": "no response"}}))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return None


class AnthropicVendor:
    """Message batches; they carry no name, so one is found again by what its results are called."""

    def __init__(self, base_url: str, key: str) -> None:
        from anthropic import AsyncAnthropic

        self._client: AsyncAnthropic = AsyncAnthropic(base_url=base_url, api_key=key, max_retries=0, timeout=_TIMEOUT_S)

    async def submit(self, batch: VendorBatch, requests: Sequence[tuple[str, bytes]], *, betas: str) -> str:
        """Create the batch."""
        items: list[Any] = [{"custom_id": name, "params": orjson.loads(body)} for name, body in requests]
        headers = {"anthropic-beta": betas} if betas else None
        created = await self._client.messages.batches.create(requests=items, extra_headers=headers)
        return created.id

    async def find(self, batch: VendorBatch, *, known: Collection[str]) -> str | None:
        """Of recent batches of the same size that we do not know, the one whose results are called as ours.

        Names are seen only once a batch has ended, so one that may be ours has to be waited for.
        """
        waited_for = False
        async for item in self._client.messages.batches.list(limit=100):
            age: datetime = item.created_at
            if age < batch.created_at - _CLOCK_SLACK:
                break
            counts = item.request_counts
            n = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
            if item.id in known or n != batch.requests or age > batch.created_at + _WINDOW:
                continue
            if item.processing_status != "ended":
                waited_for = True
            elif await self._is_named_after(item.id, batch.id):
                return item.id
        if waited_for:
            raise Unclear
        return None

    async def _is_named_after(self, vendor_id: str, ours: str) -> bool:
        async for result in await self._client.messages.batches.results(vendor_id):
            return result.custom_id.startswith(ours)
        return False

    async def look(self, vendor_id: str) -> Sight:
        """Retrieve the batch."""
        batch = await self._client.messages.batches.retrieve(vendor_id)
        counts = batch.request_counts
        failed = counts.errored + counts.canceled + counts.expired
        return Sight(
            word=batch.processing_status,
            ended=batch.processing_status == "ended",
            done=counts.succeeded + failed,
            failed=failed,
            total=counts.succeeded + failed + counts.processing,
        )

    async def results(self, vendor_id: str, sight: Sight) -> AsyncIterator[tuple[str, Result]]:
        """Read the results."""
        async for item in await self._client.messages.batches.results(vendor_id):
            result = item.result
            if result.type == "succeeded":
                body = orjson.dumps(result.message.to_dict(mode="json"))
                yield item.custom_id, Answered(status=200, body=body)
            elif result.type == "errored":
                body = orjson.dumps(result.error.to_dict(mode="json"))
                yield item.custom_id, Answered(status=_STATUS.get(result.error.error.type, 500), body=body)
            else:
                yield item.custom_id, Unanswered(why="expired" if result.type == "expired" else "cancelled")

    async def cancel(self, vendor_id: str) -> None:
        """Cancel the batch."""
        await self._client.messages.batches.cancel(vendor_id)

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.close()
