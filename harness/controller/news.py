"""What hooks and people are told of a step: the event, and what it means for users. No text of a request is in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.domain.json import Json
from harness.domain.rollout import Event, EventKind, Phase

_ENDED = frozenset({EventKind.ROLLED_BACK, EventKind.STOPPED, EventKind.EXPIRED})
BAD_NEWS = _ENDED | {EventKind.PAUSED}
"""What somebody should look at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """One event of a rollout, for those who do not know the rest."""

    live: str
    """Name of the live experiment."""
    candidate: str
    event: Event
    share: float
    """Of the conversations the candidate serves after the event."""

    @property
    def is_bad(self) -> bool:
        """Whether somebody should look at it."""
        return self.event.kind in BAD_NEWS

    def key(self, name: str) -> str:
        """By which whoever is told under this name knows a repetition."""
        return f"{self.event.rollout_id}:{self.event.number}:{name}"

    def document(self) -> dict[str, Json]:
        """All of it as JSON can say it."""
        event = self.event
        return {
            "live": self.live,
            "rollout": event.rollout_id,
            "candidate": self.candidate,
            "number": event.number,
            "event": str(event.kind),
            "phase": event.phase,
            "share": self.share,
            "at": event.at.isoformat(),
            "actor": event.actor,
            "reason": event.reason,
            "evidence": dict(event.evidence),
        }


def news_of(event: Event, *, live: str, candidate: str, phases: Sequence[Phase]) -> News:
    """What is to be told of an event; ``phases`` are those of its rollout."""
    known: Mapping[str, Phase] = {phase.name: phase for phase in phases}
    phase = known.get(event.phase)
    serves = phase is not None and phase.kind.serves_users and event.kind not in _ENDED
    share = phase.share if phase is not None and serves else 0.0
    return News(live=live, candidate=candidate, event=event, share=share)
