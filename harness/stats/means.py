"""Means and paired differences of means, clustered by conversation."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from harness.domain.estimate import Estimate
from harness.stats import clusters as cl
from harness.stats import looks as lk
from harness.stats.evidence import Bools, Floats, Ints
from harness.stats.looks import ONE_LOOK, Looks

Bounds: TypeAlias = tuple[float, float]

MEAN = "clustered-mean-t"
MEAN_FAILURES = "clustered-mean-t with failures"
FAMILY: Mapping[str, str] = {"one": "clustered-mean-t", "any": "asymptotic-cs", "planned": "group-sequential"}
"""Name of an interval from a standard error, by looks."""
MEAN_EXACT = f"{MEAN}+exact"
BETTING = "betting-cs"
_FEW_DEVIATING = 5
_SLACK = 1e-9


def mean(
    values: Floats,
    clusters: Ints,
    *,
    metric: str = "mean",
    level: float = 0.95,
    bounds: Bounds | None = None,
    looks: Looks = ONE_LOOK,
) -> Estimate:
    """Mean with an interval over clusters: t on clusters - 1 degrees of freedom for one look; NaN is missing.

    One row per cluster gives mean +- t sd(ddof 1)/sqrt(n). ``bounds`` are the lowest and highest possible value of one
    row: the interval is cut to them, and an exact bound is added when too few clusters differ for a variance
    (see docs/statistics.md). Without bounds, equal values have no interval at all. With fewer clusters than ``looks``
    trusts the normal approximation with, bounded values get a betting interval and others none.
    """
    known = np.isfinite(values)
    x, codes = values[known], cl.encode(clusters[known])
    missing = int(len(values) - len(x))
    if not len(x):
        return Estimate(metric=metric, value=None, level=level, n_missing=missing, method=MEAN)
    variance = cl.covariance_of_means(x, x, codes)
    estimate = Estimate(
        metric=metric,
        value=float(x.mean()),
        level=level,
        n=len(x),
        n_clusters=cl.count(codes),
        n_missing=missing,
        method=MEAN,
    )
    return with_interval(estimate, variance, x, codes, bounds=bounds, looks=looks)


def paired_difference(
    candidate: Floats,
    production: Floats,
    clusters: Ints,
    *,
    metric: str = "difference",
    level: float = 0.95,
    bounds: Bounds | None = None,
    looks: Looks = ONE_LOOK,
) -> Estimate:
    """Mean candidate-minus-production difference over the rows where both are known.

    ``bounds`` are those of the difference, not of one side.
    """
    estimate = mean(candidate - production, clusters, metric=metric, level=level, bounds=bounds, looks=looks)
    known = np.isfinite(candidate - production)
    if not known.any():
        return estimate
    return replace(estimate, production=float(production[known].mean()), candidate=float(candidate[known].mean()))


def mean_with_failures(
    scores: Floats,
    failed: Bools,
    clusters: Ints,
    *,
    worth: Floats | None = None,
    metric: str = "mean",
    level: float = 0.95,
    bounds: Bounds = (0.0, 1.0),
    looks: Looks = ONE_LOOK,
) -> Estimate:
    """Mean score when a failed row counts as ``worth``, also where only a part of the answers was scored.

    (1 - f) s + g, with f the failed share of all rows, s the mean over scored rows and g what failures are worth over
    all rows: unscored answers (NaN) are taken to be like the scored ones, and failures keep their share however few
    answers were scored. With every answer scored it is exactly the mean with the worth put in for failures. ``worth``
    is read in failed rows; by default it is the lowest score.
    """
    value_of = np.where(failed, bounds[0] if worth is None else worth, 0.0)
    scored = np.isfinite(scores) & ~failed
    n_missing = int(np.sum(~scored & ~failed))
    if not scored.any() and (n_missing or not failed.any()):
        return Estimate(metric=metric, value=None, level=level, n_missing=n_missing, method=MEAN_FAILURES)
    value, influence = influence_with_failures(scores, failed, value_of)
    used = scored | failed
    codes = cl.encode(clusters[used])
    n_clusters = cl.count(codes)
    totals = cl.sums(influence, cl.encode(clusters))
    variance = n_clusters / (n_clusters - 1) * float(np.sum(totals**2)) if n_clusters > 1 else float("nan")
    values = np.where(failed, value_of, scores)[used]
    estimate = Estimate(
        metric=metric,
        value=value,
        level=level,
        n=int(used.sum()),
        n_clusters=n_clusters,
        n_missing=n_missing,
        method=MEAN_FAILURES if failed.any() else MEAN,
        extra={"failed": float(failed.sum())},
    )
    # Where answers are unscored, failures have more than their share among the rows that are used.
    return with_interval(estimate, variance, values, codes, bounds=bounds, looks=looks, betting=not n_missing)


def influence_with_failures(scores: Floats, failed: Bools, value_of: Floats) -> tuple[float, Floats]:
    """The value of :func:`mean_with_failures`, and how far each row moves it.

    ``value_of`` is what a failed row is worth and 0 in the others. The sum over clusters of squared cluster sums of the
    influence is the variance of the value, but for the correction for few clusters.
    """
    scored = np.isfinite(scores) & ~failed
    share, gained = float(failed.mean()), float(value_of.mean())
    score = float(scores[scored].mean()) if scored.any() else 0.0
    influence = (value_of - gained - score * (failed - share)) / len(failed)
    influence[scored] += (1 - share) * (scores[scored] - score) / max(int(scored.sum()), 1)
    return (1 - share) * score + gained, influence


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """Two ends."""

    low: float
    high: float


def with_interval(
    estimate: Estimate,
    variance: float,
    values: Floats,
    codes: Ints,
    *,
    bounds: Bounds | None,
    looks: Looks,
    betting: bool = True,
) -> Estimate:
    """``estimate`` with its interval from the ``variance`` of its value, and what it rests on.

    Widened by an exact bound where the variance rests on too few clusters. ``bounds`` that a value breaks are not used.
    ``betting`` says whether the value is the plain mean of ``values``, so that a betting interval on them is one for
    it.
    """
    value, level = estimate.value, estimate.level
    if bounds is not None and not np.all((values >= bounds[0] - _SLACK) & (values <= bounds[1] + _SLACK)):
        outside = f"values lie outside {bounds[0]:g} to {bounds[1]:g}, which is therefore not relied on"
        estimate, bounds = replace(estimate, notes=(*estimate.notes, outside)), None
    estimate = replace(
        estimate,
        method=estimate.method.replace(FAMILY["one"], FAMILY[looks.name]),
        looks=looks.name,
        n_effective=cl.effective_n(values, codes, level=level),
    )
    if value is None or estimate.n_clusters < 2:
        return replace(estimate, notes=(*estimate.notes, "one cluster has no interval"))
    if estimate.n_clusters < looks.least_units:
        spread = replace(estimate, std_error=float(np.sqrt(variance)))
        return _few(spread, values, codes, bounds=bounds if betting else None, looks=looks)
    constant = bool(np.all(values == values[0]))
    error = 0.0 if constant else float(np.sqrt(variance))
    rest = unseen(values, codes, level=level, bounds=bounds, looks=looks)
    if constant and rest is None:
        return replace(estimate, std_error=error, notes=(*estimate.notes, "all values are equal: no interval"))
    half = 0.0 if constant else looks.multiplier(level, estimate.n_clusters) * error
    low, high = value - half, value + half
    method = estimate.method
    if rest is not None and (rest.low < low or rest.high > high):
        low, high, method = min(low, rest.low), max(high, rest.high), f"{method}+exact"
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return replace(estimate, low=low, high=high, std_error=error, method=method)


def _few(estimate: Estimate, values: Floats, codes: Ints, *, bounds: Bounds | None, looks: Looks) -> Estimate:
    """Too few clusters for a normal approximation: an exact sequence by betting where values are bounded."""
    if bounds is None:
        least = f"an interval for more than one look needs {looks.least_units} conversations"
        return replace(estimate, notes=(*estimate.notes, least))
    low, high = bet(values, codes, level=estimate.level, bounds=bounds)
    return replace(estimate, low=low, high=high, method=BETTING)


def bet(values: Floats, codes: Ints, *, level: float, bounds: Bounds) -> Bounds:
    """Interval of a bounded mean by betting: exact with any number of clusters and at any number of looks."""
    from harness.stats import betting

    alpha = (1 - level) / 2
    low = betting.lower(values, alpha=alpha, bounds=bounds, clusters=codes)
    return low, betting.upper(values, alpha=alpha, bounds=bounds, clusters=codes)


def unseen(
    values: Floats, codes: Ints, *, level: float, bounds: Bounds | None, looks: Looks = ONE_LOOK
) -> Interval | None:
    """Where the mean may lie when nearly every cluster has the same mean, by an exact bound on the others' share.

    A share p of clusters that differ from the common mean v moves the mean of a score in [lo, hi] by p(v - lo)
    downwards or p(hi - v) upwards at most. It is the clusters that count, not their rows: a win and a loss in every
    conversation have no variance between conversations either. ``None`` when enough clusters differ for their variance
    to be trusted. ``codes`` as :func:`clusters.encode` gives them.
    """
    clusters = cl.count(codes)
    centres = np.round(cl.sums(values, codes) / np.bincount(codes), 9)
    distinct, counts = np.unique(centres, return_counts=True)
    differing = clusters - int(counts.max())
    if bounds is None or differing >= _FEW_DEVIATING or 4 * differing > clusters:
        return None
    common = float(distinct[counts.argmax()])
    share = lk.exact_upper(looks, differing, clusters, level)
    return Interval(low=common - share * (common - bounds[0]), high=common + share * (bounds[1] - common))
