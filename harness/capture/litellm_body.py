"""What LiteLLM tells its callbacks about a call, as the request and the answer that were on the wire."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from harness.spool.headers import RawHeaders

_REDACTED = "redacted-by-litellm"
_SURFACES: Mapping[str, str] = {
    "completion": "/v1/chat/completions", "acompletion": "/v1/chat/completions",
    "text_completion": "/v1/completions", "atext_completion": "/v1/completions",
    "responses": "/v1/responses", "aresponses": "/v1/responses",
    "anthropic_messages": "/v1/messages",
}  # fmt: skip
_ANSWERS: Mapping[str, str] = {"output": "/v1/responses", "content": "/v1/messages"}
"""By the member that only answers of this surface have: LiteLLM translates between them as it sees fit."""
_PROMPT: Mapping[str, str] = {"/v1/responses": "input", "/v1/completions": "prompt"}
_NEVER = frozenset({
    "api_key", "extra_headers", "headers", "extra_body", "extra_query", "max_retries", "metadata", "litellm_metadata",
    "user_api_key", "model", "messages", "input", "prompt", "proxy_server_request", "secret_fields", "guardrails",
    "litellm_call_id", "litellm_trace_id", "litellm_session_id", "litellm_logging_obj", "api_base", "base_url",
    "api_version", "num_retries", "fallbacks", "tags", "cache", "timeout",
})  # fmt: skip
"""Parameters that are no part of the question, or could hold a key."""
_NO_ANSWER: Mapping[str, str] = {"Timeout": "timeout", "APIConnectionError": "connect"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """One call as a callback was told of it."""

    call: str
    """LiteLLM's id of the call, the same for all its retries."""
    path: str
    headers: RawHeaders
    """Of the request that came to the proxy; empty without one."""
    session: str | None
    user: str | None
    at_ns: int
    latency_s: float | None
    ttft_s: float | None
    status: int
    error: str | None
    payload: Mapping[str, Any]
    details: Mapping[str, Any]

    def request(self) -> bytes:
        """The request's body."""
        settings = self._settings().items()
        body = {name: value for name, value in settings if name not in _NEVER and value is not None}
        body["model"] = self.payload.get("model") or self.details.get("model")
        # As the provider was asked, images included; the payload has them cut.
        asked = self.details.get("messages") or self.details.get("input") or self.payload.get("messages")
        name = _PROMPT.get(self.path, "messages")
        if name == "prompt":
            asked = _prompt(asked)
        return _json(body | {name: asked})

    def response(self) -> bytes:
        """The answer's body, put together where it was streamed; an error's when there was none."""
        if not self.error and self.status < 400:
            return _json(self.payload.get("response"))
        if not self.status:
            return b""
        information = self.payload.get("error_information") or {}
        message = information.get("error_message") or self.payload.get("error_str")
        return _json({"error": {"message": message, "type": information.get("error_class"), "code": str(self.status)}})

    def _settings(self) -> Mapping[str, Any]:
        """What the client asked for; without a proxy, or where guardrails may change things, what LiteLLM asked."""
        request = _proxied(self.details).get("body")
        metadata = self.payload.get("metadata") or {}
        if isinstance(request, Mapping) and not (
            self.payload.get("guardrail_information") or metadata.get("applied_guardrails")
        ):
            return request
        parameters = self.payload.get("model_parameters")
        return parameters if isinstance(parameters, Mapping) else {}

    @property
    def is_withheld(self) -> bool:
        """Whether the proxy keeps the texts from callbacks, or a guardrail has stepped in."""
        shown = self.payload.get("messages"), self.payload.get("response")
        if _REDACTED in orjson.dumps(shown, default=str, option=orjson.OPT_NON_STR_KEYS).decode():
            return True
        guardrails = self.payload.get("guardrail_information") or ()
        return any("intervened" in str(item.get("guardrail_status", "")) for item in guardrails)


def told(details: Mapping[str, Any]) -> Told | None:
    """What a callback's ``kwargs`` say; ``None`` when there is no call in them."""
    payload = details.get("standard_logging_object")
    if not isinstance(payload, Mapping):
        return None
    failed = payload.get("status") == "failure"
    status, error = _failure(payload) if failed else (200, None)
    begin, end, first = (_seconds(payload.get(name)) for name in ("startTime", "endTime", "completionStartTime"))
    cached = payload.get("cache_hit") is True
    metadata = payload.get("metadata")
    user = payload.get("end_user") or (metadata or {}).get("user_api_key_end_user_id")
    return Told(
        call=str(details.get("litellm_call_id") or payload.get("litellm_call_id") or payload.get("id")),
        path=_path(payload, failed=failed),
        headers=_headers(details),
        session=_text(payload.get("session_id") or "") or None,
        user=_text(user or "") or None,
        at_ns=int((begin or 0) * 1e9),
        # Not its `response_time`, which for a stream ends at the first token. An answer from a cache took no model's.
        latency_s=None if cached or begin is None or end is None else end - begin,
        ttft_s=None if cached or begin is None or first is None or first == end else first - begin,
        status=status,
        error=error,
        payload=payload,
        details=details,
    )


def _path(payload: Mapping[str, Any], *, failed: bool) -> str:
    kind = str(payload.get("call_type") or "")
    path = _SURFACES.get(kind)
    answer = payload.get("response")
    if path is None or failed or not isinstance(answer, Mapping):
        return path or f"/{kind}"
    if "choices" in answer:
        return path if path == "/v1/completions" else "/v1/chat/completions"
    return next((found for member, found in _ANSWERS.items() if isinstance(answer.get(member), list)), path)


def _failure(payload: Mapping[str, Any]) -> tuple[int, str | None]:
    information = payload.get("error_information") or {}
    name, code = str(information.get("error_class") or ""), str(information.get("error_code") or "")
    if name in _NO_ANSWER:
        return 0, f"{_NO_ANSWER[name]}: {name}"
    return (int(code), None) if code.isdigit() and 400 <= int(code) < 600 else (0, f"cut: {name or 'unknown'}")


def _headers(details: Mapping[str, Any]) -> RawHeaders:
    found = _proxied(details).get("headers")
    if not isinstance(found, Mapping):
        return []
    return [
        (str(name).encode("latin-1", "replace"), str(value).encode("latin-1", "replace"))
        for name, value in found.items()
    ]


def _proxied(details: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = details.get("litellm_params")
    request = parameters.get("proxy_server_request") if isinstance(parameters, Mapping) else None
    return request if isinstance(request, Mapping) else {}


def _prompt(asked: Any) -> Any:
    """LiteLLM shows the prompt of a text completion as messages."""
    if isinstance(asked, list) and len(asked) == 1 and isinstance(asked[0], Mapping):
        return asked[0].get("content")
    return asked


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and value else None


def _text(value: object) -> str:
    """Clients name their sessions and users, with half a character if they like."""
    return str(value).encode("utf-8", "replace").decode()


def _json(value: Any) -> bytes:
    return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS)


def _plain(value: Any) -> Any:
    return value.model_dump(exclude_none=True) if hasattr(value, "model_dump") else str(value)
