"""How many pairs every criterion will take, before anybody is asked: from supposed truths and measured spreads."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.decision.criteria import holds, metric_for
from harness.domain.decision import Criterion, Terms
from harness.domain.estimate import Estimate, Unit
from harness.stats import planning
from harness.stats.evidence import Evidence
from harness.stats.looks import ONE_LOOK, AnyLook, Looks

TIES = 0.3
"""Share of ties supposed where no judge has read anything yet."""
SIMILARITY_SD = 0.08
"""Spread of one pair's distance from the noise floor supposed where nothing was measured."""
LATENCY_CORRELATION = 0.5
"""Correlation of both sides' log latencies on one request supposed where nothing was measured."""
LATENCY_SD = 0.7
"""Spread of log latency supposed where production's latency is unknown."""
FEWEST_ERRORS = 0.002
"""Error rate supposed where production has not failed."""
_POWERS = (0.5, 0.8, 0.95)
_PILOT = 50
"""Pairs from which a measured spread is better than a supposed one."""
_PERCENTILE = re.compile(r"(?:latency|ttft)_(p\d\d)_ratio(?:_from_floor)?$")
_SAME: Mapping[Unit, float] = {Unit.RATIO: 1.0, Unit.POINTS: 0.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What one criterion will probably take."""

    criterion: Criterion
    truth: float | None
    """What the metric is supposed to be."""
    spread: float | None
    """Standard deviation per pair: the standard error is this over the square root of pairs."""
    basis: str
    """Where the spread comes from, in words."""
    pairs: Mapping[float, int | None]
    """Pairs by the chance of a PASS at that many; ``None`` where no number will do."""
    note: str = ""


def forecast(
    criteria: Sequence[Criterion],
    terms: Terms,
    *,
    production: Evidence,
    pilot: Mapping[str, Estimate],
    truths: Mapping[str, float],
) -> tuple[Forecast, ...]:
    """One Forecast per criterion.

    Args:
        criteria: The rules.
        terms: How sure a PASS has to be.
        production: The sample with production's own latencies and errors; the candidate may not have been asked.
        pilot: Estimates for one look of what was asked so far, by metric; empty before the first request.
        truths: What the metrics are supposed to be; by default the candidate is exactly as good as production.
    """
    return tuple(
        _one(criterion, terms, production=production, pilot=pilot.get(criterion.metric), truths=truths)
        for criterion in criteria
    )


def looks_of(terms: Terms) -> Looks:
    """What a bound has to survive when it is planned for; a planned horizon costs hardly more than one look."""
    if terms.looks == "any":
        return AnyLook(t_opt=max(0.3 * (terms.horizon or 10_000), 30.0))
    return ONE_LOOK


def _one(
    criterion: Criterion,
    terms: Terms,
    *,
    production: Evidence,
    pilot: Estimate | None,
    truths: Mapping[str, float],
) -> Forecast:
    metric = metric_for(criterion.metric)
    if metric.unit is Unit.COUNT:
        count = math.ceil(criterion.threshold)
        return _forecast(criterion, truth=None, spread=None, basis="counted", pairs=dict.fromkeys(_POWERS, count))
    truth = truths.get(criterion.metric, if_equal(criterion.metric, metric.unit))
    spread, basis = _spread(criterion.metric, metric.unit, production, pilot)
    if truth is None or spread is None:
        note = "nothing is known of it yet: a pilot of 100 requests will tell"
        return _forecast(criterion, truth=truth, spread=None, basis=basis, pairs=dict.fromkeys(_POWERS), note=note)
    if not holds(criterion, truth) or truth == criterion.threshold:
        note = "the supposed truth does not meet the rule, so no number of pairs will"
        return _forecast(criterion, truth=truth, spread=spread, basis=basis, pairs=dict.fromkeys(_POWERS), note=note)
    pairs = {power: _pairs(criterion, terms, truth, spread, metric.unit, power) for power in _POWERS}
    return _forecast(criterion, truth=truth, spread=spread, basis=basis, pairs=pairs)


def if_equal(name: str, unit: Unit) -> float | None:
    """What the metric is of a candidate that is exactly as good as production; ``None`` where that is not known."""
    if name.startswith("win_rate"):
        return 0.0 if "_from_floor" in name else 0.5
    if "_from_floor" in name and unit is not Unit.RATIO:
        return 0.0
    return _SAME.get(unit)


def _forecast(
    criterion: Criterion,
    *,
    truth: float | None,
    spread: float | None,
    basis: str,
    pairs: Mapping[float, int | None],
    note: str = "",
) -> Forecast:
    return Forecast(criterion=criterion, truth=truth, spread=spread, basis=basis, pairs=pairs, note=note)


def _pairs(criterion: Criterion, terms: Terms, truth: float, spread: float, unit: Unit, power: float) -> int | None:
    level, looks = 1 - 2 * terms.pass_alpha, looks_of(terms)

    def multiplier(units: float) -> float:
        return looks.multiplier(level, max(units, float(looks.least_units)))

    percentile = _PERCENTILE.match(criterion.metric)
    if percentile:
        return planning.pairs_for_quantile_ratio(
            int(percentile.group(1)[1:]) / 100,
            effect=truth,
            margin=criterion.threshold,
            sd=spread,
            level=level,
            multiplier=multiplier,
            power=power,
        )
    logarithmic = unit is Unit.RATIO and min(truth, criterion.threshold) > 0
    effect, margin = (math.log(x) if logarithmic else x for x in (truth, criterion.threshold))
    found = planning.pairs_needed(
        effect=effect, margin=margin, sd=spread, level=level, multiplier=multiplier, power=power
    )
    return None if found is None else max(found, looks.least_units)


def _spread(name: str, unit: Unit, production: Evidence, pilot: Estimate | None) -> tuple[float | None, str]:
    if pilot is not None and pilot.n >= _PILOT:
        measured = _measured(pilot, unit)
        if measured:
            return measured, f"measured on {pilot.n:,} pairs"
    base = name.partition(":")[0]
    percentile = _PERCENTILE.match(base)
    if percentile:
        return _latency_spread(production, int(percentile.group(1)[1:]) / 100)
    if base in {"win_rate", "win_rate_given_answer", "win_rate_length_controlled"}:
        return planning.win_rate_sd(tie_share=TIES), f"{TIES:.0%} ties supposed"
    if base.startswith("error_rate"):
        asked = production.production.completed | production.production.failed
        rate = float(production.production.failed[asked].mean()) if asked.any() else 0.0
        # Two arms that fail independently disagree on twice the rate; hard prompts make them agree on about half.
        shown = max(rate, FEWEST_ERRORS)
        return planning.paired_sd(discordant=shown), f"production fails {rate:.2%}"
    if base in {"similarity_from_floor", "similarity"}:
        return SIMILARITY_SD, f"spread of {SIMILARITY_SD} supposed"
    return None, "unknown"


def _measured(pilot: Estimate, unit: Unit) -> float | None:
    """Per-pair standard deviation, conversations included, from a standard error or else from an interval's width."""
    if pilot.std_error and unit is not Unit.RATIO:
        return pilot.std_error * math.sqrt(pilot.n)
    if pilot.value is None or pilot.low is None or pilot.high is None or unit is not Unit.RATIO:
        return None
    if not (0 < pilot.low < pilot.high < math.inf):
        return None
    width = math.log(pilot.high) - math.log(pilot.low)
    return width / (2 * ONE_LOOK.multiplier(pilot.level, pilot.n_clusters)) * math.sqrt(pilot.n)


def _latency_spread(production: Evidence, probability: float) -> tuple[float, str]:
    latency = production.production.latency_ms
    known = np.log(latency[np.isfinite(latency) & (latency > 0)])
    sd, basis = LATENCY_SD, f"log latency spread of {LATENCY_SD} supposed"
    if known.size >= _PILOT:
        sd, basis = float(known.std()), f"production's latency on {known.size:,} requests"
    return planning.quantile_ratio_sd(probability, log_sd=sd, correlation=LATENCY_CORRELATION), basis
