"""Two candidates against each other on one metric, on the requests they share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np

from harness.decision import quality, service
from harness.decision.scope import Scope
from harness.domain import metrics as names
from harness.domain.estimate import Direction, Estimate, Metric
from harness.stats import contests, means, proportions, quantiles, ratios
from harness.stats.evidence import Bools, Floats

Comparison: TypeAlias = Callable[[Scope, Scope, float], Estimate]
"""Two candidates and a level, to the first one's value less or over the second one's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contest:
    """How two candidates are compared on one metric."""

    metric: Metric
    compare: Comparison
    is_ratio: bool = False
    """Whether the comparison is the first one over the second one; else it is their difference."""

    def ahead(self, first: Scope, second: Scope, level: float) -> int:
        """1 when the whole interval of the comparison is on the first one's side, -1 on the second one's, else 0."""
        found = self.compare(first, second, level)
        even = 1.0 if self.is_ratio else 0.0
        if found.value is None:
            return 0
        above = found.low is not None and found.low > even
        below = found.high is not None and found.high < even
        side = int(above) - int(below)
        return -side if self.metric.direction is Direction.LOWER_IS_BETTER else side


def contests_of(judge_metrics: Mapping[str, Metric]) -> dict[str, Contest]:
    """Every metric on which candidates are compared, by name; those without a better side have no contest.

    What corrects a judge's rate by people or by length, and distances from the noise floor, have none: the first two
    are models fitted to one candidate's pairs, and a distance takes the same from every candidate.
    """
    found: dict[str, Contest] = {}
    for judge, name in quality.metric_names(judge_metrics).items():
        metric = replace(judge_metrics[judge], name=name)
        if metric.direction is Direction.NEUTRAL:
            continue
        if judge_metrics[judge].name == names.WIN_RATE.name:
            found[name] = Contest(metric=metric, compare=partial(_preference, judge))
            given = quality.related(name, names.WIN_RATE_GIVEN_ANSWER.name)
            metric = replace(names.WIN_RATE_GIVEN_ANSWER, name=given)
        found[metric.name] = Contest(metric=metric, compare=partial(_score, judge, metric))
    return found | _service()


def _service() -> dict[str, Contest]:
    found: list[Contest] = []
    for percentile, probability in service.PROBABILITY.items():
        timed = partial(_time, "latency_ms", probability)
        both = (names.latency_ratio(percentile), names.latency(percentile))
        found += [Contest(metric=metric, compare=timed, is_ratio=True) for metric in both]
        if percentile != "p99":
            first = partial(_time, "ttft_ms", probability)
            found.append(Contest(metric=names.ttft_ratio(percentile), compare=first, is_ratio=True))
    any_error, cost = partial(_errors, None), partial(_usage, "cost_usd")
    rates = (names.ERROR_RATE, names.ERROR_RATE_DIFFERENCE)
    found += [Contest(metric=metric, compare=any_error) for metric in rates]
    found += [Contest(metric=names.error_class(kind), compare=partial(_errors, kind.value)) for kind in names.BY_CLASS]
    found += [Contest(metric=metric, compare=cost, is_ratio=True) for metric in (names.COST_PER_1K, names.COST_RATIO)]
    found.append(Contest(metric=names.TOKENS_IN_RATIO, compare=partial(_usage, "tokens_in"), is_ratio=True))
    return {contest.metric.name: contest for contest in found}


def _preference(judge: str, first: Scope, second: Scope, level: float) -> Estimate:
    """Win rates with failures, on the requests on which both have an ending that says something about them."""
    keep = first.rows.both_asked & second.rows.both_asked

    def scored(scope: Scope) -> contests.Scored:
        return contests.Scored(
            scores=quality.values_of(scope, judge)[keep],
            failed=scope.rows.settled[keep],
            worth=scope.rows.worth[keep],
        )

    return contests.difference_with_failures(
        scored(first), scored(second), first.evidence.clusters[keep], level=level, looks=first.looks
    )


def _score(judge: str, metric: Metric, first: Scope, second: Scope, level: float) -> Estimate:
    """Mean scores, on the requests that both answered and the judge scored for both."""
    one, two = paired_scores(judge, first, second)
    keep = np.isfinite(one) & np.isfinite(two)
    codes = first.evidence.clusters[keep]
    a, b = one[keep], two[keep]
    bounds = quality.bounds_of(metric)
    if a.size and bounds == (0.0, 1.0) and bool(np.all(np.isin(np.concatenate([a, b]), (0.0, 1.0)))):
        return proportions.paired_difference(a == 1.0, b == 1.0, codes, level=level, looks=first.looks)
    span = None if bounds is None else (bounds[0] - bounds[1], bounds[1] - bounds[0])
    return means.paired_difference(a, b, codes, level=level, bounds=span, looks=first.looks)


def paired_scores(judge: str, first: Scope, second: Scope) -> tuple[Floats, Floats]:
    """The judge's scores of both candidates per request; NaN where one of the two has no answer or no score."""
    keep = first.rows.both_answered & second.rows.both_answered
    one, two = (np.where(keep, quality.values_of(scope, judge), np.nan) for scope in (first, second))
    return one, two


def _time(column: str, probability: float, first: Scope, second: Scope, level: float) -> Estimate:
    """Quantiles of a latency; a failed request is infinitely slow, and what came from a cache is left out."""
    keep = first.rows.both_asked & second.rows.both_asked & _fresh(first, second)
    one, two = (service.latency_of(scope.evidence.candidate, column)[keep] for scope in (first, second))
    return quantiles.quantile_ratio(
        one, two, first.evidence.clusters[keep], probability, level=level, looks=first.looks
    )


def _errors(kind: str | None, first: Scope, second: Scope, level: float) -> Estimate:
    """Shares of requests that ended in an error, of one class or any."""
    keep = first.rows.both_asked & second.rows.both_asked

    def failed(scope: Scope) -> Bools:
        arm = scope.evidence.candidate
        rows = arm.failed if kind is None else arm.failed & (arm.error_kind == kind)
        return np.asarray(rows[keep], dtype=np.bool_)

    codes = first.evidence.clusters[keep]
    return proportions.paired_difference(failed(first), failed(second), codes, level=level, looks=first.looks)


def _usage(column: str, first: Scope, second: Scope, level: float) -> Estimate:
    """Cost or tokens over each other where both answered; cache hits cost nothing real."""
    keep = first.rows.both_answered & second.rows.both_answered
    if column == "cost_usd":
        keep &= _fresh(first, second)
    one, two = (getattr(scope.evidence.candidate, column)[keep] for scope in (first, second))
    codes = first.evidence.clusters[keep]
    return ratios.ratio_of_means(one, two, codes, level=level, looks=first.looks)


def _fresh(first: Scope, second: Scope) -> Bools:
    return np.asarray(~first.evidence.candidate.cache_hit & ~second.evidence.candidate.cache_hit, dtype=np.bool_)
