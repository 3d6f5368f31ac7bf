"""Asking a model: what to ask, what came back, and how it fails."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Protocol

from harness.domain.exchange import ChatRequest
from harness.domain.json import Json
from harness.domain.observation import CallError, Completion, Usage
from harness.errors import HarnessError


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """List price in US dollars per million tokens."""

    input_per_mtok: float
    output_per_mtok: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchTerms:
    """How a model's requests are handed to its vendor's batch API."""

    max_requests: int = 10_000
    """A batch is submitted when it holds so many."""
    max_mb: float = 100.0
    """A batch is submitted before it is larger, in megabytes."""
    linger_s: float = 5.0
    """A batch that is not full is submitted when nothing was added for so long."""
    poll_s: float = 30.0
    """Time between two looks at a batch."""
    settle_s: float = 60.0
    """How long a batch whose submission was not answered may take to show up at the vendor."""
    price_factor: float = 0.5
    """Price of a request in a batch as a share of the list price."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """One model as litellm names it, with everything that changes what it answers or costs."""

    model: str
    """Name with provider prefix, as litellm takes it (``openai/gpt-4o-mini``, ``anthropic/claude-sonnet-4-5``)."""
    params: Mapping[str, Json] = field(default_factory=dict)
    """Settings that override those of the request; a ``None`` value removes the request's setting."""
    system_prompt: str | None = None
    """Replaces the request's system messages when set."""
    api_base: str | None = None
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; the key itself is never stored."""
    price: Price | None = None
    """Overrides the price map; needed when a budget is set and the map does not know the model."""
    stream: bool = True
    """Whether to stream, which is what measures the time to first token."""
    batch: BatchTerms | None = None
    """Ask through the vendor's batch API; ``None`` asks live."""

    @property
    def provider(self) -> str:
        """The limiter's key: provider prefix and base URL."""
        prefix = self.model.split("/", 1)[0] if "/" in self.model else "openai"
        return f"{prefix}@{self.api_base}" if self.api_base else prefix


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenLogprob:
    """One position of the answer with the most likely tokens there."""

    token: str
    logprob: float
    top: Mapping[str, float] = field(default_factory=dict)
    """Alternatives at this position: token text to log-probability."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelReply:
    """A completed model call."""

    completion: Completion
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = None
    latency_ms: float | None = 0.0
    """The successful provider call alone; ``None`` when it was part of a batch."""
    ttft_ms: float | None = None
    queue_ms: float = 0.0
    retry_ms: float = 0.0
    attempts: int = 1
    started_at: datetime | None = None
    dropped_params: tuple[str, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


class ModelError(HarnessError):
    """One model call failed for good; carried into a failed Observation, it never ends a run."""

    exit_code: ClassVar[int] = 4

    def __init__(
        self,
        error: CallError,
        *,
        latency_ms: float | None = None,
        queue_ms: float = 0.0,
        retry_ms: float = 0.0,
        attempts: int = 1,
        cost_usd: float | None = None,
        retry_after_s: float | None = None,
        dropped_params: tuple[str, ...] = (),
    ) -> None:
        super().__init__(f"{error.kind}: {error.message}")
        self.error = error
        self.latency_ms = latency_ms
        self.queue_ms = queue_ms
        self.retry_ms = retry_ms
        self.attempts = attempts
        self.cost_usd = cost_usd
        self.retry_after_s = retry_after_s
        self.dropped_params = dropped_params


class BudgetExhausted(HarnessError):  # noqa: N818  reads as the state it reports
    """The purse cannot cover another call; the request is skipped with this as its reason, not failed."""

    def __init__(self, purse: str, limit_usd: float, spent_usd: float) -> None:
        super().__init__(f"the {purse} budget of ${limit_usd:.2f} is spent (${spent_usd:.4f})")
        self.purse = purse


class StillAtVendor(HarnessError):  # noqa: N818  reads as the state it reports
    """Nobody waits for this answer any more: the run was told to end; the same command picks it up, paid once."""


class ModelClient(Protocol):
    """The one seam through which models are asked."""

    async def complete(self, request: ChatRequest, model: ModelSpec, *, deadline_s: float) -> ModelReply:
        """Ask ``model`` and wait at most ``deadline_s`` seconds for the whole answer.

        ``request.model`` is what production was asked and is ignored in favour of ``model.model``.

        Raises:
            ModelError: the call failed.
            BudgetExhausted: the call was not made, because its purse is empty.
            StillAtVendor: the run was told to end while the request was in a batch.
        """
        ...
