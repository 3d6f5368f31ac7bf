"""The short way through litellm for OpenAI-shaped servers: same request, same answer, a third of the work.

litellm spends most of a call on what nobody here reads: log records, a price, a thread per request, models built out of
the answer only to be taken apart again. Its own steps stay (what a parameter is called, which error is which, what an
answer means); around them

* `ask` calls what ``acompletion`` calls, without the thread and without the log objects around it;
* a `_Form` keeps what litellm made out of the parameters, for the next request that has the same ones;
* `install` sends the request as the openai client would, without walking through every message by its type.

Whatever looks out of the ordinary goes the long way.
"""

import asyncio
import copy
import inspect
import json
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

_MARK = "_harness_direct"
_PATH = "/chat/completions"
_TEMPLATE = "_harness_requests"
_TEMPLATES = 64

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
"""As the openai client writes a body."""

# What the openai client writes into an answer that lacks it, since litellm reads some of it without asking.
_MESSAGE: dict[str, None] = dict.fromkeys(
    ("content", "refusal", "role", "annotations", "audio", "function_call", "tool_calls")
)
_CHOICE: dict[str, None] = dict.fromkeys(("finish_reason", "index", "logprobs", "message"))


_PLAIN_ROLES = frozenset({"system", "developer", "user", "assistant"})
_PLAIN_FIELDS = frozenset({"role", "content", "name"})


@dataclass(slots=True)
class _Form:
    """What litellm makes out of all parameters of a request but its messages: the call of its OpenAI handler."""

    handed: dict[str, Any] = field(default_factory=dict)
    """Its arguments; empty until the first request is on its way."""

    def fill(self, handed: dict[str, Any]) -> None:
        """Keep what does not belong to the one request."""
        # The handler works on a copy of its own, so the first request's are as litellm made them.
        self.handed = {name: value for name, value in handed.items() if name not in _OF_ONE_REQUEST}

    def pending(self, litellm: Any, arguments: Mapping[str, Any]) -> Any:
        """The coroutine that asks."""
        handed = dict(self.handed)
        handed["optional_params"] = copy.deepcopy(handed["optional_params"])
        for name in ("litellm_params", "headers"):
            handed[name] = dict(handed[name] or {})
        return litellm.main.openai_chat_completions.completion(
            **handed,
            messages=arguments["messages"],
            logging_obj=_log(litellm, arguments),
            model_response=litellm.ModelResponse(),
        )


_OF_ONE_REQUEST = frozenset({"messages", "logging_obj", "model_response"})
_forms: dict[str, _Form] = {}
_to_fill: ContextVar[tuple[_Form, list[dict[str, Any]]] | None] = ContextVar("harness_form", default=None)
"""The form to be filled by the request on its way, and its messages as they were given."""


async def ask(litellm: Any, provider: str, arguments: dict[str, Any]) -> Any:
    """What ``litellm.acompletion`` returns and raises, without what it does for its own log."""
    form = _form_of(arguments)
    try:
        if form is not None and form.handed:
            pending = form.pending(litellm, arguments)
        else:
            # A copy: litellm may change messages in place.
            as_given = [dict(message) for message in arguments["messages"]]
            given = _to_fill.set(None if form is None else (form, as_given))
            try:
                log = _log(litellm, arguments)
                pending = litellm.completion(**arguments, acompletion=True, litellm_logging_obj=log)
            finally:
                _to_fill.reset(given)
        return await pending if asyncio.iscoroutine(pending) else pending
    except Exception as error:
        raise litellm.exception_type(
            model=arguments["model"],
            custom_llm_provider=provider,
            original_exception=error,
            completion_kwargs=arguments,
            extra_kwargs={},
        ) from error


def is_direct(litellm: Any, provider: str, name: str) -> bool:
    """Whether a model may be asked the short way: OpenAI's own protocol, and its chat surface."""
    if provider != "openai":
        return False
    main = litellm.main
    found, _ = main.responses_api_bridge_check(model=name, custom_llm_provider=provider)
    return bool(found.get("mode") != "responses")


def needs_care(messages: list[dict[str, Any]]) -> bool:
    """Whether litellm would change a message on the long way: it takes a vendor's marks out of tool call ids."""
    return any("tool_calls" in message or "tool_call_id" in message for message in messages)


