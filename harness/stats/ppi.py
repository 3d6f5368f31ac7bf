"""A judge's scores corrected by people's labels: prediction-powered inference (PPI++, arXiv 2311.01453).

Every estimator reads two columns over the same rows: ``people``, NaN where no person labelled the row, and ``judge``,
NaN where the judge gave no score. Which rows people see must have been drawn at random by a known rule, either the
same chance for every row or ``propensity``, each row's own; labels of rows that somebody picked correct nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from harness.domain.estimate import Estimate
from harness.stats import clusters as cl
from harness.stats import critical, means
from harness.stats.evidence import Bools, Floats, Ints
from harness.stats.means import Bounds

PPI = "ppi"
PPI_WEIGHTED = "ppi-weighted"
RECTIFIER = "rectifier"
RECTIFIER_WEIGHTED = "rectifier-weighted"

FEWEST_LABELS = 50
"""Below this many labels the interval covers less often than it says."""
STUDENT_BELOW = 100
"""Labelled clusters below which the quantile of t takes the place of the normal one."""

Multiplier: TypeAlias = Callable[[float], float] | float
"""Standard errors to each side instead of the quantile of ``level``: a number, or a function of the number of labelled
clusters, as anytime-valid intervals need it."""


def ppi_mean(
    people: Floats,
    judge: Floats,
    clusters: Ints,
    *,
    propensity: Floats | None = None,
    metric: str = "mean",
    level: float = 0.95,
    multiplier: Multiplier | None = None,
    bounds: Bounds = (0.0, 1.0),
) -> Estimate:
    """What people would say on average over all rows: the judge's mean moved by its error on the labelled rows.

    mean(Y - lam F) over labelled rows + lam mean(F) over the others, with lam in [0, 1] chosen for the smallest
    variance, so that a useless judge leaves the mean of the labels. With ``propensity`` the labels are weighted by
    1/propensity and the judge's mean is taken over all rows. Quantile of t below 100 labelled clusters. Where nearly
    all labels, or nearly all of the judge's errors, are equal, an exact bound on what the sample did not show widens
    the interval; ``bounds`` are the lowest and highest possible score. ``extra`` has ``lambda``, ``n_labels``,
    ``effective_labels`` (how many labels alone would be as good; absent when the interval is widened),
    ``correlation``, and the means ``labels_only`` and ``judge_only``.

    Raises:
        ValueError: the propensity of a labelled row is not in (0, 1].
    """
    scored = np.isfinite(judge)
    method = PPI if propensity is None else PPI_WEIGHTED
    estimate = Estimate(metric=metric, value=None, level=level, n_missing=int(np.sum(~scored)), method=method)
    labelled = np.isfinite(people[scored])
    if not labelled.any():
        return replace(estimate, notes=("no scored row is labelled by people",))
    y, f, codes = people[scored], judge[scored], cl.encode(clusters[scored])
    parts = _uniform(y, f, labelled) if propensity is None else _weighted(y, f, labelled, propensity[scored])
    n, n_all = int(labelled.sum()), len(y)
    correlation = _correlation(y[labelled], f[labelled], parts.weight)
    explained = correlation**2 if parts.lam > 0 else 0.0
    estimate = replace(
        estimate,
        value=parts.value,
        n=n_all,
        n_clusters=cl.count(codes),
        notes=(f"fewer than {FEWEST_LABELS} labels",) if n < FEWEST_LABELS else (),
        extra={
            "lambda": parts.lam,
            "n_labels": float(n),
            "effective_labels": n * n_all / (n + (1 - explained) * (n_all - n)),
            "correlation": correlation,
            "labels_only": float(np.average(y[labelled], weights=parts.weight)),
            "judge_only": float(f.mean()),
        },
    )
    separate = propensity is None
    errors = _Errors(
        whole=_error(parts.influence, codes, labelled, separate=separate),
        judge=_error(parts.judge_influence, codes, labelled, separate=separate),
    )
    seen = _Seen(people=y[labelled], judge=f[labelled], codes=cl.encode(codes[labelled]), lam=parts.lam)
    return _with_interval(estimate, errors, seen, multiplier, bounds, bounds)


def rectifier(
    people: Floats,
    judge: Floats,
    clusters: Ints,
    *,
    propensity: Floats | None = None,
    metric: str = "judge_bias",
    level: float = 0.95,
    multiplier: Multiplier | None = None,
    bounds: Bounds = (0.0, 1.0),
) -> Estimate:
    """Mean of people's score less the judge's over rows that have both: below zero, the judge favours the candidate.

    An interval without zero means that the judge's own mean answers another question than people's; only the corrected
    one is then worth a decision. ``extra`` has both sides' means, ``people`` and ``judge``.

    Raises:
        ValueError: the propensity of a labelled row is not in (0, 1].
    """
    known = np.isfinite(people) & np.isfinite(judge)
    method = RECTIFIER if propensity is None else RECTIFIER_WEIGHTED
    missing = int(np.sum(np.isfinite(people) & ~known))
    estimate = Estimate(metric=metric, value=None, level=level, n_missing=missing, method=method)
    if not known.any():
        return replace(estimate, notes=("no scored row is labelled by people",))
    y, f, codes = people[known], judge[known], cl.encode(clusters[known])
    weight = np.ones(len(y)) if propensity is None else _inverse(propensity[known])
    value = float(np.average(y - f, weights=weight))
    influence = weight * (y - f - value) / weight.sum()
    error = _error(influence, codes, np.ones(len(y), dtype=np.bool_), separate=False)
    sides = {"people": float(np.average(y, weights=weight)), "judge": float(np.average(f, weights=weight))}
    estimate = replace(estimate, value=value, n=len(y), n_clusters=cl.count(codes), extra=sides)
    seen = _Seen(people=y, judge=f, codes=codes, lam=1.0)
    return _with_interval(estimate, _Errors(whole=error, judge=0.0), seen, multiplier, bounds, _span(bounds))


def pseudo_outcomes(people: Floats, judge: Floats, propensity: Floats, *, start: float = 0.5) -> Floats:
    """One number per row, in order, whose running mean is the corrected mean: what a confidence sequence can watch.

    phi_i = g_i + (xi_i / pi_i)(Y_i - g_i), xi_i whether row i is labelled and g_i a guess made from the judge's score
    of row i and earlier rows only: their mean label plus lam times how far the judge's score is from its earlier
    mean. Whatever the guess, E[phi_i] is people's mean, because row i was labelled with the known chance pi_i, which
    may itself depend on the judge's score and earlier rows. ``propensity`` is read in labelled rows; ``start`` is the
    guess before the first label.

    Raises:
        ValueError: the propensity of a labelled row is not in (0, 1].
    """
    labelled, scored = np.isfinite(people), np.isfinite(judge)
    weight = np.zeros(len(people))
    weight[labelled] = _inverse(propensity[labelled])
    y, f = np.where(labelled, people, 0.0), np.where(scored, judge, 0.0)
    pairs = weight * scored
    # The guess starts as one label of value `start`, so that a first label of small propensity does not take over.
    mean_y = (_before(weight * y) + start) / (_before(weight) + 1)
    seen = _before(scored.astype(np.float64))
    mean_f = np.divide(_before(f), seen, out=np.full(len(f), start), where=seen > 0)
    total = np.maximum(_before(pairs), 1e-300)
    centre_y, centre_f = _before(pairs * y) / total, _before(pairs * f) / total
    covariance = _before(pairs * y * f) / total - centre_y * centre_f
    variance = _before(pairs * f * f) / total - centre_f**2
    slope = np.divide(covariance, variance, out=np.zeros(len(f)), where=variance > 1e-12)
    guess = mean_y + np.where(scored, np.clip(slope, 0.0, 1.0) * (f - mean_f), 0.0)
    return np.asarray(guess + weight * (y - guess), dtype=np.float64)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelPlan:
    """How many rows to label and how many to leave to the judge alone."""

    n_labels: int
    n_judged_only: int
    cost: float
    effective_labels: int
    """Labels alone that would give the same standard error."""


def power(
    correlation: float,
    *,
    cost_label: float,
    cost_judge: float,
    cost_row: float = 0.0,
    budget: float | None = None,
    effective_labels: float | None = None,
) -> LabelPlan:
    """The cheapest mix of labels and judge scores for ``effective_labels``, or the most effective one for ``budget``.

    ``correlation`` is that of people's and the judge's scores; ``cost_row`` is paid for every row, labelled or not.
    Closed form of Broska, Howes and van Loon (2024), section on power; labels alone when the judge does not pay for
    itself.

    Raises:
        ValueError: the correlation is not inside (-1, 1), or not exactly one of budget and effective labels is given.
    """
    if not -1 < correlation < 1:
        raise ValueError(f"the correlation must lie strictly between -1 and 1, not be {correlation}")
    if (budget is None) == (effective_labels is None):
        raise ValueError("give either a budget or the effective labels wanted")
    explained, judged = correlation**2, cost_judge + cost_row
    gamma = judged / cost_label
    root = math.sqrt(gamma * explained * (1 - explained))
    mixed, alone = cost_label * (1 - explained + gamma * explained + 2 * root), cost_label + cost_row
    wanted = budget / mixed if budget is not None else float(effective_labels or 0.0)
    n = wanted * (1 - explained + root)
    gap = n - (1 - explained) * wanted
    rest = n * (wanted - n) / gap if gap > 0 else -1.0
    if alone < mixed or rest < 0:
        labels = round(budget / alone if budget is not None else wanted)
        return LabelPlan(n_labels=labels, n_judged_only=0, cost=labels * alone, effective_labels=labels)
    labels, others = round(n), round(rest)
    return LabelPlan(
        n_labels=labels,
        n_judged_only=others,
        cost=labels * cost_label + (labels + others) * judged,
        effective_labels=round(labels * (labels + others) / (labels + (1 - explained) * others)),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Parts:
    value: float
    lam: float
    influence: Floats
    """How much each row moves the value; sums to zero over labelled and over other rows, or over all when weighted."""
    judge_influence: Floats
    """The part of it from the judge's mean over rows that people did not label, or over all rows when weighted."""
    weight: Floats
    """Of each labelled row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Errors:
    """Standard errors."""

    whole: float
    judge: float
    """Of the judge's mean alone, times lam."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """The labelled rows."""

    people: Floats
    judge: Floats
    codes: Ints
    lam: float


