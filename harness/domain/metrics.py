"""The built-in metrics: names, titles, units and directions, for criteria, judges and reports."""

from collections.abc import Mapping

from harness.domain.estimate import Direction, Metric, Unit
from harness.domain.observation import ErrorKind

_LOWER, _HIGHER, _NEUTRAL = Direction.LOWER_IS_BETTER, Direction.HIGHER_IS_BETTER, Direction.NEUTRAL
_PERCENTILES = {"p50": "Median", "p95": "95th percentile", "p99": "99th percentile"}


def _metric(name: str, title: str, unit: Unit, direction: Direction, help: str) -> Metric:
    return Metric(name=name, title=title, unit=unit, direction=direction, help=help)


WIN_RATE = _metric(
    "win_rate",
    "Win rate",
    Unit.SHARE,
    _HIGHER,
    "How often the judge prefers the candidate's answer, a tie counting half and a failure as a loss of its side.",
)
WIN_RATE_GIVEN_ANSWER = _metric(
    "win_rate_given_answer",
    "Win rate where the candidate answered",
    Unit.SHARE,
    _HIGHER,
    "The win rate over judged answers alone, failed requests left out.",
)
EXACT_MATCH = _metric(
    "exact_match", "Exact match", Unit.SHARE, _HIGHER, "Share of pairs whose answers are the same after normalisation."
)
SIMILARITY = Metric(
    name="similarity",
    title="Similarity",
    unit=Unit.SCORE,
    direction=_HIGHER,
    help="Mean cosine similarity of the two answers' embeddings: 1 is the same meaning.",
    bounds=(-1.0, 1.0),
)
STRUCTURE = _metric(
    "structure_valid",
    "Structure kept",
    Unit.SHARE,
    _HIGHER,
    "Share of requests for JSON, a schema or a tool where the candidate's answer has the form that was asked for.",
)
REFUSAL_DIFFERENCE = _metric(
    "refusal_rate_difference",
    "Refusals, difference",
    Unit.POINTS,
    _LOWER,
    "Share of requests the candidate refuses minus the share production refuses.",
)
LENGTH_DIFFERENCE = _metric(
    "length_difference",
    "Answer length, difference",
    Unit.CHARACTERS,
    _NEUTRAL,
    "Mean length of the candidate's answers minus production's.",
)
MARKDOWN_DIFFERENCE = _metric(
    "markdown_difference",
    "Markdown, difference",
    Unit.SCORE,
    _NEUTRAL,
    "Marks of markdown (headings, list items, bold, table rows, code blocks) per 1,000 characters of the candidate's "
    "answers minus production's.",
)
COVERAGE = _metric(
    "coverage",
    "Pairs compared",
    Unit.COUNT,
    _HIGHER,
    "Sampled requests that both production and the candidate answered.",
)
ERROR_RATE = _metric(
    "error_rate", "Error rate", Unit.SHARE, _LOWER, "Share of the candidate's requests that ended in an error."
)
ERROR_RATE_DIFFERENCE = _metric(
    "error_rate_difference",
    "Error rate, difference",
    Unit.POINTS,
    _LOWER,
    "The candidate's error rate minus production's on the same requests.",
)
TOKENS_IN_RATIO = _metric(
    "tokens_in_ratio",
    "Tokens read, ratio",
    Unit.RATIO,
    _LOWER,
    "Input tokens of the candidate over those of production on the same requests.",
)
TOKENS_OUT_RATIO = _metric(
    "tokens_out_ratio",
    "Tokens written, ratio",
    Unit.RATIO,
    _NEUTRAL,
    "Output tokens of the candidate over those of production on the same requests.",
)
COST_RATIO = _metric(
    "cost_ratio",
    "Cost, ratio",
    Unit.RATIO,
    _LOWER,
    "Cost of the candidate over that of production on the same requests.",
)
COST_PER_1K = _metric(
    "cost_per_1k", "Cost of 1,000 requests", Unit.USD, _LOWER, "The candidate's cost per 1,000 requests."
)


def latency_ratio(percentile: str) -> Metric:
    """``latency_p95_ratio`` for ``p95``."""
    return _metric(
        f"latency_{percentile}_ratio",
        f"{_PERCENTILES[percentile]} latency, ratio",
        Unit.RATIO,
        _LOWER,
        "The candidate's latency at this percentile over production's; a failed request counts as infinitely slow.",
    )


def latency(percentile: str) -> Metric:
    """``latency_p95`` for ``p95``, the candidate's own."""
    return _metric(
        f"latency_{percentile}",
        f"{_PERCENTILES[percentile]} latency",
        Unit.MILLISECONDS,
        _LOWER,
        "The candidate's latency at this percentile; a failed request counts as infinitely slow.",
    )


