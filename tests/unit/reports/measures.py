"""Metrics, estimates and distributions for the reports to render."""

import math
from typing import Any

from harness.domain.estimate import Direction, Estimate, Metric, Unit
from harness.domain.report import Distribution, SliceReport

PROBABILITIES = tuple(round(i / 100, 3) for i in range(90)) + tuple(round(0.9 + i / 1000, 4) for i in range(101))

METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name="latency_p50_ratio",
            title="P50 latency",
            unit=Unit.RATIO,
            direction=Direction.LOWER_IS_BETTER,
            help="The candidate's median latency over production's.",
        ),
        Metric(
            name="latency_p95_ratio",
            title="P95 latency",
            unit=Unit.RATIO,
            direction=Direction.LOWER_IS_BETTER,
            help="The latency 95 of 100 requests stay within, the candidate's over production's.",
        ),
        Metric(name="latency_p99_ratio", title="P99 latency", unit=Unit.RATIO, direction=Direction.LOWER_IS_BETTER),
        Metric(
            name="ttft_p50_ratio", title="P50 time to first token", unit=Unit.RATIO, direction=Direction.LOWER_IS_BETTER
        ),
        Metric(
            name="error_rate_difference",
            title="Error rate",
            unit=Unit.POINTS,
            direction=Direction.LOWER_IS_BETTER,
            help="The candidate's share of failed requests minus production's.",
        ),
        Metric(
            name="win_rate",
            title="Win rate",
            unit=Unit.SHARE,
            direction=Direction.HIGHER_IS_BETTER,
            help="Share of pairs where the judge prefers the candidate; a tie counts half.",
        ),
        Metric(
            name="similarity",
            title="Similarity",
            unit=Unit.SCORE,
            direction=Direction.HIGHER_IS_BETTER,
            help="Cosine similarity of the two answers' embeddings; 1 means the same meaning.",
        ),
        Metric(name="exact_match", title="Exact match", unit=Unit.SHARE, direction=Direction.HIGHER_IS_BETTER),
        Metric(
            name="coverage",
            title="Coverage",
            unit=Unit.COUNT,
            direction=Direction.HIGHER_IS_BETTER,
            help="Requests both sides completed.",
        ),
        Metric(
            name="structure",
            title="Structure",
            unit=Unit.SHARE,
            direction=Direction.HIGHER_IS_BETTER,
            help="Share of structured answers that keep to their schema.",
        ),
        Metric(
            name="cost_per_1k_usd", title="Cost of 1,000 requests", unit=Unit.USD, direction=Direction.LOWER_IS_BETTER
        ),
        Metric(name="cost_ratio", title="Cost", unit=Unit.RATIO, direction=Direction.LOWER_IS_BETTER),
        Metric(name="tokens_out_ratio", title="Tokens written", unit=Unit.RATIO, direction=Direction.NEUTRAL),
    )
}


def estimate(
    metric: str, value: float | None, low: float | None = None, high: float | None = None, **more: Any
) -> Estimate:
    """An Estimate on 1,182 pairs."""
    defaults: dict[str, Any] = {"n": 1182, "n_clusters": 731, "method": "clustered bootstrap, percentile"}
    return Estimate(metric=metric, value=value, low=low, high=high, **(defaults | more))


def quantiles(median: float, spread: float) -> tuple[float, ...]:
    """Quantiles of something like a log-normal latency."""
    return tuple(median * math.exp(spread * _normal_quantile(min(max(p, 0.002), 0.9985))) for p in PROBABILITIES)


def _normal_quantile(p: float) -> float:
    # The logistic's quantile scaled to unit variance: close enough for a drawing.
    return math.log(p / (1 - p)) * math.sqrt(3) / math.pi


def scores(lift: float) -> tuple[float, ...]:
    """Quantiles of similarity scores piled up near one."""
    return tuple(min(1.0, 0.42 + 0.58 * p ** (0.28 - lift) + lift / 8) for p in PROBABILITIES)


def distributions(speed: float, lift: float) -> tuple[Distribution, ...]:
    """Latency, time to first token and similarity."""
    return (
        Distribution(
            metric="latency_ms",
            title="Latency",
            unit="ms",
            production=quantiles(820, 0.5),
            candidate=quantiles(820 * speed, 0.55),
            probabilities=PROBABILITIES,
            log_scale=True,
        ),
        Distribution(
            metric="ttft_ms",
            title="Time to first token",
            unit="ms",
            production=quantiles(260, 0.4),
            candidate=quantiles(260 * speed, 0.5),
            probabilities=PROBABILITIES,
            log_scale=True,
        ),
        Distribution(
            metric="similarity",
            title="Similarity",
            unit="score",
            candidate=scores(lift),
            replica=scores(lift + 0.08),
            probabilities=PROBABILITIES,
        ),
    )


def slices() -> tuple[SliceReport, ...]:
    """Two attributes, one value too small."""

    def of(value: float, n: int) -> tuple[Estimate, ...]:
        return (
            estimate("win_rate", value, value - 0.05, value + 0.05, n=n),
            estimate("similarity", 0.9 + value / 10, 0.88 + value / 10, 0.92 + value / 10, n=n),
            estimate("latency_p95_ratio", 1.4 - value, 1.3 - value, 1.5 - value, n=n),
        )

    return (
        SliceReport(attribute="metadata.plan", value="free", n=611, estimates=of(0.54, 611)),
        SliceReport(attribute="metadata.plan", value="team", n=402, estimates=of(0.39, 402)),
        SliceReport(attribute="metadata.plan", value="enterprise", n=156, estimates=of(0.51, 156)),
        SliceReport(attribute="metadata.plan", value="trial", n=13, estimates=(), too_small=True),
        SliceReport(attribute="has_tools", value="yes", n=240, estimates=of(0.47, 240)),
        SliceReport(attribute="has_tools", value="no", n=942, estimates=of(0.52, 942)),
    )
