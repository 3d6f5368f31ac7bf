"""One attempt at asking a model through litellm, which is imported here and in `surfaces`, only when a call is made."""

import asyncio
import gc
import logging
import math
import os
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, ClassVar
from urllib.parse import urlsplit

from harness.domain.exchange import ChatRequest
from harness.domain.json import Json
from harness.domain.model import ModelError, ModelReply, ModelSpec
from harness.domain.observation import CallError, Completion, ErrorKind, Usage
from harness.errors import ConfigurationError
from harness.models import direct
from harness.models.faults import describe
from harness.models.guard import CURRENT, ResponseGuard, install
from harness.models.replies import Fold, messages_with_system, plain

NO_KEY = "no-key-needed"

# Settings that would act on the provider's account or multiply the answer, and names that steer litellm itself.
NEVER = frozenset({
    "n", "store", "metadata", "stream", "stream_options", "model", "messages", "api_key", "api_base", "base_url",
    "api_version", "organization", "timeout", "request_timeout", "max_retries", "num_retries", "fallbacks",
    "mock_response", "mock_tool_calls", "mock_timeout", "mock_delay", "custom_llm_provider", "callbacks",
    "success_callback", "failure_callback", "caching", "cache", "drop_params", "allowed_openai_params", "deployment_id",
    "model_list", "default_headers", "client", "shared_session", "acompletion", "litellm_params",
})  # fmt: skip
_REQUEST_NEVER = NEVER | {"extra_headers", "extra_body", "extra_query"}

# Providers whose base URL belongs to the account, so that their own key variables apply to it.
_ACCOUNT_BASE = frozenset({
    "azure", "azure_ai", "azure_text", "bedrock", "vertex_ai", "databricks", "watsonx", "sagemaker", "snowflake",
    "cloudflare",
})  # fmt: skip
_TAKES_TOP_K = frozenset({
    "anthropic", "bedrock", "vertex_ai", "gemini", "cohere", "cohere_chat", "hosted_vllm", "ollama", "ollama_chat",
    "together_ai", "fireworks_ai", "openrouter", "azure_ai",
})  # fmt: skip


@dataclass(slots=True)
class Route:
    """What is fixed for one model, found out once."""

    provider: str
    name: str
    supported: frozenset[str]
    known: frozenset[str]
    arguments: dict[str, Any]
    is_local: bool
    priced: bool
    key: str | None
    direct: bool = False
    """Whether the short way through litellm may be gone."""
    refused: set[str] = field(default_factory=set)
    """Names litellm refused for this very model although its provider takes them."""


@dataclass(slots=True)
class _Attempt:
    fold: Fold = field(default_factory=Fold)
    started: bool = False
    first_token: float | None = None
    stream: Any = None
    content_type: str = ""
    guard: ResponseGuard | None = None


