"""Which candidates may be the best: by metric, by pair and by slice, the number of questions taken into account."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np

from harness.decision import metrics, quality
from harness.decision.contests import Comparison, Contest, contests_of, paired_scores
from harness.decision.scope import Scope
from harness.domain import metrics as names
from harness.domain.estimate import Direction, Estimate, Metric
from harness.domain.observation import PRODUCTION
from harness.domain.side_by_side import BestSet, Duel, Frontier, SliceBest
from harness.stats import best_set as bs
from harness.stats import means
from harness.stats.evidence import Bools, Evidence
from harness.stats.looks import ONE_LOOK, Looks

_QUALITY = (names.WIN_RATE.name, names.SIMILARITY.name, names.EXACT_MATCH.name)
"""What stands for quality, most telling first."""
_PRICE = names.COST_PER_1K.name
_TIMES = (names.latency("p95").name, names.latency("p50").name)


@dataclass(frozen=True, kw_only=True, eq=False)
class Field:
    """The candidates that are compared: evidence on the same rows, and how sure one wants to be."""

    evidence: Mapping[str, Evidence]
    """By arm, in the order of the experiment; the same sampled requests in the same order for all."""
    estimates: Mapping[str, Mapping[str, Estimate]]
    """By arm and metric."""
    judge_metrics: Mapping[str, Metric]
    """Judge name to what it measures, in the order of the experiment."""
    confidence: float = 0.95
    looks: Looks = ONE_LOOK
    unusable: frozenset[str] = frozenset()
    """Judges that failed a health check on any candidate."""

    @property
    def arms(self) -> tuple[str, ...]:
        """Names in the order of the experiment."""
        return tuple(self.evidence)

    @cached_property
    def scopes(self) -> dict[str, Scope]:
        """Every candidate as estimators take it; confidence and looks are given with each question."""
        return {
            arm: Scope(evidence=own, level=self.confidence, looks=self.looks, judge_metrics=self.judge_metrics)
            for arm, own in self.evidence.items()
        }

    @cached_property
    def contests(self) -> dict[str, Contest]:
        """Every metric on which candidates can be compared."""
        return contests_of(self.judge_metrics)

    def value(self, arm: str, metric: str) -> float | None:
        """What was measured; ``None`` where nothing was."""
        found = self.estimates[arm].get(metric)
        return None if found is None or found.value is None or math.isnan(found.value) else found.value


def quality_of(candidates: Field) -> tuple[str, str]:
    """Metric that stands for quality, and its judge; both empty without any that two candidates have.

    A preference comes before likeness, and a judge that can be believed before one that cannot.
    """
    owned = quality.metric_names(candidates.judge_metrics)
    ranked = [
        (judge in candidates.unusable, _QUALITY.index(base), position, metric, judge)
        for position, (judge, metric) in enumerate(owned.items())
        if (base := candidates.judge_metrics[judge].name) in _QUALITY
        and sum(candidates.value(arm, metric) is not None for arm in candidates.arms) > 1
    ]
    if not ranked:
        return "", ""
    *_, metric, judge = min(ranked)
    return metric, judge


def best_sets(candidates: Field) -> tuple[BestSet, ...]:
    """One per metric with a better side of which two candidates have a value; of classes of errors those that occur."""
    found = []
    # A candidate's own figure and its ratio to production ask the same of two candidates, and are asked it once.
    known: dict[tuple[Comparison, tuple[str, ...]], BestSet] = {}
    for name, contest in candidates.contests.items():
        with_value = tuple(arm for arm in candidates.arms if candidates.value(arm, name) is not None)
        if len(with_value) < 2 or _is_idle(candidates, name, with_value):
            continue
        key = (contest.compare, with_value)
        if key not in known:
            known[key] = best_set(candidates, contest, with_value, confidence=candidates.confidence)
        found.append(replace(known[key], metric=name))
    return tuple(found)


def best_set(candidates: Field, contest: Contest, arms: Sequence[str], *, confidence: float) -> BestSet:
    """The candidates among ``arms`` that none of the others is shown to beat.

    The best of them is in the set with the confidence asked for: see :func:`harness.stats.best_set.pair_level`.
    """
    sign = -1.0 if contest.metric.direction is Direction.LOWER_IS_BETTER else 1.0
    values = [sign * (candidates.value(arm, contest.metric.name) or 0.0) for arm in arms]
    level = bs.pair_level(confidence, len(arms))
    beats = _beats(candidates, contest, arms, level)
    found = bs.best_set(values, beats)
    return BestSet(
        metric=contest.metric.name,
        arms=tuple(arms),
        best=tuple(arms[position] for position in found.best),
        beaten_by={arms[loser]: arms[winner] for loser, winner in sorted(found.beaten_by.items())},
        confidence=confidence,
        looks="one" if candidates.looks.name == "one" else "any",
        n=_least_shared(candidates, arms),
    )


def frontiers(candidates: Field, quality_metric: str) -> tuple[Frontier, ...]:
    """Quality against cost, and against the slowest percentile that is finite for two candidates."""
    if not quality_metric:
        return ()
    found = []
    timed = next((name for name in _TIMES if len(_placed(candidates, quality_metric, name)) > 1), None)
    for against in (_PRICE, timed):
        points = {} if against is None else _placed(candidates, quality_metric, against)
        if against is None or not points:
            continue
        production = _production(candidates, quality_metric, against)
        if production is not None:
            points = {PRODUCTION: production} | points
        order = bs.efficient(list(points.values()))
        found.append(
            Frontier(
                quality=quality_metric,
                against=against,
                arms=tuple(list(points)[position] for position in order),
                production_quality=None if production is None else production[0],
                production_against=None if production is None else production[1],
            )
        )
    return tuple(found)


def duels(candidates: Field, judge: str) -> tuple[Duel, ...]:
    """Every pair of candidates, in both directions, by the judge's scores of each against production."""
    pairs = [(one, two) for at, one in enumerate(candidates.arms) for two in candidates.arms[at + 1 :]]
    corrected = 1 - (1 - candidates.confidence) / max(len(pairs), 1)
    found = [_duel(candidates, judge, one, two, corrected) for one, two in pairs]
    place = {arm: position for position, arm in enumerate(candidates.arms)}
    every = [*found, *(_turned(duel) for duel in found)]
    return tuple(sorted(every, key=lambda duel: (place[duel.first], place[duel.second])))


