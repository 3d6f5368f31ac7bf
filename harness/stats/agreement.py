"""How far verdicts agree: a judge with people, a judge with itself in the other order, judges with each other.

Labels are numbers: 0, 0.5 and 1 for loss, tie and win, or any other codes. NaN is a missing label; a reply that could
not be used is either missing or a code of its own, which then counts as wrong. The caller has to say which.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from harness.domain.estimate import Estimate
from harness.stats import clusters as cl
from harness.stats import critical, means, proportions
from harness.stats.evidence import Bools, Floats, Ints

KAPPA = "cohen-kappa"
KAPPA_EXACT = "cohen-kappa+exact"
VOTES = "effective-votes"
MENU = (0.0, 0.5, 1.0)
"""Loss, tie and win, from the candidate's side."""

_FEW_DISAGREEING = 5


class Weights(StrEnum):
    """What a disagreement counts in kappa."""

    NONE = "none"
    """Every disagreement the same."""
    LINEAR = "linear"
    """As much as the two labels are apart: a win for a tie is half of a win for a loss."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelScores:
    """How a judge does on one label; ``None`` where nothing was there to divide by."""

    label: float
    n_people: int
    n_judge: int
    precision: float | None
    """Of the rows the judge gave this label, the share that people gave it too."""
    recall: float | None
    """Of the rows people gave this label, the share that the judge gave it too: its sensitivity to the label."""
    specificity: float | None
    """Of the rows people gave another label, the share that the judge gave another one too."""
    f1: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Agreement:
    """One judge against people over the rows both labelled."""

    labels: tuple[float, ...]
    confusion: Ints
    """Rows are people's labels, columns the judge's, in the order of ``labels``."""
    accuracy: Estimate
    """``extra``: ``baseline``, the accuracy of always giving ``baseline_label``, people's most common label."""
    kappa: Estimate
    by_label: tuple[LabelScores, ...]
    """One entry per label of the menu."""
    precision: float | None
    """Macro average over the menu; a label that divides by zero counts as 0. So are recall and F1."""
    recall: float | None
    f1: float | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class OrderAgreement:
    """One judge against itself: the same pairs with the candidate's answer shown first, and shown second."""

    consistency: Estimate
    """Share of pairs with the same verdict in both orders."""
    kappa: Estimate
    """Between the two orders."""
    first_pick: Estimate
    """Share of decisive verdicts that prefer the answer shown first; 0.5 without position bias."""
    position_effect: Estimate
    """Mean score when shown first less mean score when shown second; 0 without position bias."""
    correct: tuple[Estimate, Estimate, Estimate] | None
    """Share that agrees with people with the candidate first, second, and in both orders; ``None`` without people."""


def agreement(
    judge: Floats,
    people: Floats,
    clusters: Ints,
    *,
    menu: Sequence[float] | None = None,
    weights: Weights = Weights.NONE,
    level: float = 0.95,
) -> Agreement:
    """Confusion, accuracy, kappa and macro precision, recall and F1 of a judge against people.

    ``menu`` are the labels that the macro averages run over (default: all that occur). A judge's label off the menu
    counts as wrong everywhere and as a category of its own in kappa.
    """
    known = np.isfinite(judge) & np.isfinite(people)
    labels = tuple(float(x) for x in np.union1d(np.concatenate([judge[known], people[known]]), np.asarray(menu or ())))
    table = confusion(judge, people, labels=labels)
    scores = tuple(_label_scores(table, labels, label) for label in (menu or labels))
    n = int(table.sum())

    def macro(name: str) -> float | None:
        return sum(getattr(s, name) or 0.0 for s in scores) / len(scores) if n else None

    undefined = [f"{s.label:g}" for s in scores if n and (s.precision is None or s.recall is None)]
    notes = (f"never given by the judge or by people, counted as 0: label {', '.join(undefined)}",) if undefined else ()
    return Agreement(
        labels=labels,
        confusion=table,
        accuracy=accuracy(judge, people, clusters, level=level),
        kappa=kappa(judge, people, clusters, labels=labels, weights=weights, level=level),
        by_label=scores,
        precision=macro("precision"),
        recall=macro("recall"),
        f1=macro("f1"),
        notes=notes,
    )