class LitellmClient:
    """Asks once: no retry, no fallback, no cache. Sessions are shared by all clients until the last is closed."""

    _open: ClassVar[int] = 0

    def __init__(self, *, max_response_bytes: int | None = None, headers: Mapping[str, str] | None = None) -> None:
        self._max_response_bytes = max_response_bytes
        self._headers = dict(headers or {})
        self._routes: dict[tuple[str, str | None, str | None], Route] = {}
        self._closed = False
        LitellmClient._open += 1

    async def complete(self, request: ChatRequest, model: ModelSpec, *, deadline_s: float) -> ModelReply:
        """Ask ``model`` once; ``latency_ms`` runs from sending to the last token, ``ttft_ms`` to the first visible one.

        Raises:
            ModelError: the call failed; ``error.message`` holds no credentials.
            ConfigurationError: the key's variable is not set, or litellm does not know the provider.
        """
        if not _loaded():
            await asyncio.to_thread(library)
        route = self._route(model)
        attempt = _Attempt()
        if self._max_response_bytes is not None:
            attempt.guard = ResponseGuard(self._max_response_bytes)
        token = CURRENT.set(attempt.guard)
        started_at, begin = datetime.now(UTC), time.perf_counter()
        dropped: tuple[str, ...] = ()
        try:
            arguments, dropped = _arguments(request, model, route)
            if self._headers:
                arguments["extra_headers"] = dict(arguments.get("extra_headers") or {}) | self._headers
            async with asyncio.timeout(deadline_s):
                dropped = await _ask(arguments, dropped, route, attempt, deadline_s)
        except Exception as error:  # noqa: BLE001  a hundred providers raise what they like; all of it is data
            latency = (time.perf_counter() - begin) * 1000
            raise self._failed(error, attempt, route, model, latency, deadline_s, dropped) from None
        finally:
            await _close_stream(attempt)
            CURRENT.reset(token)
        latency = (time.perf_counter() - begin) * 1000
        completion, usage = attempt.fold.completion(), _usage(route, attempt.fold)
        cost = _cost(route, model, usage, attempt.fold)
        problem = _problem(completion, attempt, stream=model.stream)
        if problem is not None:
            raise ModelError(problem, latency_ms=latency, cost_usd=cost, dropped_params=dropped)
        return ModelReply(
            completion=completion,
            usage=usage,
            cost_usd=cost,
            latency_ms=latency,
            ttft_ms=(attempt.first_token - begin) * 1000 if attempt.first_token is not None else None,
            started_at=started_at,
            dropped_params=dropped,
            logprobs=tuple(attempt.fold.logprobs),
        )

    async def aclose(self) -> None:
        """Give up the sessions; the last client to go closes them for all."""
        if self._closed:
            return
        self._closed = True
        LitellmClient._open -= 1
        if LitellmClient._open == 0 and _loaded():
            await _close_sessions()

    def _route(self, model: ModelSpec) -> Route:
        identity = (model.model, model.api_base, model.api_key_env)
        route = self._routes.get(identity)
        if route is None:
            route = self._routes[identity] = find_route(model)
        return route

    def _failed(
        self, error: Exception, attempt: _Attempt, route: Route, model: ModelSpec, latency: float, deadline_s: float,
        dropped: tuple[str, ...],
    ) -> ModelError:  # fmt: skip
        cost = _cost(route, model, _usage(route, attempt.fold), attempt.fold)
        if isinstance(error, TimeoutError) and type(error) is TimeoutError:
            detail = "while the answer was arriving" if attempt.started else "before an answer began"
            timeout = CallError(kind=ErrorKind.TIMEOUT, message=f"no complete answer in {deadline_s:g} s ({detail})")
            return ModelError(timeout, latency_ms=latency, cost_usd=cost, dropped_params=dropped)
        if attempt.guard is not None and attempt.guard.exceeded:
            message = f"the answer is larger than {attempt.guard.max_bytes:,} bytes"
            large = CallError(kind=ErrorKind.MALFORMED_RESPONSE, message=message, code="response_too_large")
            return ModelError(large, latency_ms=latency, cost_usd=cost, dropped_params=dropped)
        fault = describe(error, secrets=(route.key,) if route.key else (), started=attempt.started)
        return ModelError(
            fault.error,
            latency_ms=latency,
            cost_usd=0.0 if fault.unsent else cost,
            retry_after_s=fault.retry_after_s,
            dropped_params=dropped,
        )


async def _ask(
    arguments: dict[str, Any], dropped: tuple[str, ...], route: Route, attempt: _Attempt, deadline_s: float
) -> tuple[str, ...]:
    """Send and read to the end; returns the dropped parameters, which litellm may have added to."""
    litellm = library()
    # Ours fires first; the library's own is a net under it. A whole number, because each value opens new sessions.
    arguments["timeout"] = math.ceil(deadline_s) + 5
    answer: Any = None
    while answer is None:
        try:
            if route.direct and not direct.needs_care(arguments["messages"]):
                answer = await direct.ask(litellm, route.provider, arguments)
            else:
                answer = await litellm.acompletion(**arguments)
        except litellm.UnsupportedParamsError as error:
            names = refused_names(error, arguments, route)
            if not names:
                raise
            for name in names:
                arguments.pop(name)
            dropped = tuple(sorted({*dropped, *names}))
    attempt.started = True
    if not hasattr(answer, "completion_stream"):
        attempt.fold.whole(answer)
        return dropped
    attempt.stream = answer
    attempt.content_type = str((answer._response_headers or {}).get("content-type", ""))
    await _read_stream(answer, attempt)
    return dropped


