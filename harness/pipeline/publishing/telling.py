"""Tells people of what was published, through apprise."""

from collections.abc import Sequence

from harness.domain.report import EvaluationReport
from harness.ops.alerts import Address, sender_from
from reports import summary

VARIABLE = "HARNESS_NOTIFY_URLS"
_ATTEMPTS = 2


def addresses() -> Sequence[Address]:
    """Who is to be told; the addresses hold tokens, so they come from the environment alone."""
    return sender_from(VARIABLE) or ()


def tell(report: EvaluationReport, listed: Sequence[Address], *, link: str = "") -> list[str]:
    """One message to every address; returns, without its address, who could not be told."""
    title, text, bad = summary.chat_message(report, link=link)
    return [
        f"the address {address.name} in {VARIABLE} could not be told of run {report.run_id}"
        for address in listed
        if not any(_sent(address, title, text, bad) for _ in range(_ATTEMPTS))
    ]


def _sent(address: Address, title: str, text: str, bad: bool) -> bool:
    try:
        return address(title, text, bad)
    except Exception:  # noqa: BLE001  a hundred services raise what they like, and their texts may hold addresses
        return False
