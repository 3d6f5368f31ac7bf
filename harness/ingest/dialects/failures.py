"""Which ErrorKind a recorded failure is."""

import re

from harness.domain.json import Json
from harness.domain.observation import CallError, ErrorKind
from harness.ingest import values

_MESSAGE_LIMIT = 2_000

# Order matters: the more particular cause wins (a context overflow is also a bad request, a spent quota also a 429).
_BY_WORDS = (
    (ErrorKind.CONTENT_FILTER, r"content.?(filter|policy)|contentpolicy|responsibleai|guardrail"),
    (ErrorKind.CONTEXT_WINDOW, r"context.?(length|window)|maximum context|prompt is too long|too many input tokens"),
    (
        ErrorKind.QUOTA_EXHAUSTED,
        r"insufficient.?quota|quota.?exceeded|exceeded your current quota|credit balance|billing|budget.?exceeded",
    ),
    (ErrorKind.OVERLOADED, r"overloaded|service.?unavailable|unavailable|capacity"),
    (ErrorKind.RATE_LIMIT, r"rate.?limit|throttl|too.?many.?requests|resource.?exhausted"),
    (ErrorKind.TIMEOUT, r"time.?out|timed out|deadline"),
    (ErrorKind.AUTHENTICATION, r"authentication|unauthorized|invalid.?api.?key|incorrect api key"),
    (ErrorKind.PERMISSION, r"permission|forbidden|access.?denied"),
    (ErrorKind.NOT_FOUND, r"not.?found|does not exist|deploymentnotfound"),
    (ErrorKind.CUT_STREAM, r"midstream|stream.*(cut|interrupted|ended)|incomplete.?read|peer closed"),
    (ErrorKind.CONNECTION, r"connection|connect.?error|econnre|dns"),
    (ErrorKind.BAD_REQUEST, r"bad.?request|invalid.?request|validation|unprocessable|unsupported"),
    (ErrorKind.SERVER_ERROR, r"server.?error|api_error|apierror|internal"),
)
_WORDS = tuple((kind, re.compile(words, re.IGNORECASE)) for kind, words in _BY_WORDS)
_BY_STATUS = {
    400: ErrorKind.BAD_REQUEST, 401: ErrorKind.AUTHENTICATION, 402: ErrorKind.QUOTA_EXHAUSTED,
    403: ErrorKind.PERMISSION,
    404: ErrorKind.NOT_FOUND, 408: ErrorKind.TIMEOUT, 413: ErrorKind.CONTEXT_WINDOW, 422: ErrorKind.BAD_REQUEST,
    429: ErrorKind.RATE_LIMIT, 503: ErrorKind.OVERLOADED, 504: ErrorKind.TIMEOUT, 529: ErrorKind.OVERLOADED,
}  # fmt: skip
_PARTICULAR = frozenset([ErrorKind.CONTENT_FILTER, ErrorKind.CONTEXT_WINDOW, ErrorKind.QUOTA_EXHAUSTED])


def classify(status: int | None, code: str | None, message: str | None) -> ErrorKind:
    """The kind of a failure by HTTP status, the provider's code or type, and the words of its message.

    Words in the code count before the status, words in the message only where they name a cause that shares its
    status with others, or where there is no status.
    """
    spoken = {source: _by_words(source) for source in (code, message) if source}
    for source in (code, message):
        if source and spoken[source] in _PARTICULAR:
            return spoken[source]
    if status is not None and status in _BY_STATUS:
        return _BY_STATUS[status]
    if status is not None and 400 <= status < 600:
        return ErrorKind.BAD_REQUEST if status < 500 else ErrorKind.SERVER_ERROR
    for source in (code, message):
        if source and spoken[source] is not ErrorKind.OTHER:
            return spoken[source]
    return ErrorKind.OTHER


def _by_words(source: str) -> ErrorKind:
    return next((kind for kind, words in _WORDS if words.search(source)), ErrorKind.OTHER)


def call_error(
    error: Json = None, *, status: Json = None, code: Json = None, message: Json = None, kind: ErrorKind | None = None
) -> CallError:
    """A CallError out of a vendor's error object or text; ``code`` and ``message`` given apart win.

    The code is the error's type, or its code where it has no type, as sent.
    """
    error = values.decoded(error)
    if isinstance(error, dict):
        inner = error.get("error")
        if isinstance(inner, dict):
            error = inner
        code = code or values.pick(error, "type", "code", "status", "error_class", "__type")
        message = message or values.pick(error, "message", "error_message", "detail")
        status = status or error.get("http_status") or error.get("status_code") or _status_of(error.get("code"))
    found = values.text(message) or (values.text(error) if values.is_stored(error) else None)
    shown_code = values.label(code)
    http = values.count(status)
    http = http if http and 100 <= http < 600 else None
    shown = (found or shown_code or "the export records a failure without a message")[:_MESSAGE_LIMIT]
    kind = kind or classify(http, shown_code, shown)
    return CallError(kind=kind, message=shown, code=shown_code, http_status=http)


def _status_of(code: Json) -> int | None:
    number = values.count(code)
    return number if number is not None and 100 <= number < 600 else None