def refused_names(error: Exception, arguments: Mapping[str, Any], route: Route) -> list[str]:
    """The arguments of which litellm said that the model does not take them; none when that was known already.

    Raised before anything is sent: some models of a provider refuse what their siblings take.
    """
    names = [name for name in arguments if name not in NEVER and name in str(error)]
    if not set(names) - route.refused:
        return []
    route.refused.update(names)
    return names


async def _read_stream(wrapper: Any, attempt: _Attempt) -> None:
    """Fold a stream as the provider sent it.

    litellm's wrapper makes up a ``stop`` and counts tokens itself when a stream ends early, so it is only asked to
    translate chunks that are not OpenAI-shaped yet.
    """
    fold = attempt.fold
    source = wrapper.completion_stream
    if source is None or not hasattr(source, "__aiter__"):
        async for chunk in wrapper:
            if fold.add(chunk) and attempt.first_token is None:
                attempt.first_token = time.perf_counter()
        fold.finish_reason = wrapper.received_finish_reason or wrapper.intermittent_finish_reason
        return
    async for raw in source:
        chunk = raw if hasattr(raw, "choices") else _translated(wrapper, raw)
        if chunk is not None and fold.add(chunk) and attempt.first_token is None:
            attempt.first_token = time.perf_counter()
    fold.finish_reason = fold.finish_reason or wrapper.received_finish_reason or wrapper.intermittent_finish_reason


def _translated(wrapper: Any, raw: Any) -> Any:
    if raw is None or raw == "None":
        return None
    try:
        return wrapper.chunk_creator(chunk=raw)
    except StopIteration:  # how litellm says that a chunk after the last one holds nothing
        return None


async def _close_stream(attempt: _Attempt) -> None:
    if attempt.stream is not None:
        await attempt.stream.aclose()


def _problem(completion: Completion, attempt: _Attempt, *, stream: bool) -> CallError | None:
    """Why an answer that arrived without an exception is no completion; ``None`` when it is one."""
    if stream and attempt.stream is not None and completion.finish_reason is None:
        if completion.is_empty and attempt.content_type and "event-stream" not in attempt.content_type:
            message = f"expected an event stream, got {attempt.content_type}"
            return CallError(kind=ErrorKind.MALFORMED_RESPONSE, message=message)
        return CallError(kind=ErrorKind.CUT_STREAM, message="the stream ended without a finish reason")
    if completion.finish_reason == "content_filter":
        message = "the provider's content filter stopped the answer"
        return CallError(kind=ErrorKind.CONTENT_FILTER, message=message, code="content_filter")
    if completion.is_empty:
        message = f"the answer holds no text, tool call or refusal (finish reason {completion.finish_reason})"
        return CallError(kind=ErrorKind.EMPTY_OUTPUT, message=message, code=completion.finish_reason)
    return None