def confusion(judge: Floats, people: Floats, *, labels: Sequence[float]) -> Ints:
    """Counts by people's label (rows) and the judge's (columns), in the order of ``labels``, where both are known.

    Raises:
        ValueError: a label occurs that is not among ``labels``.
    """
    known = np.isfinite(judge) & np.isfinite(people)
    k = len(labels)
    rows, columns = _index(people[known], labels), _index(judge[known], labels)
    return np.bincount(rows * k + columns, minlength=k * k).reshape(k, k).astype(np.int64)


def accuracy(
    judge: Floats, people: Floats, clusters: Ints, *, metric: str = "judge_accuracy", level: float = 0.95
) -> Estimate:
    """Share of rows with the same label from both, with Wilson's interval on the effective sample.

    Percent agreement flatters a judge when one label is common: ``extra["baseline"]`` is what always giving people's
    most common label would reach.
    """
    known = np.isfinite(judge) & np.isfinite(people)
    same = np.where(known, judge == people, np.nan)
    estimate = proportions.proportion(same, clusters, metric=metric, level=level)
    if not known.any():
        return replace(estimate, notes=("no row is labelled by both",))
    labels, counts = np.unique(people[known], return_counts=True)
    top = int(counts.argmax())
    facts = {"baseline": float(counts[top] / counts.sum()), "baseline_label": float(labels[top])}
    return replace(estimate, extra={**estimate.extra, **facts})


def kappa(
    first: Floats,
    second: Floats,
    clusters: Ints,
    *,
    labels: Sequence[float] | None = None,
    weights: Weights = Weights.NONE,
    metric: str = "kappa",
    level: float = 0.95,
) -> Estimate:
    """Cohen's kappa between two columns of labels: agreement beyond what their label shares alone would give.

    The standard error is that of Fleiss, Cohen and Everitt (1969), as a cluster-robust sum of influences. The
    interval is made on the scale of log(1 - kappa), where it keeps its level down to 50 rows, and widened by an exact
    bound on the share of disagreeing clusters when fewer than five disagree. ``None`` when only one label occurs at
    all. When one side gives one label only, kappa is 0 by construction and has no interval. ``labels`` sets the
    distances of linear weights (default: the labels that occur).
    """
    known = np.isfinite(first) & np.isfinite(second)
    estimate = Estimate(metric=metric, value=None, level=level, n_missing=int(np.sum(~known)), method=KAPPA)
    if not known.any():
        return replace(estimate, notes=("no row is labelled by both",))
    codes = cl.encode(clusters[known])
    estimate = replace(estimate, n=int(known.sum()), n_clusters=cl.count(codes))
    menu = [float(x) for x in np.union1d(first[known], second[known])] if labels is None else labels
    one, two = _index(first[known], menu), _index(second[known], menu)
    found = _kappa(one, two, _weights(menu, weights))
    if found is None:
        return replace(estimate, notes=("all labels are the same: kappa is not defined",))
    estimate = replace(estimate, value=found.value, extra={"observed": found.observed, "expected": found.expected})
    if np.unique(one).size == 1 or np.unique(two).size == 1:
        return replace(estimate, notes=("one side always gives the same label: kappa is 0 by construction",))
    return _kappa_interval(estimate, found, one != two, codes)