def _uniform(y: Floats, f: Floats, labelled: Bools) -> _Parts:
    """PPI++ when every row had the same chance of a label."""
    n, rest = int(labelled.sum()), int(np.sum(~labelled))
    own, others = f[labelled], f[~labelled]
    lam = 0.0
    spread = float(np.var(f))
    if rest and spread > 1e-15:
        lam = float(np.mean((y[labelled] - y[labelled].mean()) * (own - own.mean())) / ((1 + n / rest) * spread))
        lam = min(max(lam, 0.0), 1.0)
    residual = y[labelled] - lam * own
    value = float(residual.mean()) + (lam * float(others.mean()) if rest else 0.0)
    influence, from_judge = np.zeros((2, len(y)))
    influence[labelled] = (residual - residual.mean()) / n
    if rest:
        from_judge[~labelled] = lam * (others - others.mean()) / rest
    return _Parts(value=value, lam=lam, influence=influence + from_judge, judge_influence=from_judge, weight=np.ones(n))


def _weighted(y: Floats, f: Floats, labelled: Bools, propensity: Floats) -> _Parts:
    """PPI++ when every row had its own known chance of a label: Hajek weights, the judge's mean over all rows."""
    rows = len(y)
    own = _inverse(propensity[labelled])
    weight = np.zeros(rows)
    weight[labelled] = own / own.sum()
    label = np.where(labelled, y, 0.0)
    mean_y, mean_f = float(weight @ label), float(weight @ f)
    # Influences of the labels' mean, and of the judge's mean over all rows less over labelled ones.
    from_people = weight * (label - mean_y)
    everywhere = (f - f.mean()) / rows
    from_judge = everywhere - weight * (f - mean_f)
    spread = float(np.sum(from_judge**2))
    lam = min(max(-float(from_people @ from_judge) / spread, 0.0), 1.0) if spread > 1e-15 / rows else 0.0
    value = mean_y + lam * (float(f.mean()) - mean_f)
    return _Parts(
        value=value,
        lam=lam,
        influence=from_people + lam * from_judge,
        judge_influence=lam * everywhere,
        weight=own,
    )


