"""How a production request ends on its way through the gateway to the spool: closed sets, used as metric labels."""

from enum import StrEnum


class NotEligible(StrEnum):
    """Why a request was never a candidate for mirroring."""

    UNSUPPORTED_SURFACE = "unsupported_surface"
    """Not a call whose answer can be compared: models, files, embeddings, audio."""
    DENIED = "denied"
    """A rule of the configuration excludes it."""
    INTERNAL_REQUEST = "internal_request"
    """One of our own calls: a candidate reached through the gateway must not be mirrored again."""
    KILL_SWITCH = "kill_switch"
    NOT_STARTED = "not_started"
    ENDED = "ended"


class MirrorDrop(StrEnum):
    """Why a sampled request did not reach the spool. None of them says anything about a candidate."""

    CLIENT_DISCONNECTED = "client_disconnected"
    """The client left before production had answered."""
    PRODUCTION_FAILED = "production_failed"
    """Production answered with an error, and the configuration leaves such requests out."""
    PRODUCTION_CUT = "production_cut"
    """Production's answer broke off and nobody knows how it would have gone on."""
    REQUEST_TOO_LARGE = "request_too_large"
    RESPONSE_TOO_LARGE = "response_too_large"
    QUEUE_FULL = "queue_full"
    SPOOL_FULL = "spool_full"
    DISK_FAILED = "disk_failed"
    """The disk was full or refused the write."""
    CAPTURE_FAILED = "capture_failed"
    """Our own fault: the record could not be made."""
    CLOSING = "closing"
    """The gateway had to end before production had answered."""
    UNFLUSHED = "unflushed"
    """The gateway was killed between sampling it and writing it."""
    SWITCHED_OFF = "switched_off"
    """Mirroring was switched off, or its time ended, while production answered."""


class SkipReason(StrEnum):
    """Why a spooled request was not asked of a candidate. None of them counts against the candidate.

    What counts against it are the failures of calls that were made: see :attr:`ErrorKind.counts_against_candidate`.
    """

    NOT_READABLE = "not_readable"
    """The record is damaged or its bodies are no request and answer we can read."""
    BUDGET = "budget"
    BREAKER_OPEN = "breaker_open"
    """The candidate's deployment is down; asked later, it would no longer be compared at production's time."""
    QUOTA_GUARD = "quota_guard"
    """Production was told to slow down by the provider that the candidate shares with it."""
    QUEUE_TIMEOUT = "queue_timeout"
    """The deadline passed while the request waited for the candidate's own rate limit."""
    TOO_OLD = "too_old"
    ENDED = "ended"
    KILL_SWITCH = "kill_switch"
    STOPPED = "stopped"
    """The candidate cannot be asked with our set-up (key, permission, model name) and waits for an operator."""
    NOT_DRAWN = "not_drawn"
    """Not in the share of the requests that this arm is asked."""
    SERVED_BY_CANDIDATE = "served_by_candidate"
    """Of a conversation that a rollout's candidate serves: its pair is not one of the shadow."""

    @property
    def is_overload(self) -> bool:
        """Whether the request was dropped because somebody was overloaded; else it was skipped by a policy."""
        return self in _OVERLOAD


_OVERLOAD = frozenset({SkipReason.BREAKER_OPEN, SkipReason.QUOTA_GUARD, SkipReason.QUEUE_TIMEOUT})
