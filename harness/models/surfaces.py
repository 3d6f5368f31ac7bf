"""Requests of other APIs as chat, and chat's answers in those APIs: litellm's own translations, without its calls.

litellm's calls of those APIs ask some candidates in another way than they were evaluated, keep what they are sent with
the provider, make up a regular end for a stream that was cut, and load its proxy, which we do not install.
"""

from collections.abc import AsyncIterator
from typing import Any, Protocol

from harness.domain.json import Json
from harness.models import restraints
from harness.models.litellm_client import Route, library


class CutStream(Exception):  # noqa: N818  reads as what happened
    """A stream ended without a finish reason."""


class Chunks:
    """A stream of chat as litellm gives it, that fails where litellm would make up its end.

    ``error`` keeps what it failed with: translations put their own in its place.
    """

    def __init__(self, wrapper: Any) -> None:
        self._wrapper = wrapper
        self._first: Any = None
        self._finished = False
        self.error: Exception | None = None
        # What a translation of litellm's looks for.
        self.logging_obj = wrapper.logging_obj

    async def begin(self) -> None:
        """Wait for the first chunk; translations begin their answers without one."""
        self._first = await self.__anext__()

    def __aiter__(self) -> "Chunks":
        return self

    async def __anext__(self) -> Any:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        try:
            return await self._next()
        except StopAsyncIteration:
            raise
        except Exception as error:
            self.error = error
            raise

    async def _next(self) -> Any:
        wrapper = self._wrapper
        try:
            chunk = await wrapper.__anext__()
        except StopAsyncIteration:
            if not self._finished:
                raise CutStream("the stream ended without a finish reason") from None
            raise
        if any(choice.finish_reason for choice in chunk.choices or ()):
            if not (wrapper.received_finish_reason or wrapper.intermittent_finish_reason):
                raise CutStream("the stream ended without a finish reason")
            self._finished = True
        return chunk

    async def aclose(self) -> None:
        """Give up the connection."""
        await self._wrapper.aclose()


class Translation(Protocol):
    """One request of some API as chat."""

    chat: dict[str, Any]
    """Arguments of a chat completion, without the model."""

    def whole(self, answer: Any) -> Any:
        """The answer in the API of the request."""
        ...

    def stream(self, chunks: Chunks) -> AsyncIterator[Any]:
        """The events of the answer in the API of the request."""
        ...


class FromChat:
    """Chat as it is."""

    def __init__(self, request: dict[str, Json], _: Route) -> None:
        self.chat = request

    def whole(self, answer: Any) -> Any:
        """The answer as it is."""
        return answer

    def stream(self, chunks: Chunks) -> AsyncIterator[Any]:
        """The chunks as they are."""
        return chunks


class FromResponses:
    """The Responses API."""

    def __init__(self, request: dict[str, Json], route: Route) -> None:
        from litellm.responses.litellm_completion_transformation.transformation import LiteLLMCompletionResponsesConfig

        self._route = route
        self._config = LiteLLMCompletionResponsesConfig
        self._input = request["input"]
        # Answers repeat what was asked.
        self._request = {name: value for name, value in request.items() if name not in {"input", "stream"}}
        translated = self._config.transform_responses_api_request_to_chat_completion_request(
            model=route.arguments["model"],
            input=self._input,
            responses_api_request=self._request,
            custom_llm_provider=route.provider,
            stream=request.get("stream"),
        )
        self.chat = _without_route(translated)

    def whole(self, answer: Any) -> Any:
        """A response."""
        return self._config.transform_chat_completion_response_to_responses_api_response(
            chat_completion_response=answer, request_input=self._input, responses_api_request=self._request
        )

    def stream(self, chunks: Chunks) -> AsyncIterator[Any]:
        """Events of the Responses API."""
        from litellm.responses.litellm_completion_transformation import streaming_iterator

        events: AsyncIterator[Any] = streaming_iterator.LiteLLMCompletionStreamingIterator(
            model=self._route.name,
            litellm_custom_stream_wrapper=chunks,
            request_input=self._input,
            responses_api_request=self._request,
            custom_llm_provider=self._route.provider,
            litellm_metadata={},
        )
        return events


class FromMessages:
    """Anthropic's Messages API."""

    def __init__(self, request: dict[str, Json], route: Route) -> None:
        from litellm.llms.anthropic.pass_through.adapters.transformation import AnthropicAdapter

        self._route = route
        self._adapter = AnthropicAdapter()
        given = {name: value for name, value in request.items() if name != "stream"}
        translated, self._tools = self._adapter.translate_completion_input_params_with_tool_mapping(
            given | {"model": route.arguments["model"]}, custom_llm_provider=route.provider
        )
        self.chat = _without_route(translated)
        if request.get("stream"):
            # The last events of a message tell its usage.
            self.chat |= {"stream": True, "stream_options": {"include_usage": True}}

    def whole(self, answer: Any) -> Any:
        """A message; of these a usage is a part, and not every server counts."""
        if getattr(answer, "usage", None) is None:
            answer.usage = library().Usage(prompt_tokens=0, completion_tokens=0, total_tokens=0)
        return self._adapter.translate_completion_output_params(answer, tool_name_mapping=self._tools)

    def stream(self, chunks: Chunks) -> AsyncIterator[Any]:
        """Events of the Messages API, as bytes."""
        events: AsyncIterator[Any] = self._adapter.translate_completion_output_params_streaming(
            chunks, model=self._route.name, tool_name_mapping=self._tools, is_async=True
        )
        return events


def restrain() -> bool:
    """Have litellm download nothing that a message names (:mod:`harness.models.restraints`); whether it worked."""
    litellm = library()
    # They have names of their own for what fetches.
    from litellm.litellm_core_utils import token_counter  # noqa: F401
    from litellm.litellm_core_utils.prompt_templates import factory, image_handling  # noqa: F401

    return restraints.refuse_downloads(
        lambda message: litellm.ImageFetchError(message=message, model="", llm_provider="")
    )


def _without_route(translated: dict[str, Any]) -> dict[str, Any]:
    ours = {"model", "custom_llm_provider", "extra_headers", "metadata"}
    return {name: value for name, value in translated.items() if name not in ours and value is not None}
