"""From the columns of one arm to every Estimate a criterion or a report may name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from harness.domain import metrics as names
from harness.domain.estimate import Direction, Estimate, Metric, Unit
from harness.domain.metrics import METRICS
from harness.domain.observation import ErrorKind
from harness.stats import clusters as cl
from harness.stats import means, proportions, quantiles, ratios
from harness.stats.evidence import ArmColumns, Bools, Evidence, Floats

__all__ = ["METRICS", "catalogue", "estimates", "metric_names"]

_PROBABILITY = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_SETUP = tuple(kind.value for kind in ErrorKind if kind.is_setup)
_SETUP_ALONE = tuple(kind.value for kind in ErrorKind if kind.is_setup_alone)


def metric_names(judge_metrics: Mapping[str, Metric]) -> dict[str, str]:
    """Judge name to the name of its metric: the first judge owns it, a further one gets ``<metric>:<judge name>``."""
    owned: dict[str, str] = {}
    for judge, metric in judge_metrics.items():
        taken = metric.name in owned.values()
        owned[judge] = f"{metric.name}:{judge}" if taken else metric.name
    return owned


def catalogue(judge_metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Every metric an experiment with these judges can name."""
    known = dict(METRICS)
    for judge, name in metric_names(judge_metrics).items():
        metric = judge_metrics[judge]
        owner = name == metric.name
        known[name] = metric if owner else replace(metric, name=name, title=f"{metric.title} ({judge})")
        if metric.name == names.WIN_RATE.name and not owner:
            given = names.WIN_RATE_GIVEN_ANSWER
            known[f"{given.name}:{judge}"] = replace(
                given, name=f"{given.name}:{judge}", title=f"{given.title} ({judge})"
            )
    return known


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """Who was asked and what came of it, one entry per sampled exchange."""

    production_asked: Bools
    both_asked: Bools
    """Both arms have an ending that says something about them: an answer, or an error of their own."""
    production_answered: Bools
    both_answered: Bools
    candidate_failed: Bools
    """The candidate's own error where production was asked; errors of our set-up are no evidence."""

    @classmethod
    def of(cls, evidence: Evidence) -> "_Rows":
        production, candidate = evidence.production, evidence.candidate
        kinds = candidate.error_kind.astype(str)
        heard = candidate.completed | (candidate.failed & ~np.isin(kinds, _SETUP_ALONE))
        setup = candidate.failed & np.isin(kinds, _SETUP if heard.any() else _SETUP_ALONE)
        asked = production.completed | production.failed
        failed = candidate.failed & ~setup
        return cls(
            production_asked=asked,
            both_asked=asked & (candidate.completed | failed),
            production_answered=production.completed,
            both_answered=production.completed & candidate.completed,
            candidate_failed=asked & failed,
        )


def estimates(evidence: Evidence, *, level: float, judge_metrics: Mapping[str, Metric]) -> dict[str, Estimate]:
    """Every metric of one arm by name, also those without data (value ``None``), two-sided at ``level``.

    ``judge_metrics`` maps judge name to its Metric, in the order of the experiment.
    """
    rows = _Rows.of(evidence)
    found: list[Estimate] = [
        *_latencies(evidence, rows, level),
        *_errors(evidence, rows, level),
        *_usage(evidence, rows, level),
    ]
    judged = _judged(evidence, rows, level, judge_metrics)
    if names.LENGTH_DIFFERENCE.name not in {item.metric for item in judged}:
        found.append(_length(evidence, rows, level))
    found += judged
    found.append(_coverage(evidence, rows, level))
    return {item.metric: item for item in found}


