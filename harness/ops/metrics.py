"""Prometheus metrics as plain values, rendered by its own library."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "shadow_"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One metric with its samples. Labels come from closed sets; ids, paths and texts are never among them."""

    name: str
    """Without the common prefix, and without ``_total``."""
    help: str
    kind: str = "gauge"
    """``counter`` or ``gauge``."""
    labels: tuple[str, ...] = ()
    values: Sequence[tuple[tuple[str, ...], float]] = ()
    """Label values and number."""

    @classmethod
    def of(cls, name: str, help_: str, value: float, *, kind: str = "gauge") -> "Reading":
        """A metric with a single number."""
        return cls(name=name, help=help_, kind=kind, values=(((), value),))


@dataclass(frozen=True, kw_only=True, slots=True)
class Histogram:
    """A distribution in buckets."""

    name: str
    help: str
    bounds: Sequence[float]
    """Upper bounds; one count more than bounds, for what lies above the last."""
    counts: Sequence[int] = field(default_factory=tuple)
    total: float = 0.0


def render(readings: Sequence[Reading | Histogram]) -> bytes:
    """The text Prometheus reads."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Fixed([_family(reading) for reading in readings]))
    return generate_latest(registry)


def by_reason(counts: Mapping[str, int], kind: str) -> list[tuple[tuple[str, ...], float]]:
    """Samples of the counts whose names begin with ``kind`` and a dot."""
    begin = f"{kind}."
    return [((name.removeprefix(begin),), float(number)) for name, number in counts.items() if name.startswith(begin)]


class _Fixed:
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families


def _family(reading: Reading | Histogram) -> Metric:
    name = _PREFIX + reading.name
    if isinstance(reading, Histogram):
        buckets, total = [], 0
        bounds = [*(format(bound, "g") for bound in reading.bounds), "+Inf"]
        for bound, count in zip(bounds, reading.counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        family = HistogramMetricFamily(name, reading.help)
        family.add_metric([], buckets=buckets, sum_value=reading.total)
        return family
    kind = CounterMetricFamily if reading.kind == "counter" else GaugeMetricFamily
    found = kind(name, reading.help, labels=reading.labels)
    for labels, value in reading.values:
        found.add_metric(list(labels), value)
    return found
