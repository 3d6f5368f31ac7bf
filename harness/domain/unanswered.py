"""Why a candidate did not answer a request of a user, and how the process that asks it says so to the gateway."""

from enum import StrEnum

TOKEN_HEADER = b"x-shadow-canary-token"
"""Of requests to the process: without the right token it answers nobody."""
OUTCOME_HEADER = b"x-shadow-canary"
"""Of its answers that are none: ``failed`` or ``not_asked``."""
REASON_HEADER = b"x-shadow-canary-reason"


class Reason(StrEnum):
    """The closed set used in records, metrics and logs.

    The values of :class:`harness.domain.observation.ErrorKind` mean here what they mean there.
    """

    # Only production can answer the request, so the candidate was not asked.
    UNSUPPORTED_SURFACE = "unsupported_surface"
    """Another path than those of the three APIs, or another method than POST."""
    UNSUPPORTED_REQUEST = "unsupported_request"
    """It names something that lives at production or that the candidate cannot be asked for."""
    STORED_RESPONSE = "stored_response"
    """The client may go on from the answer by its id, and production would not know the id of a candidate's."""
    UNREADABLE_REQUEST = "unreadable_request"
    """Not the JSON of the API; production says in its own words what is wrong."""
    REQUEST_TOO_LARGE = "request_too_large"

    # The candidate's call failed.
    BAD_REQUEST = "bad_request"
    CONTEXT_WINDOW = "context_window"
    CONTENT_FILTER = "content_filter"
    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    NOT_FOUND = "not_found"
    TIMEOUT = "timeout"
    RATE_LIMIT = "rate_limit"
    QUOTA_EXHAUSTED = "quota_exhausted"
    SERVER_ERROR = "server_error"
    OVERLOADED = "overloaded"
    CONNECTION = "connection"
    CUT_STREAM = "cut_stream"
    MALFORMED_RESPONSE = "malformed_response"
    EMPTY_OUTPUT = "empty_output"
    OTHER = "other"
    ANSWER_TOO_LARGE = "answer_too_large"

    # Our own part failed.
    MISCONFIGURED = "misconfigured"
    """The candidate cannot be asked as it is configured, such as without its key."""
    INTERNAL = "internal"
    """The process that asks candidates failed itself."""
    UNREACHABLE = "unreachable"
    """The gateway could not reach that process, or lost it."""
    NO_FIRST_BYTE = "no_first_byte"
    """The answer had not begun when production had to be asked (``canary.first_byte_s``)."""

    @property
    def is_not_asked(self) -> bool:
        """Whether only production can answer such a request, which says nothing about the candidate."""
        return self in _NOT_ASKED


_NOT_ASKED = frozenset({
    Reason.UNSUPPORTED_SURFACE, Reason.UNSUPPORTED_REQUEST, Reason.STORED_RESPONSE, Reason.UNREADABLE_REQUEST,
    Reason.REQUEST_TOO_LARGE,
})  # fmt: skip