def _error(influence: Floats, codes: Ints, labelled: Bools, *, separate: bool) -> float:
    """Standard error from influences summed by cluster; NaN when one labelled cluster is all there is.

    ``separate`` gives labelled and other rows each the factor of their own number of clusters, which with single rows
    is Var(Y - lam F)/n + lam^2 Var(F)/N with ddof 1.
    """
    scaled = influence.copy()
    groups = (labelled, ~labelled) if separate else (np.ones(len(codes), dtype=np.bool_),)
    for rows in groups:
        clusters = np.unique(codes[rows]).size
        if clusters > 1:
            scaled[rows] *= math.sqrt(clusters / (clusters - 1))
    if np.unique(codes[labelled]).size < 2:
        return math.nan
    return math.sqrt(float(np.sum(cl.sums(scaled, codes) ** 2)))


def _unseen(seen: _Seen, *, level: float, bounds: Bounds) -> tuple[float, float]:
    """How far below and above the value the truth may lie although the labelled rows hardly show it.

    E[Y] is (1 - lam) E[Y] + lam (E[F] + E[Y - F]): when nearly all labels, or nearly all errors of the judge, are the
    same, the exact bound of :func:`means.unseen` on the others counts with that weight.
    """
    below = above = 0.0
    errors = seen.people - seen.judge
    for share, values, limits in ((1 - seen.lam, seen.people, bounds), (seen.lam, errors, _span(bounds))):
        rest = means.unseen(values, seen.codes, level=level, bounds=limits)
        if rest is not None:
            centre = float(values.mean())
            below += share * (centre - rest.low)
            above += share * (rest.high - centre)
    return below, above