def slices(
    candidates: Field, quality_metric: str, *, min_slice: int, shown_from: int
) -> tuple[tuple[SliceBest, ...], int]:
    """The best candidates by slice, and the number of slices their confidence is for.

    All best sets hold together: each has its share of what may go wrong. Slices of fewer than ``shown_from`` requests
    are left out.
    """
    contest = candidates.contests.get(quality_metric)
    if contest is None:
        return (), 0
    parts = [part for part in _parts(candidates) if part.n >= shown_from]
    count = sum(part.n >= min_slice for part in parts)
    confidence = 1 - (1 - candidates.confidence) / max(count, 1)
    lean = _lean(candidates, quality_metric)
    found = []
    # One after another: all slices at once would hold every column as often as there are attributes.
    for part in parts:
        own = _part(lean, part.rows, quality_metric)
        arms = [arm for arm in own.arms if own.value(arm, quality_metric) is not None]
        is_told = part.n >= min_slice and len(arms) > 1
        found.append(
            SliceBest(
                attribute=part.attribute,
                value=part.value,
                n=part.n,
                estimates={arm: of[quality_metric] for arm, of in own.estimates.items()},
                best=best_set(own, contest, arms, confidence=confidence) if is_told else None,
            )
        )
    return tuple(found), count


def _beats(candidates: Field, contest: Contest, arms: Sequence[str], level: float) -> Callable[[int, int], bool]:
    scopes = [candidates.scopes[arm] for arm in arms]

    @cache
    def ahead(first: int, second: int) -> int:
        return contest.ahead(scopes[first], scopes[second], level)

    # One comparison answers for both directions.
    return lambda first, second: ahead(first, second) > 0 if first < second else ahead(second, first) < 0


def _is_idle(candidates: Field, name: str, arms: Sequence[str]) -> bool:
    """Whether it is a class of errors that nobody had."""
    is_class = name.startswith("error_rate_") and name != names.ERROR_RATE_DIFFERENCE.name
    found = [candidates.estimates[arm][name] for arm in arms]
    return is_class and not any(item.candidate or item.production for item in found)


def _least_shared(candidates: Field, arms: Sequence[str]) -> int:
    asked = [candidates.scopes[arm].rows.both_asked for arm in arms]
    counts = [int(np.sum(one & two)) for at, one in enumerate(asked) for two in asked[at + 1 :]]
    return min(counts, default=0)


