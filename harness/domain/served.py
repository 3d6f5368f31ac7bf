"""One request of a rollout's conversations, as it was answered: what serving the candidate is judged by."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Arm(StrEnum):
    """How a conversation is served, and what it is evidence of."""

    CANDIDATE = "candidate"
    CONTROL = "control"
    """By production, drawn at random at the same time: what the candidate's conversations are compared with."""
    NEITHER = "neither"
    """By production."""


class ServedOutcome(StrEnum):
    """What became of a request that belongs to an arm."""

    SERVED = "served"
    """The arm's own model answered, whatever its status says."""
    FELL_BACK = "fell_back"
    """The candidate gave no answer; production's was returned, and nobody saw a difference but time."""
    BROKE_OFF = "broke_off"
    """The answer began and did not end; the client was told so."""
    NOT_ASKED = "not_asked"
    """Only production can answer such a request, and did; it stays in the arm it was drawn for."""
    CLIENT_GONE = "client_gone"
    """The client left before its answer was complete; says nothing about the arm."""


_PASSING = frozenset({408, 429})


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """One request of a conversation that was drawn for the candidate or for its control."""

    rollout_id: str
    number: int
    """Of the event of the rollout whose shares it was drawn by."""
    request_id: str
    """Unique among all gateways; that of the exchange when the request was mirrored too."""
    arm: Arm
    conversation: str
    """Names the conversation without telling its key."""
    at: datetime
    surface: str
    """``chat``, ``responses``, ``messages``."""
    outcome: ServedOutcome
    status: int
    """What the client got; 0 when production was not reached."""
    latency_ms: float | None = None
    """From the whole request to the last byte of the answer, a failed candidate's time included."""
    ttft_ms: float | None = None
    reason: str | None = None
    """Why the candidate did not answer, from a fixed set."""

    @property
    def failed(self) -> bool:
        """Whether it counts against its arm.

        A request that production refuses too (4xx) was not the candidate's to answer.
        """
        if self.outcome in {ServedOutcome.NOT_ASKED, ServedOutcome.CLIENT_GONE}:
            return self.outcome is ServedOutcome.NOT_ASKED and self._is_error
        if self.outcome is ServedOutcome.FELL_BACK:
            return self._is_error or self.status < 400
        return self.outcome is ServedOutcome.BROKE_OFF or self._is_error

    @property
    def _is_error(self) -> bool:
        return self.status == 0 or self.status >= 500 or self.status in _PASSING