def _with_interval(
    estimate: Estimate, errors: _Errors, seen: _Seen, multiplier: Multiplier | None, bounds: Bounds, limits: Bounds
) -> Estimate:
    """Value -+ multiplier x error, widened by what labelled rows did not show, cut to the ``limits`` of the value."""
    value, clusters, level = estimate.value, cl.count(seen.codes), estimate.level
    if value is None or math.isnan(errors.whole):
        return replace(estimate, notes=(*estimate.notes, "one labelled cluster has no interval"))
    if multiplier is not None:
        times = multiplier(float(clusters)) if callable(multiplier) else multiplier
        level = critical.level_of(times)
    elif clusters < STUDENT_BELOW:
        times = critical.student(level, clusters - 1)
    else:
        times = critical.normal(level)
    half, unseen = times * errors.whole, _unseen(seen, level=level, bounds=bounds)
    below, above = (max(half, math.hypot(x, times * errors.judge)) if x else half for x in unseen)
    low, high = max(value - below, limits[0]), min(value + above, limits[1])
    # A correction may overshoot what a mean of scores can be.
    value = min(max(value, limits[0]), limits[1])
    estimate = replace(estimate, value=value, low=min(low, value), high=max(high, value), std_error=errors.whole)
    if not any(unseen):
        return estimate
    # The correlation that effective labels are reckoned from was not seen to be less than one.
    extra = {name: x for name, x in estimate.extra.items() if name != "effective_labels"}
    return replace(estimate, method=f"{estimate.method}+exact", extra=extra)


def _span(bounds: Bounds) -> Bounds:
    """Of a difference of two values inside ``bounds``."""
    return bounds[0] - bounds[1], bounds[1] - bounds[0]


def _correlation(y: Floats, f: Floats, weight: Floats) -> float:
    """Weighted correlation; 0 when one side never varies."""
    left, right = y - np.average(y, weights=weight), f - np.average(f, weights=weight)
    scale = math.sqrt(float(weight @ left**2) * float(weight @ right**2))
    return min(max(float(weight @ (left * right)) / scale, -1.0), 1.0) if scale > 1e-15 else 0.0


def _inverse(propensity: Floats) -> Floats:
    if not np.all((propensity > 0) & (propensity <= 1)):
        raise ValueError("every labelled row needs the chance it had of being labelled, above 0 and at most 1")
    return 1 / propensity


def _before(values: Floats) -> Floats:
    """Sum over earlier rows."""
    return np.concatenate([[0.0], np.cumsum(values)[:-1]]) if len(values) else values
