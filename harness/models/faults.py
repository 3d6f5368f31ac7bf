"""From whatever a provider call raised to one CallError: kind, the provider's own words, Retry-After, no secrets."""

import ast
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from harness.domain.observation import CallError, ErrorKind

MESSAGE_LIMIT = 2_000

_CONTEXT = (
    "context_length", "context_window", "context length", "context window", "context size", "prompt is too long",
    "input is too long", "string too long", "too many tokens", "exceeds the maximum number of tokens",
)  # fmt: skip
_FILTER = (
    "content_filter", "content filter", "content_policy", "content policy", "content management policy",
    "responsibleaipolicy", "safety system", "usage policy", "prompt was flagged", "blocked by safety",
)  # fmt: skip
_QUOTA = (
    "insufficient_quota", "exceeded your current quota", "billing_hard_limit", "billing_not_active", "credit balance",
    "insufficient balance", "insufficient credits", "insufficient_user_quota", "per day", "perday", "daily limit",
)  # fmt: skip
_THROTTLED = ("rate_limit", "rate limit", "too many requests", "throttl")
_OVERLOADED = ("overloaded", "at capacity", "over capacity")
_BAD_KEY = ("api key not valid", "api_key_invalid", "invalid api key", "incorrect api key", "invalid_api_key")

_TIMEOUT_TYPES = frozenset({"TimeoutException", "TimeoutError", "APITimeoutError", "SocketTimeoutError"})
_TRANSPORT_TYPES = frozenset(
    {"TransportError", "ClientError", "ConnectionError", "APIConnectionError", "IncompleteRead"}
)
_UNSENT_TYPES = frozenset({"ConnectError", "ConnectTimeout", "ClientConnectorError", "ConnectionRefusedError"})
_MALFORMED_TYPES = frozenset(
    {"JSONDecodeError", "ValidationError", "APIResponseValidationError", "UnicodeDecodeError", "DecodingError"}
)
_MALFORMED = ("unable to get json", "empty or invalid response", "expecting value", "not valid json")

