"""One recorded production request with what production answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from harness.domain.json import Json, Message
from harness.domain.observation import Observation


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatRequest:
    """A chat request in OpenAI chat form, complete enough to be asked again."""

    model: str
    """The model as asked for, provider prefix and deployment name kept."""
    messages: tuple[Message, ...]
    """OpenAI chat messages in order; the system prompt first; parts, tool calls and tool results kept."""
    tools: tuple[Mapping[str, Json], ...] = ()
    """Tool definitions in OpenAI form (``{"type": "function", "function": {...}}``)."""
    params: Mapping[str, Json] = field(default_factory=dict)
    """Sampling and output settings: temperature, max_tokens, response_format, tool_choice, stop, ..."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a record came from, for the audit."""

    file: str
    line: int | None
    """Physical line from 1; the data record in CSV and Parquet; ``None`` in a single JSON document."""
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """One recorded production request with what production answered."""

    id: str
    request: ChatRequest
    production: Observation
    """Production's own Observation, arm ``production``; unknown values are ``None``, never zero."""
    timestamp: datetime | None = None
    """Start of the call, UTC."""
    session: str | None = None
    """Conversation the request belongs to; exchanges of one session are one cluster in every interval."""
    user: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Free key-value data kept for slices and stratification."""
    source: Source | None = None

    @property
    def cluster(self) -> str:
        """Unit of independent evidence: the session, else the exchange itself.

        Not the user: what logs call a user is often the application's one service account.
        """
        return f"session:{self.session}" if self.session else f"exchange:{self.id}"
