"""Do longer answers win because they are longer: the win rate at equal length, and what verdicts do with length."""

import math
from dataclasses import dataclass, replace

import numpy as np

from harness.domain.estimate import Estimate
from harness.stats import clusters as cl
from harness.stats import critical, means, proportions
from harness.stats.evidence import Floats, Ints

LENGTH_CONTROLLED = "length-controlled"
LENGTH_CONTROLLED_EXACT = "length-controlled+exact"

_FEW = 10
"""Fewer pairs than this that are longer, or shorter: the value at equal length is an extrapolation."""
_ITERATIONS = 25
_CONVERGED = 1e-10


def length_controlled(
    scores: Floats,
    candidate_length: Floats,
    production_length: Floats,
    clusters: Ints,
    *,
    style: Floats | None = None,
    metric: str = "length_controlled_win_rate",
    level: float = 0.95,
) -> Estimate:
    """The win rate if both answers were of equal length and style (after AlpacaEval 2, arXiv 2404.04475).

    Fractional logistic regression logit E[s] = theta + beta tanh(d / sd(d)) + gamma' style, d the candidate's length
    less production's, s in [0, 1]; the value is sigmoid(theta). ``style`` are further differences that should be
    zero, rows by columns, such as that of markdown density. The standard error sums influences by cluster and the
    interval is made on the logit scale. ``extra`` has the ``raw`` rate over the same rows with its limits,
    ``length_coefficient`` with its limits, and ``n_longer``, ``win_longer``, ``n_shorter``, ``win_shorter``: pairs
    with a longer candidate and the share of them that it won outright.

    ``None`` when length or style predict every score, or never vary apart from each other. Equal scores are their own
    value.
    """
    further = np.zeros((len(scores), 0)) if style is None else style.reshape(len(scores), -1)
    difference = candidate_length - production_length
    known = np.isfinite(scores) & np.isfinite(difference) & np.isfinite(further).all(axis=1)
    missing = int(np.sum(~known))
    s, d, codes = scores[known], difference[known], cl.encode(clusters[known])
    raw = means.mean(s, codes, metric=metric, level=level, bounds=(0.0, 1.0))
    if raw.value is None:
        return replace(raw, n_missing=missing, method=LENGTH_CONTROLLED)
    extra = _split(s, d) | {"raw": raw.value}
    extra |= {name: x for name, x in (("raw_low", raw.low), ("raw_high", raw.high)) if x is not None}
    estimate = replace(raw, n_missing=missing, method=LENGTH_CONTROLLED, extra=extra)
    if np.all(s == s[0]):
        exact = LENGTH_CONTROLLED_EXACT if raw.method == means.MEAN_EXACT else LENGTH_CONTROLLED
        return replace(estimate, method=exact, notes=(*raw.notes, "all scores are equal: length explains nothing"))
    estimate = replace(estimate, value=None, low=None, high=None, std_error=None, notes=())
    spread = float(np.std(d))
    if spread == 0.0:
        if not np.any(d) and not further.size:
            return replace(raw, n_missing=missing, extra=extra, notes=("all answers are of equal length",))
        return replace(estimate, notes=("the difference in length never varies: nothing to control by",))
    design = np.column_stack([np.ones(len(s)), np.tanh(d / spread), further[known]])
    fitted = _fit(design, s)
    if fitted is None:
        return replace(estimate, notes=("length or style predict every score, or each other: not to be told apart",))
    return _with_interval(estimate, fitted, design, s, codes)


def length_effect(
    scores: Floats,
    candidate_length: Floats,
    production_length: Floats,
    clusters: Ints,
    *,
    metric: str = "prefers_longer",
    level: float = 0.95,
) -> Estimate:
    """Share of decisive verdicts that prefer the longer answer, with Wilson's interval on the effective sample.

    0.5 if the judge were blind to length and longer answers no better; a longer answer may also be the better one, so
    that this alone convicts nobody. Ties and answers of equal length are left out and counted in
    ``extra["n_undecided"]``.
    """
    difference = candidate_length - production_length
    known = np.isfinite(scores) & np.isfinite(difference)
    decided = known & (scores != 0.5) & (difference != 0)
    longer = np.where(decided, (scores > 0.5) == (difference > 0), np.nan)
    found = proportions.proportion(longer, clusters, metric=metric, level=level)
    extra = {**found.extra, "n_undecided": float(np.sum(known & ~decided))}
    return replace(found, n_missing=int(np.sum(~known)), extra=extra)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fit:
    coefficients: Floats
    predicted: Floats
    inverse: Floats
    """Of the information matrix."""


