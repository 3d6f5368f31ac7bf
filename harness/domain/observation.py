"""What happened when one arm got one request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from harness.domain.json import Json

PRODUCTION = "production"
REPLICA = "replica"
CANARY = "canary"
"""Not an arm: the name under which a judge's verdicts on pairs with a known answer are kept."""


class ArmRole(StrEnum):
    """Production serves users; a candidate wants to; a replica is production asked again, for the noise floor."""

    PRODUCTION = "production"
    CANDIDATE = "candidate"
    REPLICA = "replica"


class Status(StrEnum):
    """The one ending of a sampled request in one arm."""

    COMPLETED = "completed"
    FAILED = "failed"
    """The arm's own error."""
    DROPPED = "dropped"
    """Not asked because of overload."""
    SKIPPED = "skipped"
    """Not asked because of a policy: budget, time limit, interruption, nothing recorded."""


class ErrorKind(StrEnum):
    """Class of a failed call; the closed set used in metrics and reports."""

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

    @property
    def is_setup(self) -> bool:
        """Whether our own configuration is to blame, so that the failure says nothing about the candidate."""
        return self in _SETUP

    @property
    def is_setup_alone(self) -> bool:
        """Whether our own set-up is to blame when an arm ends in nothing else.

        A lost connection among answers is what a user would have met; nothing but lost connections is a wrong address,
        a server that was never started or a machine without network.
        """
        return self in _SETUP or self is ErrorKind.CONNECTION

    @property
    def counts_against_candidate(self) -> bool:
        """Whether the failure is the candidate's, in the error rate and as a loss; errors of our set-up are not."""
        return self not in _SETUP

    @property
    def is_deployment(self) -> bool:
        """Whether the deployment is down or overloaded, so that the next request would fail as well."""
        return self in _DEPLOYMENT

    @property
    def is_retryable(self) -> bool:
        """Whether asking again may help."""
        return self in _RETRYABLE


_SETUP = frozenset({ErrorKind.AUTHENTICATION, ErrorKind.PERMISSION, ErrorKind.NOT_FOUND, ErrorKind.QUOTA_EXHAUSTED})
_DEPLOYMENT = frozenset(
    {
        ErrorKind.TIMEOUT,
        ErrorKind.RATE_LIMIT,
        ErrorKind.SERVER_ERROR,
        ErrorKind.OVERLOADED,
        ErrorKind.CONNECTION,
    }
)
_RETRYABLE = frozenset(
    {
        ErrorKind.TIMEOUT,
        ErrorKind.RATE_LIMIT,
        ErrorKind.SERVER_ERROR,
        ErrorKind.OVERLOADED,
        ErrorKind.CONNECTION,
        ErrorKind.CUT_STREAM,
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CallError:
    """Why a call failed, as data."""

    kind: ErrorKind
    message: str
    """The provider's own words, secrets removed, at most 2,000 characters."""
    code: str | None = None
    """The provider's type or code, as sent."""
    http_status: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """One tool the model asked to be called."""

    name: str
    arguments: Json
    """Decoded when it was valid JSON, else the raw string."""
    id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """The answer as the user saw it."""

    text: str | None
    """``None`` when the answer is only tool calls or a refusal."""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    model: str | None = None
    """The model that answered, as the provider named it."""
    refusal: str | None = None
    n_choices: int = 1
    original_chars: int | None = None
    """Length before redaction, where redaction changed it."""

    @property
    def chars(self) -> int:
        """Length of what the user read, text or refusal, in characters and before redaction; 0 for tool calls alone."""
        return len(self.text or self.refusal or "") if self.original_chars is None else self.original_chars

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show: no text, no tool call and no refusal."""
        return not (self.text or self.tool_calls or self.refusal)


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens of one call; ``None`` is unknown, never zero."""

    tokens_in: int | None = None
    """Everything the model read, cache reads and writes included."""
    tokens_out: int | None = None
    """Everything the model wrote, reasoning included."""
    tokens_cached: int | None = None
    tokens_reasoning: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """What happened when one arm got one request: a completion or an error, with time, usage and cost."""

    exchange_id: str
    arm: str
    status: Status
    completion: Completion | None = None
    error: CallError | None = None
    reason: str | None = None
    """Why it was dropped or skipped."""
    latency_ms: float | None = None
    """The whole provider call; queue wait and sleeps between retries excluded."""
    ttft_ms: float | None = None
    """First token."""
    queue_ms: float | None = None
    retry_ms: float | None = None
    """Failed attempts and sleeps between them."""
    attempts: int | None = None
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = None
    """What the call cost, all attempts; ``None`` when the price is unknown."""
    cost_estimated: bool = False
    """Whether the cost comes from a price map and not from the recording."""
    started_at: datetime | None = None
    cache_hit: bool = False
    """A gateway's cache answered: kept for quality, left out of latency and cost."""
    dropped_params: tuple[str, ...] = ()
    """Parameters of the request that the arm's provider does not take."""
    fingerprint: str = ""
    """Hash of everything that was asked; a finished call is repeated only when it changes."""
    extra: Mapping[str, Json] = field(default_factory=dict)