def _arguments(request: ChatRequest, model: ModelSpec, route: Route) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Keyword arguments for litellm, and the names of the settings that this provider does not take."""
    settings: dict[str, Json] = {}
    dropped: set[str] = set()
    wanted = {name: value for name, value in request.params.items() if name not in model.params}
    for source, values in (("request", wanted), ("model", model.params)):
        for name, value in values.items():
            if value is None:
                continue
            if takes(route, name, configured=source == "model"):
                settings[name] = plain(value)
            elif not (name == "n" and value == 1):
                dropped.add(name)
    if request.tools and "tools" in route.supported:
        settings["tools"] = plain(request.tools)
    elif request.tools or "tool_choice" in settings:
        dropped |= {"tools"} if request.tools else set()
        settings.pop("tool_choice", None)
        settings.pop("parallel_tool_calls", None)
    arguments = route.arguments | settings
    arguments["messages"] = messages_with_system(request.messages, model.system_prompt)
    arguments["stream"] = model.stream
    if model.stream and "stream_options" in route.supported:
        arguments["stream_options"] = {"include_usage": True}
    return arguments, tuple(sorted(dropped - {"stream", "stream_options"}))


def takes(route: Route, name: str, *, configured: bool) -> bool:
    """Whether a setting of the request, or one that is ``configured`` for this very model, may be sent."""
    if name in route.refused or name in (NEVER if configured else _REQUEST_NEVER):
        return False
    if name in route.supported or (name == "top_k" and route.provider in _TAKES_TOP_K):
        return True
    # What the user configured for this very model may be the provider's own; what production was asked may not.
    return configured and name not in route.known


def find_route(model: ModelSpec) -> Route:
    """How a model is asked; asks nothing.

    Raises:
        ConfigurationError: the key's variable is not set, or litellm does not know the provider.
    """
    litellm = library()
    name, provider = _provider(model)
    is_local = _is_loopback(model.api_base)
    key = _key(model, provider)
    supported = frozenset(litellm.get_supported_openai_params(model=name, custom_llm_provider=provider) or ())
    arguments: dict[str, Any] = {
        "model": model.model,
        "num_retries": 0,
        "max_retries": 0,
        "drop_params": False,
        # Recorded tools are data: litellm must not look among them for MCP servers to call (nor need its `mcp` extra).
        "_skip_mcp_handler": True,
    }
    if model.api_base:
        arguments["api_base"] = model.api_base
    if key is not None:
        arguments["api_key"] = key
    return Route(
        provider=provider,
        name=name,
        supported=supported,
        known=frozenset(litellm.OPENAI_CHAT_COMPLETION_PARAMS),
        arguments=arguments,
        is_local=is_local,
        priced=not is_local and _map_price(name, provider) is not None,
        key=key,
        direct=direct.is_direct(litellm, provider, name),
    )


def _key(model: ModelSpec, provider: str) -> str | None:
    """The key to send; ``None`` leaves it to the provider's own variables.

    A base URL of the user's own never receives a vendor key from the environment unless ``api_key_env`` names it.
    """
    if model.api_key_env is not None:
        key = os.environ.get(model.api_key_env, "").strip()
        if not key:
            raise ConfigurationError(f"model {model.model!r} needs a key: the variable {model.api_key_env} is not set")
        return key
    return NO_KEY if model.api_base and provider not in _ACCOUNT_BASE else None


def _is_loopback(api_base: str | None) -> bool:
    host = (urlsplit(api_base).hostname or "") if api_base else ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _usage(route: Route, fold: Fold) -> Usage:
    usage = fold.usage()
    # litellm fills in zero reasoning tokens for vendors that do not count them.
    if usage.tokens_reasoning == 0 and route.provider not in {"openai", "azure"}:
        return replace(usage, tokens_reasoning=None)
    return usage


def _cost(route: Route, model: ModelSpec, usage: Usage, fold: Fold) -> float | None:
    """US dollars of one call; ``None`` when the price or the usage is unknown."""
    if usage.tokens_in is None or usage.tokens_out is None:
        return None
    if model.price is not None:
        return (usage.tokens_in * model.price.input_per_mtok + usage.tokens_out * model.price.output_per_mtok) / 1e6
    if not route.priced:
        return None
    spent_in, spent_out = library().cost_per_token(
        model=route.name, custom_llm_provider=route.provider, usage_object=_counted(fold, usage)
    )
    return float(spent_in + spent_out)


def _counted(fold: Fold, usage: Usage) -> Any:
    """The provider's counts as litellm prices them, with cache reads and writes kept apart."""
    litellm = library()
    fullest = max(fold.usages, key=lambda item: item.prompt_tokens or 0)
    values = fullest.model_dump() | {"prompt_tokens": usage.tokens_in, "completion_tokens": usage.tokens_out}
    return litellm.Usage(**values)


