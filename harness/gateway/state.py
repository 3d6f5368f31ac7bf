"""What a gateway's counters say, for metrics and status."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.config import Live
from harness.ops.metrics import Histogram, Reading, by_reason
from harness.spool import control, counters
from harness.spool.reader import COUNTERS
from harness.spool.writer import SUFFIX


def readings(spool: Path, *, enabled: bool = True) -> Sequence[Reading | Histogram]:
    """Everything the serving processes count, dead ones included; ``enabled`` is what the configuration says."""
    # Zeros before anything is counted: a series that begins at 1 has no rate.
    counts = dict.fromkeys(counters.NAMES, 0) | counters.totals(spool / COUNTERS)
    size, files = spool_size(spool)
    mirroring = enabled and control.is_mirroring(spool)
    classes = [((f"{hundreds}xx",), float(counts[f"status.{hundreds}"])) for hundreds in range(1, 6)]

    def counter(name: str, text: str, key: str) -> Reading:
        return Reading.of(name, text, counts[key], kind="counter")

    return [
        counter("gateway_requests", "Requests of clients", "requests"),
        Reading(
            name="gateway_responses", help="Answers by class of status", kind="counter", labels=("status",),
            values=classes,
        ),
        Reading.of("gateway_in_flight", "Requests being answered", max(0, counts["started"] - counts["answered"])),
        counter("gateway_client_gone", "Clients that left before their answer was complete", "client_gone"),
        counter("gateway_upstream_unreachable", "Requests production did not answer", "upstream_unreachable"),
        counter("gateway_upstream_timeout", "Requests on which production was silent too long", "upstream_timeout"),
        Reading(
            name="mirror_not_eligible", help="Requests that are never mirrored, by reason", kind="counter",
            labels=("reason",), values=by_reason(counts, "not_eligible"),
        ),
        counter("mirror_sampled_out", "Requests outside the sample", "sampled_out"),
        counter("mirror_sampled", "Requests in the sample", "sampled"),
        counter("mirror_spooled", "Sampled requests that reached the spool", "spooled"),
        Reading(
            name="mirror_dropped", help="Sampled requests that did not reach the spool, by reason", kind="counter",
            labels=("reason",), values=by_reason(counts, "dropped"),
        ),
        Reading(
            name="gateway_canary", help="Requests of the candidate's conversations, by how they were answered",
            kind="counter", labels=("outcome",), values=by_reason(counts, "canary"),
        ),
        counter("gateway_control", "Requests of the control's conversations", "control"),
        counter("spool_written_bytes", "Bytes written to the spool", "spooled_bytes"),
        counter("spool_errors", "Writes the disk refused", "spool_errors"),
        Reading.of("spool_bytes", "Bytes in the spool", size),
        Reading.of("spool_files", "Files in the spool", files),
        Reading.of("mirror_enabled", "1 unless mirroring is switched off", float(mirroring)),
        Histogram(
            name="gateway_added_seconds",
            help="Time the gateway itself took per request, production's time excluded",
            bounds=[bound / 1e6 for bound in counters.ADDED_BOUNDS_US],
            counts=[counts[name] for name in counters.ADDED],
            total=counts["added_us.sum"] / 1e6,
        ),
    ]  # fmt: skip


def status(live: Live, problem: str | None) -> Mapping[str, Any]:
    """The gateway's state for people and scripts, with the configuration in force and why the file's is not."""
    spool = Path(live.spool.folder)
    counts = counters.totals(spool / COUNTERS)
    size, files = spool_size(spool)
    mirror = live.mirror
    return {
        "name": live.name,
        "upstream": live.gateway.upstream,
        "mirroring": mirror.enabled and control.is_mirroring(spool),
        "rate": mirror.rate,
        "starts": mirror.starts,
        "ends": mirror.ends,
        "configuration_problem": problem,
        "spool": {"bytes": size, "files": files, "limit_bytes": live.spool.max_bytes},
        "counts": dict(counts),
    }


def spool_size(spool: Path) -> tuple[int, int]:
    """Bytes and number of the spool's files."""
    sizes = []
    for path in spool.glob(f"*{SUFFIX}"):
        try:
            sizes.append(path.stat().st_size)
        except FileNotFoundError:
            continue
    return sum(sizes), len(sizes)


def oldest_age_s(spool: Path) -> float | None:
    """Seconds since the oldest file of the spool was last written to; ``None`` when there is none."""
    ages = []
    for path in spool.glob(f"*{SUFFIX}"):
        try:
            ages.append(time.time() - path.stat().st_mtime)
        except FileNotFoundError:
            continue
    return max(ages, default=None)