def _fit(design: Floats, s: Floats) -> _Fit | None:
    """Logistic regression by Newton steps, halved while they make the fit worse; ``None`` without a finite optimum.

    When the scores are separated the coefficients grow by about one a step for ever, so not having converged is the
    sign.
    """
    rows, columns = design.shape
    if rows < columns or np.linalg.matrix_rank(design) < columns:
        return None
    beta = np.zeros(columns)
    beta[0] = math.log(s.mean() / (1 - s.mean()))
    best = _likelihood(design, s, beta)
    for _ in range(_ITERATIONS):
        predicted = _sigmoid(design @ beta)
        information = design.T @ (design * (predicted * (1 - predicted))[:, None])
        # On the way to infinity the information runs out; a pseudo-inverse lets the loop end by itself.
        inverse = np.asarray(np.linalg.pinv(information), dtype=np.float64)
        step = inverse @ (design.T @ (s - predicted))
        if np.max(np.abs(step)) < _CONVERGED:
            return _Fit(coefficients=beta, predicted=predicted, inverse=inverse)
        while (found := _likelihood(design, s, beta + step)) < best - 1e-9 * abs(best):
            step = step / 2
        beta, best = beta + step, found
    return None


def _with_interval(estimate: Estimate, fitted: _Fit, design: Floats, s: Floats, codes: Ints) -> Estimate:
    """Sandwich covariance by cluster sums; interval of the rate on the logit scale."""
    clusters, columns = estimate.n_clusters, design.shape[1]
    theta, beta = float(fitted.coefficients[0]), float(fitted.coefficients[1])
    value = float(_sigmoid(np.array(theta)))
    extra = {**estimate.extra, "length_coefficient": beta}
    notes: tuple[str, ...] = ()
    if min(extra["n_longer"], extra["n_shorter"]) < _FEW:
        which = "longer" if extra["n_longer"] < extra["n_shorter"] else "shorter"
        notes = (f"the candidate's answer is hardly ever {which}: the rate at equal length is an extrapolation",)
    estimate = replace(estimate, value=value, extra=extra, notes=notes)
    if clusters <= columns:
        return replace(estimate, notes=(*notes, "too few clusters for an interval"))
    scores = design * (s - fitted.predicted)[:, None]
    totals = np.column_stack([cl.sums(column, codes) for column in scores.T])
    covariance = clusters / (clusters - columns) * fitted.inverse @ (totals.T @ totals) @ fitted.inverse
    times = critical.student(estimate.level, clusters - columns)
    error, error_beta = math.sqrt(max(covariance[0, 0], 0.0)), math.sqrt(max(covariance[1, 1], 0.0))
    low, high = (float(_sigmoid(np.array(theta + side * times * error))) for side in (-1, 1))
    method = LENGTH_CONTROLLED
    rest = means.unseen(s, codes, level=estimate.level, bounds=(0.0, 1.0))
    if rest is not None:
        # Nearly all scores are the same; the few others say little about their own number, let alone about length.
        low, high, method = min(low, rest.low), max(high, rest.high), LENGTH_CONTROLLED_EXACT
    limits = {"length_coefficient_low": beta - times * error_beta, "length_coefficient_high": beta + times * error_beta}
    return replace(
        estimate, low=low, high=high, std_error=value * (1 - value) * error, method=method, extra=extra | limits
    )


def _split(s: Floats, d: Floats) -> dict[str, float]:
    """Outright wins by which answer is longer."""
    found: dict[str, float] = {}
    for name, rows in (("longer", d > 0), ("shorter", d < 0)):
        found[f"n_{name}"] = float(rows.sum())
        if rows.any():
            found[f"win_{name}"] = float(np.mean(s[rows] > 0.5))
    return found


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)), dtype=np.float64)


def _likelihood(design: Floats, s: Floats, beta: Floats) -> float:
    linear = design @ beta
    return float(np.sum(s * linear - np.logaddexp(0, linear)))