def _form_of(arguments: Mapping[str, Any]) -> _Form | None:
    """The form for requests of these parameters; ``None`` where litellm may look into the messages themselves."""
    try:
        if not all(_is_plain_message(message) for message in arguments["messages"]):
            return None
        # Which roles there are belongs to it: some models know no system message, and litellm renames it.
        roles = sorted({message["role"] for message in arguments["messages"]})
        key = _encode([roles, {name: value for name, value in arguments.items() if name != "messages"}])
    except (TypeError, ValueError):
        return None
    if key not in _forms:
        if len(_forms) >= _TEMPLATES:
            _forms.clear()
        _forms[key] = _Form()
    return _forms[key]


def _is_plain_message(message: Mapping[str, Any]) -> bool:
    return (
        message.keys() <= _PLAIN_FIELDS
        and message.get("role") in _PLAIN_ROLES
        and isinstance(message.get("content"), str)
    )


@lru_cache(maxsize=1)
def _quiet(litellm: Any) -> type:
    """Litellm's log object, which takes note of nothing."""

    def nothing(self: Any, *args: Any, **kwargs: Any) -> None:
        del self, args, kwargs

    async def nothing_async(self: Any, *args: Any, **kwargs: Any) -> None:
        del self, args, kwargs

    silent = dict.fromkeys(
        ("pre_call", "post_call", "update_environment_variables", "success_handler", "failure_handler"), nothing
    )
    silent_async = dict.fromkeys(("async_success_handler", "async_failure_handler"), nothing_async)
    hooks = {"should_run_prompt_management_hooks": lambda self, *args, **kwargs: False}
    base = litellm.main.LiteLLMLoggingObj
    return type("Quiet", (base,), {**silent, **silent_async, **hooks})


@lru_cache(maxsize=1)
def _blank(litellm: Any) -> dict[str, Any]:
    """The attributes of a log object, made once: making one takes as long as parsing an answer."""
    from datetime import datetime

    log = _quiet(litellm)(
        model="", messages=[], stream=False, call_type="acompletion",
        start_time=datetime.now(),  # noqa: DTZ005  as litellm makes it
        litellm_call_id="", function_id="",
    )  # fmt: skip
    return dict(vars(log))


def _log(litellm: Any, arguments: Mapping[str, Any]) -> Any:
    kind = _quiet(litellm)
    log: Any = object.__new__(kind)
    model, messages = arguments["model"], arguments["messages"]
    vars(log).update(
        _blank(litellm),
        model=model,
        messages=messages,
        stream=arguments["stream"],
        model_call_details={"litellm_params": {}, "model": model, "input": messages, "litellm_call_id": ""},
        litellm_params={},
        streaming_chunks=[],
        sync_streaming_chunks=[],
    )
    return log


def install(litellm: Any) -> None:
    """Have litellm send OpenAI-shaped requests the short way; a second time changes nothing."""
    handler = litellm.main.openai_chat_completions
    if hasattr(handler, _MARK):
        return
    # litellm's own, without the decorator that starts a task per request to note how long it took.
    send = inspect.unwrap(type(handler).make_openai_chat_completion_request)

    async def make_openai_chat_completion_request(
        openai_aclient: Any,
        data: dict[str, Any],
        timeout: Any,  # noqa: ASYNC109  litellm's name
        logging_obj: Any,
    ) -> Any:
        return await send(handler, Sender.of(openai_aclient), data, timeout, logging_obj)

    complete = handler.completion

    def completion(**handed: Any) -> Any:
        given = _to_fill.get()
        # A form is only for requests whose messages litellm leaves as they are.
        if given is not None and handed["messages"] == given[1]:
            given[0].fill(handed)
        return complete(**handed)

    handler.completion = completion
    handler.make_openai_chat_completion_request = make_openai_chat_completion_request
    setattr(handler, _MARK, True)


@dataclass(slots=True)
class _Answer:
    """A whole answer where litellm expects the openai client's."""

    headers: "httpx.Headers"
    body: dict[str, Any]

    def parse(self) -> "_Answer":
        return self

    def model_dump(self) -> dict[str, Any]:
        return self.body