def _latencies(evidence: Evidence, rows: _Rows, level: float) -> list[Estimate]:
    """Latency and time to first token: failed requests of the candidate are infinitely slow, cache hits left out."""
    production, candidate = evidence.production, evidence.candidate
    fresh = rows.production_answered & ~production.cache_hit & ~candidate.cache_hit
    codes = evidence.clusters
    found = []
    for percentile, probability in _PROBABILITY.items():
        base = production.latency_ms[fresh]
        top = _with_failures(candidate.latency_ms, rows)[fresh]
        ratio = quantiles.quantile_ratio(
            top, base, codes[fresh], probability, metric=names.latency_ratio(percentile).name, level=level
        )
        own = quantiles.quantile(
            _positive(top), codes[fresh], probability, metric=names.latency(percentile).name, level=level
        )
        theirs = quantiles.quantile(_positive(base), codes[fresh], probability, level=level)
        found += [ratio, replace(own, candidate=own.value, production=theirs.value)]
    for percentile in ("p50", "p95"):
        top = _with_failures(candidate.ttft_ms, rows)[fresh]
        found.append(
            quantiles.quantile_ratio(
                top,
                production.ttft_ms[fresh],
                codes[fresh],
                _PROBABILITY[percentile],
                metric=names.ttft_ratio(percentile).name,
                level=level,
            )
        )
    return found


def _with_failures(latency: Floats, rows: _Rows) -> Floats:
    """Infinite where the candidate failed, unknown where it was not asked, whatever was recorded there."""
    answered = np.where(rows.both_answered, latency, np.nan)
    return np.where(rows.candidate_failed, np.inf, answered)


def _positive(latency: Floats) -> Floats:
    """Zero and negative times are unknown: nothing answers in no time."""
    return np.where(latency > 0, latency, np.nan)


def _errors(evidence: Evidence, rows: _Rows, level: float) -> list[Estimate]:
    both, asked = rows.both_asked, int(rows.production_asked.sum())
    production, candidate, codes = evidence.production, evidence.candidate, evidence.clusters[both]
    missing = asked - int(both.sum())

    def difference(name: str, kind: ErrorKind | None = None) -> Estimate:
        def errors(arm: ArmColumns) -> Bools:
            failed = arm.failed if kind is None else arm.failed & (arm.error_kind == kind.value)
            return np.asarray(failed[both], dtype=np.bool_)

        result = proportions.paired_difference(errors(candidate), errors(production), codes, metric=name, level=level)
        return replace(result, n_missing=missing)

    total = difference(names.ERROR_RATE_DIFFERENCE.name)
    own = proportions.proportion(
        candidate.failed[both].astype(np.float64), codes, metric=names.ERROR_RATE.name, level=level
    )
    found = [total, replace(own, n_missing=missing, candidate=own.value, production=total.production)]
    return found + [difference(names.error_class(kind).name, kind) for kind in names.BY_CLASS]


def _usage(evidence: Evidence, rows: _Rows, level: float) -> list[Estimate]:
    """Tokens and cost where both answered; cache hits cost nothing real and are left out of cost."""
    production, candidate, codes = evidence.production, evidence.candidate, evidence.clusters
    both = rows.both_answered
    paid = both & ~production.cache_hit & ~candidate.cache_hit

    def ratio(name: str, column: str, keep: Bools) -> Estimate:
        top, base = getattr(candidate, column)[keep], getattr(production, column)[keep]
        return ratios.ratio_of_means(top, base, codes[keep], metric=name, level=level)

    per_1k = means.mean(candidate.cost_usd[paid] * 1000, codes[paid], metric=names.COST_PER_1K.name, level=level)
    known = production.cost_usd[paid]
    known = known[np.isfinite(known)]
    return [
        ratio(names.TOKENS_IN_RATIO.name, "tokens_in", both),
        ratio(names.TOKENS_OUT_RATIO.name, "tokens_out", both),
        ratio(names.COST_RATIO.name, "cost_usd", paid),
        replace(
            per_1k,
            low=None if per_1k.low is None else max(per_1k.low, 0.0),
            candidate=per_1k.value,
            production=float(known.mean() * 1000) if known.size else None,
        ),
    ]


def _length(evidence: Evidence, rows: _Rows, level: float) -> Estimate:
    both = rows.both_answered
    return means.paired_difference(
        evidence.candidate.answer_chars[both],
        evidence.production.answer_chars[both],
        evidence.clusters[both],
        metric=names.LENGTH_DIFFERENCE.name,
        level=level,
    )