def check(model: ModelSpec) -> None:
    """Raise ConfigurationError when the model cannot be asked at all: unknown provider or no key; asks nothing."""
    _, provider = _provider(model)
    if _key(model, provider) is not None:
        return
    found: Mapping[str, Any] = library().validate_environment(model=model.model)
    missing = list(found.get("missing_keys") or ())
    if missing and not found.get("keys_in_environment"):
        raise ConfigurationError(
            f"model {model.model!r} needs a key: set {' or '.join(missing)}, or name your own variable in `api_key_env`"
        )


def list_price(model: ModelSpec) -> tuple[float, float] | None:
    """US dollars per input and per output token: the configured price, else litellm's; ``None`` when unknown.

    A model on this machine costs nothing we could name, so it has no price unless it is given one. In batches it is
    the share of it that batches cost.
    """
    if model.price is not None:
        found: tuple[float, float] | None = model.price.input_per_mtok / 1e6, model.price.output_per_mtok / 1e6
    else:
        found = None if _is_loopback(model.api_base) else _map_price(*_provider(model))
    if found is None or model.batch is None:
        return found
    return found[0] * model.batch.price_factor, found[1] * model.batch.price_factor


def _provider(model: ModelSpec) -> tuple[str, str]:
    """The model's own name and its provider, as litellm splits them."""
    litellm = library()
    try:
        name, provider, _, _ = litellm.get_llm_provider(model=model.model, api_base=model.api_base)
    except litellm.BadRequestError:
        raise ConfigurationError(
            f"model {model.model!r}: litellm knows no such provider; write it as `provider/model`, "
            "for example `openai/gpt-4o-mini` or `anthropic/claude-sonnet-4-5`"
        ) from None
    return name, provider


def _map_price(name: str, provider: str) -> tuple[float, float] | None:
    """Price per input and output token in litellm's map; a price of zero there means that nobody entered one."""
    cost_map: Mapping[str, Mapping[str, Any]] = library().model_cost
    entry = cost_map.get(name) or cost_map.get(f"{provider}/{name}")
    if entry is None:
        return None
    read, written = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
    return (float(read), float(written)) if read and written else None


def _loaded() -> bool:
    return library.cache_info().currsize > 0


@lru_cache(maxsize=1)
def library() -> Any:
    """litellm, quiet and offline: its own price file, no `.env`, no callbacks, no tokenizer downloads."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    import litellm

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.drop_params = False
    litellm.num_retries = None
    litellm.disable_hf_tokenizer_download = True
    litellm.disable_streaming_logging = True
    # A call that is cancelled before it began leaves a coroutine of the library's own behind.
    warnings.filterwarnings(
        "ignore", message="coroutine '.*[cC]ompletion.*' was never awaited", category=RuntimeWarning
    )
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        # Every failure is raised to us; what it also logs would repeat prompts and keys on stderr.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # The first call imports for a second or two more; done here, that does not count as the first answer's latency.
    import openai.resources.chat.completions  # noqa: F401
    from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport

    install(LiteLLMAiohttpTransport)
    direct.install(litellm)

    litellm.completion(model="openai/warm-up", messages=[{"role": "user", "content": "-"}], mock_response="-")
    # Hundreds of thousands of objects that stay for good: no pass for garbage need look at them again.
    gc.freeze()
    return litellm


async def _close_sessions() -> None:
    litellm = library()
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

    await GLOBAL_LOGGING_WORKER.flush()
    await GLOBAL_LOGGING_WORKER.stop()
    await litellm.close_litellm_async_clients()
    # Anthropic's client also lives in a module attribute, which outlasts the cache; it is made anew on the next access.
    shared = vars(litellm).pop("module_level_aclient", None)
    if shared is not None:
        await shared.close()
    # Closed clients must not be found again by the next run in this process.
    litellm.in_memory_llm_clients_cache.flush_cache()