class Sender:
    """Stands in for the ``chat.completions.with_raw_response`` of an openai client."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.chat = self.completions = self.with_raw_response = self
        self._heads: dict[Any, tuple[Any, list[tuple[bytes, bytes]], dict[str, Any]]] = {}

    @classmethod
    def of(cls, client: Any) -> Any:
        """The client itself where its requests are not made the plain way."""
        sender = vars(client).get(_MARK)
        if sender is None:
            sender = cls(client) if _is_plain(client) else client
            vars(client)[_MARK] = sender
        return sender

    async def create(self, **data: Any) -> Any:
        """As the openai client's, with the same errors."""
        if not _is_usual(data):
            return await self._client.chat.completions.with_raw_response.create(**data)
        timeout = data.pop("timeout")
        headers, extra = data.pop("extra_headers", None), data.pop("extra_body", None)
        body = {**data, **extra} if extra else data
        response = await self._send(self._request(_encode(body), headers, timeout), stream=bool(data.get("stream")))
        if data.get("stream"):
            return _Stream(response, self._client)
        parsed = _whole(response)
        if parsed is None:
            return await self._parsed(response)
        return _Answer(response.headers, parsed)

    def _request(self, content: str, headers: Mapping[str, str] | None, timeout: Any) -> "httpx.Request":
        """Headers are made by the client itself, once for all requests that have the same."""
        import httpx

        key = (tuple(sorted(headers.items())) if headers else None, timeout)
        found = self._heads.get(key)
        if found is None:
            if len(self._heads) >= _TEMPLATES:
                self._heads.clear()
            first = self._client._build_request(_options(headers, timeout))
            kept = [(name, value) for name, value in first.headers.raw if name.lower() != b"content-length"]
            found = self._heads[key] = (first.url, kept, dict(first.extensions))
        url, kept, extensions = found
        return httpx.Request("POST", url, headers=kept, content=content.encode(), extensions=dict(extensions))

    async def _send(self, request: "httpx.Request", *, stream: bool) -> "httpx.Response":
        import httpx
        import openai

        try:
            response: httpx.Response = await self._client._client.send(request, stream=stream)
        except httpx.TimeoutException as error:
            raise openai.APITimeoutError(request=request) from error
        except openai.OpenAIError:
            raise
        except Exception as error:
            raise openai.APIConnectionError(request=request) from error
        if response.is_success:
            return response
        if not response.is_closed:
            await response.aread()
        raise self._client._make_status_error_from_response(response) from None

    async def _parsed(self, response: "httpx.Response") -> Any:
        """An answer of another shape, as the client makes of it what it can."""
        from openai.types.chat import ChatCompletion

        return await self._client._process_response(
            cast_to=ChatCompletion, options=_options(None, None), response=response, stream=False, stream_cls=None
        )


class _Stream:
    """A stream where litellm expects the openai client's raw response."""

    def __init__(self, response: "httpx.Response", client: Any) -> None:
        self.headers = response.headers
        self._response, self._client = response, client

    def parse(self) -> Any:
        import openai
        from openai.types.chat import ChatCompletionChunk

        return openai.AsyncStream[ChatCompletionChunk](
            cast_to=ChatCompletionChunk, response=self._response, client=self._client
        )


def _options(headers: Mapping[str, str] | None, timeout: Any) -> Any:
    from openai._models import FinalRequestOptions

    raw = {"X-Stainless-Raw-Response": "true"}
    return FinalRequestOptions.construct(
        method="post", url=_PATH, json_data={}, headers={**(headers or {}), **raw}, timeout=timeout,
        security={"bearer_auth": True},
    )  # fmt: skip


def _is_plain(client: Any) -> bool:
    """Whether nothing of the client's own is to be done to a request before it is sent."""
    import openai

    kind: Any = openai.AsyncOpenAI
    return (
        type(client) is kind
        and client.max_retries == 0
        and client.custom_auth is None
        and isinstance(client.api_key, str)
        and getattr(client, "_api_key_provider", None) is None
        and getattr(client, "_workload_identity_auth", None) is None
        and not client.default_query
    )


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    from openai.resources.chat.completions import AsyncCompletions

    return frozenset(inspect.signature(AsyncCompletions.create).parameters) - {"self", "extra_query"}


def _is_usual(data: Mapping[str, Any]) -> bool:
    if not _known().issuperset(data):
        return False
    form = data.get("response_format")
    return form is None or isinstance(form, dict)


def _whole(response: "httpx.Response") -> dict[str, Any] | None:
    """The answer with everything in it that the client would add; ``None`` when it is of another shape."""
    kind = response.headers.get("content-type", "").partition(";")[0]
    if not kind.endswith("json"):
        return None
    body = response.json()
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list):
        return None
    made = []
    for choice in choices:
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            return None
        made.append({**_CHOICE, **choice, "message": {**_MESSAGE, **message}})
    return {**body, "choices": made}