def _judged(evidence: Evidence, rows: _Rows, level: float, judge_metrics: Mapping[str, Metric]) -> list[Estimate]:
    found: list[Estimate] = []
    known = dict(judge_metrics) | {
        judge: METRICS.get(column.metric, _unknown(column.metric))
        for judge, column in evidence.scores.items()
        if judge not in judge_metrics
    }
    for judge, name in metric_names(known).items():
        metric = known[judge]
        column = evidence.scores.get(judge)
        values = np.full(evidence.n, np.nan) if column is None else column.value
        if metric.name == names.WIN_RATE.name:
            given = names.WIN_RATE_GIVEN_ANSWER.name
            found += _preference(evidence, rows, level, values, name, name.replace(metric.name, given, 1))
        else:
            found.append(_score(evidence, rows, level, values, replace(metric, name=name)))
    return found


def _unknown(name: str) -> Metric:
    return Metric(name=name, title=name.replace("_", " "), unit=Unit.SCORE, direction=Direction.NEUTRAL)


def _score(evidence: Evidence, rows: _Rows, level: float, values: Floats, metric: Metric) -> Estimate:
    """Mean over comparable pairs; Wilson for yes/no scores."""
    keep = rows.both_answered
    x, codes = values[keep], evidence.clusters[keep]
    scored = x[np.isfinite(x)]
    if metric.unit is Unit.SHARE and scored.size and bool(np.all((scored == 0) | (scored == 1))):
        return proportions.proportion(x, codes, metric=metric.name, level=level)
    default = {Unit.SHARE: (0.0, 1.0), Unit.POINTS: (-1.0, 1.0)}.get(metric.unit)
    return means.mean(x, codes, metric=metric.name, level=level, bounds=metric.bounds or default)


def _preference(
    evidence: Evidence, rows: _Rows, level: float, values: Floats, name: str, given_name: str
) -> list[Estimate]:
    """The win rate, the candidate's failures counting as losses, and the same over answers alone.

    Requests that production itself failed are left out of both: there is nothing to be preferred to.
    """
    keep = rows.production_answered & (rows.both_answered | rows.candidate_failed)
    failed = rows.candidate_failed[keep]
    scores, codes = np.where(failed, np.nan, values[keep]), evidence.clusters[keep]
    answered = scores[~failed]
    counts = {
        "wins": float(np.sum(answered > 0.5)),
        "ties": float(np.sum(answered == 0.5)),
        "losses": float(np.sum(answered < 0.5)),
        "failures": float(np.sum(failed)),
    }
    rate = means.mean_with_failures(scores, failed, codes, metric=name, level=level)
    given = means.mean(answered, codes[~failed], metric=given_name, level=level, bounds=(0.0, 1.0))
    if given.value is None:
        # Failures alone are no preference: without one judged answer there is no win rate to speak of.
        rate = replace(rate, value=None, low=None, high=None, std_error=None, n=0)
    missing = int(np.sum(rows.production_answered)) - int(np.sum(keep))
    shown = counts["wins"] + counts["ties"] + counts["losses"]
    counts["discrete"] = (counts["wins"] + counts["ties"] / 2) / shown if shown else 0.0
    return [
        replace(rate, n_missing=rate.n_missing + missing, extra=counts),
        replace(given, extra={key: counts[key] for key in ("wins", "ties", "losses", "discrete")}),
    ]


def _coverage(evidence: Evidence, rows: _Rows, level: float) -> Estimate:
    """Pairs with two answers: counted, not estimated; ``extra`` says how many independent ones they are worth."""
    both = rows.both_answered
    n, codes = int(both.sum()), cl.encode(evidence.clusters[both])
    effects = [1.0]
    for values in (np.log(_positive(evidence.candidate.latency_ms)), *(c.value for c in evidence.scores.values())):
        x = values[both]
        known = np.isfinite(x)
        if known.any():
            effect = cl.design_effect(x[known], cl.encode(evidence.clusters[both][known]))
            effects.append(effect if np.isfinite(effect) else 1.0)
    return Estimate(
        metric=names.COVERAGE.name,
        value=float(n),
        level=level,
        n=n,
        n_clusters=cl.count(codes),
        n_missing=evidence.n - n,
        method="count",
        extra={"sampled": float(evidence.n), "design_effect": max(effects), "n_effective": n / max(effects)},
    )