def orders(
    candidate_first: Floats,
    candidate_second: Floats,
    clusters: Ints,
    *,
    people: Floats | None = None,
    level: float = 0.95,
) -> OrderAgreement:
    """Position health of one judge from its two scores per pair, both 0, 0.5 or 1 from the candidate's side.

    A pair without one of its verdicts is missing in everything that compares the orders.
    """
    both = np.isfinite(candidate_first) & np.isfinite(candidate_second)
    same = np.where(both, candidate_first == candidate_second, np.nan)
    shown_first = np.concatenate([candidate_first, 1 - candidate_second])
    decisive = np.where(shown_first == 0.5, np.nan, shown_first > 0.5)
    decisive[np.isnan(shown_first)] = np.nan
    pick = proportions.proportion(decisive, np.concatenate([clusters, clusters]), metric="first_pick", level=level)
    correct = None
    if people is not None:
        right = [np.where(np.isfinite(s + people), s == people, np.nan) for s in (candidate_first, candidate_second)]
        columns = (("correct_first", right[0]), ("correct_second", right[1]), ("correct_both", right[0] * right[1]))
        made = [proportions.proportion(x, clusters, metric=name, level=level) for name, x in columns]
        correct = (made[0], made[1], made[2])
    return OrderAgreement(
        consistency=proportions.proportion(same, clusters, metric="position_consistency", level=level),
        kappa=kappa(candidate_first, candidate_second, clusters, metric="kappa_between_orders", level=level),
        first_pick=replace(pick, n_missing=int(np.isnan(shown_first).sum())),
        position_effect=means.paired_difference(
            candidate_first, candidate_second, clusters, metric="position_effect", level=level, bounds=(-1.0, 1.0)
        ),
        correct=correct,
    )


def majority(ratings: Floats) -> Floats:
    """The label most raters gave per row (``ratings``: rows by raters); NaN without a label or a single winner."""
    result = np.full(len(ratings), np.nan)
    labels = np.unique(ratings[np.isfinite(ratings)])
    if labels.size:
        votes = np.stack([np.sum(ratings == label, axis=1) for label in labels])
        single = (votes == votes.max(axis=0)).sum(axis=0) == 1
        result[single] = labels[votes.argmax(axis=0)][single]
    return result


def kappa_matrix(ratings: Floats, *, weights: Weights = Weights.NONE) -> tuple[tuple[float | None, ...], ...]:
    """Kappa of every two raters (``ratings``: rows by raters) over the rows both labelled; ``None`` where undefined."""
    raters, rows = ratings.shape[1], np.arange(len(ratings))
    found = np.unique(ratings[np.isfinite(ratings)])
    labels = tuple(float(x) for x in found)
    return tuple(
        tuple(kappa(ratings[:, i], ratings[:, j], rows, labels=labels, weights=weights).value for j in range(raters))
        for i in range(raters)
    )


def effective_votes(ratings: Floats, people: Floats | None = None, *, metric: str = "effective_votes") -> Estimate:
    """How many independent raters would average out chance as well as these do.

    k tr(C) / sum(C) with C the covariance of the raters' errors (``ratings``, rows by raters, less ``people``) over
    fully labelled rows: k/(1 + (k - 1) r) when all err equally much with correlation r. Between 1 and k; a bias they
    share is not counted, since no number of votes cures it. Without ``people`` the scores themselves are taken, in
    which raters also agree because they are right: then it is a lower bound.
    """
    k = ratings.shape[1]
    errors = ratings if people is None else ratings - people[:, None]
    full = np.isfinite(errors).all(axis=1)
    used, missing = errors[full], int(np.sum(~full))
    estimate = Estimate(metric=metric, value=None, n=len(used), n_missing=missing, method=VOTES)
    if len(used) < 2 or k == 0:
        return replace(estimate, notes=("fewer than two rows are labelled by everyone",))
    covariance = np.atleast_2d(np.cov(used, rowvar=False))
    trace, total = float(np.trace(covariance)), float(covariance.sum())
    if trace <= 0:
        return replace(estimate, notes=("no rater ever varies",))
    votes = float(k) if total <= trace else max(k * trace / total, 1.0)
    shared = (total / trace - 1) / (k - 1) if k > 1 else 0.0
    return replace(estimate, value=votes, extra={"raters": float(k), "mean_correlation": shared})


