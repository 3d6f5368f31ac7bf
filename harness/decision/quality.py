"""What judges and people say about the answers."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from harness.decision import service
from harness.decision.scope import Measures, Scope
from harness.domain import metrics as names
from harness.domain.estimate import Direction, Estimate, Metric, Unit
from harness.domain.metrics import METRICS
from harness.stats import clusters as cl
from harness.stats import means, proportions
from harness.stats.evidence import Floats
from harness.stats.looks import EXACT_AT


def metric_names(judge_metrics: Mapping[str, Metric]) -> dict[str, str]:
    """Judge name to the name of its metric: the first judge owns it, a further one gets ``<metric>:<judge name>``."""
    owned: dict[str, str] = {}
    for judge, metric in judge_metrics.items():
        taken = metric.name in owned.values()
        owned[judge] = f"{metric.name}:{judge}" if taken else metric.name
    return owned


def described(scope: Scope) -> dict[str, Metric]:
    """Judge name to its metric, also for judges that left scores and are not described."""
    return dict(scope.judge_metrics) | {
        judge: METRICS.get(column.metric, _unknown(column.metric))
        for judge, column in scope.evidence.scores.items()
        if judge not in scope.judge_metrics
    }


def measures(scope: Scope) -> Measures:
    """Every judge's own measure, by metric name; preferences come with their rate over answers alone."""
    found: Measures = {}
    known = described(scope)
    for judge, name in metric_names(known).items():
        metric = replace(known[judge], name=name)
        if known[judge].name == names.WIN_RATE.name:
            found[name] = partial(win_rate, scope, judge, name)
            given = related(name, names.WIN_RATE_GIVEN_ANSWER.name)
            found[given] = partial(_given_answer, scope, judge, given)
        else:
            found[name] = partial(_score, scope, judge, metric)
    if names.LENGTH_DIFFERENCE.name not in found:
        found[names.LENGTH_DIFFERENCE.name] = partial(service.length, scope)
    return found


def preferences(scope: Scope) -> dict[str, str]:
    """Judges whose score is a preference, and the name of each one's win rate."""
    known = described(scope)
    return {judge: name for judge, name in metric_names(known).items() if known[judge].name == names.WIN_RATE.name}


def related(name: str, base: str) -> str:
    """``<base>:<judge>`` for ``win_rate:<judge>``."""
    return name.replace(names.WIN_RATE.name, base, 1)


def values_of(scope: Scope, judge: str) -> Floats:
    """The judge's value per row; NaN where there is none."""
    column = scope.evidence.scores.get(judge)
    return np.full(scope.evidence.n, np.nan) if column is None else column.value


def win_rate(scope: Scope, judge: str, name: str) -> Estimate:
    """The win rate, a failure on one side counting as a win of the other and on both as a tie.

    An identical candidate comes out at one half that way, however often both fail.
    """
    rows, keep = scope.rows, scope.rows.both_asked
    failed = rows.settled[keep]
    scores = np.where(failed, np.nan, values_of(scope, judge)[keep])
    rate = means.mean_with_failures(
        scores,
        failed,
        scope.evidence.clusters[keep],
        worth=rows.worth[keep],
        metric=name,
        level=scope.level,
        looks=scope.looks,
    )
    counts = _counts(scores[~failed]) | {
        "failures": float(np.sum(rows.candidate_failed[keep])),
        "production_failures": float(np.sum(rows.production_failed[keep])),
    }
    if rate.n_clusters == rate.n:
        counts |= _signs(np.where(failed, rows.worth[keep], scores), scope)
    if not np.isfinite(scores).any():
        # Failures alone are no preference: without one judged answer there is no win rate to speak of.
        rate = replace(rate, value=None, low=None, high=None, std_error=None, n=0)
    missing = int(np.sum(rows.production_asked)) - int(np.sum(keep))
    return replace(rate, n_missing=rate.n_missing + missing, extra=counts)