def ttft_ratio(percentile: str) -> Metric:
    """``ttft_p95_ratio`` for ``p95``."""
    return _metric(
        f"ttft_{percentile}_ratio",
        f"{_PERCENTILES[percentile]} time to first token, ratio",
        Unit.RATIO,
        _LOWER,
        "How long the candidate takes to start answering over production's; a failed request is infinitely slow.",
    )


def error_class(kind: ErrorKind) -> Metric:
    """``error_rate_timeout_difference`` for one ErrorKind."""
    words = kind.value.replace("_", " ")
    return _metric(
        f"error_rate_{kind.value}_difference",
        f"Errors of class {words}, difference",
        Unit.POINTS,
        _LOWER,
        f"Share of the candidate's requests that ended in a {words} error minus production's share.",
    )


def latency_from_floor(percentile: str) -> Metric:
    """``latency_p95_ratio_from_floor`` for ``p95``."""
    return _metric(
        f"latency_{percentile}_ratio_from_floor",
        f"{_PERCENTILES[percentile]} latency beside the replica, ratio",
        Unit.RATIO,
        _LOWER,
        "The candidate's latency at this percentile over that of production asked again at the same time.",
    )


SIMILARITY_FROM_FLOOR = Metric(
    name="similarity_from_floor",
    title="Similarity, from the noise floor",
    unit=Unit.SCORE,
    direction=_HIGHER,
    help="Mean similarity of the candidate to production minus that of production, asked again, to itself.",
    bounds=(-2.0, 2.0),
)
DISSIMILAR_FROM_FLOOR = _metric(
    "dissimilar_rate_from_floor",
    "Very different answers, from the noise floor",
    Unit.POINTS,
    _LOWER,
    "Share of answers with a similarity under 0.8, minus that share when production is asked again.",
)
EXACT_MATCH_FROM_FLOOR = _metric(
    "exact_match_from_floor",
    "Exact match, from the noise floor",
    Unit.POINTS,
    _HIGHER,
    "Share of answers equal to production's, minus the share that production repeats when asked again.",
)
WIN_RATE_FROM_FLOOR = _metric(
    "win_rate_from_floor",
    "Win rate, from the noise floor",
    Unit.POINTS,
    _HIGHER,
    "The candidate's win rate minus the win rate of production, asked again, against its own recorded answers.",
)
WIN_RATE_CORRECTED = _metric(
    "win_rate_corrected",
    "Win rate, corrected by people",
    Unit.SHARE,
    _HIGHER,
    "The judge's win rate with its bias, as measured on the pairs people labelled, taken out.",
)
WIN_RATE_CONTROLLED = _metric(
    "win_rate_length_controlled",
    "Win rate at equal length",
    Unit.SHARE,
    _HIGHER,
    "What the win rate would be if both answers were of the same length and style.",
)
FROM_FLOOR: Mapping[str, tuple[Metric, ...]] = {
    "similarity": (SIMILARITY_FROM_FLOOR, DISSIMILAR_FROM_FLOOR),
    "exact_match": (EXACT_MATCH_FROM_FLOOR,),
    "win_rate": (WIN_RATE_FROM_FLOOR,),
}
"""What a judge's metric becomes beside the replica."""
DERIVED: Mapping[str, tuple[Metric, ...]] = {
    **FROM_FLOOR,
    "win_rate": (WIN_RATE_GIVEN_ANSWER, WIN_RATE_CORRECTED, WIN_RATE_CONTROLLED, WIN_RATE_FROM_FLOOR),
}
"""Further metrics that come with a judge's own; of a second judge of the kind they are ``<metric>:<judge>``."""

BY_CLASS = tuple(kind for kind in ErrorKind if not kind.is_setup)
"""Error classes with a metric of their own; errors of our own set-up say nothing about a candidate."""

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        *(latency_ratio(p) for p in ("p50", "p95", "p99")),
        *(latency(p) for p in ("p50", "p95", "p99")),
        *(ttft_ratio(p) for p in ("p50", "p95")),
        *(latency_from_floor(p) for p in ("p50", "p95")),
        ERROR_RATE_DIFFERENCE,
        ERROR_RATE,
        *(error_class(kind) for kind in BY_CLASS),
        WIN_RATE,
        WIN_RATE_GIVEN_ANSWER,
        WIN_RATE_CORRECTED,
        WIN_RATE_CONTROLLED,
        WIN_RATE_FROM_FLOOR,
        EXACT_MATCH,
        EXACT_MATCH_FROM_FLOOR,
        SIMILARITY,
        SIMILARITY_FROM_FLOOR,
        DISSIMILAR_FROM_FLOOR,
        STRUCTURE,
        REFUSAL_DIFFERENCE,
        LENGTH_DIFFERENCE,
        MARKDOWN_DIFFERENCE,
        TOKENS_IN_RATIO,
        TOKENS_OUT_RATIO,
        COST_RATIO,
        COST_PER_1K,
        COVERAGE,
    )
}
"""Every built-in metric by name; a judge may bring further ones."""