@dataclass(frozen=True, kw_only=True, eq=False)
class _Kappa:
    value: float
    observed: float
    expected: float
    influence: Floats
    """How much each row moves kappa, times n."""


def _kappa(one: Ints, two: Ints, weight: Floats) -> _Kappa | None:
    """Kappa with its influences (Fleiss, Cohen and Everitt 1969); ``None`` when chance alone agrees always."""
    k = len(weight)
    left, right = np.bincount(one, minlength=k) / len(one), np.bincount(two, minlength=k) / len(two)
    observed, expected = float(weight[one, two].mean()), float(left @ weight @ right)
    if 1 - expected <= 1e-12:
        return None
    by_chance = (weight @ right)[one] + (left @ weight)[two]
    raw = weight[one, two] * (1 - expected) - by_chance * (1 - observed)
    return _Kappa(
        value=(observed - expected) / (1 - expected),
        observed=observed,
        expected=expected,
        influence=(raw - raw.mean()) / (1 - expected) ** 2,
    )


def _kappa_interval(estimate: Estimate, found: _Kappa, disagree: Bools, codes: Ints) -> Estimate:
    clusters, level = estimate.n_clusters, estimate.level
    if clusters < 2:
        return replace(estimate, notes=("one cluster has no interval",))
    variance = cl.covariance_of_means(found.influence, found.influence, codes)
    error, rest = math.sqrt(max(variance, 0.0)), 1 - found.value
    low, high, method = found.value, found.value, KAPPA
    if rest > 1e-12:
        stretch = math.exp(critical.student(level, clusters - 1) * error / rest)
        low, high = 1 - rest * stretch, 1 - rest / stretch
    differing = int(np.unique(codes[disagree]).size)
    if differing < _FEW_DISAGREEING and 4 * differing <= clusters:
        # So few disagreements have no variance to speak of; none at all would give a width of zero.
        share = critical.exact_upper(differing, clusters, level=level)
        low, high, method = min(low, 1 - share / (1 - found.expected)), 1.0, KAPPA_EXACT
    return replace(estimate, low=max(low, -1.0), high=min(high, 1.0), std_error=error, method=method)


def _weights(labels: Sequence[float], weights: Weights) -> Floats:
    """Credit for every two labels: 1 on the diagonal."""
    values = np.asarray(labels, dtype=np.float64)
    apart = np.abs(values[:, None] - values[None, :])
    if weights is Weights.NONE or apart.max() == 0:
        return np.asarray(apart == 0, dtype=np.float64)
    return np.asarray(1 - apart / apart.max(), dtype=np.float64)


def _index(values: Floats, labels: Sequence[float]) -> Ints:
    """Position of every value among ``labels``, in whatever order they are."""
    menu = np.asarray(labels, dtype=np.float64)
    unknown = np.setdiff1d(values, menu)
    if unknown.size:
        raise ValueError(f"label {unknown[0]:g} is not among {', '.join(f'{x:g}' for x in menu)}")
    order = np.argsort(menu)
    return np.asarray(order[np.searchsorted(menu, values, sorter=order)], dtype=np.int64)


def _label_scores(table: Ints, labels: Sequence[float], label: float) -> LabelScores:
    at = list(labels).index(label)
    hits, by_people, by_judge = int(table[at, at]), int(table[at].sum()), int(table[:, at].sum())
    others = int(table.sum()) - by_people
    return LabelScores(
        label=float(label),
        n_people=by_people,
        n_judge=by_judge,
        precision=hits / by_judge if by_judge else None,
        recall=hits / by_people if by_people else None,
        specificity=(others - by_judge + hits) / others if others else None,
        f1=2 * hits / (by_people + by_judge) if by_people + by_judge else None,
    )
