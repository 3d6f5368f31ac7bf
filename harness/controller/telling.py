"""Tells people of every step of a rollout, each address once, through apprise."""

from collections.abc import Iterator, Sequence
from typing import Any

from harness.controller import saying
from harness.controller.ledger import Doer
from harness.controller.news import News
from harness.domain.rollout import EventKind
from harness.ops.alerts import Address

_CHECKS = 12
_WORDS = {
    EventKind.STARTED: "started in {phase}",
    EventKind.ADVANCED: "advanced to {phase}",
    EventKind.HELD: "on hold in {phase}",
    EventKind.RESUMED: "goes on in {phase}",
    EventKind.PAUSED: "paused in {phase}",
    EventKind.APPROVED: "the next phase after {phase} is approved",
    EventKind.ROLLED_BACK: "ROLLED BACK from {phase}",
    EventKind.STOPPED: "STOPPED in {phase}",
    EventKind.EXPIRED: "EXPIRED in {phase}",
    EventKind.COMPLETED: "completed",
}


class Teller:
    """Sends one message for an event to every address; one that fails is tried again, the others are not."""

    def __init__(self, addresses: Sequence[Address], doer: Doer) -> None:
        self._addresses = tuple(addresses)
        self._doer = doer

    def tell(self, news: News) -> list[str]:
        """Tell every address that was not told; returns why the others were not.

        Raises:
            HarnessError: the ledger cannot be read or written.
        """
        title, text = title_of(news), text_of(news)
        problems = []
        for address in self._addresses:

            def send(address: Address = address) -> str | None:
                # Without the address, which may hold a password.
                return None if _sent(address, title, text, news.is_bad) else "it was not delivered"

            problem = self._doer.once(news.event, f"alert:{address.name}", send)
            if problem is not None:
                problems.append(f"alert to address {address.name}: {problem}")
        return problems


def title_of(news: News) -> str:
    """What happened, in one line; the number tells a repetition from another step."""
    event = news.event
    said = _WORDS[event.kind].format(phase=event.phase)
    if event.kind is EventKind.PAUSED and event.evidence.get("asks") == "approval":
        said = f"asks for approval of what follows {event.phase}"
    return saying.sayable(f"{news.live} rollout {event.rollout_id}: {said} (#{event.number})")


def text_of(news: News) -> str:
    """Phase, reason and figures; no text of a request or an answer is in any of them."""
    event = news.event
    lines = [
        event.reason,
        "",
        f"Candidate {news.candidate}, phase {event.phase}, serves {news.share:.4g} of the conversations.",
        f"By {event.actor} at {event.at:%Y-%m-%d %H:%M:%S %Z}.",
        *_figures(event.evidence.get("checks")),
    ]
    return saying.sayable("\n".join(lines))


def _figures(checks: Any) -> Iterator[str]:
    """What was asked of the evidence: what speaks against going on first."""
    known = [one for one in checks if isinstance(one, dict)] if isinstance(checks, list | tuple) else []
    said = [str(one.get("sentence", "")) for one in sorted(known, key=lambda one: one.get("speaks_for") is None)]
    if said:
        yield ""
    yield from (f"- {sentence}" for sentence in said[:_CHECKS] if sentence)
    if len(said) > _CHECKS:
        yield f"- and {len(said) - _CHECKS} more; `harness rollout history` shows them"


def _sent(address: Address, title: str, text: str, bad: bool) -> bool:
    try:
        return address(title, text, bad)
    except Exception:  # noqa: BLE001  a hundred services raise what they like, and their texts may hold addresses
        return False
