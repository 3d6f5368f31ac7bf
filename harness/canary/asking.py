"""Asks the candidate, and gives its answer as bytes of the API that the client speaks."""

import contextlib
import logging
import math
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import orjson

from harness.canary.request import Shape, configured, dispensable, fitted, readable
from harness.canary.unfit import Unfit
from harness.domain.json import Json
from harness.domain.model import ModelSpec
from harness.domain.unanswered import Reason
from harness.errors import HarnessError
from harness.models import litellm_client, surfaces
from harness.models.faults import describe
from harness.models.guard import CURRENT, ResponseGuard
from harness.models.restraints import DOWNLOADS, Downloads
from harness.models.surfaces import Chunks, CutStream

# To these an image's address is sent as it is. Others may have litellm download it, some by means of their own.
_FETCH_ADDRESSES = frozenset({
    "openai", "azure", "anthropic", "hosted_vllm", "openrouter", "groq", "mistral", "xai", "together_ai",
})  # fmt: skip
_RESPONSE_ENDS = {"response.completed", "response.incomplete"}
_WHOLE = {Shape.CHAT: "choices", Shape.RESPONSES: "output", Shape.MESSAGES: "content"}
_TRANSLATIONS: dict[Shape, Callable[[dict[str, Json], litellm_client.Route], surfaces.Translation]] = {
    Shape.CHAT: surfaces.FromChat, Shape.RESPONSES: surfaces.FromResponses, Shape.MESSAGES: surfaces.FromMessages,
}  # fmt: skip
_log = logging.getLogger("harness.canary")


class Asking:
    """Asks one candidate with its own credentials; once, without retries and fallbacks.

    It is asked as chat whatever the client speaks, because that is how it was evaluated. ``max_response_bytes`` bounds
    answers that are not streamed.
    """

    def __init__(self, spec: ModelSpec, *, deadline_s: float, max_response_bytes: int) -> None:
        self._spec = spec
        self._route = litellm_client.find_route(spec)
        self._litellm = litellm_client.library()
        self._addresses = surfaces.restrain() and self._route.provider in _FETCH_ADDRESSES
        self._max_bytes = max_response_bytes
        # Ours fires first; the library's own is a net under it.
        self._timeout = math.ceil(deadline_s) + 5

    async def ask(self, shape: Shape, body: Mapping[str, Json]) -> bytes | AsyncIterator[bytes]:
        """The whole answer, or the events of a stream; each piece is one complete event.

        To be called in a task of the request's own, which is also the one that reads the stream.

        Raises:
            Unfit: there is no answer, or, from the iterator, no rest of it.
        """
        translation = self._translated(shape, body)
        asked = fitted(configured(translation.chat, self._spec), self._spec, self._route)
        streamed = bool(asked.get("stream"))
        # A stream passes through; its guard only keeps it from being redirected.
        guard = ResponseGuard(sys.maxsize if streamed else self._max_bytes)
        downloads = Downloads()
        CURRENT.set(guard)
        DOWNLOADS.set(downloads)
        try:
            answer = await self._call(asked)
            if not streamed:
                return self._whole(shape, translation.whole(answer))
            chunks = Chunks(answer)
            await chunks.begin()
        except Exception as error:  # noqa: BLE001  a hundred providers raise what they like
            if downloads.refused:
                raise Unfit(Reason.UNSUPPORTED_REQUEST) from None
            if guard.exceeded:
                raise Unfit(Reason.ANSWER_TOO_LARGE) from None
            raise self._unfit(error, started=False) from None
        return self._events(shape, translation, chunks)

    async def warm_up(self) -> None:
        """Have everything loaded that the first requests need; asks nobody."""
        said = [{"role": "user", "content": "-"}]
        for shape in Shape:
            translation = _TRANSLATIONS[shape]({"input": "-", "messages": said, "max_tokens": 1}, self._route)
            for streamed in (False, True):
                answer = await self._litellm.acompletion(
                    model="openai/warm-up", messages=said, mock_response="-", stream=streamed
                )
                if not streamed:
                    self._whole(shape, translation.whole(answer))
                    continue
                # A mocked stream has no end of its own.
                with contextlib.suppress(Unfit):
                    async for _ in self._events(shape, translation, Chunks(answer)):
                        pass

    def _translated(self, shape: Shape, body: Mapping[str, Json]) -> surfaces.Translation:
        request = readable(shape, body, addresses=self._addresses)
        try:
            return _TRANSLATIONS[shape](request, self._route)
        except Exception as error:  # noqa: BLE001  what a translation stumbles over is not for its candidate to answer for
            _log.info("a request could not be translated: %s", type(error).__name__)
            raise Unfit(Reason.UNREADABLE_REQUEST) from None

    async def _call(self, asked: dict[str, Any]) -> Any:
        settings = self._route.arguments | {"timeout": self._timeout}
        while True:
            try:
                return await self._litellm.acompletion(**asked, **settings)
            except self._litellm.UnsupportedParamsError as error:
                names = litellm_client.refused_names(error, asked, self._route)
                if not names or not dispensable(name for name in names if name not in self._spec.params):
                    raise Unfit(Reason.UNSUPPORTED_REQUEST) from None
                asked = {name: value for name, value in asked.items() if name not in names}

    def _whole(self, shape: Shape, answer: Any) -> bytes:
        whole = answer if isinstance(answer, dict) else _dumped(answer)
        if whole.get("error") or not whole.get(_WHOLE[shape]):
            raise Unfit(Reason.MALFORMED_RESPONSE)
        if shape is Shape.CHAT:
            _complete_chat(whole)
        elif shape is Shape.RESPONSES:
            _complete_response(whole, _new_id("resp"))
        else:
            whole["id"] = _new_id("msg")
        body = orjson.dumps(whole)
        if len(body) > self._max_bytes:
            raise Unfit(Reason.ANSWER_TOO_LARGE)
        return body

    async def _events(self, shape: Shape, translation: surfaces.Translation, chunks: Chunks) -> AsyncIterator[bytes]:
        read = {Shape.CHAT: _chat, Shape.RESPONSES: _responses, Shape.MESSAGES: _messages}[shape]
        try:
            async for event in read(translation.stream(chunks)):
                yield event
        except Exception as error:  # noqa: BLE001  a hundred providers raise what they like
            raise self._unfit(chunks.error or error, started=True) from None
        finally:
            await chunks.aclose()

    def _unfit(self, error: Exception, *, started: bool) -> Unfit:
        if isinstance(error, Unfit):
            return error
        if isinstance(error, HarnessError):
            return Unfit(Reason.MISCONFIGURED)
        if isinstance(error, CutStream):
            return Unfit(Reason.CUT_STREAM)
        secrets = (self._route.key,) if self._route.key else ()
        return Unfit(Reason(describe(error, secrets=secrets, started=started).error.kind.value))


