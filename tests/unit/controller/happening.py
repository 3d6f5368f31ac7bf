"""Events of a rollout, and clocks that are moved by hand."""

from datetime import UTC, datetime, timedelta

from harness.config import parse_rollout
from harness.config.rollout import Rollout
from harness.controller.news import News, news_of
from harness.domain.rollout import Event, EventKind
from harness.errors import InfrastructureError

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MINIMAL = {"name": "swap", "live": "live.yaml", "candidate": "small"}


def policy(**more: object) -> Rollout:
    return parse_rollout(MINIMAL | more)


def event(kind: EventKind = EventKind.ADVANCED, number: int = 7, **fields: object) -> Event:
    defaults = {"rollout_id": "swap-1", "phase": "canary_5", "at": AT, "actor": "controller", "reason": "all is well"}
    return Event(number=number, kind=kind, **(defaults | fields))


def news(kind: EventKind = EventKind.ADVANCED, **fields: object) -> News:
    return news_of(event(kind, **fields), live="shop", candidate="small", phases=policy().steps)


class Now:
    """A wall clock."""

    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Seconds:
    """A clock that never runs backwards."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class NoLedger:
    """Of a store that is away."""

    def begin(self, number: int, name: str) -> bool:
        raise InfrastructureError("the store is away")

    def finish(self, number: int, name: str, outcome: str) -> None:
        raise InfrastructureError("the store is away")