_SECRETS = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"), r"\1 [secret]"),
    (re.compile(r"\b(?:sk|pk|rk|gsk|xai|hf|r8|pplx|AKIA|AIza|ya29)[-_.A-Za-z0-9*]{8,}"), "[secret]"),
    (
        re.compile(
            r"""(?i)(["']?(?:x-)?api[-_ ]?key["']?|authorization|access[-_]token|client[-_]secret)"""
            r"""(["']?\s*[:=]\s*["']?)[^\s"',;&}]{6,}"""
        ),
        r"\1\2[secret]",
    ),
    (re.compile(r"(?i)([?&](?:key|api_key|token|sig|signature)=)[^\s&\"']+"), r"\1[secret]"),
)
_SECRET_NAME = re.compile(r"(?i)(key|token|secret|password)$")
_PREFIX = re.compile(r"^(?:litellm\.\w+: |\w*(?:Error|Exception|Timeout)(?: Error)?: |\w+Exception - )+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What a failed call says about itself."""

    error: CallError
    retry_after_s: float | None = None
    unsent: bool = False
    """Whether the provider provably never received the request, so that it cannot have billed it."""


def describe(error: BaseException, *, secrets: Iterable[str] = (), started: bool = False) -> Fault:
    """Classify the exception of a failed call.

    Adapters wrap the same failure up to five times and invent a status on the way, so the innermost HTTP response is
    what counts; only without one are the wrapper's words read. ``started`` says that response headers had arrived.
    """
    chain = list(_chain(error))
    status, headers = _response(chain)
    code, words = _provider_words(chain)
    kind = _kind(chain, status, f"{code or ''} {words}".lower(), started=started)
    names = {name for item in chain for name in _type_names(item)}
    return Fault(
        error=CallError(
            kind=kind,
            message=scrub(words, secrets),
            code=scrub(code, secrets)[:100] if code else None,
            http_status=status,
        ),
        retry_after_s=retry_after(headers),
        unsent=kind is ErrorKind.CONNECTION and bool(names & _UNSENT_TYPES),
    )


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without anything that looks like a credential or equals one of ours; at most 2,000 characters."""
    ours = {value for name, value in os.environ.items() if _SECRET_NAME.search(name)} | set(secrets)
    for value in sorted(ours, key=len, reverse=True):
        if len(value) >= 6:
            text = text.replace(value, "[secret]")
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text[:MESSAGE_LIMIT]


def retry_after(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Seconds to wait as the provider asked: ``retry-after-ms``, or ``retry-after`` in seconds or as an HTTP date."""
    lowered = {str(name).lower(): str(value).strip() for name, value in headers.items()}
    if (milliseconds := _number(lowered.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    value = lowered.get("retry-after")
    if value is None:
        return None
    if (seconds := _number(value)) is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError):
        return None
    return max(0.0, moment - (time.time() if now is None else now))


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    # NaN, infinity and negative waits are nonsense from the wire, not instructions.
    return number if number is not None and 0 <= number < 1e9 else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(seen) < 12:
        seen.add(id(current))
        yield current
        original = getattr(current, "original_exception", None)
        current = original if isinstance(original, BaseException) else (current.__cause__ or current.__context__)


def _type_names(error: BaseException) -> Iterator[str]:
    # litellm calls everything it cannot map an APIConnectionError; only the wrapped exception's type is evidence.
    if type(error).__module__.startswith("litellm.exceptions"):
        yield type(error).__name__ if type(error).__name__ == "Timeout" else ""
        return
    for kind in type(error).__mro__:
        yield kind.__name__


def _response(chain: list[BaseException]) -> tuple[int | None, Mapping[str, str]]:
    """Status and headers of the real HTTP response, if there was one."""
    for error in reversed(chain):
        root = type(error).__module__.split(".", 1)[0]
        response = getattr(error, "response", None)
        real = type(error).__name__.endswith("HTTPStatusError") or root in {"openai", "anthropic"}
        if real and response is not None and isinstance(response.status_code, int):
            return response.status_code, response.headers
    for error in reversed(chain):
        # Providers reached without httpx (boto, gRPC) leave only the adapter's number; 200 and 500 are its inventions.
        status = getattr(error, "status_code", None)
        if isinstance(status, int) and 400 <= status < 600 and status != 500 and not _is_wrapper(error):
            return status, getattr(error, "headers", None) or {}
    return None, {}


def _is_wrapper(error: BaseException) -> bool:
    return type(error).__module__.startswith("litellm.exceptions")


def _provider_words(chain: list[BaseException]) -> tuple[str | None, str]:
    """The provider's code and message; the cleaned text of the outermost exception when it sent no error object."""
    for error in chain:
        body = getattr(error, "body", None)
        payload = body if isinstance(body, Mapping) else _json_in(str(getattr(error, "message", "") or error))
        found = _error_object(payload)
        if found is not None:
            return found
    own = [str(error).strip() for error in chain if not _is_wrapper(error) and str(error).strip()]
    said = next((text for text in own if text != "Connection error."), None) or _PREFIX.sub("", str(chain[0])).strip()
    return None, said or type(chain[0]).__name__


def _error_object(payload: Any) -> tuple[str | None, str] | None:
    if not isinstance(payload, Mapping):
        return None
    inner = payload.get("error", payload)
    if isinstance(inner, str):
        return None, inner
    if not isinstance(inner, Mapping) or not isinstance(inner.get("message"), str):
        return None
    code = next((str(inner[key]) for key in ("code", "type", "status") if inner.get(key) not in (None, "")), None)
    kind = str(inner.get("type") or "")
    # The type says more than a bare number that only repeats the status.
    return (kind if kind and (code is None or code.isdigit()) else code), inner["message"]


def _json_in(text: str) -> Any:
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end <= start:
        return None
    inner = text[start : end + 1]
    if text[max(0, start - 2) : start] in {"b'", 'b"'}:
        # litellm puts Anthropic's error body into its message as the repr of bytes.
        try:
            inner = ast.literal_eval(text[start - 2 : end + 2]).decode("utf-8", "replace")
        except (SyntaxError, ValueError):
            return None
    try:
        return orjson.loads(inner)
    except orjson.JSONDecodeError:
        return None


def _kind(chain: list[BaseException], status: int | None, words: str, *, started: bool) -> ErrorKind:
    if status is not None:
        return _kind_of_status(status, words)
    names = {name for error in chain for name in _type_names(error)}
    if names & _TIMEOUT_TYPES:
        return ErrorKind.TIMEOUT
    if names & _TRANSPORT_TYPES:
        return ErrorKind.CUT_STREAM if started else ErrorKind.CONNECTION
    if names & _MALFORMED_TYPES or any(word in words for word in _MALFORMED):
        return ErrorKind.MALFORMED_RESPONSE
    said = _kind_of_words(words)
    if said is not None:
        return said
    if started:
        return ErrorKind.CUT_STREAM
    return ErrorKind.SERVER_ERROR if "server_error" in words or "api_error" in words else ErrorKind.OTHER


def _kind_of_status(status: int, words: str) -> ErrorKind:
    if 300 <= status < 400:
        # Redirects that can be followed have been; what answers here is not the API.
        return ErrorKind.NOT_FOUND
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    said = _kind_of_words(words)
    if status == 429:
        return ErrorKind.QUOTA_EXHAUSTED if said is ErrorKind.QUOTA_EXHAUSTED else ErrorKind.RATE_LIMIT
    if status >= 500:
        return ErrorKind.OVERLOADED if status == 529 or said is ErrorKind.OVERLOADED else ErrorKind.SERVER_ERROR
    if status == 400 and any(word in words for word in _BAD_KEY):
        return ErrorKind.AUTHENTICATION
    if said in {ErrorKind.CONTEXT_WINDOW, ErrorKind.CONTENT_FILTER, ErrorKind.QUOTA_EXHAUSTED}:
        return said
    return ErrorKind.BAD_REQUEST


_BY_STATUS = {
    401: ErrorKind.AUTHENTICATION,
    402: ErrorKind.QUOTA_EXHAUSTED,
    403: ErrorKind.PERMISSION,
    404: ErrorKind.NOT_FOUND,
    408: ErrorKind.TIMEOUT,
    504: ErrorKind.TIMEOUT,
}


def _kind_of_words(words: str) -> ErrorKind | None:
    table = (
        (_QUOTA, ErrorKind.QUOTA_EXHAUSTED),
        (_CONTEXT, ErrorKind.CONTEXT_WINDOW),
        (_FILTER, ErrorKind.CONTENT_FILTER),
        (_OVERLOADED, ErrorKind.OVERLOADED),
        (_THROTTLED, ErrorKind.RATE_LIMIT),
    )
    return next((kind for needles, kind in table if any(needle in words for needle in needles)), None)
