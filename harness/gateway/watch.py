"""What of a gateway's counts needs a person."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.config import Live
from harness.domain.mirror import MirrorDrop, NotEligible
from harness.gateway.state import oldest_age_s, spool_size
from harness.ops.alerts import Alert, AlertKind
from harness.spool import control, counters
from harness.spool.reader import COUNTERS

_FEW = 20
"""Fewer requests than this say nothing about production."""
_ADVICE: Mapping[str, str] = {
    NotEligible.UNSUPPORTED_SURFACE: "these paths have no answers that can be compared",
    NotEligible.DENIED: "a rule with rate 0 fits them; see `mirror.rules`",
    NotEligible.INTERNAL_REQUEST: "they are our own calls: the candidates' `api_base` leads back to this gateway",
    NotEligible.KILL_SWITCH: "the kill switch is set, or `mirror.enabled` is false",
    NotEligible.NOT_STARTED: "`mirror.starts` is ahead",
    NotEligible.ENDED: "`mirror.ends` has passed",
    "sampled_out": "none fell into the sample; see `mirror.rate`",
    MirrorDrop.SPOOL_FULL: "the spool is full: start the worker, or raise `spool.max_bytes`",
    MirrorDrop.QUEUE_FULL: "too much is in flight or waits for the disk; raise `spool.queue_bytes`",
    MirrorDrop.DISK_FAILED: "the disk refuses writes",
    MirrorDrop.PRODUCTION_FAILED: "production failed, and `mirror.production_failures` is false",
    MirrorDrop.PRODUCTION_CUT: "production's answers break off",
    MirrorDrop.CLIENT_DISCONNECTED: "the clients leave before production has answered",
    MirrorDrop.REQUEST_TOO_LARGE: "they are larger than `mirror.max_request_bytes`",
    MirrorDrop.RESPONSE_TOO_LARGE: "the answers are larger than `mirror.max_response_bytes`",
    MirrorDrop.CLOSING: "the gateway was stopped while they were being answered",
    MirrorDrop.SWITCHED_OFF: "mirroring was switched off, or ended, while they were being answered",
    MirrorDrop.CAPTURE_FAILED: "the gateway could not record them; its log says why",
}


@dataclass(frozen=True, kw_only=True)
class Look:
    """Counts at one time."""

    at: float
    counts: Mapping[str, int]

    def since(self, before: "Look", name: str) -> int:
        """How much a count has grown."""
        return max(0, self.counts.get(name, 0) - before.counts.get(name, 0))


def look(spool: Path) -> Look:
    """The counts as they stand."""
    return Look(at=time.monotonic(), counts=counters.totals(spool / COUNTERS))


def why_nothing(before: Look, now: Look) -> str | None:
    """Why no request between two looks was mirrored, by how often each reason occurred.

    ``None`` when one was mirrored, may yet be, or none came.
    """
    if now.since(before, "requests") == 0 or now.since(before, "spooled") > 0:
        return None
    dropped = sum(now.since(before, f"dropped.{reason}") for reason in MirrorDrop)
    if now.since(before, "sampled") > dropped:
        return None
    names = [
        *((f"not_eligible.{reason}", reason.value) for reason in NotEligible),
        ("sampled_out", "sampled_out"),
        *((f"dropped.{reason}", reason.value) for reason in MirrorDrop),
    ]
    found = sorted(((now.since(before, name), reason) for name, reason in names), reverse=True)
    said = [
        f"{count:,} {reason.replace('_', ' ')} ({_ADVICE.get(reason, 'see the documentation')})"
        for count, reason in found
        if count
    ]
    return f"of {now.since(before, 'requests'):,} requests none was mirrored: " + ("; ".join(said) or "no reason known")


def alerts(live: Live, problem: str | None, window: Sequence[Look], restarts: int) -> list[Alert]:
    """The conditions that hold.

    ``problem`` is why a changed file is not in force; ``window`` begins ``alerts.nothing_mirrored_s`` ago, or at the
    start, and ends now.
    """
    settings, spool = live.alerts, Path(live.spool.folder)
    first, last, now = window[0], window[max(0, len(window) - 2)], window[-1]
    # The latest look since which enough requests came: between two looks there are too few of them on a quiet service.
    before = next((look for look in reversed(window) if now.since(look, "requests") >= _FEW), now)
    found: list[Alert] = []
    if problem is not None:
        found.append(Alert(kind=AlertKind.CONFIGURATION, text=f"the changed file is not taken in: {problem}"))
    requests, failed = now.since(before, "requests"), now.since(before, "upstream_unreachable")
    failed += now.since(before, "upstream_timeout")
    if requests >= _FEW and failed > settings.error_rate * requests:
        said = "got no answer, or one that broke off,"
        text = f"{failed:,} of the last {requests:,} requests {said} from {live.gateway.upstream}"
        found.append(Alert(kind=AlertKind.PRODUCTION_UNREACHABLE, text=text))
    whole = now.at - first.at >= settings.nothing_mirrored_s
    supported = now.since(first, "requests") - now.since(first, f"not_eligible.{NotEligible.UNSUPPORTED_SURFACE}")
    reason = why_nothing(first, now) if whole and supported else None
    if reason is not None:
        found.append(Alert(kind=AlertKind.NOTHING_MIRRORED, text=reason))
    size, _ = spool_size(spool)
    if now.since(last, f"dropped.{MirrorDrop.SPOOL_FULL}") or size >= live.spool.max_bytes:
        text = f"it holds {size / 1e6:,.0f} MB: is the worker running? More than `spool.max_bytes` is not mirrored"
        found.append(Alert(kind=AlertKind.SPOOL_FULL, text=text))
    if now.since(last, "spool_errors") or now.since(last, f"dropped.{MirrorDrop.DISK_FAILED}"):
        text = f"writes to {spool} fail; production is not affected, and nothing is mirrored"
        found.append(Alert(kind=AlertKind.DISK_FAILED, text=text))
    age = oldest_age_s(spool)
    if age is not None and age > max(settings.nothing_mirrored_s, 60.0) and control.is_mirroring(spool):
        text = f"its oldest file has waited for {age / 60:,.0f} minutes: is the worker running?"
        found.append(Alert(kind=AlertKind.SPOOL_NOT_READ, text=text))
    if restarts:
        text = f"serving processes ended {restarts:,} times within a few minutes; the log says why"
        found.append(Alert(kind=AlertKind.PROCESS_RESTARTS, text=text))
    return found