def _placed(candidates: Field, quality_metric: str, against: str) -> dict[str, tuple[float, float]]:
    """Quality and the other metric of every candidate for which both are finite."""
    found = {}
    for arm in candidates.arms:
        up, along = candidates.value(arm, quality_metric), candidates.value(arm, against)
        if up is not None and along is not None and math.isfinite(up) and math.isfinite(along):
            found[arm] = (up, along)
    return found


def _production(candidates: Field, quality_metric: str, against: str) -> tuple[float, float] | None:
    """Production's own place, on the most requests any candidate shares with it; ``None`` where it has none.

    Only a win rate has one: likeness to itself would be perfect.
    """
    if quality_metric.partition(":")[0] != names.WIN_RATE.name:
        return None
    found = [own[against] for own in candidates.estimates.values() if against in own]
    known = [item for item in found if item.production is not None and math.isfinite(item.production)]
    if not known:
        return None
    widest = max(known, key=lambda item: item.n)
    return 0.5, float(widest.production or 0.0)


def _duel(candidates: Field, judge: str, first: str, second: str, corrected: float) -> Duel:
    one, two = paired_scores(judge, candidates.scopes[first], candidates.scopes[second])
    known = np.isfinite(one) & np.isfinite(two)
    signs = np.sign(np.round(one[known] - two[known], 9))
    codes = candidates.evidence[first].clusters[known]
    share = told = None
    if signs.size:
        values = np.asarray((signs + 1) / 2, dtype=np.float64)
        share, told = (
            means.mean(values, codes, metric="duel", level=level, bounds=(0.0, 1.0), looks=candidates.looks)
            for level in (candidates.confidence, corrected)
        )
    return Duel(
        first=first,
        second=second,
        judge=judge,
        n=int(known.sum()),
        first_better=int(np.sum(signs > 0)),
        same=int(np.sum(signs == 0)),
        second_better=int(np.sum(signs < 0)),
        share=share,
        told=told is not None
        and ((told.low is not None and told.low > 0.5) or (told.high is not None and told.high < 0.5)),
    )


def _turned(duel: Duel) -> Duel:
    """The same from the other side."""
    share = duel.share
    if share is not None:
        low, high = (None if end is None else 1 - end for end in (share.high, share.low))
        share = replace(share, value=None if share.value is None else 1 - share.value, low=low, high=high)
    return replace(
        duel,
        first=duel.second,
        second=duel.first,
        first_better=duel.second_better,
        second_better=duel.first_better,
        share=share,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """The requests that share one value of one attribute."""

    attribute: str
    value: str
    rows: Bools

    @property
    def n(self) -> int:
        return int(self.rows.sum())


def _parts(candidates: Field) -> list[_Part]:
    """Every slice of every attribute that has two values; those with one divide nothing."""
    found = []
    attributes = next(iter(candidates.evidence.values())).attributes if candidates.evidence else {}
    for attribute, column in attributes.items():
        values = sorted({str(value) for value in column if value})
        for value in values if len(values) > 1 else ():
            rows = np.asarray(column == value, dtype=np.bool_)
            found.append(_Part(attribute=attribute, value=value, rows=rows))
    return found


def _lean(candidates: Field, metric: str) -> Field:
    """The same with the scores of the metric's own judge and nothing else to be cut into slices."""
    judge = next(name for name, owned in quality.metric_names(candidates.judge_metrics).items() if owned == metric)
    evidence = {
        arm: replace(own, scores={judge: own.scores[judge]}, attributes={}, labels=None)
        for arm, own in candidates.evidence.items()
    }
    return replace(candidates, evidence=evidence)


def _part(candidates: Field, rows: Bools, quality_metric: str) -> Field:
    evidence = {arm: own.take(rows) for arm, own in candidates.evidence.items()}
    estimates = {
        arm: metrics.estimates(
            own, level=candidates.confidence, judge_metrics=candidates.judge_metrics, only={quality_metric}
        )
        for arm, own in evidence.items()
    }
    return Field(
        evidence=evidence,
        estimates=estimates,
        judge_metrics=candidates.judge_metrics,
        confidence=candidates.confidence,
        looks=candidates.looks,
        unusable=candidates.unusable,
    )
