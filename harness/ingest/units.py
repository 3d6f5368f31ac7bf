"""Noticing latencies that were recorded in another unit than the format promises."""

from dataclasses import dataclass, field

_KEPT = 2_000
"""Latencies looked at per file; the unit shows in the first ones."""


@dataclass
class UnitWatch:
    """The first latencies of each file; a median nobody's model can have means a wrong unit."""

    _seen: dict[str, list[float]] = field(default_factory=dict)

    def watch(self, file: str, latency_ms: float | None) -> None:
        """Take note of one call's latency."""
        if latency_ms is None:
            return
        kept = self._seen.setdefault(file, [])
        if len(kept) < _KEPT:
            kept.append(latency_ms)

    def warnings(self) -> list[str]:
        """One sentence per file whose median latency is below 1 ms or above 10 minutes."""
        found = []
        for file, values in self._seen.items():
            median = sorted(values)[len(values) // 2]
            if median < 1 or median > 600_000:
                found.append(
                    f"{file}: the median latency reads as {median:g} ms; the unit is probably not what the format says."
                    " Set it with `dialect: mapping` and `latency_unit`"
                )
        return found
