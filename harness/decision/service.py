"""Latency, errors, tokens, cost and coverage."""

from dataclasses import replace
from functools import partial

import numpy as np

from harness.decision.scope import Measures, Scope
from harness.domain import metrics as names
from harness.domain.estimate import Estimate
from harness.domain.observation import ErrorKind
from harness.stats import clusters as cl
from harness.stats import means, proportions, quantiles, ratios
from harness.stats.evidence import ArmColumns, Bools, Floats

PROBABILITY = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def measures(scope: Scope) -> Measures:
    """Every measure of how an arm serves, by metric name."""
    return {**_latencies(scope), **_errors(scope), **_usage(scope), names.COVERAGE.name: partial(_coverage, scope)}


def length(scope: Scope) -> Estimate:
    """How much longer the candidate's answers are, where no judge measures it."""
    both = scope.rows.both_answered
    return means.paired_difference(
        scope.evidence.candidate.answer_chars[both],
        scope.evidence.production.answer_chars[both],
        scope.evidence.clusters[both],
        metric=names.LENGTH_DIFFERENCE.name,
        level=scope.level,
        looks=scope.looks,
    )


def latency_of(arm: ArmColumns, column: str) -> Floats:
    """An arm's times: infinite where it failed, whatever was recorded there, and unknown where it was not asked.

    An arm that was asked in batches has no times at all, and its failures say nothing about them.
    """
    times = np.where(arm.completed, positive(getattr(arm, column)), np.nan)
    if np.any(arm.completed) and np.all(np.isnan(times)):
        return times
    return np.where(arm.failed, np.inf, times)


def positive(latency: Floats) -> Floats:
    """Zero and negative times are unknown: nothing answers in no time."""
    return np.where(latency > 0, latency, np.nan)


def _latencies(scope: Scope) -> Measures:
    """Latency and time to first token: a failed request is infinitely slow on its own side, cache hits are left out."""
    production, candidate = scope.evidence.production, scope.evidence.candidate
    fresh = scope.rows.production_asked & ~production.cache_hit & ~candidate.cache_hit
    codes = scope.evidence.clusters[fresh]

    def timed(arm: ArmColumns, column: str) -> Floats:
        return np.where(scope.rows.both_asked, latency_of(arm, column), np.nan)[fresh]

    def ratio(name: str, column: str, probability: float) -> Estimate:
        top, base = (timed(arm, column) for arm in (candidate, production))
        return quantiles.quantile_ratio(
            top, base, codes, probability, metric=name, level=scope.level, looks=scope.looks
        )

    def own(name: str, probability: float) -> Estimate:
        top, base = (timed(arm, "latency_ms") for arm in (candidate, production))
        found = quantiles.quantile(top, codes, probability, metric=name, level=scope.level, looks=scope.looks)
        theirs = quantiles.quantile(base, codes, probability)
        return replace(found, candidate=found.value, production=theirs.value)

    found: Measures = {}
    for percentile, probability in PROBABILITY.items():
        name = names.latency_ratio(percentile).name
        found[name] = partial(ratio, name, "latency_ms", probability)
        name = names.latency(percentile).name
        found[name] = partial(own, name, probability)
    for percentile in ("p50", "p95"):
        name = names.ttft_ratio(percentile).name
        found[name] = partial(ratio, name, "ttft_ms", PROBABILITY[percentile])
    return found


def _errors(scope: Scope) -> Measures:
    both, asked = scope.rows.both_asked, int(scope.rows.production_asked.sum())
    production, candidate = scope.evidence.production, scope.evidence.candidate
    codes = scope.evidence.clusters[both]
    missing = asked - int(both.sum())

    def difference(name: str, kind: ErrorKind | None = None) -> Estimate:
        def errors(arm: ArmColumns) -> Bools:
            failed = arm.failed if kind is None else arm.failed & (arm.error_kind == kind.value)
            return np.asarray(failed[both], dtype=np.bool_)

        result = proportions.paired_difference(
            errors(candidate), errors(production), codes, metric=name, level=scope.level, looks=scope.looks
        )
        return replace(result, n_missing=missing)

    def own() -> Estimate:
        failed = candidate.failed[both].astype(np.float64)
        found = proportions.proportion(
            failed, codes, metric=names.ERROR_RATE.name, level=scope.level, looks=scope.looks
        )
        theirs = float(production.failed[both].mean()) if both.any() else None
        return replace(found, n_missing=missing, candidate=found.value, production=theirs)

    return {
        names.ERROR_RATE_DIFFERENCE.name: partial(difference, names.ERROR_RATE_DIFFERENCE.name),
        names.ERROR_RATE.name: own,
        **{
            names.error_class(kind).name: partial(difference, names.error_class(kind).name, kind)
            for kind in names.BY_CLASS
        },
    }


def _usage(scope: Scope) -> Measures:
    """Tokens and cost where both answered; cache hits cost nothing real and are left out of cost."""
    production, candidate, codes = scope.evidence.production, scope.evidence.candidate, scope.evidence.clusters
    both = scope.rows.both_answered
    paid = both & ~production.cache_hit & ~candidate.cache_hit

    def ratio(name: str, column: str, keep: Bools) -> Estimate:
        top, base = getattr(candidate, column)[keep], getattr(production, column)[keep]
        return ratios.ratio_of_means(top, base, codes[keep], metric=name, level=scope.level, looks=scope.looks)

    def per_1k() -> Estimate:
        values = candidate.cost_usd[paid] * 1000
        found = means.mean(values, codes[paid], metric=names.COST_PER_1K.name, level=scope.level, looks=scope.looks)
        known = production.cost_usd[paid]
        known = known[np.isfinite(known)]
        return replace(
            found,
            low=None if found.low is None else max(found.low, 0.0),
            candidate=found.value,
            production=float(known.mean() * 1000) if known.size else None,
        )

    return {
        names.TOKENS_IN_RATIO.name: partial(ratio, names.TOKENS_IN_RATIO.name, "tokens_in", both),
        names.TOKENS_OUT_RATIO.name: partial(ratio, names.TOKENS_OUT_RATIO.name, "tokens_out", both),
        names.COST_RATIO.name: partial(ratio, names.COST_RATIO.name, "cost_usd", paid),
        names.COST_PER_1K.name: per_1k,
    }


def _coverage(scope: Scope) -> Estimate:
    """Pairs with two answers: counted, not estimated; with how many independent ones they are worth."""
    evidence, both = scope.evidence, scope.rows.both_answered
    n, codes = int(both.sum()), cl.encode(evidence.clusters[both])
    effects = [1.0]
    for values in (np.log(positive(evidence.candidate.latency_ms)), *(c.value for c in evidence.scores.values())):
        x = values[both]
        known = np.isfinite(x)
        if known.any():
            effect = cl.design_effect(x[known], cl.encode(evidence.clusters[both][known]))
            effects.append(effect if np.isfinite(effect) else 1.0)
    return Estimate(
        metric=names.COVERAGE.name,
        value=float(n),
        level=scope.level,
        looks="any",
        n=n,
        n_clusters=cl.count(codes),
        n_effective=n / max(effects),
        n_missing=evidence.n - n,
        method="count",
        extra={"sampled": float(evidence.n), "design_effect": max(effects)},
    )