async def _chat(chunks: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield b"data: " + orjson.dumps(_complete_chat(_dumped(chunk))) + b"\n\n"
    yield b"data: [DONE]\n\n"


async def _responses(events: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    number, own_id = 0, _new_id("resp")
    async for event in events:
        value = _dumped(event)
        kind = value["type"]
        if kind in {"error", "response.failed"}:
            raise Unfit(Reason.SERVER_ERROR)
        if "response" in value:
            _complete_response(value["response"], own_id)
        # litellm numbers only some of them.
        yield _named(kind, value | {"sequence_number": number})
        number += 1
        if kind in _RESPONSE_ENDS:
            return
    raise Unfit(Reason.CUT_STREAM)


async def _messages(pieces: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """Only complete events are passed on, so that what follows a broken one is still read as an event."""
    pending = b""
    async for piece in pieces:
        pending += piece
        *whole, pending = pending.replace(b"\r\n", b"\n").split(b"\n\n")
        for event in whole:
            data = b"".join(line[5:] for line in event.split(b"\n") if line.startswith(b"data:"))
            if not data:
                continue
            value = orjson.loads(data)
            if value["type"] == "error":
                raise Unfit(Reason.SERVER_ERROR)
            yield _named(value["type"], value)
            if value["type"] == "message_stop":
                return
    raise Unfit(Reason.CUT_STREAM)


def _dumped(value: Any) -> dict[str, Any]:
    # Pydantic's warnings about what a provider sent would quote it.
    dumped: dict[str, Any] = value.model_dump(mode="json", exclude_none=True, warnings=False)
    return dumped


def _complete_chat(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, whole or a chunk, with the nulls that clients look for and without litellm's own fields."""
    answer.pop("provider_specific_fields", None)
    for choice in answer.get("choices", ()):
        choice.pop("provider_specific_fields", None)
        choice.setdefault("finish_reason", None)
        said = choice.get("message") or choice.get("delta") or {}
        said.pop("provider_specific_fields", None)
        if "message" in choice:
            said.setdefault("content", None)
    return answer


def _complete_response(response: dict[str, Any], own_id: str) -> None:
    # litellm's would tell the provider, and that it was stored.
    response |= {"id": own_id, "store": False}
    response.pop("provider_specific_fields", None)
    for name in ("error", "incomplete_details", "instructions", "previous_response_id"):
        response.setdefault(name, None)


def _new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"


def _named(kind: str, value: Mapping[str, Any]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(value) + b"\n\n"