def _signs(scores: Floats, scope: Scope) -> dict[str, float]:
    """Log e-values of the exact sequential sign test, for more wins than losses and for fewer; independent rows only.

    Ties are left out. They hold at any look and with any number of rows, where the interval is asymptotic.
    """
    from harness.stats import mixtures

    wins, losses = float(np.sum(scores > 0.5)), float(np.sum(scores < 0.5))
    tuned = {"alpha": (1 - scope.level) / 2, "t_opt": EXACT_AT}
    return {
        "log_e_more_wins": float(mixtures.sign_test_log_e(wins, losses, **tuned)),
        "log_e_more_losses": float(mixtures.sign_test_log_e(losses, wins, **tuned)),
    }


def _given_answer(scope: Scope, judge: str, name: str) -> Estimate:
    """The win rate over judged answers alone."""
    keep = scope.rows.both_answered
    answered = values_of(scope, judge)[keep]
    found = means.mean(
        answered,
        scope.evidence.clusters[keep],
        metric=name,
        level=scope.level,
        bounds=(0.0, 1.0),
        looks=scope.looks,
    )
    return replace(found, extra=_counts(answered))


def _counts(scores: Floats) -> dict[str, float]:
    wins, ties, losses = (float(np.sum(found)) for found in (scores > 0.5, scores == 0.5, scores < 0.5))
    shown = wins + ties + losses
    discrete = (wins + ties / 2) / shown if shown else 0.0
    return {"wins": wins, "ties": ties, "losses": losses, "discrete": discrete}


def _score(scope: Scope, judge: str, metric: Metric) -> Estimate:
    """Mean over comparable pairs; the share of ones for yes/no scores."""
    keep = scope.rows.both_answered
    x, codes = values_of(scope, judge)[keep], scope.evidence.clusters[keep]
    scored = x[np.isfinite(x)]
    if metric.unit is Unit.SHARE and scored.size and bool(np.all((scored == 0) | (scored == 1))):
        return proportions.proportion(x, codes, metric=metric.name, level=scope.level, looks=scope.looks)
    return means.mean(x, codes, metric=metric.name, level=scope.level, bounds=bounds_of(metric), looks=scope.looks)


def bounds_of(metric: Metric) -> tuple[float, float] | None:
    """Lowest and highest value one pair can have; ``None`` when unbounded."""
    return metric.bounds or {Unit.SHARE: (0.0, 1.0), Unit.POINTS: (-1.0, 1.0)}.get(metric.unit)


def with_failures(found: Estimate, scope: Scope) -> Estimate:
    """A rate over answers as one over all pairs: (1 - f) of it plus what failures are worth.

    How many failures there are may have been luck, so that the distance to each end gets their part in quadrature.
    """
    keep = scope.rows.both_asked
    failed, worth = scope.rows.settled[keep], scope.rows.worth[keep]
    if found.value is None or not failed.any():
        return found
    answered = 1.0 - float(failed.mean())
    moved = np.where(failed, worth - found.value, 0.0)
    value = found.value + float(moved.mean())
    if found.std_error is None:
        return replace(found, value=value, low=None, high=None)
    codes = cl.encode(scope.evidence.clusters[keep])
    luck = float(np.sqrt(cl.covariance_of_means(moved, moved, codes)))
    beyond = scope.looks.multiplier(scope.level, cl.count(codes)) * luck
    down, up = (
        None if end is None else math.hypot(answered * (end - found.value), beyond) for end in (found.low, found.high)
    )
    return replace(
        found,
        value=value,
        low=None if down is None else max(value - down, 0.0),
        high=None if up is None else min(value + up, 1.0),
        std_error=math.hypot(answered * found.std_error, luck),
    )


def _unknown(name: str) -> Metric:
    return Metric(name=name, title=name.replace("_", " "), unit=Unit.SCORE, direction=Direction.NEUTRAL)
